//! A raw HTTP client that sends exactly the given bytes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Response {
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

/// A connection whose responses are read in order.
pub(crate) struct Connection(pub(crate) BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // Fails when the server has closed the connection, which reading the response shows.
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Reads the head of the next response, `None` when the server closed the connection.
    pub(crate) fn head(&mut self) -> Option<Response> {
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
        Some(Response {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// Reads the next response, `None` when the server closed the connection.
    pub(crate) fn response(&mut self, has_body: bool) -> Option<Response> {
        let mut response = self.head()?;
        let length = response.header("content-length").parse().unwrap_or(0);
        if has_body && response.header("transfer-encoding") == "chunked" {
            response.body = self.chunks()?;
        } else if has_body {
            response.body = vec![0; length];
            self.0.read_exact(&mut response.body).ok()?;
        }
        Some(response)
    }

    /// Reads a chunked body to its end.
    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            self.0.read_exact(&mut chunk).ok()?;
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    /// Reads the next line of a chunked stream without its line end; chunk lengths are skipped.
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

/// Sends `head` (lines without line ends) and reads the response.
pub(crate) fn request(address: SocketAddr, head: &[&str]) -> Option<Response> {
    let mut connection = Connection::open(address);
    connection.send(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes());
    connection.response(!head[0].starts_with("HEAD"))
}

/// Requests `path` as a browser would, with `more` header lines.
pub(crate) fn get(address: SocketAddr, path: &str, more: &[&str]) -> Response {
    let (line, host) = (format!("GET {path} HTTP/1.1"), format!("Host: {address}"));
    let head: Vec<&str> = [&line as &str, &host]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    request(address, &head).unwrap()
}
