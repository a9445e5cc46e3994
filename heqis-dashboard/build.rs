//! Compresses the page's files at build time.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("assets");
    println!("cargo:rerun-if-changed=assets");
    let mut table = String::from("&[\n");
    for (index, name) in files(&root, "")?.iter().enumerate() {
        let packed = out.join(format!("{index}.gz"));
        // Without time and name in the header, equal files give equal bytes.
        let mut gz = GzBuilder::new().write(std::fs::File::create(&packed)?, Compression::best());
        gz.write_all(&std::fs::read(root.join(name))?)?;
        gz.finish()?;
        // Relative, so that a target directory can be moved.
        let packed = format!("concat!(env!(\"OUT_DIR\"), \"/{index}.gz\")");
        writeln!(table, "    ({name:?}, include_bytes!({packed})),")?;
    }
    table.push_str("]\n");
    std::fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// Returns the paths of all files below `root`, relative to it and sorted.
fn files(root: &Path, below: &str) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = match below {
            "" => name,
            _ => format!("{below}/{name}"),
        };
        match entry.file_type()?.is_dir() {
            true => names.extend(files(root, &path)?),
            false => names.push(path),
        }
    }
    names.sort();
    Ok(names)
}
