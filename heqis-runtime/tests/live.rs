//! A live gateway that goes and comes back in mid-day: what it is fed in pieces, it decides as if it had never been away.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::Write as _;
use std::net::TcpStream;

use stand::{Stand, get, json_bars, root, wait_until};

/// Bars before the first decision: warm-up of the features, of the encoder's window and of the rows.
const WARM_UP: usize = 250 + 15 + 31;

fn live() -> Stand {
    Stand::lossless_live().set("nodes.gateway.state.every=\"200ms\"")
}

fn feed(stand: &Stand, bars: &[String]) {
    let port = *stand.ports.last().unwrap();
    let mut feed = None;
    wait_until("the source listens", || {
        feed = TcpStream::connect(("127.0.0.1", port)).ok();
        feed.is_some()
    });
    let mut feed = feed.unwrap();
    feed.write_all(bars.concat().as_bytes()).unwrap();
}

/// What was decided, without the identity of the stream, which is another one for each recording.
fn decisions(stand: &Stand) -> Vec<String> {
    let mut bytes = stand.journal_bytes("journal");
    // The last line may be half written.
    bytes.truncate(
        bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1),
    );
    let journal = String::from_utf8(bytes).unwrap();
    let decided = journal.lines().filter(|line| line.starts_with("{\"n\":"));
    decided
        .map(|line| {
            let (n, rest) = line.split_once(",\"stream\":\"").unwrap();
            let body = rest[16..].rsplit_once(",\"crc\"").unwrap().0;
            format!("{n}{body}")
        })
        .collect()
}

fn decided(stand: &Stand, bars: usize) {
    wait_until("the bars are decided", || {
        stand.journal_lines("journal") > bars - WARM_UP
    });
    wait_until("all of them", || decisions(stand).len() >= bars - WARM_UP);
}

#[test]
fn a_gateway_that_is_killed_or_restarted_in_mid_day_decides_on_the_very_next_bar() {
    let bars = json_bars(420);
    let whole = live();
    let (gateway, compute) = (
        whole.start(&["--node", "gateway"]),
        whole.start(&["--node", "compute"]),
    );
    feed(&whole, &bars);
    decided(&whole, bars.len());
    let expected = decisions(&whole);
    assert_eq!(expected.len(), bars.len() - WARM_UP);
    gateway.signal("TERM");
    compute.signal("TERM");
    gateway.finish().clean();
    compute.finish().clean();

    for signal in ["KILL", "TERM"] {
        let stand = live();
        let compute = stand.start(&["--node", "compute"]);
        let mut gateway = stand.start(&["--node", "gateway"]);
        let mut fed = 0;
        for upto in [310, 330, 331, 400, 420] {
            feed(&stand, &bars[fed..upto]);
            decided(&stand, upto);
            fed = upto;
            match signal {
                "KILL" => gateway.kill(),
                _ => {
                    gateway.signal(signal);
                    gateway.finish().clean();
                }
            }
            gateway = stand.start(&["--node", "gateway"]);
        }
        assert_eq!(decisions(&stand), expected, "{signal}");
        wait_until("nothing waits", || {
            get(stand.ports[0], "/readyz").is_some_and(|(status, _)| status == 200)
        });
        gateway.signal("TERM");
        gateway.finish().clean();
        compute.signal("TERM");
        compute.finish().clean();
    }
}

/// What the model said of each bar, to the bit.
fn predictions(stand: &Stand) -> Vec<(String, u64, [u64; 3])> {
    let Ok(journal) = heqis_compute::journal::read(&stand.journal("journal")) else {
        return Vec::new();
    };
    let said = journal.decisions.iter().map(|(_, record)| {
        let said = record.prediction();
        (
            record.date.to_string(),
            said.predicted_return.to_bits(),
            said.probabilities.map(f64::to_bits),
        )
    });
    said.collect()
}

#[test]
fn a_data_set_warms_a_gateway_up_so_that_it_decides_on_its_first_bar() {
    let bars = json_bars(420);
    let run = |stand: &Stand, bars: &[String], decisions: usize| {
        let nodes = ["gateway", "compute"].map(|node| stand.start(&["--node", node]));
        feed(stand, bars);
        wait_until("the bars are decided", || {
            predictions(stand).len() >= decisions
        });
        for node in nodes {
            node.signal("TERM");
            node.finish().clean();
        }
        predictions(stand)
    };
    let whole = run(&live(), &bars, bars.len() - WARM_UP);

    let warmed = live();
    let csv = std::fs::read_to_string(root().join("data/ashare/002032.SZ.csv")).unwrap();
    let past: Vec<&str> = csv.lines().take(1 + 330).collect();
    let path = warmed.folder.path().join("002032.SZ.csv");
    std::fs::write(&path, past.join("\n") + "\n").unwrap();
    let warmed = warmed.set(&format!(
        "stages.market.params.warm_up=[\"{}\"]",
        path.display()
    ));
    let said = run(&warmed, &bars[330..], bars.len() - 330);
    assert_eq!(said, whole[330 - WARM_UP..]);
}
