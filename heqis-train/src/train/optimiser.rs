//! AdamW for a whole network, whose gradients are clipped by their common norm.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Gradients, Tensor};
use serde::{Deserialize, Serialize};

use super::tensors::{Tensors, numbers};
use crate::error::TrainError;

/// The settings of the optimiser, shared by all networks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// Learning rate of generators and encoder.
    pub learning_rate: f64,
    /// Learning rate of discriminators.
    pub discriminator_learning_rate: f64,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the denominator.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest Euclidean norm of all gradients of one network together; 0 clips nothing.
    pub clip_norm: f64,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            discriminator_learning_rate: 2e-4,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-4,
            clip_norm: 1.0,
        }
    }
}

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) for one network.
///
/// The arithmetic is burn's. States are stored in the order in which a network visits its parameters and not by burn's random
/// parameter ids, so that a state loaded from a file belongs to the same parameters.
#[derive(Clone)]
pub struct Optimiser {
    adam: AdamW,
    clip_norm: f64,
    states: Vec<Option<AdamWState<1>>>,
}

impl std::fmt::Debug for Optimiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Optimiser({} states)", self.states.len())
    }
}

impl Optimiser {
    /// Creates an optimiser without a state.
    #[must_use]
    pub fn new(config: &OptimiserConfig) -> Self {
        let adam = AdamWConfig::new()
            .with_beta_1(config.beta_1)
            .with_beta_2(config.beta_2)
            .with_epsilon(config.epsilon)
            .with_weight_decay(config.weight_decay);
        Self {
            adam: adam.build(),
            clip_norm: config.clip_norm,
            states: Vec::new(),
        }
    }

    /// Updates `network` by one step, and returns it with the norm of its gradients before clipping.
    ///
    /// Parameters without a gradient are not changed. If the norm is not finite, no parameter is.
    #[must_use]
    pub fn step<M: Module>(
        &mut self,
        network: M,
        gradients: &mut Gradients,
        learning_rate: f64,
    ) -> (M, f64) {
        let norm = gradient_norm(&network, gradients);
        if !norm.is_finite() {
            return (network, norm);
        }
        let scale = match self.clip_norm > 0.0 && norm > self.clip_norm {
            true => self.clip_norm / norm,
            false => 1.0,
        };
        let network = network.map(&mut Step {
            optimiser: self,
            gradients,
            learning_rate,
            scale,
            at: 0,
        });
        (network, norm)
    }

    /// Writes the states below `prefix`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a tensor cannot be read.
    pub fn save(&self, prefix: &str, out: &mut Tensors) -> Result<(), TrainError> {
        for (at, state) in self.states.iter().enumerate() {
            let Some(AdamWState { momentum }) = state else {
                continue;
            };
            let name = |leaf: &str| format!("{prefix}/{at:04}.{leaf}");
            out.put(&name("m"), numbers(momentum.moment_1.clone())?);
            out.put(&name("v"), numbers(momentum.moment_2.clone())?);
            // Exact up to 2^24 steps.
            out.put(&name("time"), (vec![1], vec![momentum.time as f32]));
        }
        Ok(())
    }

    /// Reads the states below `prefix` that [`Optimiser::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when one is incomplete.
    pub fn load(
        &mut self,
        prefix: &str,
        from: &Tensors,
        device: &Device,
    ) -> Result<(), TrainError> {
        self.states.clear();
        let folder = format!("{prefix}/");
        for name in from.names().filter(|name| name.ends_with(".time")) {
            let Some(index) = name
                .strip_prefix(&folder)
                .and_then(|rest| rest.strip_suffix(".time"))
            else {
                continue;
            };
            let at: usize = index.parse().map_err(|_| {
                TrainError::training(name, "a state's name must be a number".to_owned())
            })?;
            let moment = |leaf: &str| -> Result<Tensor<1>, TrainError> {
                let (_, values) = from.get(&format!("{folder}{index}.{leaf}"))?;
                Ok(Tensor::from_floats(values.as_slice(), device))
            };
            let (_, time) = from.get(name)?;
            let time = time.first().copied().unwrap_or_default() as usize;
            let momentum = AdaptiveMomentumState::new(time, moment("m")?, moment("v")?);
            if self.states.len() <= at {
                self.states.resize(at + 1, None);
            }
            self.states[at] = Some(AdamWState::new(momentum));
        }
        Ok(())
    }
}

/// Returns the Euclidean norm of all gradients of a network together, summed in `f64`.
#[must_use]
pub(crate) fn gradient_norm<M: Module>(network: &M, gradients: &Gradients) -> f64 {
    struct Squares<'a> {
        gradients: &'a Gradients,
        sum: f64,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !param.is_require_grad() {
                return;
            }
            if let Some(gradient) = param.val().grad(self.gradients) {
                let squares: f32 = gradient.square().sum().into_scalar();
                self.sum += f64::from(squares);
            }
        }
    }
    let mut squares = Squares {
        gradients,
        sum: 0.0,
    };
    network.visit(&mut squares);
    squares.sum.sqrt()
}

