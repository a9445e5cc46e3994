//! Metrics and page over HTTPS on an address that other machines reach, asked by curl and openssl.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::path::Path;
use std::process::{Command, Stdio};

use heqis_tls::Authority;
use serde_json::Value;
use stand::{Stand, request, wait_until};

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
    fleet.signal("TERM");
    let log = fleet.finish().log;
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
