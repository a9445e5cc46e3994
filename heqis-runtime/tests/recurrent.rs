//! A feature model that carries a state from bar to bar: whatever dies in mid-stream, the journal has the same bytes.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../nodes/gateway/tests/support/recurrent.rs"]
mod recurrent;
mod stand;

use std::path::Path;

use stand::{Stand, count, edge, event, root, wait_until};

/// A topology with the recurrent feature model in `bundle` and the baseline's predicting one.
fn with_state(stand: Stand, bundle: &Path) -> Stand {
    let bundle = bundle.display();
    stand
        .set(&format!("stages.features.params.bundle=\"{bundle}\""))
        .set("stages.features.params.rows=1")
        .set("stages.features.params.backends=[\"cpu\"]")
        .set("stages.engine.params.bundle=\"models/baseline-direction\"")
        .set("stages.engine.params.backends=[\"cpu\"]")
}

#[test]
fn the_state_survives_the_death_of_either_node() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("recurrent");
    recurrent::write(&root().join("models"), &bundle);
    let calm = with_state(
        Stand::new("single-host", &["host"], &[], &["journal"]),
        &bundle,
    );
    calm.run(&[]).clean();
    let expected = calm.journal_bytes("journal");
    for dies in ["gateway", "compute"] {
        let stand = with_state(Stand::dual_board(), &bundle)
            // A slow engine gives the test time to interfere.
            .set("stages.engine.params.simulate_latency_us=1000");
        let [dying, other] = match dies {
            "gateway" => ["gateway", "compute"],
            _ => ["compute", "gateway"],
        };
        let other = stand.start(&["--node", other]);
        let victim = stand.start(&["--node", dying]);
        wait_until("a thousand decisions are written", || {
            stand.journal_lines("journal") > 1_000
        });
        victim.kill();
        let again = stand.start(&["--node", dying]);
        let (other, again) = (other.finish().clean(), again.finish().clean());
        let (gateway, compute) = match dies {
            "gateway" => (&again, &other),
            _ => (&other, &again),
        };
        let sent = edge(gateway, "ring->engine", "sender");
        assert_eq!(
            count(sent, "sent"),
            count(sent, "delivered") + count(sent, "duplicate")
        );
        assert_eq!(event(compute, "journal", "duplicate"), 0);
        // The header names the topology, which is another one.
        let decided = |journal: &[u8]| -> Vec<u8> {
            let header = journal.iter().position(|&byte| byte == b'\n');
            journal[header.unwrap_or(0)..].to_vec()
        };
        assert!(
            decided(&stand.journal_bytes("journal")) == decided(&expected),
            "another journal after the death of {dies}"
        );
    }
}
