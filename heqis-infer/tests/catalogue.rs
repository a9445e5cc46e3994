//! The catalogue of backends: its names, and the page that lists them.
//!
//! `HEQIS_BLESS=1 cargo test -p heqis-infer --test catalogue` rewrites the table of `docs/models.md`.
#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use heqis_infer::{BackendKind, Bundle, Libraries, load};

#[test]
fn each_backend_has_one_name_in_text_in_configuration_and_on_command_lines() {
    for &kind in BackendKind::ALL {
        assert_eq!(
            kind.info().kind,
            kind,
            "the rows of heqis-infer/src/backend.rs are in the order of the kinds"
        );
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        let name = kind.to_string();
        assert_eq!(name.parse(), Ok(kind));
        assert_eq!(
            serde_json::from_value::<BackendKind>(name.into()).unwrap(),
            kind
        );
    }
    let names: Vec<&str> = BackendKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(
        "gpu".parse::<BackendKind>().unwrap_err(),
        format!("must be one of {}, got gpu", names.join(", "))
    );
}

/// Every setting points at a missing file, so that the test does not depend on what the machine has installed. A setting that is
/// no path is unusable with this value too, and the reason repeats it.
#[test]
fn a_backend_that_needs_a_library_or_a_build_is_unavailable_with_a_reason_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("small"), &common::small_parts()).unwrap();
    let settings = BackendKind::ALL
        .iter()
        .flat_map(|kind| kind.info().settings);
    let libraries = settings.fold(Libraries::from_env(), |libraries, setting| {
        libraries.with(*setting, "/nowhere/library")
    });
    for &kind in BackendKind::ALL {
        let row = kind.info();
        match load(&bundle, kind, &libraries) {
            Ok(engine) => {
                assert_eq!(engine.backend(), kind);
                assert!(
                    row.settings.is_empty() && row.build_file.is_none(),
                    "{kind} opens with /nowhere/library as the value of every setting, and without its build"
                );
            }
            Err(unavailable) => {
                assert_eq!(unavailable.backend, kind);
                let reason = &unavailable.reason;
                let missing = row.build_file.unwrap_or("/nowhere/library");
                assert!(
                    reason.contains(missing) || reason.contains("/nowhere/library"),
                    "{kind}: the reason names neither its build nor /nowhere/library, the value of each of its settings: {reason}"
                );
            }
        }
    }
}

/// The table between the two marks of `docs/models.md`.
fn table() -> String {
    let mut text = String::from(
        "| name | computes | compared | own build in a bundle | environment variables |\n|---|---|---|---|---|\n",
    );
    for row in BackendKind::ALL.iter().map(|kind| kind.info()) {
        let settings = row.settings.iter().map(|setting| {
            let default = match setting.default {
                "" => String::new(),
                default => format!(", by default `{default}`"),
            };
            format!("`{}`: {}{default}", setting.variable, setting.about)
        });
        let settings: Vec<String> = settings.collect();
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            row.name,
            row.about.trim_end_matches('.'),
            if row.is_exact {
                "closely"
            } else {
                "with the gate"
            },
            row.build_file
                .map_or_else(|| "–".to_owned(), |file| format!("`{file}`")),
            match settings.is_empty() {
                true => "–".to_owned(),
                false => settings.join("; "),
            },
        )
        .unwrap();
    }
    text
}

#[test]
fn the_page_lists_every_backend_as_the_catalogue_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- backends -->\n", "<!-- /backends -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (listed, after) = rest.split_once(end).unwrap();
    if std::env::var_os("HEQIS_BLESS").is_some() {
        fs::write(&path, [before, begin, &table(), end, after].concat()).unwrap();
        return;
    }
    let table = table();
    let (listed, rows): (Vec<&str>, Vec<&str>) =
        (listed.lines().collect(), table.lines().collect());
    let missing: Vec<_> = rows.iter().filter(|row| !listed.contains(row)).collect();
    assert!(
        listed == rows,
        "docs/models.md lacks these rows, or has others or another order: {missing:#?}\n\
         `HEQIS_BLESS=1 cargo test -p heqis-infer --test catalogue` rewrites the table"
    );
}
