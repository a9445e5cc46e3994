//! A pynng process, which speaks through NNG's C library.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

const PEER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../heqis-sp/tests/peers/nng_peer.py"
);

/// A running pynng process; it is killed when the test is over.
pub struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start(python: &str, protocol: &str, side: &str, endpoint: &str, role: &[&str]) -> Self {
        let mut child = Command::new(python)
            .args([PEER, protocol, side, endpoint])
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run HEQIS_TEST_PYTHON={python}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, lines };
        peer.expect("ready");
        peer
    }

    pub fn expect(&mut self, line: &str) {
        let mut got = String::new();
        self.lines.read_line(&mut got).unwrap();
        assert_eq!(
            got.trim_end(),
            line,
            "the pynng peer failed; its message is above"
        );
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the Python to run peers with.
pub fn python() -> String {
    std::env::var("HEQIS_TEST_PYTHON").expect(
        "HEQIS_TEST_PYTHON names a Python with pynng; ./test prepares one and sets it, or by hand:\n  \
         python3 -m venv target/test-peers\n  \
         target/test-peers/bin/pip install -r tests/peers/requirements.txt\n  \
         export HEQIS_TEST_PYTHON=$PWD/target/test-peers/bin/python\n",
    )
}
