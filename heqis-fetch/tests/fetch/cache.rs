//! The cache of raw replies: no file is changed, and damaged files are detected.

use heqis_fetch::cache::{Cache, Entry};

use crate::world::{fetch_error, files_in};

fn body(entry: Entry) -> String {
    match entry {
        Entry::Valid { body, .. } => body,
        other => panic!("expected a reply, got {other:?}"),
    }
}

#[test]
fn replies_are_added_and_the_last_one_is_returned() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = Cache::new(folder.path());
    assert_eq!(cache.get("daily", "q").unwrap(), Entry::Absent);
    for number in 0..3_u64 {
        let before = files_in(&folder.path().join("daily"));
        cache
            .put("daily", "q", &format!("reply {number}"), number)
            .unwrap();
        let after = files_in(&folder.path().join("daily"));
        assert_eq!(after.len(), before.len() + 1);
        assert!(
            before.iter().all(|file| after.contains(file)),
            "a reply was changed"
        );
        let entry = cache.get("daily", "q").unwrap();
        assert_eq!(body(entry), format!("reply {number}"));
    }
    assert_eq!(cache.get("daily", "another").unwrap(), Entry::Absent);
}

#[test]
fn any_changed_byte_makes_an_entry_corrupt_and_a_further_reply_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = Cache::new(folder.path());
    cache.put("daily", "q", "{\"code\":0}", 7).unwrap();
    let (path, whole) = files_in(&folder.path().join("daily")).remove(0);
    // The time of the fetch is the only part without redundancy.
    let text = String::from_utf8(whole.clone()).unwrap();
    let time = text.find("fetched_unix_s\":7").unwrap() + "fetched_unix_s\":".len();
    for place in (0..whole.len()).filter(|place| *place != time) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(
            cache.get("daily", "q").unwrap(),
            Entry::Corrupt,
            "byte {place}"
        );
    }
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(
            cache.get("daily", "q").unwrap(),
            Entry::Corrupt,
            "{length} bytes"
        );
    }
    cache.put("daily", "q", "{\"code\":1}", 8).unwrap();
    assert_eq!(body(cache.get("daily", "q").unwrap()), "{\"code\":1}");
}

#[test]
fn only_one_process_at_a_time_adds_replies_and_others_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Cache::new(folder.path());
    first.put("daily", "q", "a", 1).unwrap();
    let mut second = Cache::new(folder.path());
    assert_eq!(body(second.get("daily", "q").unwrap()), "a");
    let text = fetch_error(second.put("daily", "q", "b", 2)).to_string();
    assert!(text.contains("another process"), "{text}");
    drop(first);
    second.put("daily", "q", "b", 2).unwrap();
    assert_eq!(body(second.get("daily", "q").unwrap()), "b");
}
