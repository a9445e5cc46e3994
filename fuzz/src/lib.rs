//! Entry points for untrusted bytes. Each accepts any bytes and panics when a property is violated.
//!
//! - [`TARGETS`]: one function for each kind of bytes, for drivers. The wire formats are here; `files` has those of files
//!   and lines, `tls` those of TLS, `memory` limits the memory of a target.
//! - [`inputs`]: valid and invalid inputs to start from. [`Mutator`]: mutates them, repeatably.
//!
//! Not here: coverage guidance, which `fuzz_targets/` leaves to libFuzzer, and tables of predictions, whose crate takes too
//! long to build for this one: `heqis-data/tests/predictions_damaged.rs`.

mod files;
mod memory;
mod mutate;
mod tls;

use std::path::PathBuf;

use bytes::Bytes;
use heqis_actors::requests::{Reply, Request};
use heqis_actors::sp::{Connection, Protocol, SocketOptions};
use heqis_actors::wire::{Encoded, Header, MessageKind, WireFrame, WireMeta};
use heqis_actors::{MAX_META_BYTES, PayloadError, Tensor, decode_meta};
use tokio::io::{AsyncWriteExt, duplex};
use wincode::{SchemaRead, SchemaWrite};

pub use files::{factors, journal, json_bar, manifest, table, table_file, topology};
pub use mutate::Mutator;
pub use tls::{certificate, tls_handshake};

/// A decoder of bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// Accepts any bytes, and panics when a property is violated.
    pub run: fn(&[u8]),
    /// Number of mutated inputs in the tests.
    pub tries: u32,
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    target("wire_frame", wire_frame, 20_000),
    target("meta", meta, 20_000),
    target("sp_reader", sp_reader, 20_000),
    target("table", table, 4_000),
    target("table_file", table_file, 2_000),
    target("topology", topology, 1_000),
    target("journal", journal, 20_000),
    target("manifest", manifest, 10_000),
    target("factors", factors, 10_000),
    target("json_bar", json_bar, 50_000),
    target("certificate", certificate, 50_000),
    target("tls_handshake", tls_handshake, 4_000),
];

const fn target(name: &'static str, run: fn(&[u8]), tries: u32) -> Target {
    Target { name, run, tries }
}

/// The initial inputs of a target: its corpus, its seeds, and files of this repository in its format.
///
/// # Errors
/// When a folder or a file cannot be read.
pub fn inputs(target: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    let mut folders = files::folders(target);
    folders.push((format!("corpus/{target}"), ""));
    for (folder, ending) in folders {
        let folder = home.join(folder);
        // A target whose seeds are written at every start may have no corpus.
        for entry in folder
            .is_dir()
            .then(|| folder.read_dir())
            .transpose()?
            .into_iter()
            .flatten()
        {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(ending) {
                paths.push(path);
            }
        }
    }
    // The same order on every machine, since a run is repeated by its seed.
    paths.sort();
    let mut inputs = paths
        .into_iter()
        .map(std::fs::read)
        .collect::<Result<Vec<_>, _>>()?;
    inputs.extend(seeds(target).into_iter().map(|(_, bytes)| bytes));
    Ok(inputs)
}

/// Longest message that the reader under test accepts.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// A frame as received, and once more with a correct checksum, so that the rules after it are reached.
pub fn wire_frame(data: &[u8]) {
    frame(Bytes::copy_from_slice(data));
    if data.len() >= 64 {
        frame(seal(data.to_vec()).into());
    }
}

fn frame(bytes: Bytes) {
    let len = bytes.len();
    let Ok(frame) = WireFrame::parse(bytes) else {
        return;
    };
    let tensor = frame.tensor().expect("a parsed frame has its tensor");
    assert!(frame.meta().len() <= MAX_META_BYTES);
    // One byte a value at least, whatever the encoding.
    assert!(64 + frame.meta().len() + tensor.data().len() <= len);
    meta(frame.meta());
}

fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..44]);
    hasher.update(&frame[48..]);
    let crc = hasher.finalize();
    frame[44..48].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// The meta parts of bridges, field by field.
#[derive(Debug, SchemaRead, SchemaWrite)]
struct Envelope {
    stream: u64,
    position: u64,
    part: u32,
    key: u128,
    stamps: Vec<(u16, i64, i64)>,
    payload: Vec<u8>,
}

#[derive(Debug, SchemaRead, SchemaWrite)]
struct Hello {
    edge: String,
    payload: String,
    instance: u64,
    first_seq: u64,
    at_least_once: bool,
}

