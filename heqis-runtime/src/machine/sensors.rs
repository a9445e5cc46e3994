//! The sensors of a machine, found once and read on request.
//!
//! | quantity | where the kernel shows it |
//! |---|---|
//! | temperature | `sys/class/thermal/thermal_zone*/temp`, millidegrees |
//! | frequency | CPU: `sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq`, kHz; GPU, NPU, memory: `sys/class/devfreq/*/cur_freq`, Hz |
//! | load | Rockchip: `sys/class/devfreq/*/load`, `12@594000000Hz`, and `sys/kernel/debug/rknpu/load`; Jetson: `load` of the GPU's device, per mille |
//! | power | `sys/class/hwmon`: current (mA) times voltage (mV) of an INA3221, or `power*_input` in µW; JetPack 4: `in_power*_input` of the `ina3221x` driver, mW |
//! | memory | `proc/meminfo`, kB; the unified memory of both boards, and the part set aside for devices |
//! | process | `proc/self/status` |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Most sensors of one machine: a bound on what a scrape reads and on the labels that it makes.
const MAX_SENSORS: usize = 96;
/// Longest label.
const MAX_LABEL: usize = 48;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Degrees Celsius.
    Temperature,
    /// Hertz.
    Frequency,
    /// Busy share, 0 to 1.
    Load,
    /// Watts.
    Power,
    /// Bytes of the machine's memory.
    Memory,
    /// Bytes of this process that are in memory.
    Resident,
    /// Threads of this process.
    Threads,
}

/// One value, read now.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What was measured, and in which unit.
    pub quantity: Quantity,
    /// Of what: a thermal zone, a processing unit, a rail, a kind of memory.
    pub of: String,
    /// The value; `None` when the sensor does not answer now, for instance because its unit is switched off.
    pub value: Option<f64>,
}

/// How a value is got.
#[derive(Clone, Debug)]
enum How {
    /// A number times a factor.
    Number(PathBuf, f64),
    /// The product of two numbers times a factor.
    Product(PathBuf, PathBuf, f64),
    /// A percentage in front of `@` or behind `:`, the mean where there are several.
    Percent(PathBuf),
    /// The value of a key, in kB or without a unit.
    Key(PathBuf, &'static str, f64),
}

#[derive(Clone, Debug)]
struct Sensor {
    quantity: Quantity,
    of: String,
    how: How,
}

/// The sensors of a machine.
#[derive(Clone, Debug, Default)]
pub struct Sensors(Vec<Sensor>);

impl Sensors {
    /// Looks for sensors below `root`.
    #[must_use]
    pub fn find(root: &Path) -> Self {
        let mut found = Vec::new();
        thermal(root, &mut found);
        frequencies(root, &mut found);
        loads(root, &mut found);
        power(root, &mut found);
        memory(root, &mut found);
        let mut names = BTreeSet::new();
        for sensor in &mut found {
            let label: String = sensor
                .of
                .chars()
                .map(|c| if c.is_ascii_graphic() { c } else { '_' })
                .take(MAX_LABEL)
                .collect();
            sensor.of = label.clone();
            // Two zones may be of one type.
            for again in 2.. {
                if names.insert((sensor.quantity, sensor.of.clone())) {
                    break;
                }
                sensor.of = format!("{label}-{again}");
            }
        }
        if found.len() > MAX_SENSORS {
            tracing::warn!(
                found = found.len(),
                kept = MAX_SENSORS,
                "more sensors than are exported"
            );
            found.truncate(MAX_SENSORS);
        }
        Self(found)
    }

    /// Number of sensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to measure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads every sensor.
    pub fn read(&self) -> impl Iterator<Item = Reading> + '_ {
        self.0.iter().map(|sensor| Reading {
            quantity: sensor.quantity,
            of: sensor.of.clone(),
            value: sensor.how.value().filter(|value| value.is_finite()),
        })
    }
}

impl How {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Number(path, factor) => Some(number(path)? * factor),
            Self::Product(one, other, factor) => Some(number(one)? * number(other)? * factor),
            Self::Percent(path) => percent(&text(path)?),
            Self::Key(path, key, factor) => {
                let text = text(path)?;
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
                Some(line.split_whitespace().next()?.parse::<f64>().ok()? * factor)
            }
        }
    }
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: &Path) -> Option<f64> {
    text(path)?.trim().parse().ok()
}

/// `12@594000000Hz`, `NPU load:  12%`, or `NPU load:  Core0:  5%, Core1:  7%,`.
fn percent(text: &str) -> Option<f64> {
    if let Some((share, _)) = text.split_once('@') {
        return Some(share.trim().parse::<f64>().ok()? / 100.0);
    }
    let shares: Vec<f64> = text
        .split('%')
        .filter_map(|part| part.rsplit([':', ' ']).next()?.parse().ok())
        .collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64 / 100.0)
}

