//! The crate that the generated code names.

use std::path::Path;

use proc_macro2::Span;
use syn::parse_quote;

/// `heqis_actors`, or the façade where the package that is compiled depends on the façade alone.
///
/// The manifest is read line by line instead of by a parser of TOML, which would be ten more crates: a dependency under
/// another name, or a build without Cargo, names the crate with `#[payload(crate = …)]`.
pub(crate) fn actors() -> syn::Path {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|folder| std::fs::read_to_string(Path::new(&folder).join("Cargo.toml")).ok());
    match manifest {
        Some(text) if !depends(&text, "heqis-actors") && depends(&text, "heqis") => {
            parse_quote!(::heqis::actors)
        }
        _ => {
            let actors = syn::Ident::new("heqis_actors", Span::call_site());
            parse_quote!(::#actors)
        }
    }
}

/// Whether a manifest has the line of a dependency on `package`, or is that of the package itself.
fn depends(manifest: &str, package: &str) -> bool {
    manifest.lines().any(|line| {
        let line = line.trim();
        let key = line.split(['=', '.']).next().unwrap_or_default().trim();
        key.trim_matches('"') == package
            || (line.starts_with('[') && line.ends_with(&format!("dependencies.{package}]")))
            || (key == "name" && line.ends_with(&format!("\"{package}\"")))
    })
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn a_dependency_is_found_in_every_way_to_write_it() {
        for line in [
            "heqis = \"0.1\"",
            "heqis.workspace = true",
            "\"heqis\" = { version = \"0.1\" }",
            "  heqis={ path = \"../heqis\" }",
            "[dependencies.heqis]",
            "[target.'cfg(unix)'.dependencies.heqis]",
            "name = \"heqis\"",
        ] {
            assert!(
                depends(&format!("[dependencies]\n{line}\n"), "heqis"),
                "{line}"
            );
        }
        for line in [
            "heqis-actors = \"0.1\"",
            "# heqis",
            "name = \"my-heqis\"",
            "description = \"heqis\"",
        ] {
            assert!(!depends(line, "heqis"), "{line}");
        }
    }
}
