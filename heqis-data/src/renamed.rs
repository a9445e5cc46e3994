//! Renamed keys of TOML files: a former name is read for one version, with a warning.

use toml::{Table, Value};

/// A key with a new name: the path of its table, its former name, and its name. The path is dotted, empty for the file itself,
/// and `*` in it stands for any table.
pub type RenamedKey<'a> = (&'a str, &'a str, &'a str);

/// Returns a warning for each former name that a file uses.
///
/// # Errors
///
/// A message with both names when a key is given under both.
pub fn warnings(file: &Table, renamed: &[RenamedKey<'_>]) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    for (path, former, name) in renamed {
        for (at, table) in tables(file, path) {
            if !table.contains_key(*former) {
                continue;
            }
            if table.contains_key(*name) {
                return Err(format!(
                    "{at}{former} is now {at}{name}: both are given, remove {at}{former}"
                ));
            }
            warnings.push(format!(
                "{at}{former} is now {at}{name}; the former name is read for this version only"
            ));
        }
    }
    Ok(warnings)
}

/// Returns a parser's message without the former names in its list of expected keys, and without names of Rust's types.
#[must_use]
pub fn without_former(message: &str, renamed: &[RenamedKey<'_>]) -> String {
    let mut message = message.trim_end().to_owned();
    for kind in ["usize", "u64", "u32", "u16", "u8", "i64", "i32"] {
        message = message.replace(&format!("expected {kind}"), "expected a whole number");
    }
    for kind in ["f64", "f32"] {
        message = message.replace(&format!("expected {kind}"), "expected a number");
    }
    for (_, former, _) in renamed {
        message = message
            .replace(&format!("`{former}`, "), "")
            .replace(&format!(", `{former}`"), "");
    }
    message
}

/// Returns the tables of a path, each with its name and a final dot; the file itself has the empty name.
fn tables<'a>(file: &'a Table, path: &str) -> Vec<(String, &'a Table)> {
    let mut tables = vec![(String::new(), file)];
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let below = tables.into_iter().flat_map(|(at, table)| {
            let entries = table
                .iter()
                .filter(move |(key, _)| part == "*" || part == *key);
            let entries = entries.filter_map(|(key, value)| Some((key, Value::as_table(value)?)));
            entries.map(move |(key, table)| (format!("{at}{key}."), table))
        });
        tables = below.collect();
    }
    tables
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RENAMED: [RenamedKey<'_>; 2] =
        [("", "kill", "trading_state"), ("*.filters", "old", "new")];

    #[test]
    fn a_former_name_is_warned_about_and_both_names_are_an_error() {
        let read = |text: &str| warnings(&toml::from_str(text).unwrap(), &RENAMED);
        assert_eq!(
            read("trading_state = 1\n[a.filters]\nnew = 1"),
            Ok(Vec::new())
        );
        let found =
            read("kill = 1\n[a.filters]\nold = 1\n[b.filters]\nold = 1\n[c]\nold = 1").unwrap();
        let starts = [
            "kill is now trading_state; ",
            "a.filters.old is now a.filters.new; ",
            "b.filters.old is now ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        assert!(
            found
                .iter()
                .zip(starts)
                .all(|(found, start)| found.starts_with(start)),
            "{found:?}"
        );
        assert_eq!(
            read("[a.filters]\nold = 1\nnew = 1"),
            Err(
                "a.filters.old is now a.filters.new: both are given, remove a.filters.old"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_list_of_expected_keys_holds_current_names_only() {
        let message = "unknown field `x`, expected one of `kill`, `new`, `old`, `trading_state`\n";
        assert_eq!(
            without_former(message, &RENAMED),
            "unknown field `x`, expected one of `new`, `trading_state`"
        );
        let message = "invalid type: string \"x\", expected usize";
        assert_eq!(
            without_former(message, &RENAMED),
            "invalid type: string \"x\", expected a whole number"
        );
    }
}
