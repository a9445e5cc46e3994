//! Where the next trial lies: at random, or by a tree-structured Parzen estimator.
//!
//! A trial's place depends on the seed, its number, and the results of the batches before its own, not on the number of threads
//! and not on whether the search was interrupted.

use clap::ValueEnum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use tpe::{TpeOptimizer, categorical_range, histogram_estimator, parzen_estimator, range};

use super::space::{Dimension, Space};
use crate::error::LabError;

/// Trials whose places do not depend on each other's results, and which may run at the same time.
pub(super) const BATCH: usize = 8;

/// Trials at random before the estimator begins.
const STARTUP: usize = 3 * BATCH;

/// How places are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerKind {
    /// Uniformly at random.
    Random,
    /// More often where earlier trials were good (Bergstra et al., NIPS 2011).
    #[default]
    Tpe,
}

/// Chooses places.
pub(super) struct Sampler {
    seed: u64,
    /// One for each dimension; none at random.
    optimisers: Vec<TpeOptimizer>,
    /// Of each dimension, the number of choices.
    choices: Vec<Option<usize>>,
    /// Number of trials whose results the optimisers have.
    reported: usize,
}

fn refused(error: impl std::fmt::Display) -> LabError {
    LabError::rule_got("sampler", "must be able to propose a trial", error)
}

impl Sampler {
    pub(super) fn new(kind: SamplerKind, seed: u64, space: &Space) -> Result<Self, LabError> {
        let choices = space.dimensions.values().map(|dimension| match dimension {
            Dimension::Choices(choices) => Some(choices.len()),
            Dimension::Range { .. } | Dimension::Whole { .. } => None,
        });
        let choices: Vec<Option<usize>> = choices.collect();
        let optimiser = |choices: &Option<usize>| match choices {
            Some(count) => {
                let range = categorical_range(*count).map_err(refused)?;
                Ok(TpeOptimizer::new(histogram_estimator(), range))
            }
            None => {
                let range = range(0.0, 1.0).map_err(refused)?;
                Ok(TpeOptimizer::new(parzen_estimator(), range))
            }
        };
        let optimisers = match kind {
            SamplerKind::Random => Vec::new(),
            SamplerKind::Tpe => choices
                .iter()
                .map(optimiser)
                .collect::<Result<_, LabError>>()?,
        };
        Ok(Self {
            seed,
            optimisers,
            choices,
            reported: 0,
        })
    }

    /// The place of trial `number`; `trials` are the places and scores of all trials of the batches before it, at least.
    pub(super) fn place(
        &mut self,
        number: usize,
        trials: &[(Vec<f64>, f64)],
    ) -> Result<Vec<f64>, LabError> {
        let known = number - number % BATCH;
        for (place, score) in &trials[self.reported..known] {
            for ((optimiser, point), choices) in
                self.optimisers.iter_mut().zip(place).zip(&self.choices)
            {
                let point = match choices {
                    Some(count) => (point * *count as f64).floor(),
                    None => *point,
                };
                // It looks for the least value.
                optimiser.tell(point, -score).map_err(refused)?;
            }
        }
        self.reported = known;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number as u64);
        if number < STARTUP || self.optimisers.is_empty() {
            let point = |_| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            return Ok(self.choices.iter().map(point).collect());
        }
        let choices = self.optimisers.iter_mut().zip(&self.choices);
        choices
            .map(|(optimiser, choices)| {
                let point = optimiser.ask(&mut random).map_err(refused)?;
                Ok(match choices {
                    Some(count) => (point.floor() + 0.5) / *count as f64,
                    None => point,
                })
            })
            .collect()
    }
}
