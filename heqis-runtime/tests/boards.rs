//! The boards' binary, run under emulation and compared with this machine's: the same bars, the same decisions.
//!
//! `deploy/test-boards` builds the binary and runs these; by themselves they are left out.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::path::PathBuf;

use serde_json::Value;
use stand::{Stand, event};

/// Largest difference of a predicted value between two processors, absolute. The engine sums in another order where its
/// vectors are of another width; everything else is computed in one order everywhere.
const PREDICTION_BOUND: f64 = 1e-5;

/// Fields of a decision that a model's output stands in; whatever else differs is a fault.
const PREDICTED: [&str; 3] = ["predicted_return", "probabilities", "confidence"];

fn board_binary() -> PathBuf {
    let path = std::env::var_os("HEQIS_BOARD_RUNTIME");
    path.expect("HEQIS_BOARD_RUNTIME names no binary; deploy/test-boards sets it")
        .into()
}

fn lines(journal: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(journal).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Asserts that two journals hold the same decisions and returns the largest difference of a predicted value.
fn same_decisions(board: &[u8], here: &[u8]) -> f64 {
    let (board, here) = (lines(board), lines(here));
    assert_eq!(board.len(), here.len());
    let mut worst = 0f64;
    for (number, (board, here)) in board.into_iter().zip(here).enumerate() {
        let (Value::Object(mut board), Value::Object(mut here)) = (board, here) else {
            panic!("line {} is no object", number + 1);
        };
        for field in PREDICTED {
            let (one, other) = (board.remove(field), here.remove(field));
            let numbers = |value: &Option<Value>| -> Vec<f64> {
                match value {
                    Some(Value::Array(values)) => {
                        values.iter().map(|v| v.as_f64().unwrap()).collect()
                    }
                    Some(value) => vec![value.as_f64().unwrap()],
                    None => Vec::new(),
                }
            };
            let (one, other) = (numbers(&one), numbers(&other));
            assert_eq!(one.len(), other.len(), "line {}", number + 1);
            for (one, other) in one.into_iter().zip(other) {
                worst = worst.max((one - other).abs());
            }
        }
        // The checksum follows the predicted values.
        board.remove("crc");
        here.remove("crc");
        assert_eq!(board, here, "line {}", number + 1);
    }
    assert!(worst <= PREDICTION_BOUND, "a prediction differs by {worst}");
    worst
}

/// The dual-board topology with the linear models, which an emulator computes in a moment.
fn small() -> Stand {
    Stand::dual_board()
        .set("stages.features.params.bundle=\"models/baseline-factors\"")
        .set("stages.features.params.rows=1")
        .set("stages.engine.params.bundle=\"models/baseline-direction\"")
}

fn journal_of_this_machine(stand: &Stand) -> Vec<u8> {
    stand.run(&[]).clean();
    stand.journal_bytes("journal")
}

/// Runs both nodes, each in the program given or in this machine's own, and returns the journal.
fn two_nodes(stand: &Stand, gateway: Option<&PathBuf>, compute: Option<&PathBuf>) -> Vec<u8> {
    let start = |node: &str, emulated: Option<&PathBuf>| match emulated {
        Some(binary) => {
            let binary = binary.to_str().unwrap();
            stand.start_with(&["qemu-aarch64-static", binary], &["--node", node])
        }
        None => stand.start(&["--node", node]),
    };
    let compute = start("compute", compute);
    let gateway = start("gateway", gateway);
    let summary = gateway.finish().clean();
    compute.finish().clean();
    assert!(event(&summary, "feedback", "buy") > 0 && event(&summary, "feedback", "sell") > 0);
    stand.journal_bytes("journal")
}

#[test]
#[ignore = "needs the boards' binary and an emulator: deploy/test-boards"]
fn two_emulated_boards_decide_as_this_machine_does() {
    let board = board_binary();
    let worst = same_decisions(
        &two_nodes(&Stand::dual_board(), Some(&board), Some(&board)),
        &journal_of_this_machine(&Stand::dual_board()),
    );
    eprintln!("largest difference of a predicted value: {worst:e}");
}

#[test]
#[ignore = "needs the boards' binary and an emulator: deploy/test-boards"]
fn an_emulated_board_and_this_machine_understand_each_other() {
    let board = board_binary();
    let here = journal_of_this_machine(&small());
    let mixed = [(Some(&board), None), (None, Some(&board))];
    for (gateway, compute) in mixed {
        let worst = same_decisions(&two_nodes(&small(), gateway, compute), &here);
        // Both models are sums in one order.
        assert_eq!(worst, 0.0);
    }
}

#[test]
#[ignore = "needs the boards' binary: deploy/test-boards"]
fn the_boards_binary_is_stripped_and_asks_for_no_newer_c_library_than_the_oldest_board_has() {
    let bytes = std::fs::read(board_binary()).unwrap();
    assert_eq!(&bytes[..5], b"\x7fELF\x02", "a 64-bit ELF file");
    assert_eq!(u16::from_le_bytes([bytes[18], bytes[19]]), 183, "for ARM");
    let text = String::from_utf8_lossy(&bytes);
    let minors: Vec<u32> = text
        .split("GLIBC_2.")
        .skip(1)
        .map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        })
        .collect();
    assert!(!minors.is_empty());
    assert!(
        minors.iter().all(|&minor| minor <= 27),
        "glibc 2.x: {minors:?}"
    );
    assert!(!text.contains(".symtab"), "symbols are stripped");
}

#[test]
#[should_panic(expected = "line 2")]
fn a_decision_that_differs_is_noticed() {
    let journal = |side: &str| format!("{{\"heqis_journal\":1}}\n{{\"side\":\"{side}\"}}\n");
    same_decisions(journal("buy").as_bytes(), journal("sell").as_bytes());
}

#[test]
#[should_panic(expected = "a prediction differs by")]
fn a_prediction_beyond_the_bound_is_noticed() {
    let journal = |value: f64| format!("{{\"predicted_return\":{value}}}\n");
    same_decisions(journal(0.5).as_bytes(), journal(0.50002).as_bytes());
}
