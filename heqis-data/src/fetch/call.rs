//! One question to the vendor: what is asked, what may come back, and from when on the answer stands.

use heqis_quant::{Date, Span, Symbol};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::reply::{Cell, compact};
use crate::error::FetchError;

/// What a call selects; what is `None` is not restricted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One instrument.
    pub code: Option<Symbol>,
    /// One trading day.
    pub day: Option<Date>,
    /// One ex-right day.
    pub ex_day: Option<Date>,
    /// The days of the rows.
    pub span: Option<Span>,
    /// One exchange.
    pub exchange: Option<&'static str>,
    /// Listed `L`, delisted `D` or paused `P`.
    pub list_status: Option<&'static str>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The interface.
    pub api: &'static Api,
    /// What is selected.
    pub selection: Selection,
    /// The answer can change until this day is over in China; a reply from before is asked for again.
    pub last_day: Date,
    /// A day that must have rows. An answer without one is late: it is reported, and never taken for complete.
    pub must_reach: Option<Date>,
}

impl Call {
    /// Makes a call whose answer stands when `last_day` is over, however few rows it has.
    #[must_use]
    pub fn new(api: &'static Api, selection: Selection, last_day: Date) -> Self {
        Self {
            api,
            selection,
            last_day,
            must_reach: None,
        }
    }

    /// Returns the parameters as they go over the wire, for the rows from `offset` on.
    #[must_use]
    pub fn params(&self, offset: usize) -> Map<String, Value> {
        let Selection {
            code,
            day,
            ex_day,
            span,
            exchange,
            list_status,
        } = self.selection;
        let given = [
            ("ts_code", code.map(|code| code.to_string())),
            ("trade_date", day.map(compact)),
            ("ex_date", ex_day.map(compact)),
            ("start_date", span.map(|span| compact(span.from))),
            ("end_date", span.map(|span| compact(span.to))),
            ("exchange", exchange.map(str::to_owned)),
            ("list_status", list_status.map(str::to_owned)),
            ("offset", (offset > 0).then(|| offset.to_string())),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))))
            .collect()
    }

    /// Cuts a span of days into two calls, the earlier one first, or returns `None` when there is nothing to cut.
    #[must_use]
    pub fn halves(&self) -> Option<[Self; 2]> {
        let span = self.selection.span?;
        let (from, to) = (span.from.days(), span.to.days());
        if from == to {
            return None;
        }
        let middle = from + (to - from) / 2;
        let half = |from, to| {
            let span = Span { from, to };
            Self {
                api: self.api,
                selection: Selection {
                    span: Some(span),
                    ..self.selection
                },
                last_day: self.last_day.min(to),
                must_reach: self.must_reach.filter(|day| span.contains(*day)),
            }
        };
        Some([
            half(span.from, Date::from_days(middle)?),
            half(Date::from_days(middle + 1)?, span.to),
        ])
    }

    /// Checks that every row is one of those asked for.
    ///
    /// # Errors
    ///
    /// [`FetchError::Reply`] naming the first row and field that are not.
    pub fn check(&self, rows: &[Vec<Cell>]) -> Result<(), FetchError> {
        let api = self.api;
        let place = |name| api.fields.iter().position(|(field, _)| *field == name);
        let text = |text: &str| Cell::Text(text.to_owned());
        let wanted: Vec<(usize, Cell)> = [
            ("ts_code", self.selection.code.map(Cell::Code)),
            ("trade_date", self.selection.day.map(Cell::Day)),
            ("ex_date", self.selection.ex_day.map(Cell::Day)),
            ("exchange", self.selection.exchange.map(text)),
            ("list_status", self.selection.list_status.map(text)),
        ]
        .into_iter()
        .filter_map(|(name, cell)| Some((place(name)?, cell?)))
        .collect();
        let within = self.selection.span.zip(api.day_field());
        for (number, row) in rows.iter().enumerate() {
            let fault = |place: usize, wanted: String| FetchError::Reply {
                api: api.name,
                row: number,
                field: api.fields[place].0.to_owned(),
                rule: "must be what was asked for",
                value: format!("{} instead of {wanted}", row[place].to_text()),
            };
            if let Some((place, cell)) = wanted.iter().find(|(place, cell)| row[*place] != *cell) {
                return Err(fault(*place, cell.to_text()));
            }
            if let Some((span, place)) = within
                && !matches!(row[place], Cell::Day(day) if span.contains(day))
            {
                let (from, to) = (compact(span.from), compact(span.to));
                return Err(fault(place, format!("a day from {from} to {to}")));
            }
        }
        Ok(())
    }

    /// Returns whether the rows hold the day that they must reach.
    #[must_use]
    pub fn is_reached(&self, rows: &[Vec<Cell>]) -> bool {
        let (Some(day), Some(place)) = (self.must_reach, self.api.day_field()) else {
            return true;
        };
        rows.iter().any(|row| row[place] == Cell::Day(day))
    }

    /// Returns whether a reply that came at a time can no longer change.
    #[must_use]
    pub fn is_settled(&self, fetched_unix_s: u64) -> bool {
        // The close is at 15:00; the day is over nine hours later.
        let over_s = self.last_day.close_time_ns() / 1_000_000_000 + 9 * 3600;
        i64::try_from(fetched_unix_s).is_ok_and(|fetched| fetched >= over_s)
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.api.name)?;
        for value in self.params(0).values().filter_map(Value::as_str) {
            write!(f, " {value}")?;
        }
        Ok(())
    }
}
