//! Filters on the whole pipeline: one process and two decide the same, and a killed node forgets nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use stand::{Stand, event, wait_until};

/// Filters that remember, with the market that they need.
fn filtered(stand: Stand) -> Stand {
    stand
        .set("stages.indicators.params.market={ filter_indicators = { trend = { short_bars = 5, long_bars = 20 } } }")
        .set(
            "stages.signal.params.filters={ limit_up_hold = true, trend = { short_bars = 5, long_bars = 20 }, \
             stop_loss = 0.03, loss_cool_down_days = 3, max_daily_gain = 0.03 }",
        )
}

fn single_host() -> Stand {
    Stand::new("single-host", &["host"], &[], &["journal"])
}

#[test]
fn filters_remember_through_a_kill_of_the_compute_node() {
    let alone = filtered(single_host());
    let summary = alone.run(&[]).clean();
    for reason in ["no_trend", "stop_loss", "cool_down", "daily_gain"] {
        assert!(
            event(&summary, "signal", reason) > 0,
            "{reason} is not put to the test"
        );
    }
    let expected = alone.journal_bytes("journal");
    let stand = filtered(Stand::dual_board()).set("stages.engine.params.simulate_latency_us=1000");
    let gateway = stand.start(&["--node", "gateway"]);
    let compute = stand.start(&["--node", "compute"]);
    wait_until("a thousand decisions are written", || {
        stand.journal_lines("journal") > 1_000
    });
    compute.kill();
    let compute = stand.start(&["--node", "compute"]);
    let (_, compute) = (gateway.finish().clean(), compute.finish().clean());
    let all = expected.iter().filter(|&&byte| byte == b'\n').count() - 3;
    assert!(event(&compute, "journal", "written") < all as u64);
    let got = stand.journal_bytes("journal");
    let (got, expected) = (
        String::from_utf8(got).unwrap(),
        String::from_utf8(expected).unwrap(),
    );
    // The header names the topology, which is another one.
    let lines = got.lines().zip(expected.lines()).enumerate().skip(1);
    for (number, (got, expected)) in lines {
        assert_eq!(got, expected, "line {}", number + 1);
    }
    assert_eq!(got.lines().count(), expected.lines().count());
}

#[test]
fn a_halted_pipeline_journals_what_it_would_have_done() {
    let stand = single_host().set("stages.signal.params.trading_state=\"halted\"");
    let summary = stand.run(&[]).clean();
    assert_eq!(
        (
            event(&summary, "signal", "buy"),
            event(&summary, "signal", "sell")
        ),
        (0, 0)
    );
    assert!(event(&summary, "signal", "halted") > 0);
}

#[test]
fn filters_without_their_market_do_not_start() {
    let stand = single_host().set("stages.signal.params.filters={ stop_loss = 0.1 }");
    let ended = stand.run(&[]);
    assert_eq!(ended.code(), Some(2), "{}", ended.log);
    assert!(
        ended.log.contains("E0311") && ended.log.contains("filter indicators"),
        "{}",
        ended.log
    );
}
