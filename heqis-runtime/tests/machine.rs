//! Boards as trees of files: which one it is, and what there is to measure on it.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::collections::BTreeMap;
use std::path::Path;

use heqis_runtime::machine::{Identity, Quantity, Sensors};
use heqis_runtime::topology::Board;
use stand::{Stand, get, metric, wait_until};

/// Files as the kernel shows them: path and content.
type Files<'a> = &'a [(&'a str, &'a str)];

/// An RK3568 under Rockchip's kernel 5.10.
const RK3568: Files = &[
    (
        "sys/firmware/devicetree/base/compatible",
        "radxa,rock3a\0rockchip,rk3568\0",
    ),
    (
        "sys/firmware/devicetree/base/model",
        "Radxa ROCK3 Model A\0",
    ),
    ("sys/class/thermal/thermal_zone0/type", "soc-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "48333\n"),
    ("sys/class/thermal/thermal_zone1/type", "gpu-thermal\n"),
    ("sys/class/thermal/thermal_zone1/temp", "47222\n"),
    (
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
        "1992000\n",
    ),
    ("sys/class/devfreq/fde40000.npu/cur_freq", "600000000\n"),
    ("sys/class/devfreq/fde40000.npu/load", "37@600000000Hz\n"),
    ("sys/class/devfreq/fde60000.gpu/cur_freq", "200000000\n"),
    ("sys/class/devfreq/fde60000.gpu/load", "0@200000000Hz\n"),
    ("sys/class/devfreq/dmc/cur_freq", "1560000000\n"),
    ("sys/kernel/debug/rknpu/load", "NPU load:  99%\n"),
    (
        "proc/meminfo",
        "MemTotal:        1963840 kB\nMemAvailable:    1500000 kB\nCmaTotal: 16384 kB\nCmaFree: 8192 kB\n",
    ),
    (
        "proc/self/status",
        "Name:\theqis\nVmRSS:\t   20480 kB\nThreads:\t9\n",
    ),
];

/// A Jetson Orin Nano developer kit under JetPack 6.
const ORIN: Files = &[
    (
        "sys/firmware/devicetree/base/compatible",
        "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    ),
    (
        "sys/firmware/devicetree/base/model",
        "NVIDIA Jetson Orin Nano Developer Kit\0",
    ),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "51062\n"),
    ("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone1/temp", "50000\n"),
    (
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
        "1510400\n",
    ),
    (
        "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq",
        "729600\n",
    ),
    ("sys/class/devfreq/17000000.gpu/cur_freq", "306000000\n"),
    ("sys/devices/platform/bus@0/17000000.gpu/load", "125\n"),
    ("sys/class/hwmon/hwmon1/name", "ina3221\n"),
    ("sys/class/hwmon/hwmon1/in1_label", "VDD_IN\n"),
    ("sys/class/hwmon/hwmon1/in1_input", "5040\n"),
    ("sys/class/hwmon/hwmon1/curr1_input", "1000\n"),
    (
        "proc/meminfo",
        "MemTotal: 7800000 kB\nMemAvailable: 6000000 kB\n",
    ),
];

/// A Jetson Nano under JetPack 4.6.
const NANO: Files = &[
    (
        "proc/device-tree/compatible",
        "nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0",
    ),
    ("sys/class/devfreq/57000000.gpu/cur_freq", "76800000\n"),
    ("sys/devices/gpu.0/load", "990\n"),
    (
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0",
        "POM_5V_IN\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input",
        "2320\n",
    ),
];

fn tree(files: Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn readings(root: &Path) -> BTreeMap<(Quantity, String), f64> {
    Sensors::find(root)
        .read()
        .filter_map(|reading| Some(((reading.quantity, reading.of), reading.value?)))
        .collect()
}

/// Asserts what was read, and that nothing else was.
fn assert_readings(files: Files, expected: &[(Quantity, &str, f64)]) {
    let folder = tree(files);
    let got = readings(folder.path());
    for (quantity, of, value) in expected {
        let got = got.get(&(*quantity, (*of).to_owned()));
        let near = got.is_some_and(|got| (got - value).abs() <= value.abs() * 1e-12);
        assert!(near, "{quantity:?} of {of}: {got:?}, not {value}");
    }
    assert_eq!(got.len(), expected.len(), "{got:?}");
}

#[test]
fn boards_are_known_by_their_device_trees() {
    fn found(files: Files) -> Identity {
        Identity::read(tree(files).path())
    }
    let rock = found(RK3568);
    assert_eq!(rock.board, Board::Rk3568);
    assert_eq!(rock.model.as_deref(), Some("Radxa ROCK3 Model A"));
    assert_eq!(found(ORIN).board, Board::JetsonOrinNano);
    assert_eq!(found(NANO).board, Board::JetsonNano);
    let compatible = |text: &str| found(&[("sys/firmware/devicetree/base/compatible", text)]).board;
    for (text, board) in [
        (
            "nvidia,p3768-0000+p3767-0000\0nvidia,tegra234\0",
            Board::JetsonOrinNx,
        ),
        (
            "nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0",
            Board::JetsonAgxOrin,
        ),
        (
            "nvidia,p3509-0000+p3668-0000\0nvidia,tegra194\0",
            Board::JetsonXavierNx,
        ),
        (
            "nvidia,galen\0nvidia,p2972-0000\0nvidia,p2888\0nvidia,tegra194\0",
            Board::JetsonAgxXavier,
        ),
        ("nvidia,p2771-0000\0nvidia,tegra186\0", Board::Jetson),
        ("raspberrypi,4-model-b\0brcm,bcm2711\0", Board::Host),
        ("rockchip,rk3588\0", Board::Host),
        ("", Board::Host),
    ] {
        assert_eq!(compatible(text), board, "{text:?}");
    }
    assert_eq!(found(&[]).board, Board::Host);
}

#[test]
fn a_topology_may_name_a_family_or_one_board() {
    assert!(Board::Jetson.admits(Board::JetsonOrinNano));
    assert!(!Board::JetsonOrinNano.admits(Board::JetsonNano));
    assert!(!Board::Rk3568.admits(Board::Jetson));
    assert!(Board::Auto.admits(Board::Rk3568) && Board::Host.admits(Board::Rk3568));
}

#[test]
fn an_rk3568_reports_its_npu_gpu_and_memory() {
    use Quantity::{Frequency, Load, Memory, Resident, Temperature, Threads};
    assert_readings(
        RK3568,
        &[
            (Temperature, "soc-thermal", 48.333),
            (Temperature, "gpu-thermal", 47.222),
            (Frequency, "cpu0", 1.992e9),
            (Frequency, "npu", 6e8),
            (Frequency, "gpu", 2e8),
            (Frequency, "dmc", 1.56e9),
            // The devfreq figure wins over the debug one.
            (Load, "npu", 0.37),
            (Load, "gpu", 0.0),
            (Memory, "total", 1_963_840.0 * 1024.0),
            (Memory, "available", 1_500_000.0 * 1024.0),
            (Memory, "cma-total", 16_384.0 * 1024.0),
            (Memory, "cma-free", 8_192.0 * 1024.0),
            (Resident, "self", 20_480.0 * 1024.0),
            (Threads, "self", 9.0),
        ],
    );
    let npu = |text| {
        assert_readings(
            &[("sys/kernel/debug/rknpu/load", text)],
            &[(Load, "npu", 0.06)],
        )
    };
    npu("NPU load:  6%\n");
    npu("NPU load:  Core0:  5%, Core1:  7%,\n");
}

#[test]
fn jetsons_report_power_and_gpu_load_as_their_jetpack_does() {
    use Quantity::{Frequency, Load, Memory, Power, Temperature};
    assert_readings(
        ORIN,
        &[
            (Temperature, "cpu-thermal", 51.062),
            (Temperature, "cpu-thermal-2", 50.0),
            (Frequency, "cpu0", 1.5104e9),
            (Frequency, "cpu4", 7.296e8),
            (Frequency, "gpu", 3.06e8),
            (Load, "gpu", 0.125),
            (Power, "VDD_IN", 5.04),
            (Memory, "total", 7_800_000.0 * 1024.0),
            (Memory, "available", 6_000_000.0 * 1024.0),
        ],
    );
    assert_readings(
        NANO,
        &[
            (Frequency, "gpu", 7.68e7),
            (Load, "gpu", 0.99),
            (Power, "POM_5V_IN", 2.32),
        ],
    );
}

#[test]
fn a_sensor_that_does_not_answer_or_talks_nonsense_has_no_value() {
    let folder = tree(&[
        ("sys/class/thermal/thermal_zone0/type", "off\n"),
        ("sys/class/thermal/thermal_zone0/temp", "N/A\n"),
        ("sys/class/thermal/thermal_zone1/type", "odd\"name\\ä\n"),
        ("sys/class/thermal/thermal_zone1/temp", "NaN\n"),
    ]);
    let sensors = Sensors::find(folder.path());
    assert_eq!(sensors.len(), 2);
    assert!(sensors.read().all(|reading| reading.value.is_none()));
    // Units that go away between two looks.
    std::fs::remove_dir_all(folder.path().join("sys")).unwrap();
    assert_eq!(sensors.read().count(), 2);
}

#[test]
fn a_node_exports_the_sensors_of_its_machine() {
    let folder = tree(ORIN);
    let stand = Stand::dual_board()
        .set("stages.engine.params.simulate_latency_us=1000")
        .set("stages.engine.batch.max=1")
        .set("nodes.compute.board=\"rk3568\"");
    let machine = folder.path().to_str().unwrap();
    let fleet = stand.start(&["--machine", machine]);
    let port = stand.ports[1];
    wait_until("the node is ready", || {
        get(port, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    assert_eq!(
        metric(port, "heqis_machine_info", "jetson-orin-nano"),
        Some(1.0)
    );
    assert_eq!(
        metric(port, "heqis_machine_power_watts", "VDD_IN"),
        Some(5.04)
    );
    let warm = metric(port, "heqis_machine_temperature_celsius", "\"cpu-thermal\"");
    assert_eq!(warm, Some(51.062));
    // The same sensor, switched off.
    std::fs::remove_file(folder.path().join("sys/class/thermal/thermal_zone0/temp")).unwrap();
    let off = metric(port, "heqis_machine_temperature_celsius", "\"cpu-thermal\"");
    assert_eq!(off, None);
    let ended = fleet.finish();
    ended.clean();
    assert!(
        ended.log.contains("not the board that the topology names"),
        "{}",
        ended.log
    );
}

#[test]
fn this_machine_reports_the_memory_of_the_process() {
    let own = readings(Path::new("/"));
    let resident = own[&(Quantity::Resident, "self".to_owned())];
    assert!(resident > 1e6, "{resident}");
    assert!(own[&(Quantity::Threads, "self".to_owned())] >= 1.0);
    assert!(own[&(Quantity::Memory, "total".to_owned())] > resident);
}
