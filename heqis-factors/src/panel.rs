//! The factors of many instruments, day by day, with comparisons across the day.

use crate::fault::FactorError;
use crate::graph::{Op, Slot};
use crate::ops::{CrossOp, finite};
use crate::series::Series;
use crate::set::FactorSet;

/// The states of all instruments of a market, in a fixed order.
///
/// ```
/// use heqis_factors::{Columns, FactorSet, Panel};
///
/// let set = FactorSet::parse("r = rank(close / open)", &Columns::bars())?;
/// let mut panel = Panel::new(&set, 3);
/// let bar = |open: f64, close: f64| [open, close, open, close, 1000.0, f64::NAN, f64::NAN];
/// let (a, b) = (bar(10.0, 10.1), bar(20.0, 20.4));
/// let mut ranks = [0.0; 3];
/// panel.step(&[Some(&a), None, Some(&b)], &mut ranks)?;   // the second instrument does not trade
/// assert_eq!((ranks[0], ranks[2]), (0.5, 1.0));
/// assert!(ranks[1].is_nan());
/// # Ok::<(), heqis_factors::FactorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Panel {
    set: FactorSet,
    instruments: Vec<Series>,
    present: Vec<usize>,
    scratch: Vec<(f64, usize)>,
}

impl Panel {
    /// Makes the states of a number of instruments before their first bars.
    #[must_use]
    pub fn new(set: &FactorSet, instruments: usize) -> Self {
        Self {
            instruments: vec![Series::new(&set.program); instruments],
            present: Vec::with_capacity(instruments),
            scratch: Vec::with_capacity(instruments),
            set: set.clone(),
        }
    }

    /// Takes the bars of one day, one `[columns]` or `None` for each instrument, and writes the factors into `out`,
    /// `[instruments * factors]`, NaN for missing ones. An instrument without a bar is in no comparison, and its series continues with
    /// its next bar.
    ///
    /// # Errors
    /// Returns [`FactorError::Value`], and takes no bar, when a length is wrong.
    pub fn step(&mut self, day: &[Option<&[f64]>], out: &mut [f64]) -> Result<(), FactorError> {
        let all = self.instruments.len();
        if day.len() != all || out.len() != all * self.set.len() {
            let rule = format!(
                "must be of {all} instruments and {} factors",
                self.set.len()
            );
            return Err(FactorError::value("day", rule, day.len()));
        }
        for bar in day.iter().flatten() {
            self.set.check_len("values", bar.len())?;
        }
        self.present.clear();
        self.present.extend((0..all).filter(|i| day[*i].is_some()));
        let program = self.set.program.clone();
        for (place, steps) in program.stages.iter().enumerate() {
            if place % 2 == 1 {
                for step in steps {
                    match step.op {
                        Op::Cross(op, x) => self.compare(op, x),
                        Op::Neutral(x, group) => self.neutral(x, group),
                        _ => {}
                    }
                    for i in 0..self.present.len() {
                        let value = self.scratch[i].0;
                        self.instruments[self.present[i]].set(step, value);
                    }
                }
                continue;
            }
            for (series, bar) in self.instruments.iter_mut().zip(day) {
                match bar {
                    Some(bar) if place == 0 => series.begin(bar),
                    Some(bar) => series.compute(place, bar),
                    None => {}
                }
            }
        }
        let rows = out.chunks_exact_mut(self.set.len());
        for ((series, bar), row) in self.instruments.iter_mut().zip(day).zip(rows) {
            match bar {
                Some(_) => {
                    series.end();
                    self.set.read(series.bars(), &series.values, row);
                }
                None => row.fill(f64::NAN),
            }
        }
        Ok(())
    }

    /// Moves what is remembered of one instrument to another price level; see [`FactorSeries::rescale`](crate::FactorSeries::rescale).
    /// Ranks and other results of comparisons stay as they were on their day.
    pub fn rescale(&mut self, instrument: usize, factor: f64) {
        if factor.is_finite()
            && factor > 0.0
            && let Some(series) = self.instruments.get_mut(instrument)
        {
            series.rescale(factor);
        }
    }

    fn value(&self, i: usize, slot: Slot) -> f64 {
        self.instruments[self.present[i]].values[slot as usize]
    }

    /// Writes the results of a comparison into `scratch`, in the order of `present`.
    fn compare(&mut self, op: CrossOp, x: Slot) {
        let n = self.present.len();
        self.scratch.clear();
        for i in 0..n {
            self.scratch.push((self.value(i, x), i));
        }
        let values = self.scratch.iter().map(|(value, _)| *value);
        let known = values.filter(|value| !value.is_nan());
        let count = known.clone().count() as f64;
        let mean = known.clone().sum::<f64>() / count;
        let (from, by) = match op {
            CrossOp::Rank => return self.rank(count),
            CrossOp::Demean => (mean, 1.0),
            CrossOp::Scale => (0.0, known.map(f64::abs).sum()),
            CrossOp::Z => {
                let squares: f64 = known.map(|x| (x - mean) * (x - mean)).sum();
                (mean, (squares / (count - 1.0)).sqrt())
            }
        };
        for (value, _) in &mut self.scratch {
            *value = finite((*value - from) / by);
        }
    }

    fn rank(&mut self, count: f64) {
        self.scratch
            .sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut start = 0;
        while start < self.scratch.len() {
            let value = self.scratch[start].0;
            let equal = self.scratch[start..]
                .iter()
                .take_while(|(other, _)| *other == value)
                .count()
                .max(1);
            // The places start + 1 to start + equal share their mean.
            let rank = (start as f64 + (equal as f64 + 1.0) / 2.0) / count;
            for place in &mut self.scratch[start..start + equal] {
                place.0 = match value.is_nan() {
                    true => f64::NAN,
                    false => rank,
                };
            }
            start += equal;
        }
        self.scratch.sort_unstable_by_key(|(_, i)| *i);
    }

    fn neutral(&mut self, x: Slot, group: Slot) {
        let n = self.present.len();
        self.scratch.clear();
        for i in 0..n {
            self.scratch.push((self.value(i, group), i));
        }
        // Within a group the instruments keep their order, so a mean has the same bits on every machine.
        self.scratch
            .sort_unstable_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
        let mut start = 0;
        while start < n {
            let group = self.scratch[start].0;
            let same = self.scratch[start..].iter();
            let end = start + same.take_while(|(other, _)| *other == group).count().max(1);
            let known = self.scratch[start..end]
                .iter()
                .map(|(_, i)| self.value(*i, x));
            let known = known.filter(|value| !value.is_nan());
            let mean = known.clone().sum::<f64>() / known.count() as f64;
            for place in start..end {
                let i = self.scratch[place].1;
                self.scratch[place].0 = match group.is_nan() {
                    true => f64::NAN,
                    false => finite(self.value(i, x) - mean),
                };
            }
            start = end;
        }
        self.scratch.sort_unstable_by_key(|(_, i)| *i);
    }
}
