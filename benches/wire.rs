//! Latency and throughput of `heqis_actors::sp`, compared with a bare tokio socket and libzmq.
//!
//! ```text
//! cargo bench --bench wire                                  # columns of libzmq and NNG: "-"
//! cargo bench --bench wire -- --libzmq LIBRARY --nng LIBRARY --rounds 3
//! ```
//!
//! `LIBRARY` is a shared library, such as those in the wheels of pyzmq (`pyzmq.libs/libzmq-*.so*`) and pynng
//! (`pynng/_nng.abi3.so`).
//!
//! The peers are processes of their own: the bench starts itself once more for each arm. Every round
//! alternates over all sizes and arms, so that a busy machine disturbs all of them alike; read the
//! ratios rather than the times. All tokio sides run on a current-thread runtime.
//!
//! - `raw tokio`: a TCP stream with 8-byte length prefixes, one vectored write per message, large
//!   reused read buffer; no coalescing, no checks: the lower bound of any framing.
//! - `sp tcp`, `sp ipc`: pair1 over `heqis_actors::sp` with its default options.
//! - `sp tls`: the same over `tls+tcp`, each process with a certificate that the other requires.
//! - `libzmq`: one PUSH/PULL pair of sockets each way, default options; `curve`: the same, encrypted by CURVE.
//! - `nng tls`: NNG's pair1 over `tls+tcp`, with the certificates of `sp tls`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

#[path = "peers/foreign.rs"]
mod foreign;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foreign::{Nng, Zmq};
use heqis_actors::sp::{Inproc, Listener, Protocol, Reader, SocketOptions, Writer, connect};
use heqis_tls::{Authority, Identity, IdentityFiles};
use tokio::net::{TcpListener, TcpStream};

const SIZES: [usize; 4] = [64, 8 << 10, 64 << 10, 1 << 20];
const ARMS: [Arm; 7] = [
    Arm::Raw,
    Arm::SpTcp,
    Arm::SpTls,
    Arm::SpIpc,
    Arm::Libzmq,
    Arm::Curve,
    Arm::NngTls,
];

/// What the peer does with a message, given by its first byte.
const ECHO: u8 = 0;
const SINK: u8 = 1;
const LAST: u8 = 2;

#[derive(Clone, Copy, PartialEq)]
enum Arm {
    Raw,
    SpTcp,
    SpTls,
    SpIpc,
    Libzmq,
    Curve,
    NngTls,
}

impl Arm {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw tokio",
            Self::SpTcp => "sp tcp",
            Self::SpTls => "sp tls",
            Self::SpIpc => "sp ipc",
            Self::Libzmq => "libzmq",
            Self::Curve => "curve",
            Self::NngTls => "nng tls",
        }
    }
}

/// One end of a conversation.
enum Link {
    Raw(Raw),
    Sp(Reader, Writer),
    Zmq(Zmq),
    Nng(Nng),
}

impl Link {
    /// Passes a message to the transport, which may hold it back until `flush`.
    async fn send(&mut self, body: &Bytes) {
        match self {
            Self::Raw(raw) => raw.send(body).await,
            Self::Sp(_, writer) => {
                if writer.is_full() {
                    writer.flush().await.unwrap();
                }
                writer.feed_bytes(&[], body.clone()).unwrap();
            }
            Self::Zmq(zmq) => zmq.send(body),
            Self::Nng(nng) => nng.send(body),
        }
    }

    async fn flush(&mut self) {
        if let Self::Sp(_, writer) = self {
            writer.flush().await.unwrap();
        }
    }

