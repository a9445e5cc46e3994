//! A client that says exactly what it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A connection whose answers are read one after another.
pub(crate) struct Connection(pub(crate) BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // A server that has hung up already makes this fail, which the answer will show.
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// The head of the next answer, `None` when the server hung up instead.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let mut line = String::new();
        if self.0.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Some(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// The next whole answer, `None` when the server hung up instead.
    pub(crate) fn answer(&mut self, has_body: bool) -> Option<Answer> {
        let mut answer = self.head()?;
        let length = answer.header("content-length").parse().unwrap_or(0);
        if has_body {
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).ok()?;
        }
        Some(answer)
    }

    /// The next line of a stream that is sent in chunks, without its end; chunk lengths are passed over.
    pub(crate) fn event_line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']).to_owned();
            let is_length = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_length && !line.is_empty() {
                return Some(line);
            }
        }
    }
}

/// Sends `head` (lines without their ends) and reads the answer.
pub(crate) fn ask(address: SocketAddr, head: &[&str]) -> Option<Answer> {
    let mut connection = Connection::open(address);
    connection.send(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes());
    connection.answer(!head[0].starts_with("HEAD"))
}

/// Reads `path` as a browser of this machine would, with `more` header lines.
pub(crate) fn get(address: SocketAddr, path: &str, more: &[&str]) -> Answer {
    let (line, host) = (format!("GET {path} HTTP/1.1"), format!("Host: {address}"));
    let head: Vec<&str> = [&line as &str, &host]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    ask(address, &head).unwrap()
}
