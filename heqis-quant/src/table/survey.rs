//! What the rows of a table show together: units, the order of day and month, whether midnight means the day.

use super::rows::Row;
use super::time::ORDER_RULE;
use super::units::{Ballot, Scale, Vote};
use super::{BarReader, Clock, VolumeUnit};
use crate::date::year_last;
use crate::{Date, DayOrder, QuantError};

/// What is decided for a table as a whole, and holds for each of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub(super) scale: Scale,
    /// How many rows confirm the units by their amount.
    pub(super) confirming_rows: usize,
    /// How many rows with an amount fit no units.
    pub(super) unexplained_rows: usize,
    pub(super) day_order: Option<DayOrder>,
    pub(super) clock: Clock,
    /// The flag of adjustment of all rows, where there is a column of it.
    pub(super) adjust_flag: Option<String>,
    pub(super) amounts_show_adjusted: bool,
    /// Whether the newest row stands first.
    pub(super) descends: bool,
    /// How many rows were looked at.
    pub(super) rows: usize,
}

/// Evidence, row by row.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    ballot: Ballot,
    /// The first row for each pair of units, and for none, to be shown when they do not agree.
    first: Vec<Option<Row>>,
    rows: usize,
    /// Rows that have a time of day, and of these the midnights as written and at the exchange.
    clocks: usize,
    written_midnights: usize,
    exchange_midnights: usize,
    /// A row whose day must stand first, or whose month must, and one that leaves it open.
    day_first: Option<Row>,
    month_first: Option<Row>,
    open_order: Option<Row>,
    adjust_flag: Option<String>,
    /// Steps forward and backward in time between two rows.
    forward: usize,
    backward: usize,
    last: Option<(Option<Date>, Option<i64>)>,
}

impl Survey {
    pub(super) fn new(scales: usize) -> Self {
        Self {
            ballot: Ballot::default(),
            first: vec![None; scales + 1],
            rows: 0,
            clocks: 0,
            written_midnights: 0,
            exchange_midnights: 0,
            day_first: None,
            month_first: None,
            open_order: None,
            adjust_flag: None,
            forward: 0,
            backward: 0,
            last: None,
        }
    }

    /// Looks at the row at hand of a reader.
    pub(super) fn observe<R>(&mut self, table: &BarReader<R>) -> Result<(), QuantError> {
        let row = &table.row;
        if row.broken.is_some() {
            return Ok(());
        }
        self.rows += 1;
        table.check_twins()?;
        if let Some(turnover) = table.turnover() {
            let scales = &table.understood.possible;
            let place = match self.ballot.count(turnover, scales) {
                Vote::Scale(at) => Some(at),
                Vote::Neither => Some(scales.len()),
                Vote::Silent => None,
            };
            if let Some(place) = place {
                self.first[place].get_or_insert_with(|| row.clone());
            }
        }
        self.observe_time(table);
        if self.adjust_flag.is_none()
            && let Some(column) = table.understood.columns.adjust_flag
        {
            self.adjust_flag = Some(table.cell(column)).filter(|flag| !flag.is_empty());
        }
        Ok(())
    }

    fn observe_time<R>(&mut self, table: &BarReader<R>) {
        let columns = &table.understood.columns;
        for column in [columns.date, columns.time].into_iter().flatten() {
            let cell = table.cell(column);
            let day = cell.split(['T', ' ']).next().unwrap_or_default();
            let place = match year_last(day) {
                Some((13.., ..)) => &mut self.day_first,
                Some((_, 13.., _)) => &mut self.month_first,
                Some(_) => &mut self.open_order,
                None => continue,
            };
            place.get_or_insert_with(|| table.row.clone());
        }
        // The order decides over days, not over clocks: either will do.
        let order = Some(table.options.day_order.unwrap_or(match self.day_first {
            Some(_) => DayOrder::DayFirst,
            None => DayOrder::MonthFirst,
        }));
        let Ok(written) = table.written(order) else {
            return;
        };
        let now = (written.day, written.clock_ns);
        match self.last.replace(now).map(|last| last.cmp(&now)) {
            Some(std::cmp::Ordering::Less) => self.forward += 1,
            Some(std::cmp::Ordering::Greater) => self.backward += 1,
            _ => {}
        }
        if written.clock_ns.is_some() {
            self.clocks += 1;
            self.written_midnights += usize::from(written.is_midnight());
            let at_exchange = written.midnight_at(&table.zone()).is_some();
            self.exchange_midnights += usize::from(at_exchange);
        }
    }

    /// Decides from what was seen; `live` says that there will be more.
    pub(super) fn decide<R>(
        mut self,
        table: &mut BarReader<R>,
        live: bool,
    ) -> Result<Decided, QuantError> {
        let day_order = self.day_order(table)?;
        let has_time_column = table.understood.columns.time.is_some();
        let clock = if self.clocks == 0 {
            Clock::Day
        } else if live && has_time_column {
            // The next row may be the first that is no midnight.
            Clock::Exact
        } else if self.written_midnights == self.clocks {
            Clock::WrittenMidnight
        } else if self.exchange_midnights == self.clocks {
            Clock::ExchangeMidnight
        } else {
            Clock::Exact
        };
        let (at, amounts_show_adjusted) = self.units(table)?;
        Ok(Decided {
            scale: at,
            confirming_rows: self.ballot.votes.iter().copied().max().unwrap_or(0),
            unexplained_rows: self.ballot.neither,
            day_order,
            clock,
            adjust_flag: self.adjust_flag,
            amounts_show_adjusted,
            descends: self.backward > self.forward,
            rows: self.rows,
        })
    }

