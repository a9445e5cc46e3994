//! Training here and in PyTorch: one step of each default network, and an adversarial epoch of the three default
//! generators and their discriminators. After `heqis-lab prepare data/ashare/002032.SZ.csv --out target/data/002032.SZ`:
//!
//! ```sh
//! cargo bench -p heqis-train --bench training -- --python PROGRAM [--threads 1,2] [--rounds 4] [--steps 60] [--epochs 2]
//! ```
//!
//! `PROGRAM` is a Python with torch. A step is forward, backward and Adam on a batch of 64 windows of 32 rows × 16
//! features, width 64. In the epoch every pair takes part (w = 1/N), the most expensive kind; validation and checkpoints are
//! left out, since `benches/peers/training_bench.py` has neither. Both sides use each number of threads by turns, in
//! interleaved rounds. The output has the minimum wall time of each and the minimum CPU time on the first number of threads, in
//! milliseconds; the ratio is that of the best times over all numbers of threads. For a profiler, `--only NAME` skips all other
//! work, and without `--python` only this side runs.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures and stops at the first fault"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use heqis_train::TrainError;
use heqis_train::nets::discriminator::DiscriminatorConfig;
use heqis_train::nets::generator::{Generator, GeneratorConfig, GeneratorKind};
use heqis_train::train::progress::{Event, ProgressObserver};
use heqis_train::train::{TrainConfig, train};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

const BATCH: usize = 64;
const ROWS: usize = 32;
const FEATURES: usize = 16;
const WORK: [&str; 5] = ["gru", "lstm", "transformer", "discriminator", "epoch"];
const WARM_UP: usize = 10;

/// Wall and CPU milliseconds of a measured step.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

impl Cost {
    /// Returns the elementwise minimum.
    fn least(self, other: Cost) -> Cost {
        Cost {
            wall: self.wall.min(other.wall),
            cpu: self.cpu.min(other.cpu),
        }
    }
}

