//! The watch list in the form that the page shows, and additions that keep comments and formatting.

use std::path::Path;

use heqis_base::files::write_atomically;
use heqis_dashboard::jobs::{Rejected, WatchList, WatchOrder, WatchSector, Watched};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use heqis_data::watch_list::WatchList as WatchFile;

/// Longest name of a sector, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Most instruments on a list.
const MAX_WATCHED: usize = 10_000;

fn broken(path: &Path, error: impl std::fmt::Display) -> Rejected {
    Rejected::Failed(format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> Result<String, Rejected> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        // A list is created with its first instrument.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(broken(path, error)),
    }
}

/// Reads the list; a missing one is empty.
pub(super) fn read(path: &Path) -> Result<WatchList, Rejected> {
    let text = text(path)?;
    let sectors = match text.trim().is_empty() {
        true => Vec::new(),
        false => {
            let file = WatchFile::parse(&text, &path.display().to_string());
            file.map_err(|error| Rejected::Failed(error.to_string()))?
                .sector
        }
    };
    let codes = |symbols: &[heqis_quant::Symbol]| symbols.iter().map(ToString::to_string).collect();
    Ok(WatchList {
        path: path.display().to_string(),
        sectors: sectors
            .iter()
            .map(|sector| WatchSector {
                name: sector.name.clone(),
                stocks: sector.stocks.clone(),
                indices: codes(&sector.indices),
                funds: codes(&sector.funds),
            })
            .collect(),
    })
}

/// Adds an instrument to the list and returns whether it was absent. The file is replaced as a whole or not at all.
pub(super) fn add(path: &Path, order: &WatchOrder) -> Result<bool, Rejected> {
    let name = order.sector.trim();
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        let rule =
            format!("sector must have 1 to {MAX_NAME_BYTES} bytes, and no control character");
        return Err(Rejected::Invalid(rule));
    }
    let code = order.symbol.to_string();
    if ![".SH", ".SZ", ".BJ"]
        .iter()
        .any(|exchange| code.ends_with(exchange))
    {
        let rule = format!("symbol must be a code of SH, SZ or BJ, such as 600000.SH, got {code}");
        return Err(Rejected::Invalid(rule));
    }
    let before = read(path)?;
    let count =
        |sector: &WatchSector| sector.stocks.len() + sector.indices.len() + sector.funds.len();
    if before.sectors.iter().map(count).sum::<usize>() >= MAX_WATCHED {
        return Err(Rejected::Invalid(format!(
            "the list holds {MAX_WATCHED} instruments, which is the most"
        )));
    }
    let key = match order.list {
        Watched::Stocks => "stocks",
        Watched::Indices => "indices",
        Watched::Funds => "funds",
    };
    let mut document: DocumentMut = text(path)?.parse().map_err(|error| broken(path, error))?;
    let sectors = document
        .entry("sector")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or_else(|| {
            broken(
                path,
                "sector must be written as [[sector]] for the page to add to it",
            )
        })?;
    let own = |sector: &Table| sector.get("name").and_then(Item::as_str) == Some(name);
    let found = sectors.iter().position(own);
    let at = found.unwrap_or_else(|| {
        let mut sector = Table::new();
        sector.insert("name", value(name));
        sectors.push(sector);
        sectors.len() - 1
    });
    let listed = sectors
        .get_mut(at)
        .map(|sector| sector.entry(key).or_insert_with(|| value(Array::new())))
        .and_then(Item::as_array_mut)
        .ok_or_else(|| broken(path, format!("{key} of sector {name} must be a list")))?;
    if listed.iter().any(|entry| entry.as_str() == Some(&code)) {
        return Ok(false);
    }
    listed.push(code);
    write_atomically(path, document.to_string().as_bytes()).map_err(|error| broken(path, error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn order(sector: &str, symbol: &str) -> WatchOrder {
        serde_json::from_value(serde_json::json!({ "sector": sector, "symbol": symbol })).unwrap()
    }

    #[test]
    fn an_instrument_is_added_once_and_comments_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watch.toml");
        let written = "# mine\n[[sector]]\nname = \"white goods\" # cold\nstocks = [\"苏泊尔\"]\n";
        std::fs::write(&path, written).unwrap();
        assert!(add(&path, &order("white goods", "000333.SZ")).unwrap());
        assert!(!add(&path, &order("white goods", "000333.SZ")).unwrap());
        assert!(add(&path, &order("banks", "600000.SH")).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# mine\n[[sector]]\nname = \"white goods\" # cold\n"),
            "{text}"
        );
        let list = read(&path).unwrap();
        assert_eq!(list.sectors[0].stocks, ["苏泊尔", "000333.SZ"]);
        assert_eq!(
            (list.sectors[1].name.as_str(), &list.sectors[1].stocks[..]),
            ("banks", &["600000.SH".to_owned()][..])
        );
    }

    #[test]
    fn a_missing_list_is_created_and_a_broken_one_is_left_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watch.toml");
        assert_eq!(read(&path).unwrap().sectors, []);
        assert!(matches!(
            add(&path, &order(" ", "600000.SH")),
            Err(Rejected::Invalid(_))
        ));
        assert!(add(&path, &order("banks", "600000.SH")).unwrap());
        std::fs::write(&path, "sector = 3").unwrap();
        assert!(matches!(
            add(&path, &order("banks", "600036.SH")),
            Err(Rejected::Failed(_))
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "sector = 3");
    }
}