    fn day_order<R>(&mut self, table: &mut BarReader<R>) -> Result<Option<DayOrder>, QuantError> {
        let column = |table: &BarReader<R>| {
            let columns = &table.understood.columns;
            columns.date.or(columns.time).unwrap_or(0)
        };
        match (
            table.options.day_order,
            self.day_first.take(),
            self.month_first.take(),
        ) {
            (Some(order), ..) => Ok(Some(order)),
            (None, Some(day), Some(month)) => {
                let other = month.line;
                table.row = day;
                let rule = format!(
                    "must have day and month in one order, and line {other} has the other one"
                );
                Err(table.refuse(column(table), rule))
            }
            (None, Some(_), None) => Ok(Some(DayOrder::DayFirst)),
            (None, None, Some(_)) => Ok(Some(DayOrder::MonthFirst)),
            (None, None, None) => match self.open_order.take() {
                None => Ok(None),
                Some(row) => {
                    table.row = row;
                    Err(table.refuse(column(table), ORDER_RULE))
                }
            },
        }
    }

    /// Returns the units, and whether the amounts show that prices are adjusted.
    fn units<R>(&mut self, table: &mut BarReader<R>) -> Result<(Scale, bool), QuantError> {
        let scales = table.understood.possible.clone();
        let named = table.understood.named;
        let layout = table.understood.layout;
        if let Some(unit) = table.options.volume_unit {
            let found = scales.iter().find(|scale| scale.volume == unit);
            let amount_cny = named.map_or(1.0, |named| named.amount_cny);
            let told = Scale {
                volume: unit,
                amount_cny,
            };
            return Ok((found.copied().unwrap_or(told), false));
        }
        let agreed = self.ballot.agreed();
        // Only the units that a vendor names may explain adjusted prices: four pairs lie too close together for that.
        let near = usize::min(scales.len(), 2);
        let adjusted = || {
            self.ballot
                .adjusted(&scales[..near])
                .filter(|at| *at < near)
        };
        let declared = self.adjust_flag.as_deref().is_some_and(|flag| flag != "3")
            || table.options.prices == Some(super::Prices::Adjusted);
        let silent = self.ballot.rows() == 0;
        let fixed = table.understood.fixed;
        match (agreed, named) {
            (Some(at), Some(named)) if fixed && scales[at].volume != named.volume => {
                let row = self.first.iter_mut().find_map(Option::take);
                table.row = row.unwrap_or_default();
                Err(table.refuse_unit(format!(
                    "must count {} as {} does, and the amounts show {}",
                    named.volume.name(),
                    layout.name(),
                    scales[at].volume.name()
                )))
            }
            (Some(at), _) => Ok((scales[at], false)),
            (None, Some(named)) if silent => Ok((named, false)),
            // An index is not traded, and its points are no prices.
            (None, None) if silent && (self.rows == 0 || !table.is_traded()) => {
                Ok((scales[0], false))
            }
            (None, None) if silent => Err(table.refuse_unit(
                "must show lots or shares by its amount, and no row of a stock has both",
            )),
            (None, named) => match adjusted() {
                Some(at) if !fixed || named.is_none_or(|n| n.volume == scales[at].volume) => {
                    Ok((scales[at], true))
                }
                _ if declared && let Some(named) = named => Ok((named, true)),
                // The rows that do not fit have wrong amounts; the cleaner judges each.
                _ if let Some(at) = self.ballot.mostly() => Ok((scales[at], false)),
                _ => Err(self.disagreement(table, &scales)),
            },
        }
    }

    /// Shows the row that does not belong: of the rarest units when several occur, else of none.
    fn disagreement<R>(&mut self, table: &mut BarReader<R>, scales: &[Scale]) -> QuantError {
        let votes = self.ballot.votes;
        let voted = (0..scales.len()).filter(|at| votes[*at] > 0);
        let odd = match voted.clone().count() {
            0 | 1 => scales.len(),
            _ => voted.clone().min_by_key(|at| votes[*at]).unwrap_or(0),
        };
        table.row = self.first[odd].take().unwrap_or_default();
        let of = |unit: VolumeUnit| {
            let of_unit = (0..scales.len()).filter(|at| scales[*at].volume == unit);
            of_unit.map(|at| votes[at]).sum::<usize>()
        };
        table.refuse_unit(format!(
            "must be lots or shares throughout, and of {} rows with an amount {} fit shares, {} fit lots and {} fit neither \
             (adjusted prices?)",
            self.ballot.rows(),
            of(VolumeUnit::Shares),
            of(VolumeUnit::Lots),
            self.ballot.neither
        ))
    }
}
