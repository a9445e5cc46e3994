//! The two chart libraries are the published files.

use std::path::Path;

use sha2::{Digest as _, Sha256};

/// SHA-256 of the files in klinecharts-10.0.2.tgz and uplot-1.6.32.tgz as published on npm.
const PINNED: [(&str, &str); 3] = [
    (
        "klinecharts-10.0.2.min.js",
        "db288a8c5d910a907f1e74fd355bc1d7a9219022549e7dc575e3076e5c31b46a",
    ),
    (
        "uplot-1.6.32.min.js",
        "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    ),
    (
        "uplot-1.6.32.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
];

#[test]
fn chart_libraries_have_the_pinned_hashes_and_their_licences() {
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor");
    for (name, pinned) in PINNED {
        let digest = Sha256::digest(std::fs::read(vendor.join(name)).unwrap());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, pinned, "{name}");
    }
    let licence = |name: &str| std::fs::read_to_string(vendor.join(name)).unwrap();
    assert!(licence("klinecharts-LICENSE.txt").contains("Apache License"));
    assert!(licence("klinecharts-NOTICE.txt").contains("TradingView"));
    assert!(licence("klinecharts-LICENSE-lightweight-charts.txt").contains("Apache License"));
    assert!(licence("uplot-LICENSE.txt").contains("MIT"));
}
