//! Bars of listed symbols and all others leave by ports of their own.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use heqis_actors::Stage as _;
use heqis_actors::testing::StageTest;
use heqis_gateway::{SymbolRouter, SymbolRouterConfig};
use heqis_messages::BarMessage;
use support::bar;

fn config(symbols: &[&str]) -> SymbolRouterConfig {
    serde_json::from_value(serde_json::json!({ "symbols": symbols })).unwrap()
}

#[test]
fn each_bar_leaves_by_the_port_of_its_symbol_also_after_a_restart() {
    let mut router = StageTest::<SymbolRouter>::new(config(&["600000.SH"])).unwrap();
    for _ in 0..2 {
        for symbol in ["600000.SH", "002032.SZ", "600000.SH"] {
            let frame = router.frame(BarMessage(bar(symbol, "2020-01-02", 10.0)));
            router.process(&frame).unwrap();
        }
        router.flush().unwrap();
        let symbols = |bars: Vec<heqis_actors::Frame<BarMessage>>| -> Vec<String> {
            bars.iter().map(|bar| bar.0.symbol.to_string()).collect()
        };
        let (listed, others) = (router.emitted("listed"), router.emitted("others"));
        assert_eq!(symbols(listed), ["600000.SH", "600000.SH"]);
        assert_eq!(symbols(others), ["002032.SZ"]);
        router = router.restart().unwrap();
    }
}

#[test]
fn a_list_without_symbols_or_with_one_twice_is_refused() {
    let faults =
        |symbols: &[&str]| SymbolRouter::check(&config(symbols), std::path::Path::new("."));
    assert_eq!(faults(&["600000.SH"]), [""; 0]);
    assert_eq!(faults(&[]), ["symbols names none"]);
    assert_eq!(
        faults(&["600000.SH", "600000.SH"]),
        ["symbols names 600000.SH twice"]
    );
}
