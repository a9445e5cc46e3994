//! A custom payload over the wire: two graphs in one program, joined by a bridged edge as on two machines.
//!
//! ```sh
//! cargo run --example two_nodes [ENDPOINT] # such as tcp://127.0.0.1:5560 or tls+tcp://127.0.0.1:5560; in-process without one
//! ```

use heqis::actors::{channel_out, sp::Endpoint, sp::Inproc};
use heqis::prelude::*;
use heqis::tls::{Authority, Identity, IdentityFiles, TlsError};

/// A number, sent as the meta part, and samples, sent as the tensor part from where they are stored.
#[derive(Payload)]
struct Wave(u64, #[payload(tensor)] Tensor);

fn wave(number: u64) -> Wave {
    Wave(number, Tensor::vector(vec![number as f32; 4]))
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
    let bridge = BridgeOptions::new(endpoint).credit(32).max_frame(1 << 16);
    let hub = Inproc::new();
    let (sink, waves) = channel_out::<Wave>();
    // Both nodes list all stages in the same order, so that time stamps refer to the same stages.
    let gateway = GraphBuilder::new("two-nodes")
        .node("gateway")
        .inproc(hub.clone())
        .source_iter("waves", (1..=10_000).map(wave))
        // Two runs give the same waves, so that a restarted gateway continues where it was.
        .stream("waves", "energy of 10,000 waves")
        .remote("energy")
        .bridge::<Wave>("waves", "energy", bridge.clone().security(ours));
    let compute = GraphBuilder::new("two-nodes")
        .node("compute")
        .inproc(hub)
        .remote("waves")
        .output("energy", sink)
        .bridge::<Wave>("waves", "energy", bridge.security(theirs));
    // On two machines each node runs in a process of its own; here both run in one, on threads of their own.
    let (compute, gateway) = (compute.spawn()?, gateway.spawn()?);
    let energy = |wave: Frame<Wave>| f64::from(wave.1.data().iter().sum::<f32>());
    let sum: f64 = waves.into_iter().map(energy).sum();
    let (sent, received) = (gateway.wait_blocking(), compute.wait_blocking());
    assert!(sent.is_clean() && received.is_clean(), "the books close");
    println!("{} waves, sum {sum}", sent.edges[0].delivered);
    assert_eq!(sum, 200_020_000.0);
    Ok(())
}