    /// Waits for a message and passes it to `look`.
    async fn recv<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Self::Raw(raw) => raw.recv().await.map(look),
            Self::Sp(reader, _) => reader.recv().await.unwrap().map(|body| look(&body)),
            Self::Zmq(zmq) => zmq.recv(|body| (look(body), false)),
            Self::Nng(nng) => nng.recv(|body| (look(body), false)),
        }
    }

    /// Serves the bench until it disconnects.
    async fn serve(mut self) {
        loop {
            // An echo without a copy where the transport owns its messages.
            let reply = match &mut self {
                Self::Sp(reader, _) => match reader.recv().await {
                    Ok(Some(body)) => reply(body[0], || body.clone()),
                    _ => return,
                },
                Self::Zmq(zmq) => match zmq.recv(|body| (body[0], body[0] == ECHO)) {
                    Some(LAST) => Some(Bytes::from_static(&[LAST])),
                    Some(_) => None,
                    None => return,
                },
                Self::Nng(nng) => match nng.recv(|body| (body[0], body[0] == ECHO)) {
                    Some(LAST) => Some(Bytes::from_static(&[LAST])),
                    Some(_) => None,
                    None => return,
                },
                Self::Raw(raw) => match raw.recv().await {
                    None => return,
                    Some(body) if body[0] == SINK => None,
                    Some(body) if body[0] == LAST => Some(Bytes::from_static(&[LAST])),
                    Some(_) => {
                        raw.echo().await;
                        None
                    }
                },
            };
            if let Some(reply) = reply {
                self.send(&reply).await;
                self.flush().await;
            }
        }
    }
}

fn reply(kind: u8, body: impl FnOnce() -> Bytes) -> Option<Bytes> {
    match kind {
        ECHO => Some(body()),
        LAST => Some(Bytes::from_static(&[LAST])),
        _ => None,
    }
}

/// A bare TCP stream with length prefixes.
struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Position of the last returned message, and the end of the bytes read ahead.
    message: std::ops::Range<usize>,
    filled: usize,
}