#[derive(Debug, SchemaRead, SchemaWrite)]
struct Welcome {
    session: u64,
    received: u64,
    limit: u64,
    have: Vec<(u64, u64, u64)>,
}

#[derive(Debug, SchemaRead, SchemaWrite)]
struct Ack {
    limit: u64,
    done: u64,
    outcomes: Vec<u64>,
}

#[derive(Debug, SchemaRead, SchemaWrite)]
struct Heartbeat {
    lag_ns: Option<i64>,
}

/// A meta part, read as each of the messages that bridges send; the layout has one spelling of each value.
pub fn meta(data: &[u8]) {
    macro_rules! spelled_once {
        ($($type:ty),*) => {$(
            if let Ok(value) = decode_meta::<$type>("fuzz", data) {
                let mut again = Vec::new();
                heqis_actors::encode_meta("fuzz", &value, &mut again).expect("what was read can be written");
                assert_eq!(again, data, "{value:?}");
            }
        )*};
    }
    spelled_once!(Envelope, Hello, Welcome, Ack, Heartbeat, Request, Reply);
}

/// The bytes of a peer after its handshake, at a pair1 socket.
pub fn sp_reader(data: &[u8]) {
    let mut options = SocketOptions::new(Protocol::Pair1);
    options.max_frame_bytes = MAX_MESSAGE_BYTES;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (ours, mut peer) = duplex(data.len() + 8);
        peer.write_all(b"\0SP\0\0\x11\0\0")
            .await
            .expect("there is room");
        peer.write_all(data).await.expect("there is room");
        peer.shutdown().await.expect("a pipe can be closed");
        let connection = Connection::over(ours, &options)
            .await
            .expect("the handshake is sound");
        let (mut reader, _writer) = connection.split();
        let mut taken = 0;
        while let Ok(Some(message)) = reader.recv().await {
            assert!(message.len() <= MAX_MESSAGE_BYTES);
            taken += 12 + message.len();
            assert!(taken <= data.len(), "more was received than was sent");
            let _ = WireFrame::parse(message);
        }
    });
}

struct Raw(Vec<u8>);

impl WireMeta for Raw {
    const NAME: &'static str = "raw";

    fn write(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn read(bytes: &[u8]) -> Result<Self, PayloadError> {
        Ok(Self(bytes.to_vec()))
    }
}

/// The targets whose corpus is written by this program.
pub const WRITTEN: [&str; 3] = ["wire_frame", "meta", "sp_reader"];

/// Inputs of the target called `target` that a program has to write, each with a name. Of a target of [`WRITTEN`]: one of
/// every kind of frame, and a stream of them.
#[must_use]
pub fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    if !WRITTEN.contains(&target) {
        return files::seeds(target);
    }
    let mut metas = Vec::new();
    macro_rules! add {
        ($name:literal, $value:expr) => {{
            let mut bytes = Vec::new();
            heqis_actors::encode_meta("fuzz", &$value, &mut bytes).expect("a seed can be written");
            metas.push(($name, bytes));
        }};
    }
    let stamps = vec![
        (0, 1_700_000_000_000_000_000, 1_700_000_000_000_001_000),
        (1, 2, 3),
    ];
    add!(
        "envelope",
        Envelope {
            stream: 7,
            position: 42,
            part: 0,
            key: 0x4150_504C,
            stamps,
            payload: vec![1, 2, 3, 4, 5]
        }
    );
    let (edge, payload) = ("ring->engine".to_owned(), "features".to_owned());
    add!(
        "hello",
        Hello {
            edge,
            payload,
            instance: 0x1234_5678_9ABC_DEF0,
            first_seq: 1,
            at_least_once: true
        }
    );
    add!(
        "welcome",
        Welcome {
            session: 9,
            received: 17,
            limit: 33,
            have: vec![(7, 1, 40), (8, 3, 3)]
        }
    );
    add!(
        "ack",
        Ack {
            limit: 50,
            done: 34,
            outcomes: vec![30, 3, 0, 1, 0, 0, 0, 0, 0, 0]
        }
    );
    add!(
        "heartbeat",
        Heartbeat {
            lag_ns: Some(-249_981_340)
        }
    );
    if target == "meta" {
        return metas;
    }
    let tensor =
        Tensor::new(&[2, 3], vec![0.5, -1.0, f32::NAN, 0.0, 1e30, -0.0]).expect("the shape fits");
    let kinds = [
        MessageKind::Data,
        MessageKind::Hello,
        MessageKind::Welcome,
        MessageKind::Ack,
        MessageKind::Heartbeat,
    ];
    let mut frames = Vec::new();
    for ((name, meta), kind) in metas.into_iter().zip(kinds) {
        let header = Header {
            kind,
            route: 3,
            epoch: 1,
            seq: u64::from(kind == MessageKind::Data) * 42,
            ts_ns: i64::from(kind == MessageKind::Heartbeat) * 1_700_000_000_000_000_000,
        };
        let tensor = (kind == MessageKind::Data).then_some(&tensor);
        let encoded = Encoded::new(header, &Raw(meta), tensor).expect("a seed can be laid out");
        frames.push((name, encoded.concat(tensor).to_vec()));
    }
    if target == "wire_frame" {
        return frames;
    }
    let message = |body: &[u8]| {
        [
            &(body.len() as u64 + 4).to_be_bytes()[..],
            &1u32.to_be_bytes(),
            body,
        ]
        .concat()
    };
    let mut streams: Vec<_> = frames
        .iter()
        .map(|(name, frame)| (*name, message(frame)))
        .collect();
    streams.push((
        "stream",
        frames
            .iter()
            .flat_map(|(_, frame)| message(frame))
            .collect(),
    ));
    streams
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_corpus_holds_the_seeds_and_every_target_takes_it() {
        for Target { name, run, .. } in TARGETS {
            let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
            for (seed, bytes) in seeds(name).into_iter().filter(|_| WRITTEN.contains(&name)) {
                let kept = std::fs::read(format!("{folder}/{seed}"));
                assert!(
                    kept.is_ok_and(|kept| kept == bytes),
                    "{name}/{seed} is stale: run smoke --write-corpus"
                );
            }
            inputs(name).unwrap().iter().for_each(|bytes| run(bytes));
        }
    }