/// The minimum costs by work, side and threads.
#[derive(Default)]
struct Costs(BTreeMap<(String, &'static str, usize), Cost>);

impl Costs {
    fn add(&mut self, work: &str, side: &'static str, threads: usize, cost: Cost) {
        let least = self.0.entry((work.to_owned(), side, threads));
        let least = least.or_insert(cost);
        *least = least.least(cost);
    }

    fn of(&self, work: &str, side: &'static str, threads: usize) -> Option<Cost> {
        self.0.get(&(work.to_owned(), side, threads)).copied()
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let number = |name: &str, default: usize| {
        option(name).map_or(default, |text| text.parse::<usize>().unwrap())
    };
    let (steps, epochs) = (number("--steps", 60), number("--epochs", 2));
    let threads = option("--threads").unwrap_or_else(|| "1,2".to_owned());
    let threads: Vec<usize> = threads.split(',').map(|n| n.parse().unwrap()).collect();
    let (python, only) = (option("--python"), option("--only"));
    let selected = |work: &str| only.as_ref().is_none_or(|only| only == work);
    heqis_train::nets::memory::keep_freed();
    let mut costs = Costs::default();
    for _ in 0..number("--rounds", 4) {
        for &threads in &threads {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                networks(steps, &mut |work, step: &mut dyn FnMut()| {
                    if !selected(work) {
                        return;
                    }
                    (0..WARM_UP).for_each(|_| step());
                    let busy = cpu_ms();
                    let walls = (0..steps).map(|_| {
                        let start = Instant::now();
                        step();
                        start.elapsed().as_secs_f64() * 1e3
                    });
                    let wall = walls.fold(f64::INFINITY, f64::min);
                    let cpu = (cpu_ms() - busy) / steps as f64;
                    costs.add(work, "here", threads, Cost { wall, cpu });
                });
            });
            let shape = match selected("epoch") {
                true => adversarial_epochs(threads, epochs, &mut costs),
                false => [BATCH, FEATURES],
            };
            if let Some(python) = &python {
                peer(python, [threads, steps, epochs], shape, &mut costs);
            }
        }
    }
    table(&costs, &threads);
}

/// Calls `each` with the name and the step of each network.
fn networks(steps: usize, each: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    if steps == 0 {
        return;
    }
    let device = Device::flex().autodiff();
    let x: Tensor<3> = random([BATCH, ROWS, FEATURES], &device);
    for (name, kind) in [
        ("gru", GeneratorKind::Gru),
        ("lstm", GeneratorKind::Lstm),
        ("transformer", GeneratorKind::Transformer),
    ] {
        let generator = GeneratorConfig::new(kind, ROWS, FEATURES).init(&device, 1);
        let loss = |generator: &Generator| {
            let output = generator.forward(x.clone());
            output.value.square().mean() + output.logits.square().mean()
        };
        each(name, &mut stepper(generator.unwrap(), loss));
    }
    let discriminator = DiscriminatorConfig::default().init(&device, 1).unwrap();
    let series: Tensor<2> = random([BATCH, ROWS], &device);
    let classes: Tensor<3> = random([BATCH, ROWS, 3], &device);
    let mut step = stepper(discriminator, |discriminator| {
        let logits = discriminator.forward(series.clone(), classes.clone());
        logits.square().mean()
    });
    each("discriminator", &mut step);
}

fn stepper<M: Module>(network: M, loss: impl Fn(&M) -> Tensor<1>) -> impl FnMut() {
    let mut adam = AdamConfig::new().with_epsilon(1e-8).init();
    let mut network = Some(network);
    move || {
        let before = network.take().unwrap();
        let gradients = loss(&before).backward();
        let gradients = GradientsParams::from_grads(gradients, &before);
        network = Some(adam.step(1e-3, before, gradients));
    }
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let data: Vec<f32> = (0..shape.iter().product())
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

/// Times steps from the end of an epoch's first one to the end of its last.
#[derive(Default)]
struct StepTimer {
    first: Option<(Instant, f64)>,
    last: Option<(Instant, f64)>,
    steps: usize,
    epochs: Vec<Cost>,
}

impl ProgressObserver for StepTimer {
    fn on_step(&mut self) {
        let now = (Instant::now(), cpu_ms());
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.steps += 1;
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        if let (Event::Epoch { .. }, Some(first), Some(last)) = (event, self.first, self.last) {
            // The first step began before its event arrived.
            let all = self.steps as f64 / (self.steps - 1) as f64;
            self.epochs.push(Cost {
                wall: all * (last.0 - first.0).as_secs_f64() * 1e3,
                cpu: all * (last.1 - first.1),
            });
        }
        (self.first, self.last, self.steps) = (None, None, 0);
        Ok(())
    }
}

/// Runs adversarial epochs, and returns the number of samples and features.
fn adversarial_epochs(threads: usize, epochs: usize, costs: &mut Costs) -> [usize; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let set = root.join("target/data/002032.SZ");
    let text = format!(
        "threads = {threads}\n[data]\nset = {set:?}\n[schedule]\npretraining_epochs = 0\nadversarial_epochs = {epochs}\n\
         identity_epochs = 0\ndistil_every = 0\nfine_tune_epochs = 0\n"
    );
    let config = TrainConfig::parse(Path::new("epoch.toml"), &text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut timer = StepTimer::default();
    let manifest = train(&config, &dir.path().join("run"), false, &mut timer).unwrap();
    for cost in timer.epochs {
        costs.add("epoch", "here", threads, cost);
    }
    [manifest.samples[0], manifest.features.len()]
}

/// Runs the same in PyTorch.
fn peer(
    python: &str,
    [threads, steps, epochs]: [usize; 3],
    [samples, features]: [usize; 2],
    costs: &mut Costs,
) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/training_bench.py");
    let numbers = [threads, steps, epochs, samples, features].map(|number| number.to_string());
    let output = Command::new(python)
        .arg(script)
        .args(numbers)
        .output()
        .unwrap();
    let (results, faults) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(faults)
    );
    for line in String::from_utf8_lossy(results).lines() {
        let mut fields = line.split(' ');
        let work = fields.next().unwrap();
        let mut number = || fields.next().unwrap().parse::<f64>().unwrap();
        let (wall, cpu) = (number(), number());
        costs.add(work, "PyTorch", threads, Cost { wall, cpu });
    }
}

fn table(costs: &Costs, threads: &[usize]) {
    let counts = threads.iter().map(|n| format!("{n}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    println!("wall ms on {counts} thread(s), CPU ms on {}", threads[0]);
    println!("| work | here | PyTorch | ratio | CPU here | CPU PyTorch | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for work in WORK {
        let of = |side| -> Vec<Cost> {
            let each = threads.iter();
            each.filter_map(|&n| costs.of(work, side, n)).collect()
        };
        let (ours, theirs) = (of("here"), of("PyTorch"));
        let best = |costs: &[Cost]| costs.iter().map(|c| c.wall).fold(f64::INFINITY, f64::min);
        let walls = |costs: &[Cost]| {
            let texts = costs.iter().map(|cost| format!("{:.1}", cost.wall));
            texts.collect::<Vec<_>>().join(", ")
        };
        let Some(first) = ours.first() else { continue };
        match theirs.first() {
            None => println!("| {work} | {} | | | {:.1} | | |", walls(&ours), first.cpu),
            Some(other) => println!(
                "| {work} | {} | {} | {:.2} | {:.1} | {:.1} | {:.2} |",
                walls(&ours),
                walls(&theirs),
                best(&ours) / best(&theirs),
                first.cpu,
                other.cpu,
                first.cpu / other.cpu
            ),
        }
    }
}

/// CPU milliseconds of all threads so far (Linux; elsewhere 0).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses: state is field 3, user and system time are fields 14 and 15, in hundredths of seconds.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    10.0 * ticks
}
