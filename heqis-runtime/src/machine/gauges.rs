//! The samples of a machine that a scrape reads.

use heqis_actors::{Gauges, Metrics, MetricsError};

use super::{Identity, Quantity, Sensors};
use crate::topology::Board;

/// Families of a machine's samples, filled by [`MachineGauges::sample`].
#[derive(Clone, Debug)]
pub struct MachineGauges {
    board: Board,
    sensors: Sensors,
    temperature: Gauges<1>,
    frequency: Gauges<1>,
    load: Gauges<1>,
    power: Gauges<1>,
    memory: Gauges<1>,
    resident: Gauges<0>,
    threads: Gauges<0>,
}

impl MachineGauges {
    /// Adds the families to `metrics` and states which machine it is.
    ///
    /// # Errors
    /// When `metrics` has them already.
    pub fn new(
        metrics: &Metrics,
        identity: &Identity,
        sensors: Sensors,
    ) -> Result<Self, MetricsError> {
        let model = identity.model.as_deref().unwrap_or_default();
        metrics
            .gauges(
                "heqis_machine_info",
                "Constant 1; the labels say which board this is, by its device tree.",
                ["board", "model"],
            )?
            .set([identity.board.name(), model], 1.0);
        Ok(Self {
            temperature: metrics.gauges(
                "heqis_machine_temperature_celsius",
                "Temperature of a thermal zone.",
                ["sensor"],
            )?,
            frequency: metrics.gauges(
                "heqis_machine_frequency_hertz",
                "Clock of a processing unit: a CPU cluster, the GPU, the NPU, the memory.",
                ["unit"],
            )?,
            load: metrics.gauges(
                "heqis_machine_load_ratio",
                "Busy share of an accelerator, 0 to 1.",
                ["unit"],
            )?,
            power: metrics.gauges(
                "heqis_machine_power_watts",
                "Power drawn from a rail.",
                ["rail"],
            )?,
            memory: metrics.gauges(
                "heqis_machine_memory_bytes",
                "Memory of the machine: total, available, and what is set aside for devices.",
                ["kind"],
            )?,
            resident: metrics.gauges(
                "heqis_process_resident_bytes",
                "Memory of this process.",
                [],
            )?,
            threads: metrics.gauges("heqis_process_threads", "Threads of this process.", [])?,
            board: identity.board,
            sensors,
        })
    }

    /// Returns which board the machine is.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board
    }

    /// Makes a sample of every family, for those who ask what there can be.
    pub fn touch(&self) {
        for family in [
            &self.temperature,
            &self.frequency,
            &self.load,
            &self.power,
            &self.memory,
        ] {
            family.set(["none"], 0.0);
        }
        self.resident.set([], 0.0);
        self.threads.set([], 0.0);
    }

    /// Reads every sensor. One that does not answer loses its sample.
    pub fn sample(&self) {
        for reading in self.sensors.read() {
            let (of, value) = ([reading.of.as_str()], reading.value);
            match reading.quantity {
                Quantity::Temperature => update(&self.temperature, of, value),
                Quantity::Frequency => update(&self.frequency, of, value),
                Quantity::Load => update(&self.load, of, value),
                Quantity::Power => update(&self.power, of, value),
                Quantity::Memory => update(&self.memory, of, value),
                Quantity::Resident => update(&self.resident, [], value),
                Quantity::Threads => update(&self.threads, [], value),
            }
        }
    }
}

fn update<const LABELS: usize>(family: &Gauges<LABELS>, of: [&str; LABELS], value: Option<f64>) {
    match value {
        Some(value) => family.set(of, value),
        None => family.remove(of),
    }
}
