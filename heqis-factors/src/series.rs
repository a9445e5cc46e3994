//! One instrument's series: the values of one bar after the other, and what is remembered between them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::FactorError;
use crate::graph::{Op, Scale, Slot};
use crate::kernels;
use crate::ops::{PairOp, WindowOp, binary, finite, unary};
use crate::program::{Program, Step};
use crate::recursion::{Kind, Recursion};
use crate::ring::Ring;

/// The state of one series of a program.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    program: Arc<Program>,
    /// Bars taken so far.
    bars: u64,
    /// The values of the newest bar.
    pub(crate) values: Vec<f64>,
    rings: Vec<Ring>,
    recursions: Vec<Recursion>,
    scratch: Vec<f64>,
}

/// A state as written: the values of each ring, the oldest first.
#[derive(Serialize, Deserialize)]
struct Saved {
    id: u32,
    bars: u64,
    rings: Vec<Vec<f64>>,
    recursions: Vec<Recursion>,
}

impl Series {
    pub(crate) fn new(program: &Arc<Program>) -> Self {
        let mut values = vec![f64::NAN; program.slots];
        for (slot, value) in &program.constants {
            values[*slot] = *value;
        }
        let rings = program
            .rings
            .iter()
            .map(|(_, capacity)| Ring::new(*capacity));
        let recursions = program.recursions.iter().map(|(_, made)| made.clone());
        Self {
            bars: 0,
            values,
            rings: rings.collect(),
            recursions: recursions.collect(),
            scratch: Vec::with_capacity(program.widest),
            program: program.clone(),
        }
    }

    pub(crate) fn save(&self, id: u32) -> Result<Vec<u8>, FactorError> {
        let saved = Saved {
            id,
            bars: self.bars,
            rings: self
                .rings
                .iter()
                .map(|ring| ring.values().to_vec())
                .collect(),
            recursions: self.recursions.clone(),
        };
        postcard::to_stdvec(&saved)
            .map_err(|error| FactorError::value("state", "must be written", error))
    }

    pub(crate) fn restore(
        program: &Arc<Program>,
        id: u32,
        bytes: &[u8],
    ) -> Result<Self, FactorError> {
        let refuse = |rule: &str, got: String| FactorError::value("saved state", rule, got);
        let saved: Saved = postcard::from_bytes(bytes)
            .map_err(|error| refuse("must be one of this crate", error.to_string()))?;
        let mut series = Self::new(program);
        if saved.id != id {
            let got = format!("{:#010x}", saved.id);
            return Err(refuse(&format!("must be of the set {id:#010x}"), got));
        }
        let kinds = |recursions: &[Recursion]| -> Vec<(Kind, usize)> {
            let kind = |of: &Recursion| (of.kind(), of.warmup_bars());
            recursions.iter().map(kind).collect()
        };
        let fits = saved.rings.len() == series.rings.len()
            && saved
                .rings
                .iter()
                .zip(&series.rings)
                .all(|(values, ring)| values.len() <= ring.capacity())
            && kinds(&saved.recursions) == kinds(&series.recursions);
        if !fits {
            return Err(refuse(
                "must have the rings and indicators of its set",
                "others".into(),
            ));
        }
        for (ring, values) in series.rings.iter_mut().zip(&saved.rings) {
            values.iter().for_each(|value| ring.push(finite(*value)));
        }
        series.recursions = saved.recursions;
        series.bars = saved.bars;
        Ok(series)
    }

    pub(crate) fn bars(&self) -> u64 {
        self.bars
    }

    /// Begins the next bar with its inputs and computes the stage before any comparison across the day.
    pub(crate) fn begin(&mut self, inputs: &[f64]) {
        self.remember_constants();
        self.compute(0, inputs);
    }

    /// Ends the bar, after all stages.
    pub(crate) fn end(&mut self) {
        self.bars += 1;
    }

    fn remember_constants(&mut self) {
        for (slot, value) in &self.program.constants {
            if let Some(ring) = self.program.ring_of(*slot as Slot) {
                self.rings[ring].push(*value);
            }
        }
    }

    /// Computes the operations of one stage.
    pub(crate) fn compute(&mut self, stage: usize, inputs: &[f64]) {
        let program = self.program.clone();
        let Some(steps) = program.stages.get(stage) else {
            return;
        };
        let index = self.bars;
        for step in steps {
            match step.op {
                Op::Input(column) => {
                    let value = inputs.get(column as usize).copied().unwrap_or(f64::NAN);
                    self.values[step.slot] = finite(value);
                }
                Op::Indicator(recipe) => {
                    let read = recipe.inputs.map(|slot| self.values[slot as usize]);
                    let out = &mut self.values[step.slot..step.slot + step.width];
                    self.recursions[step.state].update(read, out);
                    out.iter_mut().for_each(|value| *value = finite(*value));
                }
                _ => self.step(step, index),
            }
            self.remember(&program, step);
        }
    }

    /// Sets the value of a comparison across the day.
    pub(crate) fn set(&mut self, step: &Step, value: f64) {
        self.values[step.slot] = value;
        let program = self.program.clone();
        self.remember(&program, step);
    }

    #[inline]
    fn remember(&mut self, program: &Program, step: &Step) {
        for slot in step.slot..step.slot + step.width {
            if let Some(ring) = program.ring_of(slot as Slot) {
                self.rings[ring].push(self.values[slot]);
            }
        }
    }

