//! One call of the vendor: its parameters, the check of its rows, and the day from which its reply is final.

use heqis_quant::{Date, Span, Symbol};
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::error::FetchError;
use crate::reply::{Cell, compact};

/// The selection of rows by a call; a field that is `None` does not restrict it.
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
    /// The selected rows.
    pub selection: Selection,
    /// The reply can change until the end of this day in China; an earlier reply is requested again.
    pub last_day: Date,
    /// A day that must have rows. A reply without them is late: it is reported and not cached.
    pub must_reach: Option<Date>,
}

impl Call {
    /// Creates a call whose reply is final after `last_day`, even without rows.
    #[must_use]
    pub fn new(api: &'static Api, selection: Selection, last_day: Date) -> Self {
        Self {
            api,
            selection,
            last_day,
            must_reach: None,
        }
    }

    /// Returns the parameters of the request for the rows from `offset` on.
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

    /// Splits a span of days into two calls, the earlier one first. Returns `None` without a span of several days.
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

    /// Checks that every row belongs to the selection.
    ///
    /// # Errors
    ///
    /// [`FetchError::Reply`] with the first row and field that do not.
    pub fn check(&self, rows: &[Vec<Cell>]) -> Result<(), FetchError> {
        let api = self.api;
        let place = |name| api.fields.iter().position(|(field, _)| *field == name);
        let text = |text: &str| Cell::Text(text.to_owned());
        let expected: Vec<(usize, Cell)> = [
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
            let fault = |place: usize, expected: String| FetchError::Reply {
                api: api.name,
                row: number,
                field: api.fields[place].0.to_owned(),
                rule: "must be the requested value",
                value: format!("{} instead of {expected}", row[place].to_text()),
            };
            if let Some((place, cell)) = expected.iter().find(|(place, cell)| row[*place] != *cell)
            {
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

    /// Returns whether the rows include [`Call::must_reach`].
    #[must_use]
    pub fn is_reached(&self, rows: &[Vec<Cell>]) -> bool {
        let (Some(day), Some(place)) = (self.must_reach, self.api.day_field()) else {
            return true;
        };
        rows.iter().any(|row| row[place] == Cell::Day(day))
    }

    /// Returns whether a reply that arrived at a time is final.
    #[must_use]
    pub fn is_settled(&self, fetched_unix_s: u64) -> bool {
        // The close is at 15:00, and the day ends nine hours later.
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
