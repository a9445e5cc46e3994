//! The same training on a GPU, with a build that supports one: `cargo test -p heqis-train --features wgpu --test gpu`. A software
//! Vulkan (Mesa's lavapipe) is sufficient.
#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;
mod trainings;

use heqis_train::nets::generator::GeneratorKind;
use heqis_train::train::config::GeneratorSpec;
use heqis_train::train::curves::Point;
use heqis_train::train::progress::{Event, ProgressObserver};
use heqis_train::train::{DeviceKind, TrainedRun, train};
use market::{closes, prepared};
use rand_chacha::rand_core::Rng;
use trainings::small;

/// Collects the points of every epoch.
#[derive(Default)]
struct Curves(Vec<Point>);

impl ProgressObserver for Curves {
    fn on_step(&mut self) {}

    fn on_event(&mut self, event: &Event<'_>) -> Result<(), heqis_train::TrainError> {
        if let Event::Epoch { points, .. } = event {
            self.0.extend_from_slice(points);
        }
        Ok(())
    }
}

/// Weights, order and noise are the same random numbers of the host; only the order of summation differs.
#[test]
fn losses_on_a_gpu_are_those_on_the_cpu() {
    let root = tempfile::tempdir().unwrap();
    let series = [closes(400, 3, |rng, _| rng.next_u32().is_multiple_of(2))];
    let set = prepared(root.path(), &series);
    let mut settings = small(&set);
    settings.generators[1].dropout = 0.1;
    settings.generators.push(GeneratorSpec {
        hidden: Some(8),
        ..GeneratorSpec::new("g4", GeneratorKind::Lstm, 6)
    });
    settings.schedule.encoder_epochs = 2;
    settings.schedule.pretraining_epochs = 2;
    settings.schedule.adversarial_epochs = 2;
    let run = |device: DeviceKind| -> Vec<Point> {
        let mut config = settings.clone();
        config.device = device;
        let dir = root.path().join(format!("{device:?}"));
        let mut curves = Curves::default();
        train(&config, &dir, false, &mut curves).unwrap();
        assert!(TrainedRun::open(&dir).unwrap().manifest.finished);
        curves.0
    };
    let (cpu, gpu) = (run(DeviceKind::Cpu), run(DeviceKind::Gpu));
    assert_eq!(cpu.len(), gpu.len());
    let mut largest = 0.0f64;
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert_eq!(
            (&cpu.network, &cpu.phase, cpu.epoch),
            (&gpu.network, &gpu.phase, gpu.epoch)
        );
        for (cpu, gpu) in [
            (cpu.loss, gpu.loss),
            (cpu.validation_loss, gpu.validation_loss),
        ] {
            if let (Some(cpu), Some(gpu)) = (cpu, gpu) {
                largest = largest.max((cpu - gpu).abs() / cpu.abs().max(1e-3));
            }
        }
    }
    println!("largest relative difference of a loss: {largest:.2e}");
    assert!(largest < 1e-3, "{largest:e}");
}
