//! A custom payload over the wire: two graphs in one program, joined by a bridged edge as on two machines.
//!
//! ```sh
//! cargo run --example two_nodes [ENDPOINT] # such as tcp://127.0.0.1:5560 or tls+tcp://127.0.0.1:5560; in-process without one
//! ```
//!
//! `Waves` runs on the node "gateway", `Energy` on the node "compute"; neither depends on what carries its frames.

use heqis::actors::sp::{Endpoint, Inproc};
use heqis::actors::{
    BridgeOptions, BuildContext, Emitter, Frame, GraphBuilder, Next, Note, Nothing, Payload,
    PayloadType, Source, Stage, StageError, Tensor,
};
use heqis::tls::{Authority, Identity, IdentityFiles, TlsError};

/// A number, sent as the meta part, and samples, sent as the tensor part from where they are stored.
#[derive(Payload)]
struct Wave(u64, #[payload(tensor)] Tensor);

/// The numbers of the waves.
struct Waves(std::ops::RangeInclusive<u64>);

impl Source for Waves {
    type Config = u64;
    type Out = Wave;
    const KIND: &'static str = "waves";
    const ABOUT: &'static str = "Numbered waves.";
    const REPLAYABLE: bool = true;

    fn build(&waves: &u64, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(1..=waves))
    }

    fn next(&mut self) -> Result<Next<Wave>, StageError> {
        Ok(self.0.next().map_or(Next::End, |number| {
            let samples = Tensor::vector(vec![number as f32; 4]);
            Next::Item(Wave(number, samples))
        }))
    }
}

/// Adds up samples; the node's report shows the sum.
struct Energy(f64, Note);

impl Stage for Energy {
    type Config = ();
    type In = Wave;
    type Out = Nothing;
    const KIND: &'static str = "energy";
    const ABOUT: &'static str = "Adds up the samples of waves.";

    fn build((): &(), cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(0.0, cx.note("sum")))
    }

    fn process(
        &mut self,
        frame: &Frame<Wave>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        self.0 += f64::from(frame.1.data().iter().sum::<f32>());
        self.1.set(self.0.to_string());
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1);
    let endpoint: Endpoint = argument.as_deref().unwrap_or("inproc://waves").parse()?;
    // For TLS each node has a certificate and accepts only the other one; on two machines `heqis-runtime certs` makes them.
    let certificates = tempfile::tempdir()?;
    let [ours, theirs] = match endpoint {
        Endpoint::Tls { .. } => {
            let authority = Authority::create(certificates.path(), "two-nodes", 1)?;
            let link = |name: &str, peer: &str| {
                authority.issue(name, 1)?;
                let files = IdentityFiles::in_directory(certificates.path(), name);
                Ok::<_, TlsError>(Some(Identity::new(files, Some(name)).link_with(peer)))
            };
            [link("gateway", "compute")?, link("compute", "gateway")?]
        }
        _ => [None, None],
    };
    let bridge = BridgeOptions::new(endpoint).credit(32).max_frame(64 * 1024);
    let hub = Inproc::new();
    let (ends, wave) = (("waves", "energy"), PayloadType::of::<Wave>());
    // Both nodes list all stages in the same order, so that time stamps refer to the same stages.
    let gateway = GraphBuilder::new("two-nodes")
        .node("gateway")
        .inproc(hub.clone())
        .source::<Waves>("waves", 10_000, Default::default())
        // Two runs give the same waves, so that a restarted gateway continues where it was.
        .stream("waves", "energy of 10,000 waves")
        .remote("energy")
        .edge_out(
            0,
            ends,
            wave,
            Default::default(),
            bridge.clone().security(ours),
        );
    let compute = GraphBuilder::new("two-nodes")
        .node("compute")
        .inproc(hub)
        .remote("waves")
        .stage::<Energy>("energy", (), Default::default())
        .edge_in(0, ends, wave, Default::default(), bridge.security(theirs));
    // On two machines each node runs in a process of its own; here both run in one, on threads of their own.
    let (compute, gateway) = (compute.spawn()?, gateway.spawn()?);
    let (sent, received) = (gateway.wait_blocking(), compute.wait_blocking());
    assert!(sent.is_clean() && received.is_clean(), "the books close");
    let sum = received.stages[0].notes.get("sum");
    println!("{} waves, sum {sum:?}", sent.edges[0].delivered);
    assert_eq!(sum.map(String::as_str), Some("200020000"));
    Ok(())
}
