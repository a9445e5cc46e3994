//! Time and memory of a start on a large journal.

use super::*;

/// Resident memory of this process, KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 640 segments; only the last one and its index are real, the others are as long as such segments and never read.
#[test]
#[ignore = "a measurement: 640 segments of 16 MiB"]
fn ten_gigabytes_are_resumed_in_a_second_and_64_mb() {
    let stand = Stand::new();
    let options = Options {
        segment_bytes: 16 << 20,
        ..SMALL
    };
    let (mut journal, _) = stand.open_with(options, "a").unwrap();
    let mut n = 0;
    let mut batch = |journal: &mut JournalFile, count: u64| {
        let decisions: Vec<_> = (n + 1..=n + count)
            .map(|n| decision(1, 0xab, n + n / 5))
            .zip(n + 1..)
            .map(|((id, record), n)| (EntryId { n, ..id }, record))
            .collect();
        n += count;
        journal.append(&decisions, 0).unwrap();
    };
    for _ in 0..640 {
        batch(&mut journal, 20);
        journal.seal(0).unwrap();
        let number = journal.header.segment - 1;
        if number < 639 {
            let path = stand.names().segment(number);
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(16 << 20)
                .unwrap();
        }
    }
    while journal.whole_bytes < (16 << 20) - 400_000 {
        batch(&mut journal, 1_000);
    }
    let bytes = journal.whole_bytes;
    drop(journal);
    let before = resident_kib();
    let started = std::time::Instant::now();
    let (_, resumed) = stand.open_with(options, "a").unwrap();
    let took = started.elapsed();
    eprintln!(
        "{} decisions, active segment of {bytes} bytes: {took:?}, most memory {} KiB, before {before} KiB",
        resumed.decisions,
        resident_kib()
    );
    if !cfg!(debug_assertions) {
        assert!(took.as_millis() < 1_000 && resident_kib() < 64 << 10);
    }
}
