//! The samples of a machine that a scrape reads.

use heqis_actors::{Gauges, Metrics};

use super::{Identity, Quantity, Sensors};

/// Families of a machine's samples, filled by [`MachineGauges::sample`].
#[derive(Clone, Debug)]
pub struct MachineGauges {
    sensors: Sensors,
    temperature: Gauges,
    frequency: Gauges,
    load: Gauges,
    power: Gauges,
    memory: Gauges,
    resident: Gauges,
    threads: Gauges,
}

impl MachineGauges {
    /// Adds the families to `metrics` and states which machine it is.
    ///
    /// # Panics
    /// When `metrics` has them already.
    #[must_use]
    pub fn new(metrics: &Metrics, identity: &Identity, sensors: Sensors) -> Self {
        let model = identity.model.as_deref().unwrap_or_default();
        metrics
            .gauges(
                "heqis_machine_info",
                "Constant 1; the labels say which board this is, by its device tree.",
                &["board", "model"],
            )
            .set(&[identity.board.name(), model], 1.0);
        Self {
            temperature: metrics.gauges(
                "heqis_machine_temperature_celsius",
                "Temperature of a thermal zone.",
                &["sensor"],
            ),
            frequency: metrics.gauges(
                "heqis_machine_frequency_hertz",
                "Clock of a processing unit: a CPU cluster, the GPU, the NPU, the memory.",
                &["unit"],
            ),
            load: metrics.gauges(
                "heqis_machine_load_ratio",
                "Busy share of an accelerator, 0 to 1.",
                &["unit"],
            ),
            power: metrics.gauges(
                "heqis_machine_power_watts",
                "Power drawn from a rail.",
                &["rail"],
            ),
            memory: metrics.gauges(
                "heqis_machine_memory_bytes",
                "Memory of the machine: total, available, and what is set aside for devices.",
                &["kind"],
            ),
            resident: metrics.gauges(
                "heqis_process_resident_bytes",
                "Memory of this process.",
                &[],
            ),
            threads: metrics.gauges("heqis_process_threads", "Threads of this process.", &[]),
            sensors,
        }
    }

    /// Makes a sample of every family, for those who ask what there can be.
    pub fn touch(&self) {
        for (family, labels) in [
            (&self.temperature, &["none"][..]),
            (&self.frequency, &["none"]),
            (&self.load, &["none"]),
            (&self.power, &["none"]),
            (&self.memory, &["none"]),
            (&self.resident, &[]),
            (&self.threads, &[]),
        ] {
            family.set(labels, 0.0);
        }
    }

    /// Reads every sensor. One that does not answer loses its sample.
    pub fn sample(&self) {
        for reading in self.sensors.read() {
            let of = [reading.of.as_str()];
            let (family, labels) = match reading.quantity {
                Quantity::Temperature => (&self.temperature, &of[..]),
                Quantity::Frequency => (&self.frequency, &of[..]),
                Quantity::Load => (&self.load, &of[..]),
                Quantity::Power => (&self.power, &of[..]),
                Quantity::Memory => (&self.memory, &of[..]),
                Quantity::Resident => (&self.resident, &[][..]),
                Quantity::Threads => (&self.threads, &[][..]),
            };
            match reading.value {
                Some(value) => family.set(labels, value),
                None => family.remove(labels),
            }
        }
    }
}
