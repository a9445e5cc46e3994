//! What depends on the epoch: pair weights, learning rates and early stopping.

use serde::{Deserialize, Serialize};

/// The weights w_ji of generator i's candidates in the loss of discriminator j, row-major `[pairs, pairs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PairWeights {
    pairs: usize,
    weights: Vec<f64>,
}

impl PairWeights {
    /// Returns the weights of an epoch, counted from 0: the identity for `warm_up_epochs`, then 1/N everywhere.
    #[must_use]
    pub fn at(epoch: usize, warm_up_epochs: usize, pairs: usize) -> Self {
        match epoch < warm_up_epochs {
            true => Self::identity(pairs),
            false => Self::shared(pairs),
        }
    }

    /// Each discriminator sees only its own generator's candidates.
    #[must_use]
    pub fn identity(pairs: usize) -> Self {
        let weights = (0..pairs * pairs).map(|at| f64::from(u8::from(at / pairs == at % pairs)));
        Self {
            pairs,
            weights: weights.collect(),
        }
    }

    /// Each discriminator sees all generators' candidates with equal weight.
    #[must_use]
    pub fn shared(pairs: usize) -> Self {
        Self {
            pairs,
            weights: vec![1.0 / pairs.max(1) as f64; pairs * pairs],
        }
    }

    /// Returns the weight of a pair.
    ///
    /// # Panics
    ///
    /// Panics when an index is out of range.
    #[must_use]
    pub fn of(&self, discriminator: usize, generator: usize) -> f64 {
        assert!(generator < self.pairs, "a generator's index");
        self.weights[discriminator * self.pairs + generator]
    }

    /// Returns the number of generators, which is that of discriminators.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }
}

/// How a learning rate is reduced on a plateau.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// Factor of a reduction, above 0 and below 1.
    pub factor: f64,
    /// Epochs without a better loss that are tolerated; the next one reduces the rate.
    pub patience_epochs: usize,
    /// Least relative improvement of the best loss that counts as better.
    pub threshold: f64,
    /// Lower bound of the rate.
    pub least_rate: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self {
            factor: 0.5,
            patience_epochs: 5,
            threshold: 1e-4,
            least_rate: 1e-6,
        }
    }
}

/// A learning rate that is reduced when the loss stops improving.
///
/// The rule is PyTorch's `ReduceLROnPlateau` with `mode="min"`, `threshold_mode="rel"` and `cooldown=0`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The current rate.
    pub rate: f64,
    best: Option<f64>,
    bad_epochs: usize,
}

impl Plateau {
    /// Starts with a rate.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self {
            rate,
            best: None,
            bad_epochs: 0,
        }
    }

    /// Records the loss of an epoch and returns whether the rate was reduced. NaN is never better.
    pub fn observe(&mut self, loss: f64, config: &PlateauConfig) -> bool {
        let better = match self.best {
            Some(best) => loss < best * (1.0 - config.threshold),
            None => loss.is_finite(),
        };
        if better {
            self.best = Some(loss);
            self.bad_epochs = 0;
            return false;
        }
        self.bad_epochs += 1;
        if self.bad_epochs <= config.patience_epochs {
            return false;
        }
        self.bad_epochs = 0;
        let rate = (self.rate * config.factor).max(config.least_rate);
        let reduced = rate < self.rate;
        self.rate = self.rate.min(rate);
        reduced
    }
}

/// The best loss so far, for early stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BestSoFar {
    /// The least loss; `None` before the first epoch.
    pub loss: Option<f64>,
    /// Its epoch.
    pub epoch: usize,
    /// Epochs since then.
    pub epochs_without: usize,
}

impl BestSoFar {
    /// Records the loss of an epoch and returns whether it is the least so far.
    pub fn observe(&mut self, loss: f64, epoch: usize) -> bool {
        let better = match self.loss {
            Some(best) => loss < best,
            None => loss.is_finite(),
        };
        if better {
            *self = Self {
                loss: Some(loss),
                epoch,
                epochs_without: 0,
            };
        } else {
            self.epochs_without += 1;
        }
        better
    }

    /// Returns whether `patience_epochs` have passed without a better loss; never with a patience of 0.
    #[must_use]
    pub fn is_over(&self, patience_epochs: usize) -> bool {
        patience_epochs > 0 && self.epochs_without >= patience_epochs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_identity_and_then_equal() {
        let rows = |w: &PairWeights| -> Vec<Vec<f64>> {
            (0..3)
                .map(|j| (0..3).map(|i| w.of(j, i)).collect())
                .collect()
        };
        let own = vec![
            vec![1.0, 0.0, 0.0],
            vec![0.0, 1.0, 0.0],
            vec![0.0, 0.0, 1.0],
        ];
        assert_eq!(rows(&PairWeights::at(0, 10, 3)), own);
        assert_eq!(rows(&PairWeights::at(9, 10, 3)), own);
        assert_eq!(
            rows(&PairWeights::at(10, 10, 3)),
            vec![vec![1.0 / 3.0; 3]; 3]
        );
        assert_eq!(PairWeights::at(0, 0, 1), PairWeights::shared(1));
    }

    #[test]
    fn the_rate_is_reduced_on_a_plateau_as_computed_by_hand() {
        let config = PlateauConfig {
            factor: 0.1,
            patience_epochs: 2,
            threshold: 0.01,
            least_rate: 5e-4,
        };
        let mut plateau = Plateau::new(0.1);
        // 0.995 improves 1 by less than one per cent and does not count; the third such epoch reduces the rate.
        let losses = [
            1.0,
            0.995,
            1.2,
            0.992,
            0.98,
            f64::NAN,
            0.98,
            0.98,
            0.98,
            0.98,
            0.98,
        ];
        let rates: Vec<f64> = losses
            .iter()
            .map(|loss| {
                plateau.observe(*loss, &config);
                plateau.rate
            })
            .collect();
        let low = 0.1 * 0.1;
        let lower = low * 0.1;
        assert_eq!(
            rates,
            [0.1, 0.1, 0.1, low, low, low, low, lower, lower, lower, 5e-4]
        );
        // At its lower bound the rate stays.
        for _ in 0..9 {
            plateau.observe(1.0, &config);
        }
        assert_eq!(plateau.rate, 5e-4);
    }

    #[test]
    fn early_stopping_counts_epochs_since_the_best() {
        let mut best = BestSoFar::default();
        let observed: Vec<(bool, bool)> = [3.0, 2.0, 2.5, f64::NAN, 1.0, 1.0, 1.0]
            .iter()
            .enumerate()
            .map(|(epoch, loss)| (best.observe(*loss, epoch), best.is_over(2)))
            .collect();
        assert_eq!(
            observed,
            [
                (true, false),
                (true, false),
                (false, false),
                (false, true),
                (true, false),
                (false, false),
                (false, true)
            ]
        );
        assert_eq!((best.loss, best.epoch), (Some(1.0), 4));
        assert!(!best.is_over(0));
    }
}
