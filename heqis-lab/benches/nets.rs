//! One training step of each default network, forward, backward and Adam, on a batch of 64 windows of 32 rows × 16
//! features: `cargo bench -p heqis-lab --bench nets -- [STEPS [WARM-UP]] [NAME]`,
//! where a name leaves out all others.
//!
//! Prints the median and the least wall time of a step and its mean CPU time, in milliseconds. `RAYON_NUM_THREADS` sets the number of threads.
//! `benches/peers/nets_bench.py` does the same work in PyTorch.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures and stops at the first fault"
)]

use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use heqis_lab::nets::discriminator::DiscriminatorConfig;
use heqis_lab::nets::generator::{Generator, GeneratorConfig, GeneratorKind};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

const BATCH: usize = 64;
const ROWS: usize = 32;
const FEATURES: usize = 16;

fn main() {
    let only = std::env::args().skip(1).find(|arg| {
        let first = arg.chars().next();
        first.is_some_and(char::is_uppercase)
    });
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (steps, warm_up) = (number(0, 60), number(1, 10));
    heqis_lab::nets::memory::keep_freed();
    let device = Device::flex().autodiff();

    let x: Tensor<3> = random([BATCH, ROWS, FEATURES], &device);
    for kind in [
        GeneratorKind::Gru,
        GeneratorKind::Lstm,
        GeneratorKind::Transformer,
    ] {
        let generator = GeneratorConfig::new(kind, ROWS, FEATURES)
            .init(&device, 1)
            .unwrap();
        let loss = |generator: &Generator| {
            let answer = generator.forward(x.clone());
            answer.value.square().mean() + answer.logits.square().mean()
        };
        let name = format!("{kind:?}");
        if wanted(&name) {
            measure(&name, generator, loss, steps, warm_up);
        }
    }
    if !wanted("Discriminator") {
        return;
    }
    let discriminator = DiscriminatorConfig::default().init(&device, 1).unwrap();
    let series: Tensor<2> = random([BATCH, ROWS], &device);
    let classes: Tensor<3> = random([BATCH, ROWS, 3], &device);
    measure(
        "Discriminator",
        discriminator,
        |discriminator| {
            discriminator
                .forward(series.clone(), classes.clone())
                .square()
                .mean()
        },
        steps,
        warm_up,
    );
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let data: Vec<f32> = (0..shape.iter().product())
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

fn measure<M: Module>(
    name: &str,
    mut network: M,
    loss: impl Fn(&M) -> Tensor<1>,
    steps: usize,
    warm_up: usize,
) {
    let mut adam = AdamConfig::new().with_epsilon(1e-8).init();
    let (mut times, mut busy) = (Vec::new(), 0.0);
    for step in 0..warm_up + steps {
        if step == warm_up {
            busy = cpu_seconds();
        }
        let start = Instant::now();
        let gradients = loss(&network).backward();
        let gradients = GradientsParams::from_grads(gradients, &network);
        network = adam.step(1e-3, network, gradients);
        if step >= warm_up {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let cpu = (cpu_seconds() - busy) * 1e3 / steps as f64;
    times.sort_by(f64::total_cmp);
    println!(
        "{name:<14} median {:>7.2} ms, least {:>7.2} ms, CPU {cpu:>7.2} ms",
        times[times.len() / 2],
        times[0]
    );
}

/// CPU time of all threads so far (Linux; elsewhere 0).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets: state is field 3, user and system time are fields 14 and 15, in hundredths of seconds.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
