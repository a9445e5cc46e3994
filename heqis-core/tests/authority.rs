//! The documentation has the table of what a peer may do as the code has it.
//!
//! `HEQIS_BLESS=1` writes it there.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

use heqis_core::link::authority::table;

const BEGIN: &str = "<!-- the table of heqis-core/src/link/authority.rs -->\n";
const END: &str = "<!-- end of the table -->\n";

#[test]
fn the_documentation_has_the_table_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in ["SECURITY.md", "docs/tls.md"] {
        let path = root.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (written, after) = rest.split_once(END).unwrap();
        if std::env::var_os("HEQIS_BLESS").is_some() {
            fs::write(&path, [before, BEGIN, &table(), END, after].concat()).unwrap();
        } else {
            assert_eq!(written, table(), "{file}: HEQIS_BLESS=1 writes it");
        }
    }
}