/// One step, applied parameter by parameter.
struct Step<'a> {
    optimiser: &'a mut Optimiser,
    gradients: &'a mut Gradients,
    learning_rate: f64,
    scale: f64,
    at: usize,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.at;
        self.at += 1;
        if self.optimiser.states.len() <= at {
            self.optimiser.states.resize(at + 1, None);
        }
        if !param.is_require_grad() {
            return param;
        }
        let Some(gradient) = param.val().grad_remove(self.gradients) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.shape();
        let count = shape.num_elements();
        // The update is elementwise, so the states of all ranks can be flat.
        let mut gradient = gradient.reshape([count]);
        if self.scale != 1.0 {
            gradient = gradient.mul_scalar(self.scale);
        }
        let state = self.optimiser.states[at].take();
        let flat = tensor.inner().reshape([count]);
        let (flat, state) = self
            .optimiser
            .adam
            .step(self.learning_rate, flat, gradient, state);
        self.optimiser.states[at] = state;
        let updated = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        a: Param<Tensor<1>>,
        b: Param<Tensor<2>>,
    }

    fn two(device: &Device) -> Two {
        Two {
            a: Param::from_data([1.0f32, 2.0], device),
            b: Param::from_data([[3.0f32]], device),
        }
    }

    fn values(two: &Two) -> Vec<f32> {
        let mut all = two.a.val().try_to_vec_as::<f32>().unwrap();
        all.extend(two.b.val().try_to_vec_as::<f32>().unwrap());
        all
    }

    /// The gradients are (3, 0) for `a` and 4 for `b`: their norm is 5.
    fn gradients(two: &Two) -> Gradients {
        let a = two.a.val().narrow(0, 0, 1).mul_scalar(3.0);
        let b = two.b.val().reshape([1]).mul_scalar(4.0);
        (a + b).backward()
    }

    #[test]
    fn all_gradients_are_clipped_by_their_common_norm() {
        let device = Device::flex().autodiff();
        let config = OptimiserConfig {
            clip_norm: 1.0,
            ..OptimiserConfig::default()
        };
        let network = two(&device);
        assert!((gradient_norm(&network, &gradients(&network)) - 5.0).abs() < 1e-6);
        let mut optimiser = Optimiser::new(&config);
        let mut grads = gradients(&network);
        let (_, norm) = optimiser.step(network, &mut grads, 0.1);
        assert!((norm - 5.0).abs() < 1e-6);
        // The first moments are (1 − β_1)·g/5.
        let mut saved = Tensors::default();
        optimiser.save("x", &mut saved).unwrap();
        let (_, m) = saved.get("x/0000.m").unwrap();
        assert!((m[0] - 0.06).abs() < 1e-6 && m[1] == 0.0, "{m:?}");
        let (_, m) = saved.get("x/0001.m").unwrap();
        assert!((m[0] - 0.08).abs() < 1e-6, "{m:?}");
    }

    #[test]
    fn two_steps_match_adamw_computed_by_hand() {
        let device = Device::flex().autodiff();
        let config = OptimiserConfig {
            weight_decay: 0.5,
            clip_norm: 0.0,
            ..OptimiserConfig::default()
        };
        let (mut network, mut optimiser) = (two(&device), Optimiser::new(&config));
        for _ in 0..2 {
            let mut grads = gradients(&network);
            (network, _) = optimiser.step(network, &mut grads, 0.1);
        }
        // A constant gradient g has corrected moments g and g², so that each step is θ·(1 − 0.1·0.5) − 0.1·sign(g).
        let step = |theta: f64, sign: f64| theta * 0.95 - 0.1 * sign;
        let expected = [
            step(step(1.0, 1.0), 1.0),
            step(step(2.0, 0.0), 0.0),
            step(step(3.0, 1.0), 1.0),
        ];
        for (found, expected) in values(&network).iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn a_loaded_state_continues_bit_for_bit() {
        let device = Device::flex().autodiff();
        let config = OptimiserConfig::default();
        let (mut network, mut optimiser) = (two(&device), Optimiser::new(&config));
        for _ in 0..3 {
            let mut grads = gradients(&network);
            (network, _) = optimiser.step(network, &mut grads, 0.01);
        }
        let mut saved = Tensors::default();
        optimiser.save("adam", &mut saved).unwrap();
        let mut other = Optimiser::new(&config);
        other.load("adam", &saved, &device.clone().inner()).unwrap();
        let mut grads = gradients(&network);
        let (one, _) = optimiser.step(network.clone(), &mut grads, 0.01);
        let mut grads = gradients(&network);
        let (two, _) = other.step(network, &mut grads, 0.01);
        assert_eq!(values(&one), values(&two));
    }

    #[test]
    fn non_finite_gradients_change_nothing() {
        let device = Device::flex().autodiff();
        let network = two(&device);
        let before = values(&network);
        let mut grads = network.a.val().mul_scalar(f32::NAN).sum().backward();
        let (network, norm) =
            Optimiser::new(&OptimiserConfig::default()).step(network, &mut grads, 1.0);
        assert!(norm.is_nan());
        assert_eq!(values(&network), before);
    }
}