    #[test]
    fn every_target_has_its_corpus_its_program_and_its_row() {
        let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
        let folder = |name: &str| -> BTreeSet<String> {
            let entries = home.join(name).read_dir().unwrap();
            let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
            entries.map(|entry| stem(entry.unwrap().path())).collect()
        };
        let (readme, manifest) = (read("README.md"), read("Cargo.toml"));
        let table = readme.lines().skip_while(|line| !line.starts_with('|'));
        let rows = table.take_while(|line| line.starts_with('|'));
        let rows =
            rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
        let programs = manifest.lines().filter_map(|line| {
            let path = line.strip_prefix("path = \"fuzz_targets/")?;
            Some(path.strip_suffix(".rs\"")?.to_owned())
        });
        let targets = BTreeSet::from(TARGETS.map(|target| target.name.to_owned()));
        for (place, names) in [
            ("folders of fuzz/corpus", folder("corpus")),
            ("files of fuzz/fuzz_targets", folder("fuzz_targets")),
            ("[[bin]] of fuzz/Cargo.toml", programs.collect()),
            ("rows of the first table of fuzz/README.md", rows.collect()),
        ] {
            assert_eq!(
                names, targets,
                "left: {place}, right: `TARGETS` of fuzz/src/lib.rs"
            );
        }
    }

    #[test]
    fn damaged_inputs_break_no_promise() {
        std::thread::scope(|scope| {
            for Target { name, run, tries } in TARGETS {
                scope.spawn(move || {
                    let (inputs, mut mutator) = (inputs(name).unwrap(), Mutator::new(1));
                    (0..tries).for_each(|_| run(&mutator.damaged(&inputs)));
                });
            }
        });
    }

    #[test]
    fn the_seeds_are_accepted_and_damage_is_not_always_fatal() {
        assert!(
            seeds("wire_frame")
                .into_iter()
                .all(|(_, bytes)| WireFrame::parse(bytes.into()).is_ok())
        );
        let seeds: Vec<_> = seeds("wire_frame")
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect();
        let mut mutator = Mutator::new(1);
        let sealed = (0..2_000)
            .map(|_| mutator.damaged(&seeds))
            .filter(|bytes| bytes.len() >= 64)
            .map(seal);
        let (mut accepted, mut refused) = (0, 0);
        for bytes in sealed {
            *(if WireFrame::parse(bytes.into()).is_ok() {
                &mut accepted
            } else {
                &mut refused
            }) += 1;
        }
        assert!(
            accepted > 100 && refused > 100,
            "{accepted} accepted, {refused} refused"
        );
    }
}
