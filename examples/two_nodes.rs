//! Two nodes in one program, joined by a bridged edge: the same graph as on two machines, without a topology file.
//!
//! ```sh
//! cargo run --example two_nodes                      # in-process
//! cargo run --example two_nodes tcp://127.0.0.1:5560 # over TCP; any endpoint will do
//! ```
//!
//! `Ticks` runs on the node "gateway", `Sum` on the node "compute". Neither knows that a socket lies between them.

use std::time::Duration;

use heqis::actors::sp::{Endpoint, Inproc};
use heqis::actors::{
    BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Encoding, Frame, GraphBuilder,
    Next, Nothing, Payload, PayloadError, PayloadType, Source, Stage, StageError, StageOptions,
    Tensor,
};
use schemars::JsonSchema;
use serde::Deserialize;

struct Tick(u64);

impl Payload for Tick {
    const NAME: &'static str = "tick";

    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        heqis::actors::encode_meta(Self::NAME, &self.0, meta)
    }

    fn decode(meta: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        heqis::actors::decode_meta(Self::NAME, meta).map(Self)
    }
}

#[derive(Deserialize, JsonSchema)]
struct TicksConfig {
    count: u64,
}

struct Ticks {
    next: u64,
    count: u64,
}

impl Source for Ticks {
    type Config = TicksConfig;
    type Out = Tick;
    const KIND: &'static str = "ticks";
    const ABOUT: &'static str = "Counts.";
    const REPLAYABLE: bool = true;

    fn build(config: &TicksConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            next: 1,
            count: config.count,
        })
    }

    fn next(&mut self) -> Result<Next<Tick>, StageError> {
        if self.next > self.count {
            return Ok(Next::End);
        }
        self.next += 1;
        Ok(Next::Item(Tick(self.next - 1)))
    }
}

#[derive(Deserialize, JsonSchema)]
struct SumConfig {}

struct Sum {
    sum: u64,
    stage_names: std::sync::Arc<[String]>,
}

impl Stage for Sum {
    type Config = SumConfig;
    type In = Tick;
    type Out = Nothing;
    const KIND: &'static str = "sum";
    const ABOUT: &'static str = "Adds up what arrives.";

    fn build(_: &SumConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            sum: 0,
            stage_names: cx.stage_names().clone(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Tick>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        self.sum += frame.0;
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "the example shows its result")]
    fn finish(&mut self) -> Result<(), StageError> {
        println!("{} of {:?}", self.sum, self.stage_names);
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the example ends by showing its books")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint: Endpoint = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("inproc://ticks")
        .parse()?;
    let bridge = BridgeOptions {
        endpoint,
        credit: 32,
        delivery: Delivery::AtLeastOnce,
        max_frame: 64 * 1024,
        encoding: Encoding::F32,
    };
    let hub = Inproc::new();
    let ends = ("ticks", "sum");
    let tick = PayloadType::of::<Tick>();
    // Both nodes declare both stages in the same order, so that time stamps name the same stage everywhere.
    let gateway = GraphBuilder::new("two-nodes")
        .node("gateway")
        .inproc(hub.clone())
        .source::<Ticks>(
            "ticks",
            TicksConfig { count: 100_000 },
            StageOptions::default(),
        )
        .remote("sum")
        .edge_out(0, ends, tick, EdgeOptions::default(), bridge.clone());
    let compute = GraphBuilder::new("two-nodes")
        .node("compute")
        .inproc(hub)
        .remote("ticks")
        .stage::<Sum>("sum", SumConfig {}, StageOptions::default())
        .edge_in(0, ends, tick, EdgeOptions::default(), bridge);
    // On two machines each would call `run` in a process of its own; here a thread stands for a machine.
    let patience = Duration::from_secs(10);
    let other = std::thread::Builder::new()
        .name("compute".into())
        .spawn(move || compute.run(patience))?;
    let sent = gateway.run(patience)?;
    let received = other.join().map_err(|_| "the compute node panicked")??;
    for report in [&sent, &received] {
        let edge = &report.edges[0];
        println!(
            "{}: {} sent {}, delivered {}",
            report.node, edge.edge, edge.sent, edge.delivered
        );
    }
    if sent.is_clean() && received.is_clean() {
        Ok(())
    } else {
        Err("the books do not close".into())
    }
}
