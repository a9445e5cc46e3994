//! Metrics and page over HTTPS on an address that other machines reach, asked by curl and openssl.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use heqis_tls::{Authority, Identity, IdentityFiles, client_config};
use serde_json::Value;
use stand::{Stand, request, wait_until};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

const TOKEN: &str = "00112233445566778899aabbccddeeff";

/// Status and body that curl has for a request to the node `compute`, status 0 where the connection has failed.
fn curl(certs: &Path, url: &str, extra: &[&str]) -> (u16, String) {
    let port = url.split(':').nth(2).unwrap();
    let port = port.split('/').next().unwrap();
    let output = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "5",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(["--resolve", &format!("compute:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(certs.join("ca.pem"))
        .args(extra)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// What `openssl s_client` prints of a handshake with a server.
fn handshake(port: u16, extra: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(extra)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Connections that say nothing.
fn silent(port: u16, count: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(("127.0.0.1", port)).unwrap();
    (0..count).map(connect).collect()
}

/// A connection to the metrics of the compute node, with the certificate of the gateway.
fn connected(certs: &Path, port: u16) -> impl Read + Write + use<> {
    let identity = Identity::new(IdentityFiles::in_directory(certs, "gateway"), None);
    let config = client_config(&identity.current().unwrap()).unwrap();
    let name = "compute".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// The status of a further request on the same connection.
fn ask_again(stream: &mut (impl Read + Write)) -> Option<u16> {
    let question = b"GET /report HTTP/1.1\r\nHost: compute\r\n\r\n";
    stream
        .write_all(question)
        .and_then(|()| stream.flush())
        .ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?;
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    head.split(' ').nth(1)?.parse().ok()
}

/// How many descriptors a process has.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// `ulimit -n 20000; cargo test -p heqis-runtime --test https -- --ignored`
#[test]
#[ignore = "needs 5,000 descriptors"]
fn five_thousand_silent_peers_of_each_port_keep_no_scrape_and_no_decision_out() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let authority = Authority::create(&certs, "dual-board", 10).unwrap();
    for node in ["gateway", "compute"] {
        authority.issue(node, 5).unwrap();
    }
    let stand = Stand::dual_board();
    let (edge, metrics) = (stand.ports[2], stand.ports[1]);
    let stand = stand
        .set(&format!("tls.directory=\"{}\"", certs.display()))
        .set(&format!("nodes.compute.metrics=\"0.0.0.0:{metrics}\""))
        .set("edges.ring->engine.transport.scheme=\"tls+tcp\"")
        .set("stages.market.params.speed=86400.0");
    let node = stand.start(&["--node", "compute"]);
    let gateway = stand.start(&["--node", "gateway"]);
    let scrape = || {
        let paths = ["pem", "key"].map(|end| certs.join(format!("gateway.{end}")));
        let [certificate, key] = paths.each_ref().map(|path| path.to_str().unwrap());
        let shown = ["--cert", certificate, "--key", key];
        curl(
            &certs,
            &format!("https://compute:{metrics}/metrics"),
            &shown,
        )
    };
    wait_until("the link is up", || {
        let up = "heqis_link_up{edge=\"ring->engine\"";
        let text = scrape().1;
        text.lines()
            .any(|line| line.starts_with(up) && line.ends_with(" 1"))
    });
    let before = descriptors(node.pid());
    for port in [edge, metrics] {
        let crowd = silent(port, 5_000);
        for _ in 0..5 {
            assert_eq!(scrape().0, 200, "port {port}");
            assert!(descriptors(node.pid()) < before + 1_100, "port {port}");
        }
        drop(crowd);
    }
    gateway.signal("TERM");
    let ended = gateway.finish();
    ended.clean();
    node.signal("TERM");
    node.finish();
    assert!(stand.journal_lines("journal") > 0);
}

#[test]
fn exposed_servers_speak_tls_to_those_with_a_certificate_or_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, foreign) = (folder.path().join("certs"), folder.path().join("foreign"));
    let authority = Authority::create(&certs, "dual-board", 10).unwrap();
    Authority::create(&foreign, "other", 10)
        .and_then(|other| other.issue("gateway", 5))
        .unwrap();
    authority.issue("gateway", 5).unwrap();
    let hosts = ["127.0.0.1".to_owned()];
    authority.issue_with("compute", &hosts, 5).unwrap();
    let stand = Stand::dual_board();
    let (metrics, gateway_page, page) = (
        stand.ports[1],
        stand.ports[4],
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let page_port = page.local_addr().unwrap().port();
    drop(page);
    let stand = stand
        .set(&format!("tls.directory=\"{}\"", certs.display()))
        .set(&format!("nodes.compute.metrics=\"0.0.0.0:{metrics}\""))
        .set(&format!(
            "nodes.compute.dashboard.address=\"0.0.0.0:{page_port}\""
        ))
        .set(&format!(
            "nodes.gateway.dashboard.address=\"127.0.0.1:{gateway_page}\""
        ))
        .set("nodes.compute.dashboard.stay=true")
        .set("nodes.gateway.dashboard.stay=true")
        .env("HEQIS_DASHBOARD_TOKEN", TOKEN);
    let fleet = stand.start(&[]);
    let url = |path: &str| format!("https://compute:{metrics}{path}");
    wait_until("metrics are served", || {
        curl(&certs, &url("/healthz"), &[]).0 == 200
    });

    // Who shows nothing, and who shows a certificate of another authority.
    for path in ["/metrics", "/report", "/readyz"] {
        assert_eq!(curl(&certs, &url(path), &[]).0, 401, "{path}");
    }
    let shown = |folder: &Path, name: &str| {
        ["--cert", "pem", "--key", "key"].map(|word| match word {
            "pem" | "key" => folder.join(format!("{name}.{word}")).display().to_string(),
            flag => flag.to_owned(),
        })
    };
    let [own, other] = [&certs, &foreign].map(|folder| shown(folder, "gateway"));
    let ask = |path: &str, shown: &[String]| {
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        curl(&certs, &url(path), &shown)
    };
    assert_eq!(ask("/metrics", &other).0, 0, "a foreign certificate");
    wait_until("stages are built", || ask("/report", &own).0 == 200);
    let (status, text) = ask("/metrics", &own);
    assert!(
        status == 200 && text.contains("heqis_certificate_days_left"),
        "{text}"
    );
    // A browser that knows the authority reaches it by its address too; by another name the certificate is not its own.
    let by_address = format!("https://127.0.0.1:{metrics}/healthz");
    assert_eq!(curl(&certs, &by_address, &[]).0, 200);
    let other = curl(&certs, &format!("https://localhost:{metrics}/healthz"), &[]);
    assert_eq!(other.0, 0, "{}", other.1);
    // Plain HTTP and older versions end before a request.
    assert_eq!(
        request(metrics, "GET", "/metrics", &["Host: compute"]),
        None
    );
    let old = handshake(metrics, &["-tls1_2"]);
    assert!(old.contains("alert protocol version"), "{old}");

    // The page has its token only; its cookie never leaves by plain HTTP.
    let page = |path: &str, extra: &[&str]| {
        curl(&certs, &format!("https://compute:{page_port}{path}"), extra)
    };
    wait_until("the page is served", || page("/api/about", &[]).0 == 401);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(page("/api/about", &["--header", &bearer]).0, 200);
    let login = page(&format!("/login?token={TOKEN}"), &["--include"]);
    assert!(login.1.contains("; Secure"), "{}", login.1);

    // The page of the other node asks for the report with its certificate.
    wait_until("the gateway's page knows the compute node", || {
        let lines = ["Host: 127.0.0.1", &bearer];
        let Some((200, text)) = request(gateway_page, "GET", "/api/live", &lines) else {
            return false;
        };
        let live: Value = serde_json::from_str(&text).unwrap();
        let nodes = live["nodes"].as_array().unwrap();
        let compute = nodes.iter().find(|node| node["node"] == "compute");
        compute.is_some_and(|node| !node["stages"].as_array().unwrap().is_empty())
    });

    // A new certificate is shown without a restart.
    let before = handshake(metrics, &["-showcerts"]);
    authority.issue("compute", 5).unwrap();
    let leaf = |text: &str| text.split("-----END").next().unwrap().to_owned();
    wait_until("the new certificate is shown", || {
        leaf(&handshake(metrics, &["-showcerts"])) != leaf(&before)
    });
    assert_eq!(ask("/metrics", &own).0, 200);
    // A scraper whose certificate is revoked while it is connected.
    let mut scraper = connected(&certs, metrics);
    assert_eq!(ask_again(&mut scraper), Some(200));
    authority.revoke("gateway").unwrap();
    wait_until("the revoked scraper is refused", || {
        match ask_again(&mut scraper) {
            Some(200) => false,
            Some(status) => status == 401,
            None => panic!("the connection ended before it was refused"),
        }
    });
    authority.issue("gateway", 5).unwrap();

    // Each refusal has its cause.
    let crowd = silent(metrics, 400);
    let counted = |cause: &str| {
        let own = shown(&certs, "compute");
        let text = ask("/metrics", &own).1;
        let labels = format!("{{cause=\"{cause}\",node=\"compute\",server=\"metrics\"}}");
        let name = format!("heqis_refused_connections_total{labels} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |value| value.parse().unwrap())
    };
    wait_until("most of a crowd is refused", || counted("crowd") >= 144);
    drop(crowd);
    for cause in ["certificate_foreign", "no_tls", "tls"] {
        assert!(counted(cause) > 0, "{cause}");
    }
    fleet.signal("TERM");
    let log = fleet.finish().log;
    let foreign = log
        .lines()
        .find(|line| line.contains("certificate_foreign"));
    assert!(
        foreign.is_some_and(|line| line.contains("`gateway`")),
        "{log}"
    );
    assert!(log.contains("/login?token=$HEQIS_DASHBOARD_TOKEN"), "{log}");
    assert!(!log.contains(TOKEN), "a token that was set is in the log");
}

#[test]
fn an_accepted_risk_is_logged_once_at_each_start() {
    let stand = Stand::dual_board()
        .set("topology.insecure=true")
        .set("nodes.compute.address=\"0.0.0.0\"");
    let ended = stand.run(&[]);
    ended.clean();
    let lines = ended.log.matches("leaves the machine without TLS").count();
    assert_eq!(lines, 1, "{}", ended.log);
}
