//! Backward passes against finite differences of the forward passes.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use heqis_train::nets::discriminator::{Discriminator, DiscriminatorConfig};
use heqis_train::nets::weights::{collect, restore};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::common::{FEATURES, ROWS, elements, encoders, generators, normal, random};

/// Collects each parameter's gradient, in the order of the fields.
struct GradientsOf<'a> {
    gradients: &'a Gradients,
    found: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for GradientsOf<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients);
        self.found.push(gradient.map(elements));
    }
}

/// Compares, for each parameter, the slope of the loss along a random direction with that of the gradient.
fn check<M: Module>(place: &str, network: &M, loss: impl Fn(&M) -> Tensor<1>) {
    let saved = collect(network).unwrap();
    let mut visitor = GradientsOf {
        gradients: &loss(network).backward(),
        found: Vec::new(),
    };
    network.visit(&mut visitor);
    assert_eq!(visitor.found.len(), saved.len());
    let plain = network.valid();
    for (index, gradient) in visitor.found.into_iter().enumerate() {
        let name = &saved[index].name;
        // A parameter that the loss does not depend on has no gradient; the slope below is then 0.
        let gradient = gradient.unwrap_or_else(|| vec![0.0; saved[index].data.len()]);
        let mut direction = normal(1000 + index as u64, gradient.len());
        let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
        direction.iter_mut().for_each(|x| *x /= norm);
        // Small enough that few ReLUs switch, large enough for f32.
        let step = 1e-3;
        let at = |scale: f32| {
            let mut moved = saved.clone();
            for (value, along) in moved[index].data.iter_mut().zip(&direction) {
                *value += scale * along;
            }
            let moved = restore(plain.clone(), &moved).unwrap();
            f64::from(loss(&moved).into_scalar::<f32>())
        };
        let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
        let derivative: f64 = gradient
            .iter()
            .zip(&direction)
            .map(|(a, b)| f64::from(a * b))
            .sum();
        let tolerance = 2e-3 * (1.0 + slope.abs());
        assert!(
            (slope - derivative).abs() <= tolerance,
            "{place}, {name}: finite differences {slope}, backward {derivative}"
        );
    }
}

#[test]
fn the_generators_gradients_are_the_slopes_of_their_outputs() {
    let device = Device::flex().autodiff();
    for config in generators() {
        let generator = config.init(&device, 3).unwrap();
        check(&format!("{config:?}"), &generator, |generator| {
            let device = generator.value.weight.device();
            let x = random(4, [4, ROWS, FEATURES], &device);
            let answer = generator.forward(x);
            (answer.value * random(5, [4, 1], &device)).sum()
                + (answer.logits * random(6, [4, 3], &device)).sum()
        });
    }
}

#[test]
fn the_discriminators_gradients_are_the_slopes_of_its_output() {
    let device = Device::flex().autodiff();
    let config = DiscriminatorConfig {
        branch_channels: 4,
        channels: 6,
        hidden: 5,
    };
    let discriminator = config.init(&device, 3).unwrap();
    check("discriminator", &discriminator, |discriminator| {
        let device = discriminator.embedding.device();
        let series = random(4, [4, 7], &device);
        let classes = random(5, [4, 7, 3], &device);
        (discriminator.forward(series, classes) * random(6, [4, 1], &device)).sum()
    });
}

/// The path by which adversarial losses reach the generators.
#[test]
fn gradients_flow_through_the_discriminators_inputs() {
    let device = Device::flex().autodiff();
    let discriminator = DiscriminatorConfig::default().init(&device, 3).unwrap();
    let (series, classes) = (normal(4, 14), normal(5, 42));
    let output = |discriminator: &Discriminator, series: &Tensor<2>, classes: &Tensor<3>| {
        let logits = discriminator.forward(series.clone(), classes.clone());
        (logits * random(6, [2, 1], &series.device())).sum()
    };
    let leaf = |data: &[f32]| Tensor::<1>::from_floats(data, &device);
    let series_leaf = leaf(&series).reshape([2, 7]).detach().require_grad();
    let classes_leaf = leaf(&classes).reshape([2, 7, 3]).detach().require_grad();
    let gradients = output(&discriminator, &series_leaf, &classes_leaf).backward();
    let plain = discriminator.valid();
    let at = |series: &[f32], classes: &[f32]| {
        let tensor = |data: &[f32]| Tensor::<1>::from_floats(data, &Device::flex());
        let series = tensor(series).reshape([2, 7]);
        let classes = tensor(classes).reshape([2, 7, 3]);
        f64::from(output(&plain, &series, &classes).into_scalar::<f32>())
    };
    let (step, moved) = (
        1e-3,
        |data: &[f32], along: &[f32], scale: f32| -> Vec<f32> {
            let pairs = data.iter().zip(along);
            pairs.map(|(x, along)| x + scale * along).collect()
        },
    );
    let along_gradient = |gradient: Vec<f32>, along: &[f32]| -> f64 {
        let pairs = gradient.iter().zip(along);
        pairs.map(|(a, b)| f64::from(a * b)).sum()
    };
    let along = normal(7, 14);
    let to = |scale| at(&moved(&series, &along, scale), &classes);
    let slope = (to(step) - to(-step)) / (2.0 * f64::from(step));
    let derivative = along_gradient(elements(series_leaf.grad(&gradients).unwrap()), &along);
    assert!(
        (slope - derivative).abs() <= 2e-3 * (1.0 + slope.abs()),
        "{slope} {derivative}"
    );
    let along = normal(8, 42);
    let to = |scale| at(&series, &moved(&classes, &along, scale));
    let slope = (to(step) - to(-step)) / (2.0 * f64::from(step));
    let derivative = along_gradient(elements(classes_leaf.grad(&gradients).unwrap()), &along);
    assert!(
        (slope - derivative).abs() <= 2e-3 * (1.0 + slope.abs()),
        "{slope} {derivative}"
    );
}

#[test]
fn the_encoders_gradients_are_the_slopes_of_their_losses() {
    let device = Device::flex().autodiff();
    for config in encoders() {
        let encoder = config.init(&device, 3).unwrap();
        check(&format!("{config:?}"), &encoder, |encoder| {
            let device = encoder.devices()[0].clone();
            let x = random(4, [6, ROWS, FEATURES], &device);
            // The same random numbers each time: the slope is that of one realisation.
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            encoder.loss(x, &mut rng).unwrap() / 20.0
        });
    }
}