    /// Computes an operation that is no leaf. `index` is the number of bars before this one.
    fn step(&mut self, step: &Step, index: u64) {
        let values = &self.values;
        let value = |slot: Slot| values[slot as usize];
        let ring = |slot: Slot| self.program.ring_of(slot).map(|ring| &self.rings[ring]);
        let window = |slot: Slot, n: usize| ring(slot).and_then(|ring| ring.window(n));
        let result = match step.op {
            Op::Unary(op, x) => unary(op, value(x)),
            Op::Binary(op, x, y) => binary(op, value(x), value(y)),
            Op::If(c, x, y) => match value(c) {
                c if c.is_nan() => f64::NAN,
                0.0 => value(y),
                _ => value(x),
            },
            Op::After(x, n) => match index >= n as u64 {
                true => value(x),
                false => f64::NAN,
            },
            Op::Ref(x, n) => ring(x).map_or(f64::NAN, |ring| ring.ago(n)),
            Op::Window(op, x, n) => finite(window(x, n).map_or(
                f64::NAN,
                match op {
                    WindowOp::Mean => kernels::mean,
                    WindowOp::PlainMean => kernels::plain_mean,
                    WindowOp::Sum => kernels::sum,
                    WindowOp::WeightedMean => kernels::weighted_mean,
                    WindowOp::Std => kernels::std,
                    WindowOp::Max => kernels::max,
                    WindowOp::Min => kernels::min,
                    WindowOp::ArgMax => kernels::argmax,
                    WindowOp::ArgMin => kernels::argmin,
                    WindowOp::Rank => kernels::rank,
                },
            )),
            Op::Quantile(x, n, q) => {
                let values = window(x, n);
                let scratch = &mut self.scratch;
                finite(values.map_or(f64::NAN, |values| {
                    kernels::quantile(values, f64::from_bits(q), scratch)
                }))
            }
            Op::Line(x, n) => {
                let line = window(x, n).map_or([f64::NAN; 3], kernels::line);
                let out = &mut self.values[step.slot..step.slot + 3];
                for (out, value) in out.iter_mut().zip(line) {
                    *out = finite(value);
                }
                return;
            }
            Op::Pair(op, x, y, n) => finite(match (op, window(x, n), window(y, n)) {
                (PairOp::Correlation, Some(x), Some(y)) => kernels::correlation(x, y),
                (PairOp::Covariance, Some(x), Some(y)) => kernels::covariance(x, y),
                _ => f64::NAN,
            }),
            Op::Constant(_) | Op::Input(_) | Op::Indicator(_) | Op::Cross(..) | Op::Neutral(..) => {
                return;
            }
        };
        self.values[step.slot] = result;
    }

    /// Moves what is remembered to another price level: prices are multiplied by `factor`, volumes are divided by it.
    ///
    /// Inputs and indicators are moved; everything that was computed from them is computed again, so that it has the bits that it would
    /// have if all earlier prices had been on this level.
    pub(crate) fn rescale(&mut self, factor: f64) {
        let program = self.program.clone();
        for (((recipe, _), scale), recursion) in program
            .recursions
            .iter()
            .zip(&program.scales)
            .zip(&mut self.recursions)
        {
            recursion.rescale(match (recipe.reads_one(), recipe.kind, *scale) {
                (true, Kind::VolumeRatio, Scale::Power(k)) => power(factor, k.saturating_neg()),
                (true, _, Scale::Power(k)) => power(factor, k),
                (true, _, _) => 1.0,
                (false, ..) => factor,
            });
        }
        let mut leaves = Vec::with_capacity(program.leaves.len());
        for leaf in &program.leaves {
            let Some(ring) = program.ring_of(leaf.slot as Slot) else {
                continue;
            };
            let by = match leaf.scale {
                Scale::Power(k) => power(factor, k),
                Scale::Any | Scale::Mixed => 1.0,
            };
            let moved: Vec<f64> = self.rings[ring]
                .values()
                .iter()
                .map(|value| value * by)
                .collect();
            leaves.push((leaf.slot, ring, moved));
        }
        if !program.replays {
            for (_, ring, moved) in leaves {
                self.rings[ring].clear();
                moved
                    .into_iter()
                    .for_each(|value| self.rings[ring].push(value));
            }
            return;
        }
        let past = leaves
            .iter()
            .map(|(.., moved)| moved.len())
            .max()
            .unwrap_or(0);
        for ring in &program.moving {
            self.rings[*ring].clear();
        }
        let newest = self.values.clone();
        for ago in (1..=past).rev() {
            for (slot, ring, moved) in &leaves {
                let value = moved.len().checked_sub(ago).and_then(|at| moved.get(at));
                self.values[*slot] = value.copied().unwrap_or(f64::NAN);
                if let Some(value) = value {
                    self.rings[*ring].push(*value);
                }
            }
            let index = self.bars.saturating_sub(ago as u64);
            for step in program
                .stages
                .iter()
                .flatten()
                .filter(|step| !step.op.is_leaf())
            {
                self.step(step, index);
                self.remember(&program, step);
            }
        }
        self.values = newest;
    }
}

/// `factor` to the power of a small whole number.
fn power(factor: f64, power: i8) -> f64 {
    let size = (0..power.unsigned_abs()).fold(1.0, |product, _| product * factor);
    match power < 0 {
        true => 1.0 / size,
        false => size,
    }
}
