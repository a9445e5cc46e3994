//! The token: parsing and files.

use std::path::PathBuf;

use heqis_data::DataError;
use heqis_fetch::FetchError;
use heqis_fetch::token::Token;

use crate::world::{TOKEN, fetch_error};

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[cfg(unix)]
fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn white_space_around_a_token_is_ignored() {
    let (_folder, path) = file(&format!("\n  {TOKEN}\t\r\n\n"));
    let (token, _) = Token::read(&path).unwrap();
    assert_eq!(token.redact(&format!("<{TOKEN}>")), "<<token>>");
}

#[test]
fn files_without_a_valid_token_are_refused_without_quoting_them() {
    let faults = [
        ("", "contains no token"),
        (" \n\t\n", "contains no token"),
        ("abcdef012345 hidden6789", "one word"),
        ("abcdef012345\nhidden6789", "one word"),
        ("abcdef012345\"hidden6789", "one word"),
        ("hid", "at least 8"),
    ];
    for (text, words) in faults {
        let (_folder, path) = file(text);
        let text = fetch_error(Token::read(&path)).to_string();
        assert!(text.contains(words) && text.contains("token"), "{text}");
        assert!(!text.contains("hid"), "{text}");
    }
    let (folder, _) = file("");
    let result = Token::read(&folder.path().join("nowhere"));
    assert!(matches!(
        result,
        Err(FetchError::Data(DataError::File { .. }))
    ));
}

#[cfg(unix)]
#[test]
fn a_file_that_other_users_may_read_gives_a_warning() {
    let (_folder, path) = file(TOKEN);
    for (mode, is_open) in [
        (0o600, false),
        (0o400, false),
        (0o640, true),
        (0o644, true),
        (0o604, true),
    ] {
        set_mode(&path, mode);
        let (_, warning) = Token::read(&path).unwrap();
        assert_eq!(warning.is_some(), is_open, "{mode:o}: {warning:?}");
        if let Some(warning) = warning {
            assert!(
                warning.contains(&format!("{mode:o}")) && !warning.contains(TOKEN),
                "{warning}"
            );
        }
    }
}
