//! Hostile and broken clients.

use std::time::Duration;

use heqis_dashboard::Settings;

use crate::client::{Connection, get, request};
use crate::fixture::{guarded, serve, settings};

#[test]
fn no_path_leads_to_the_file_system() {
    let served = serve(settings());
    for path in [
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..\\..\\etc\\passwd",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/%00",
        "/assets/",
        "/assets",
        "/etc/passwd",
        "/../Cargo.toml",
        "/assets/vendor/",
        "/assets/index.html/",
        "/assets/index.html%00.js",
        "//evil.example/",
        "/api/decisions/../about",
    ] {
        let response = get(served.address, path, &[]);
        assert!(
            matches!(response.status, 400 | 404),
            "{path}: {}",
            response.status
        );
        assert!(!response.text().contains("root:"), "{path}");
    }
}

#[test]
fn an_unexpected_body_is_not_read() {
    let served = serve(Settings {
        control: true,
        ..guarded()
    });
    let host = format!("Host: {}", served.address);
    for head in [
        ["GET / HTTP/1.1", &host, "Content-Length: 1000000000000"],
        [
            "GET /api/about HTTP/1.1",
            &host,
            "Transfer-Encoding: chunked",
        ],
        [
            "POST /api/control/drain HTTP/1.1",
            &host,
            "Content-Length: 4097",
        ],
        [
            "POST /api/control/jobs HTTP/1.1",
            &host,
            "Content-Length: 1000000000",
        ],
        [
            "POST /api/control/watch HTTP/1.1",
            &host,
            "Transfer-Encoding: chunked",
        ],
        [
            "POST /api/control/kill HTTP/1.1",
            &host,
            "Transfer-Encoding: chunked",
        ],
    ] {
        let response = request(served.address, &head).unwrap();
        assert_eq!(
            (response.status, response.header("connection")),
            (413, "close"),
            "{head:?}"
        );
    }
}

#[test]
fn malformed_requests_are_rejected_and_the_server_keeps_serving() {
    let served = serve(settings());
    let host = format!("Host: {}\r\n", served.address);
    let long = "x".repeat(300_000);
    let many: String = (0..2_000).map(|n| format!("h{n}: v\r\n")).collect();
    let broken: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        format!("GET /{long} HTTP/1.1\r\n{host}\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{host}x: {long}\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{host}{many}\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n")
            .into_bytes(),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes(),
        format!("GET / HTTP/1.1\r\n{host}a\0b: c\r\n\r\n").into_bytes(),
        [b"GET /\xff HTTP/1.1\r\n", host.as_bytes(), b"\r\n"].concat(),
        format!("OPTIONS * HTTP/1.1\r\n{host}\r\n").into_bytes(),
        format!("CONNECT evil.example:443 HTTP/1.1\r\n{host}\r\n").into_bytes(),
        format!("TRACE / HTTP/1.1\r\n{host}\r\n").into_bytes(),
    ];
    for bytes in &broken {
        let mut connection = Connection::open(served.address);
        connection.send(bytes);
        // Without a shutdown the server would wait for more.
        let _ = connection.0.get_ref().shutdown(std::net::Shutdown::Write);
        if let Some(response) = connection.head() {
            assert!(
                (400..500).contains(&response.status),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
            );
        }
        assert_eq!(get(served.address, "/api/about", &[]).status, 200);
    }
}

#[test]
fn invalid_queries_are_rejected_with_a_reason() {
    let served = serve(settings());
    for (path, reason) in [
        ("/api/bars", "symbol"),
        ("/api/bars?symbol=", "symbol"),
        (
            "/api/bars?symbol=600000.SH&limit=0",
            "limit must be 1 to 5000, got 0",
        ),
        ("/api/bars?symbol=600000.SH&limit=5001", "got 5001"),
        ("/api/bars?symbol=600000.SH&limit=-1", ""),
        (
            "/api/bars?symbol=600000.SH&before_ms=99999999999999999999",
            "",
        ),
        ("/api/bars?symbol=600000.SH&colour=red", "colour"),
        (
            "/api/bars?symbol=600000.SH&before_ms=1&after_ms=1",
            "at most one",
        ),
        ("/api/bars?symbol=%00", ""),
        ("/api/decisions?side=steal", "steal"),
        ("/api/decisions?from=2024-02-30", "2024-02-30"),
        ("/api/decisions?limit=99999", "limit must be 1 to 5000"),
        ("/api/decisions/-1", ""),
        ("/api/decisions/1e3", ""),
        ("/api/decisions?refused=perhaps", ""),
        ("/api/decisions?format=xml", "xml"),
        ("/api/symbols?limit=0", "limit must be 1 to 5000, got 0"),
        ("/api/quality?period=week", "week"),
        ("/api/drift?period=week", "week"),
        ("/api/orders", "run"),
        ("/api/orders?run=x&limit=5001", "got 5001"),
        ("/api/run", "id"),
        ("/api/artefact?run=x", "path"),
        ("/api/events?limit=1001", "got 1001"),
        ("/api/jobs/x", ""),
        ("/api/jobs/1?after=-1", ""),
    ] {
        let response = get(served.address, path, &[]);
        assert_eq!(response.status, 400, "{path}: {}", response.text());
        let error = serde_json::from_slice::<serde_json::Value>(&response.body).unwrap();
        let error = error["error"].as_str().unwrap();
        assert!(error.contains(reason), "{path}: {error}");
    }
}

#[test]
fn slow_clients_time_out_and_do_not_block_others() {
    let served = serve(Settings {
        request_timeout: Duration::from_millis(300),
        ..settings()
    });
    let mut slow: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(served.address);
            connection.send(b"GET / HTTP/1.1\r\nHo");
            connection
        })
        .collect();
    assert_eq!(get(served.address, "/api/about", &[]).status, 200);
    for connection in &mut slow {
        // The server ends it: with a timeout response, or by closing the connection.
        assert!(
            connection
                .head()
                .is_none_or(|response| response.status == 408)
        );
    }
}

#[test]
fn pages_beyond_the_limit_must_retry_and_slots_are_released() {
    let served = serve(Settings {
        max_streams: 4,
        ..settings()
    });
    let open = || {
        let mut connection = Connection::open(served.address);
        let head = format!(
            "GET /api/stream HTTP/1.1\r\nHost: {}\r\n\r\n",
            served.address
        );
        connection.send(head.as_bytes());
        let response = connection.head().unwrap();
        (response, connection)
    };
    let mut opened: Vec<_> = (0..100).map(|_| open()).collect();
    let rejected = opened.split_off(4);
    assert!(opened.iter().all(|(response, _)| response.status == 200));
    for (response, _) in &rejected {
        assert_eq!(
            (response.status, response.header("retry-after")),
            (503, "5")
        );
    }
    assert_eq!(
        get(served.address, "/api/about", &[]).status,
        200,
        "other requests are served"
    );
    drop(rejected);
    drop(opened.pop());
    // The server notices a closed page when it next writes to it; events on another page show that it has written.
    let mut waiting = opened.remove(0).1;
    let regained = (0..200).any(|_| {
        waiting.event_line().unwrap();
        open().0.status == 200
    });
    assert!(regained);
}
