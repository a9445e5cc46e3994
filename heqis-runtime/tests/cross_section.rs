//! Ranks with real processes: `topologies/cross-section.toml` undisturbed, killed, and continued within a cross-section.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use stand::{Stand, event, wait_until};

/// Two years of the five stocks, of which four trade.
const DAYS: [&str; 2] = [
    "stages.market.params.from=\"2004-06-01\"",
    "stages.market.params.to=\"2006-12-29\"",
];

fn stand() -> Stand {
    let edges = ["ring->engine", "portfolio->feedback"];
    let stand = Stand::new(
        "cross-section",
        &["gateway", "compute"],
        &edges,
        &["journal"],
    );
    DAYS.iter().fold(stand, |stand, set| stand.set(set))
}

fn lines(journal: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(journal);
    text.lines().map(str::to_owned).collect()
}

/// What an undisturbed run writes.
fn reference() -> Vec<String> {
    let stand = stand();
    let summary = stand.run(&[]).clean();
    let written = event(&summary, "journal", "written");
    assert!(written > 500, "{written} decisions");
    let of = |name: &str| event(&summary, "portfolio", name);
    assert_eq!(of("buy") + of("hold") + of("sell"), written);
    assert!(of("top_ranked") > 10 && of("dropped") > 10);
    assert!(event(&summary, "rank", "complete") > 100);
    lines(&stand.journal_bytes("journal"))
}

/// Lines are compared by number first: two journals of thousands of lines are no readable assertion.
fn assert_same(got: &[String], expected: &[String]) {
    for (number, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got, expected, "line {}", number + 1);
    }
    assert_eq!(got.len(), expected.len());
}

#[test]
fn killed_nodes_continue_with_the_same_ranks_and_holdings() {
    let expected = reference();
    let slow = "stages.engine.params.simulate_latency_us=2000";
    let stand = stand().set(slow);
    let mut gateway = stand.start(&["--node", "gateway"]);
    let mut compute = stand.start(&["--node", "compute"]);
    for (at, node) in [(200, "compute"), (450, "gateway"), (700, "compute")] {
        wait_until("some decisions are written", || {
            stand.journal_lines("journal") > at
        });
        match node {
            "compute" => {
                compute.kill();
                compute = stand.start(&["--node", "compute"]);
            }
            _ => {
                gateway.kill();
                gateway = stand.start(&["--node", "gateway"]);
            }
        }
    }
    gateway.finish().clean();
    compute.finish().clean();
    assert_same(&lines(&stand.journal_bytes("journal")), &expected);
}

#[test]
fn a_cross_section_that_was_recorded_in_part_is_decided_again_and_completed() {
    let expected = reference();
    // The decisions before the last one of a cross-section keep its source items.
    let is_open = |line: &&String| line.contains("\"made_from\":{\"kept\"");
    let cuts: Vec<usize> = (0..expected.len())
        .filter(|at| is_open(&&expected[*at]))
        .collect();
    for at in [cuts[0], cuts[cuts.len() / 2], cuts[cuts.len() - 1]] {
        let stand = stand();
        let path = stand.journal("journal");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As a kill leaves it, with a line cut off.
        let kept = expected[..=at].join("\n");
        let cut = &expected[at + 1][..40];
        std::fs::write(&path, format!("{kept}\n{cut}")).unwrap();
        let summary = stand.run(&[]).clean();
        let before = at as u64 - 1;
        let all = expected.len() as u64 - 3;
        assert_eq!(
            event(&summary, "journal", "written"),
            all - before,
            "line {at}"
        );
        assert_same(&lines(&stand.journal_bytes("journal")), &expected);
    }
}

#[test]
fn a_stock_that_does_not_come_is_named_and_an_order_for_it_waits() {
    let symbols = "stages.rank.params.symbols=[\"AAPL\", \"GOOG\", \"IBM\", \"MSFT\", \"NONE\"]";
    let stand = stand().set(symbols);
    let summary = stand.run(&[]).clean();
    let sections = event(&summary, "rank", "incomplete");
    assert_eq!(event(&summary, "rank", "complete"), 0);
    assert!(event(&summary, "rank", "missing") >= sections && sections > 100);
    let journal = lines(&stand.journal_bytes("journal"));
    let named = journal.iter().filter(|line| line.contains("\"missing\":["));
    assert_eq!(named.clone().count() as u64, sections);
    assert!(named.clone().all(|line| line.contains("\"NONE\"")));
}