/// Entries of a directory whose names start with `prefix`, in order of name.
fn entries(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The word that people use: devfreq names a device by address and name, as in `fde40000.npu` or `17000000.ga10b`.
fn unit(device: &str) -> String {
    let last = device
        .rsplit('.')
        .find(|part| !part.chars().all(|c| c.is_ascii_hexdigit()))
        .unwrap_or(device);
    match last {
        // NVIDIA's names of its GPUs, from the Nano to the Orin.
        "gm20b" | "gp10b" | "gv11b" | "ga10b" => "gpu".to_owned(),
        other => other.to_owned(),
    }
}

fn thermal(root: &Path, found: &mut Vec<Sensor>) {
    for zone in entries(&root.join("sys/class/thermal"), "thermal_zone") {
        let of =
            text(&zone.join("type")).map_or_else(|| name(&zone), |text| text.trim().to_owned());
        found.push(Sensor {
            quantity: Quantity::Temperature,
            of,
            how: How::Number(zone.join("temp"), 1e-3),
        });
    }
}

fn frequencies(root: &Path, found: &mut Vec<Sensor>) {
    for policy in entries(&root.join("sys/devices/system/cpu/cpufreq"), "policy") {
        found.push(Sensor {
            quantity: Quantity::Frequency,
            of: name(&policy).replacen("policy", "cpu", 1),
            how: How::Number(policy.join("scaling_cur_freq"), 1e3),
        });
    }
    for device in entries(&root.join("sys/class/devfreq"), "") {
        found.push(Sensor {
            quantity: Quantity::Frequency,
            of: unit(&name(&device)),
            how: How::Number(device.join("cur_freq"), 1.0),
        });
    }
}

fn loads(root: &Path, found: &mut Vec<Sensor>) {
    let mut add = |of: &str, how| {
        found.push(Sensor {
            quantity: Quantity::Load,
            of: of.to_owned(),
            how,
        });
    };
    let mut npu = false;
    for device in entries(&root.join("sys/class/devfreq"), "") {
        let path = device.join("load");
        if text(&path).is_some_and(|text| text.contains('@')) {
            let of = unit(&name(&device));
            npu |= of == "npu";
            add(&of, How::Percent(path));
        }
    }
    let debug = root.join("sys/kernel/debug/rknpu/load");
    if !npu && debug.exists() {
        add("npu", How::Percent(debug));
    }
    // JetPack 4, 5 and 6 in turn.
    let gpu = [
        "sys/devices/gpu.0/load",
        "sys/devices/platform/gpu.0/load",
        "sys/devices/platform/bus@0/17000000.gpu/load",
    ];
    if let Some(path) = gpu
        .iter()
        .map(|path| root.join(path))
        .find(|path| path.exists())
    {
        add("gpu", How::Number(path, 1e-3));
    }
}

fn power(root: &Path, found: &mut Vec<Sensor>) {
    let mut add = |of: String, how| {
        found.push(Sensor {
            quantity: Quantity::Power,
            of,
            how,
        });
    };
    for chip in entries(&root.join("sys/class/hwmon"), "hwmon") {
        let label = |file: String, otherwise: String| {
            text(&chip.join(file)).map_or(otherwise, |text| text.trim().to_owned())
        };
        for rail in 1..=3 {
            let (current, voltage) = (
                chip.join(format!("curr{rail}_input")),
                chip.join(format!("in{rail}_input")),
            );
            if current.exists() && voltage.exists() {
                let of = label(format!("in{rail}_label"), format!("rail{rail}"));
                add(of, How::Product(current, voltage, 1e-6));
            }
            let watts = chip.join(format!("power{rail}_input"));
            if watts.exists() {
                let of = label(format!("power{rail}_label"), format!("power{rail}"));
                add(of, How::Number(watts, 1e-6));
            }
        }
    }
    for chip in entries(&root.join("sys/bus/i2c/drivers/ina3221x"), "") {
        for device in entries(&chip, "iio") {
            for rail in 0..3 {
                let watts = device.join(format!("in_power{rail}_input"));
                if watts.exists() {
                    let of = text(&device.join(format!("rail_name_{rail}")))
                        .map_or_else(|| format!("rail{rail}"), |text| text.trim().to_owned());
                    add(of, How::Number(watts, 1e-3));
                }
            }
        }
    }
}

fn memory(root: &Path, found: &mut Vec<Sensor>) {
    let machine = root.join("proc/meminfo");
    let own = root.join("proc/self/status");
    let keys = [
        (&machine, "MemTotal", Quantity::Memory, "total", 1024.0),
        (
            &machine,
            "MemAvailable",
            Quantity::Memory,
            "available",
            1024.0,
        ),
        (&machine, "CmaTotal", Quantity::Memory, "cma-total", 1024.0),
        (&machine, "CmaFree", Quantity::Memory, "cma-free", 1024.0),
        (&own, "VmRSS", Quantity::Resident, "self", 1024.0),
        (&own, "Threads", Quantity::Threads, "self", 1.0),
    ];
    for (file, key, quantity, of, factor) in keys {
        let how = How::Key(file.clone(), key, factor);
        if how.value().is_some() {
            found.push(Sensor {
                quantity,
                of: of.to_owned(),
                how,
            });
        }
    }
}
