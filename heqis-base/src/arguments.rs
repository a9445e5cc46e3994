//! Renamed commands and options of a command line.
//!
//! An old name is accepted for one version: it is replaced before the arguments are parsed, and a warning gives the old
//! name and the new one. Aliases of the parser itself would be silent.

use std::ffi::OsString;

/// A name of the command line that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// A command, given as the first argument that is no option.
    Command {
        /// The name of earlier versions.
        old: &'static str,
        /// The name of this version.
        new: &'static str,
    },
    /// A long option, with its dashes.
    Option {
        /// The command that it belongs to, by its new name; `None` for every command.
        of: Option<&'static str>,
        /// The name of earlier versions.
        old: &'static str,
        /// The name of this version.
        new: &'static str,
    },
}

/// Arguments with new names only, and one warning for each old name that was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The arguments, the name of the program first.
    pub list: Vec<OsString>,
    /// What to write to the standard error stream.
    pub warnings: Vec<String>,
}

/// Replaces old names in `arguments`, the first of which is the name of the program. What follows `--` stays as it is.
///
/// # Errors
/// A message when an option is given by its old name and its new one.
pub fn rename(
    arguments: impl IntoIterator<Item = OsString>,
    renamed: &[Renamed],
) -> Result<Arguments, String> {
    let mut renamed_arguments = Arguments::default();
    let mut arguments = arguments.into_iter();
    renamed_arguments.list.extend(arguments.next());
    let arguments: Vec<OsString> = arguments.collect();
    let end = arguments
        .iter()
        .position(|argument| argument == "--")
        .unwrap_or(arguments.len());
    let mut words = arguments[..end]
        .iter()
        .enumerate()
        .filter_map(|(at, argument)| Some((at, argument.to_str()?)))
        .filter(|(_, text)| !text.starts_with('-'));
    // `help COMMAND` names a command, too.
    let command_at = match words.next() {
        Some((at, "help")) => Some(words.next().map_or(at, |(at, _)| at)),
        first => first.map(|(at, _)| at),
    };
    let new_command = |text: &str| {
        renamed.iter().find_map(|renamed| match renamed {
            Renamed::Command { old, new } if *old == text => Some(*new),
            _ => None,
        })
    };
    let given = command_at.and_then(|at| arguments[at].to_str());
    let command = given.map(|text| new_command(text).unwrap_or(text));
    for (at, argument) in arguments.iter().enumerate() {
        let text = argument.to_str().filter(|_| at < end);
        let replacement = text.and_then(|text| {
            if Some(at) == command_at {
                return Some((text, new_command(text)?, ""));
            }
            let (name, value) = text.split_at(text.find('=').unwrap_or(text.len()));
            renamed.iter().find_map(|renamed| match renamed {
                Renamed::Option { of, old, new }
                    if *old == name && of.is_none_or(|of| Some(of) == command) =>
                {
                    Some((name, *new, value))
                }
                _ => None,
            })
        });
        let Some((old, new, value)) = replacement else {
            renamed_arguments.list.push(argument.clone());
            continue;
        };
        let is_new = |argument: &OsString| {
            let text = argument.to_str().unwrap_or("");
            text.split('=').next() == Some(new)
        };
        if Some(at) != command_at && arguments[..end].iter().any(is_new) {
            return Err(format!(
                "`{old}` is now called `{new}`; give one of the two"
            ));
        }
        renamed_arguments.list.push(format!("{new}{value}").into());
        renamed_arguments.warnings.push(format!(
            "`{old}` is now called `{new}`; the old name is accepted until the next version"
        ));
    }
    Ok(renamed_arguments)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: &[Renamed] = &[
        Renamed::Command {
            old: "old-name",
            new: "new-name",
        },
        Renamed::Option {
            of: Some("new-name"),
            old: "--old",
            new: "--new",
        },
    ];

    fn renamed(line: &str) -> Result<(String, usize), String> {
        let arguments = rename(line.split(' ').map(OsString::from), TABLE)?;
        let list: Vec<_> = arguments
            .list
            .iter()
            .map(|argument| argument.to_str().unwrap())
            .collect();
        Ok((list.join(" "), arguments.warnings.len()))
    }

    #[test]
    fn old_names_become_new_ones_with_a_warning_each() {
        for (line, wanted, warnings) in [
            ("lab old-name --old=a b", "lab new-name --new=a b", 2),
            ("lab -v old-name --old a", "lab -v new-name --new a", 2),
            ("lab help old-name", "lab help new-name", 1),
            ("lab help", "lab help", 0),
            ("lab new-name --new a", "lab new-name --new a", 0),
            ("lab other --old a", "lab other --old a", 0),
            ("lab new-name old-name", "lab new-name old-name", 0),
            ("lab new-name -- --old", "lab new-name -- --old", 0),
            ("lab", "lab", 0),
        ] {
            let (got, warned) = renamed(line).unwrap();
            assert_eq!((got.as_str(), warned), (wanted, warnings), "{line}");
        }
    }

    #[test]
    fn a_warning_gives_both_names() {
        let arguments = rename(["lab", "old-name"].map(OsString::from), TABLE).unwrap();
        assert!(arguments.warnings[0].starts_with("`old-name` is now called `new-name`"));
    }

    #[test]
    fn both_names_at_once_are_an_error() {
        for line in [
            "lab new-name --old a --new b",
            "lab new-name --new=b --old=a",
        ] {
            assert!(
                renamed(line).unwrap_err().contains("give one of the two"),
                "{line}"
            );
        }
    }
}
