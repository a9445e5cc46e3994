//! The format of a table, from all of its rows: units, the order of day and month, the meaning of midnight.

use heqis_quant::date::year_last;
use heqis_quant::{Date, DayOrder, QuantError};

use super::lines::Row;
use super::time::ORDER_RULE;
use super::units::VolumeUnit;
use super::units::{Scale, UnitEvidence, UnitMatch};
use super::{BarReader, TimeOfDay};

/// The format of a table, which holds for each of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct TableFormat {
    pub(super) scale: Scale,
    /// The rows whose amount confirms the units.
    pub(super) confirming_rows: usize,
    /// The rows with an amount that fit no units.
    pub(super) unexplained_rows: usize,
    pub(super) day_order: Option<DayOrder>,
    pub(super) clock: TimeOfDay,
    /// The adjustment flag of all rows, if there is a column of it.
    pub(super) adjust_flag: Option<String>,
    pub(super) amounts_show_adjusted: bool,
    /// Whether the newest row is first.
    pub(super) descends: bool,
    /// The examined rows.
    pub(super) rows: usize,
}

/// Evidence of the rows.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    evidence: UnitEvidence,
    /// The first row for each pair of units, and for none, to show in errors.
    first: Vec<Option<Row>>,
    rows: usize,
    /// Rows with a time of day, and of these the midnights as written and at the exchange.
    clocks: usize,
    written_midnights: usize,
    exchange_midnights: usize,
    /// A row in which the day is first, one in which the month is first, and an ambiguous one.
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
            evidence: UnitEvidence::default(),
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

    /// Examines the current row of a reader.
    pub(super) fn observe<R>(&mut self, table: &BarReader<R>) -> Result<(), QuantError> {
        let row = &table.row;
        if row.broken.is_some() {
            return Ok(());
        }
        self.rows += 1;
        table.check_duplicates()?;
        if let Some(turnover) = table.turnover() {
            let scales = &table.header.possible;
            let place = match self.evidence.count(turnover, scales) {
                UnitMatch::Scale(at) => Some(at),
                UnitMatch::None => Some(scales.len()),
                UnitMatch::Inconclusive => None,
            };
            if let Some(place) = place {
                self.first[place].get_or_insert_with(|| row.clone());
            }
        }
        self.observe_time(table);
        if self.adjust_flag.is_none()
            && let Some(column) = table.header.columns.adjust_flag
        {
            self.adjust_flag = Some(table.cell(column)).filter(|flag| !flag.is_empty());
        }
        Ok(())
    }

    fn observe_time<R>(&mut self, table: &BarReader<R>) {
        let columns = &table.header.columns;
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
        // The order does not affect times of day, so either is good.
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

    /// Decides on the format; `live` means that more rows will follow.
    pub(super) fn decide<R>(
        mut self,
        table: &mut BarReader<R>,
        live: bool,
    ) -> Result<TableFormat, QuantError> {
        let day_order = self.day_order(table)?;
        let has_time_column = table.header.columns.time.is_some();
        let clock = if self.clocks == 0 {
            TimeOfDay::Missing
        } else if live && has_time_column {
            // The next row may be the first other than midnight.
            TimeOfDay::Exact
        } else if self.written_midnights == self.clocks {
            TimeOfDay::WrittenMidnight
        } else if self.exchange_midnights == self.clocks {
            TimeOfDay::ExchangeMidnight
        } else {
            TimeOfDay::Exact
        };
        let (at, amounts_show_adjusted) = self.units(table)?;
        Ok(TableFormat {
            scale: at,
            confirming_rows: self.evidence.matches.iter().copied().max().unwrap_or(0),
            unexplained_rows: self.evidence.unmatched,
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
            let columns = &table.header.columns;
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
        let scales = table.header.possible.clone();
        let named = table.header.named;
        let layout = table.header.layout;
        if let Some(unit) = table.options.volume_unit {
            let found = scales.iter().find(|scale| scale.volume == unit);
            let amount_cny = named.map_or(1.0, |named| named.amount_cny);
            let given = Scale {
                volume: unit,
                amount_cny,
            };
            return Ok((found.copied().unwrap_or(given), false));
        }
        let agreed = self.evidence.agreed();
        // Only the two pairs of a vendor can explain adjusted prices: four pairs are too close together.
        let near = usize::min(scales.len(), 2);
        let adjusted = || {
            self.evidence
                .adjusted(&scales[..near])
                .filter(|at| *at < near)
        };
        let declared = self.adjust_flag.as_deref().is_some_and(|flag| flag != "3")
            || table.options.prices == Some(super::options::Prices::Adjusted);
        let no_evidence = self.evidence.rows() == 0;
        let fixed = table.header.fixed;
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
            (None, Some(named)) if no_evidence => Ok((named, false)),
            // An index has no lots.
            (None, None) if no_evidence && (self.rows == 0 || !table.is_traded()) => {
                Ok((scales[0], false))
            }
            (None, None) if no_evidence => Err(table.refuse_unit(
                "must show lots or shares by its amount, and no row of a stock has both",
            )),
            (None, named) => match adjusted() {
                Some(at) if !fixed || named.is_none_or(|n| n.volume == scales[at].volume) => {
                    Ok((scales[at], true))
                }
                _ if declared && let Some(named) = named => Ok((named, true)),
                // The other rows have wrong amounts; the cleaner checks each.
                _ if let Some(at) = self.evidence.mostly() => Ok((scales[at], false)),
                _ => Err(self.disagreement(table, &scales)),
            },
        }
    }

    /// Returns an error with a row of the rarest units or, if only one pair occurs, a row that fits none.
    fn disagreement<R>(&mut self, table: &mut BarReader<R>, scales: &[Scale]) -> QuantError {
        let matches = self.evidence.matches;
        let matched = (0..scales.len()).filter(|at| matches[*at] > 0);
        let odd = match matched.clone().count() {
            0 | 1 => scales.len(),
            _ => matched.clone().min_by_key(|at| matches[*at]).unwrap_or(0),
        };
        table.row = self.first[odd].take().unwrap_or_default();
        let of = |unit: VolumeUnit| {
            let of_unit = (0..scales.len()).filter(|at| scales[*at].volume == unit);
            of_unit.map(|at| matches[at]).sum::<usize>()
        };
        table.refuse_unit(format!(
            "must be lots or shares throughout, and of {} rows with an amount {} fit shares, {} fit lots and {} fit neither \
             (adjusted prices?)",
            self.evidence.rows(),
            of(VolumeUnit::Shares),
            of(VolumeUnit::Lots),
            self.evidence.unmatched
        ))
    }
}
