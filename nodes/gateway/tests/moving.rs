//! A symbol moves between two gateways in mid-stream, and its features are those of a symbol that stays.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use heqis_actors::testing::GraphTest;
use heqis_actors::{GraphBuilder, Payload, Receiver, Sender, StageOptions, channel, channel_out};
use heqis_gateway::{Cleaner, Indicators, NpuFeature};
use heqis_messages::{BarMessage, Features};
use heqis_quant::Bar;
use serde_json::json;
use support::{committed_bars, config, root};

const STAGES: [&str; 3] = ["cleaner", "indicators", "features"];

fn gateway() -> (Sender<BarMessage>, Receiver<Features>, GraphTest) {
    let (bars, source) = channel(64);
    let (sink, features) = channel_out();
    let options = StageOptions::default;
    let model = json!({ "bundle": "models/baseline-factors", "backends": ["cpu"] });
    let graph = GraphBuilder::new("gateway")
        .base(root())
        .input("market", source)
        .stage::<Cleaner>("cleaner", config(json!({})), options())
        .stage::<Indicators>("indicators", config(json!({ "market": {} })), options())
        .stage::<NpuFeature>("features", config(model), options())
        .output("out", sink)
        .chain(&["market", "cleaner", "indicators", "features", "out"]);
    (bars, features, GraphTest::spawn(graph).unwrap())
}

/// The bytes and tensors of all features of two symbols, of which the first one moves after each of `moves` bars.
fn features(bars: &[[Bar; 2]], moves: usize) -> Vec<(u128, Vec<u8>, Vec<f32>)> {
    let [mut here, mut there] = [gateway(), gateway()];
    let key = BarMessage(bars[0][0]).key();
    for (at, [moving, staying]) in bars.iter().enumerate() {
        here.0.send(BarMessage(*moving)).unwrap();
        there.0.send(BarMessage(*staying)).unwrap();
        if at % moves == moves - 1 {
            let moved = here.2.take_key_blocking(&STAGES, key).unwrap();
            there.2.put_key_blocking(&moved).unwrap();
            // The other symbol goes the other way, so that both graphs have one.
            let moved = there
                .2
                .take_key_blocking(&STAGES, BarMessage(*staying).key());
            here.2.put_key_blocking(&moved.unwrap()).unwrap();
            std::mem::swap(&mut here, &mut there);
        }
    }
    let mut all = Vec::new();
    for (bars, features, graph) in [here, there] {
        drop(bars);
        for frame in features {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes).unwrap();
            all.push((frame.key(), bytes, frame.tensor.data().to_vec()));
        }
        assert!(graph.wait_blocking().is_clean());
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
}

#[test]
fn the_features_of_a_symbol_that_moves_are_those_of_one_that_stays() {
    let [first, second] = ["600000.SH.csv", "002032.SZ.csv"].map(committed_bars);
    let bars: Vec<[Bar; 2]> = first.into_iter().zip(second).map(Into::into).collect();
    let bars = &bars[..480];
    let stayed = features(bars, usize::MAX);
    assert!(stayed.len() > 200, "{}", stayed.len());
    assert!(features(bars, 37) == stayed);
}