impl Raw {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: vec![0; 2 << 20],
            message: 0..0,
            filled: 0,
        }
    }

    async fn send(&mut self, body: &[u8]) {
        write_prefixed(&self.stream, body).await;
    }

    async fn echo(&mut self) {
        write_prefixed(&self.stream, &self.buffer[self.message.clone()]).await;
    }

    async fn recv(&mut self) -> Option<&[u8]> {
        let mut start = self.message.end;
        if start == self.filled {
            (start, self.filled) = (0, 0);
        }
        loop {
            if let Some((prefix, _)) = self.buffer[start..self.filled].split_first_chunk() {
                let end = start + 8 + u64::from_be_bytes(*prefix) as usize;
                if end <= self.filled {
                    self.message = start + 8..end;
                    return Some(&self.buffer[start + 8..end]);
                }
                if end > self.buffer.len() {
                    self.buffer.copy_within(start..self.filled, 0);
                    (start, self.filled) = (0, self.filled - start);
                }
            } else if self.buffer.len() - start < 8 {
                self.buffer.copy_within(start..self.filled, 0);
                (start, self.filled) = (0, self.filled - start);
            }
            self.stream.readable().await.unwrap();
            match self.stream.try_read(&mut self.buffer[self.filled..]) {
                Ok(0) => return None,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

async fn write_prefixed(stream: &TcpStream, body: &[u8]) {
    let prefix = (body.len() as u64).to_be_bytes();
    let mut slices = [std::io::IoSlice::new(&prefix), std::io::IoSlice::new(body)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.try_write_vectored(rest) {
            Ok(written) => std::io::IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.writable().await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn options() -> SocketOptions {
    SocketOptions::new(Protocol::Pair1)
}

/// Options of `name`, whose certificate is in `directory`, and which talks to `peer`.
fn secured(directory: impl AsRef<std::path::Path>, [name, peer]: [&str; 2]) -> SocketOptions {
    let files = IdentityFiles::in_directory(directory, name);
    let mut options = options();
    options.security = Some(Identity::new(files, Some(name)).link_with(peer));
    options
}

/// A peer process, and the link to it.
struct Peer {
    child: Child,
    link: Link,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(arm: Arm, addresses: &[String]) -> Child {
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this)
        .args(["peer", arm.name()])
        .args(addresses)
        .spawn();
    child.unwrap()
}

/// Paths of the shared libraries of libzmq and NNG.
#[derive(Default)]
struct Libraries {
    libzmq: Option<String>,
    nng: Option<String>,
}

async fn open(arm: Arm, directory: &str, libraries: &Libraries) -> Option<Peer> {
    match arm {
        Arm::Raw => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let child = start(arm, &[listener.local_addr().unwrap().to_string()]);
            let (stream, _) = listener.accept().await.unwrap();
            let link = Link::Raw(Raw::new(stream));
            Some(Peer { child, link })
        }
        Arm::SpTcp | Arm::SpTls | Arm::SpIpc => {
            let endpoint = match arm {
                Arm::SpTls => "tls+tcp://127.0.0.1:0".to_owned(),
                Arm::SpIpc => format!("ipc://{directory}/wire-{}.sock", std::process::id()),
                _ => "tcp://127.0.0.1:0".to_owned(),
            };
            let endpoint = endpoint.parse().unwrap();
            let options = match arm {
                Arm::SpTls => secured(directory, ["bench", "peer"]),
                _ => options(),
            };
            let bound = Listener::bind(&endpoint, options, &Inproc::new()).await;
            let mut listener = bound.unwrap();
            let address = listener.endpoint().to_string();
            let child = start(arm, &[address, directory.to_owned()]);
            let (reader, writer) = listener.accept().await.unwrap().split();
            let link = Link::Sp(reader, writer);
            Some(Peer { child, link })
        }
        Arm::Libzmq | Arm::Curve => {
            let path = libraries.libzmq.as_ref()?;
            let (zmq, addresses) = Zmq::bind(path, arm == Arm::Curve);
            let child = start(
                arm,
                &[std::slice::from_ref(path), addresses.as_slice()].concat(),
            );
            let link = Link::Zmq(zmq);
            Some(Peer { child, link })
        }
        Arm::NngTls => {
            let path = libraries.nng.as_ref()?;
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap().to_string();
            drop(free);
            let nng = Nng::new(path, &address, directory, ["bench", "peer"], true);
            let child = start(arm, &[path.clone(), address, directory.to_owned()]);
            let link = Link::Nng(nng);
            Some(Peer { child, link })
        }
    }
}

async fn serve(arm: &str, addresses: &[String]) {
    let link = match arm {
        "raw tokio" => Link::Raw(Raw::new(TcpStream::connect(&addresses[0]).await.unwrap())),
        "libzmq" | "curve" => Link::Zmq(Zmq::connect(&addresses[0], &addresses[1..])),
        "nng tls" => {
            let [path, address, directory] = addresses else {
                return;
            };
            let names = ["peer", "bench"];
            Link::Nng(Nng::new(path, address, directory, names, false))
        }
        _ => {
            let endpoint = addresses[0].parse().unwrap();
            let options = match arm {
                "sp tls" => secured(&addresses[1], ["peer", "bench"]),
                _ => options(),
            };
            let connection = connect(&endpoint, &options, &Inproc::new()).await.unwrap();
            let (reader, writer) = connection.split();
            Link::Sp(reader, writer)
        }
    };
    link.serve().await;
}

fn body(kind: u8, size: usize) -> Bytes {
    let mut body = vec![0xA5; size];
    body[0] = kind;
    body.into()
}

/// Returns the median round-trip time.
async fn round_trip(link: &mut Link, size: usize) -> Duration {
    let body = body(ECHO, size);
    let (warm, count) = if size >= 1 << 20 { (3, 30) } else { (20, 200) };
    let mut samples = Vec::with_capacity(count);
    for trip in 0..warm + count {
        let begin = Instant::now();
        link.send(&body).await;
        link.flush().await;
        let len = link.recv(<[u8]>::len).await;
        let took = begin.elapsed();
        assert_eq!(len, Some(size));
        if trip >= warm {
            samples.push(took);
        }
    }
    median(&mut samples)
}

/// Returns the seconds per message in a one-way flood that is acknowledged after the last message.
async fn flood(link: &mut Link, size: usize) -> Duration {
    let (sink, last) = (body(SINK, size), body(LAST, size));
    let count = (32 << 20) / size.max(1 << 10);
    let begin = Instant::now();
    for _ in 1..count {
        link.send(&sink).await;
    }
    link.send(&last).await;
    link.flush().await;
    assert_eq!(link.recv(|ack| ack[0]).await, Some(LAST));
    begin.elapsed() / count as u32
}

fn median(samples: &mut [Duration]) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// Picks one of the rounds' medians, or `None` for an arm that is not built.
type Pick = fn(&mut [Duration]) -> Duration;

/// Two processes on few cores have two speeds, depending on where the scheduler puts them, and
/// keep one for many messages: the best round compares the arms in equal placement, the median
/// round shows a busy machine.
const PICKS: [(&str, Pick); 2] = [
    ("best round", |rounds| {
        rounds.iter().copied().min().unwrap_or_default()
    }),
    ("median round", median),
];

/// Prints one measurement, in seconds per message, for each arm.
fn print_row(size: usize, picked: [Option<f64>; ARMS.len()], shown: impl Fn(f64) -> String) {
    let size = match size {
        64 => "64 B".to_owned(),
        1_048_576 => "1 MiB".to_owned(),
        kib => format!("{} KiB", kib >> 10),
    };
    let cells = picked.map(|m| m.map_or("-".to_owned(), &shown));
    let [raw, tcp, tls, ipc, libzmq, curve, nng] = picked;
    let ratio = |of: Option<f64>, to: Option<f64>| match (of, to) {
        (Some(of), Some(to)) => format!("{:.2}", of / to),
        _ => "-".to_owned(),
    };
    let ratios = [
        ratio(tcp, raw),
        ratio(tls, tcp),
        ratio(ipc, raw),
        ratio(libzmq, tcp),
        ratio(libzmq, tls),
        ratio(curve, tls),
        ratio(nng, tls),
    ];
    print_line(&size, &cells, &ratios);
}

fn print_line(size: &str, cells: &[String], ratios: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    let ratios: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:>11}")).collect();
    println!("{size:>7} |{} |{}", cells.concat(), ratios.concat());
}

fn print_head(what: &str) {
    println!("\n{what}");
    let ratios = [
        "tcp/raw",
        "tls/tcp",
        "ipc/raw",
        "libzmq/tcp",
        "libzmq/tls",
        "curve/tls",
        "nng/tls",
    ];
    let names = ARMS.map(|arm| arm.name().to_owned());
    print_line("", &names, &ratios.map(str::to_owned));
}

async fn bench(rounds: usize, libraries: &Libraries) {
    let certificates = tempfile::tempdir().unwrap();
    let authority = Authority::create(certificates.path(), "bench", 1).unwrap();
    for name in ["bench", "peer"] {
        authority.issue(name, 1).unwrap();
    }
    let directory = certificates.path().display().to_string();
    let mut peers = Vec::new();
    for arm in ARMS {
        peers.push(open(arm, &directory, libraries).await);
    }
    let mut trips: [[Vec<Duration>; ARMS.len()]; SIZES.len()] = Default::default();
    let mut floods: [[Vec<Duration>; ARMS.len()]; SIZES.len()] = Default::default();
    for _ in 0..rounds {
        for (index, size) in SIZES.into_iter().enumerate() {
            for (arm, peer) in peers.iter_mut().enumerate() {
                if let Some(peer) = peer {
                    trips[index][arm].push(round_trip(&mut peer.link, size).await);
                }
            }
            for (arm, peer) in peers.iter_mut().enumerate() {
                if let Some(peer) = peer {
                    floods[index][arm].push(flood(&mut peer.link, size).await);
                }
            }
        }
    }
    for (picked, pick) in PICKS {
        print_head(&format!("round trip, p50 of the {picked}, µs"));
        print_rows(&mut trips, pick, |_, seconds| {
            format!("{:.1}", seconds * 1e6)
        });
        print_head(&format!("one way, {picked}, MB/s"));
        print_rows(&mut floods, pick, |size, seconds| {
            format!("{:.0}", size as f64 / seconds / 1e6)
        });
    }
    println!("\nratios are of times: below 1 is faster than the divisor");
}

fn print_rows(
    rounds: &mut [[Vec<Duration>; ARMS.len()]; SIZES.len()],
    pick: Pick,
    shown: fn(usize, f64) -> String,
) {
    for (size, rounds) in SIZES.into_iter().zip(rounds) {
        let picked = rounds
            .each_mut()
            .map(|rounds| (!rounds.is_empty()).then(|| pick(rounds).as_secs_f64()));
        print_row(size, picked, |seconds| shown(size, seconds));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if arguments.first().is_some_and(|first| first == "peer") {
        runtime.block_on(serve(&arguments[1], &arguments[2..]));
        return;
    }
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map(|at| arguments[at + 1].clone())
    };
    let rounds = option("--rounds").map_or(21, |rounds| rounds.parse().unwrap());
    let libraries = Libraries {
        libzmq: option("--libzmq"),
        nng: option("--nng"),
    };
    runtime.block_on(bench(rounds, &libraries));
}
