//! Access control.

use std::sync::atomic::Ordering;

use heqis_dashboard::{Dashboard, DashboardError, Decisions, LiveBars, Settings, Sources, Token};

use heqis_quant::TradingState;

use crate::client::{Connection, Response, get, request};
use crate::fixture::{TOKEN, guarded, serve, settings};

const PATHS: [&str; 27] = [
    "/",
    "/assets/index.html",
    "/api/about",
    "/api/openapi.json",
    "/api/symbols",
    "/api/bars?symbol=600000.SH",
    "/api/decisions",
    "/api/decisions/1",
    "/api/topology",
    "/api/live",
    "/api/stream",
    "/api/events",
    "/api/strategies",
    "/api/quality",
    "/api/drift",
    "/api/runs",
    "/api/run?id=x",
    "/api/artefact?run=x&path=y",
    "/api/equity?run=x",
    "/api/trades?run=x",
    "/api/orders?run=x",
    "/api/jobs",
    "/api/jobs/1",
    "/api/job-kinds",
    "/api/watch",
    "/api/symbols?q=600",
    "/no/such/path",
];

fn start_error(settings: Settings) -> DashboardError {
    let sources = Sources::new(
        "nothing".into(),
        std::sync::Arc::new(LiveBars::new(2, Vec::new())),
        std::sync::Arc::new(Decisions::new(1, 1)),
    );
    actix_rt::System::new()
        .block_on(async { Dashboard::start(settings, sources).map(|_| ()) })
        .unwrap_err()
}

#[test]
fn an_address_reachable_by_others_needs_a_token() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let mut open = Settings::new(address.parse().unwrap());
        let plain = start_error(open.clone());
        assert!(matches!(plain, DashboardError::Plain { .. }), "{address}");
        open.insecure = true;
        assert!(
            matches!(start_error(open), DashboardError::Exposed { .. }),
            "{address}"
        );
    }
}

#[test]
fn control_needs_a_token() {
    let open = Settings {
        control: true,
        ..settings()
    };
    assert!(matches!(
        start_error(open),
        DashboardError::OpenControl { .. }
    ));
}

#[test]
fn a_token_has_at_least_128_bits_and_is_never_shown() {
    assert!(Token::parse(&"a".repeat(31)).is_err());
    assert!(Token::parse(&"g".repeat(32)).is_err());
    assert!(Token::parse(&"a".repeat(129)).is_err());
    let generated = [Token::draw().unwrap(), Token::draw().unwrap()];
    assert!(
        generated
            .iter()
            .all(|token| Token::parse(token.reveal()).is_ok())
    );
    assert_ne!(generated[0].reveal(), generated[1].reveal());
    let short = Token::parse("5ec7e7").unwrap_err().to_string();
    assert!(!short.contains("5ec7e7"), "{short}");
    assert!(!format!("{:?}", guarded()).contains(TOKEN));
}

#[test]
fn without_the_token_nothing_is_shown() {
    let served = serve(guarded());
    let nearly = format!("{}0", &TOKEN[..31]);
    let (part, name) = (&TOKEN[..31], format!("heqis_{}", served.address.port()));
    let wrong = [
        String::new(),
        format!("Cookie: {name}={nearly}"),
        format!("Cookie: {name}={part}"),
        format!("Cookie: {name}={TOKEN}0"),
        format!("Cookie: heqis_1={TOKEN}"),
        format!("Authorization: Bearer {nearly}"),
        format!("Authorization: Basic {TOKEN}"),
        format!("Referer: http://127.0.0.1/login?token={TOKEN}"),
    ];
    for path in PATHS {
        for line in &wrong {
            let lines: Vec<&str> = (!line.is_empty())
                .then_some(line.as_str())
                .into_iter()
                .collect();
            // After some wrong tokens an address is asked to wait.
            let status = get(served.address, path, &lines).status;
            assert!(matches!(status, 401 | 429), "{path} {line}: {status}");
        }
        let path = format!(
            "{path}{}token={TOKEN}",
            if path.contains('?') { '&' } else { '?' }
        );
        assert_eq!(
            get(served.address, &path, &[]).status,
            401,
            "{path}: a token in the address does not log in"
        );
    }
}

#[test]
fn the_login_link_sets_a_cookie_hidden_from_scripts_and_other_sites() {
    let served = serve(guarded());
    let login = get(served.address, &format!("/login?token={TOKEN}"), &[]);
    assert_eq!((login.status, login.header("location")), (303, "/"));
    assert_eq!(login.header("cache-control"), "no-store");
    assert_eq!(login.header("referrer-policy"), "no-referrer");
    let (cookie, flags) = login.header("set-cookie").split_once("; ").unwrap();
    assert_eq!(flags, "HttpOnly; SameSite=Strict; Path=/");
    let shown = format!("Cookie: theme=dark; {cookie}");
    assert_eq!(get(served.address, "/", &[&shown]).status, 200);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(get(served.address, "/api/about", &[&bearer]).status, 200);

    for wrong in [
        "/login",
        "/login?token=",
        "/login?token=00",
        &format!("/login?token={}0", &TOKEN[..31]),
    ] {
        let response = get(served.address, wrong, &[]);
        assert!(
            matches!(response.status, 400 | 401),
            "{wrong}: {}",
            response.status
        );
        assert!(!response.headers.contains_key("set-cookie"), "{wrong}");
    }
}

#[test]
fn wrong_tokens_are_limited_and_do_not_lock_the_owner_out() {
    let settings = guarded();
    let wrong_tokens = settings.wrong_tokens.clone();
    let served = serve(settings);
    let wrong = format!("Authorization: Bearer {}", "0".repeat(32));
    let statuses: Vec<u16> = (0..30)
        .map(|_| get(served.address, "/api/about", &[&wrong]).status)
        .collect();
    assert_eq!((statuses[19], statuses[20]), (401, 429));
    let limited = get(served.address, "/login?token=0", &[]);
    assert_eq!((limited.status, limited.header("retry-after")), (429, "60"));
    assert_eq!(wrong_tokens.total(), 31);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(get(served.address, "/api/about", &[&bearer]).status, 200);
    assert_eq!(get(served.address, "/api/about", &[]).status, 401);
}

#[test]
fn requests_for_a_foreign_host_name_are_rejected() {
    let served = serve(settings());
    let port = served.address.port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        "127.0.0.1@evil.example".to_owned(),
        "evil.example@127.0.0.1".to_owned(),
        "10.0.0.1".to_owned(),
        "0.0.0.0".to_owned(),
        "[::]".to_owned(),
        String::new(),
    ] {
        for path in ["/", "/api/about", "/login?token=0", "/assets/index.html"] {
            let response = request(
                served.address,
                &[&format!("GET {path} HTTP/1.1"), &format!("Host: {host}")],
            );
            let status = response.map_or(400, |response| response.status);
            assert!(matches!(status, 421 | 400), "{host} {path}: {status}");
        }
    }
    let own = format!("Host: 127.0.0.1:{port}");
    for head in [
        vec!["GET / HTTP/1.0"],
        vec!["GET / HTTP/1.1", &own, "Host: evil.example"],
        vec!["GET http://evil.example/ HTTP/1.1", &own],
    ] {
        let status = request(served.address, &head).map_or(400, |response| response.status);
        assert!(matches!(status, 421 | 400), "{head:?}: {status}");
    }
    for host in [
        format!("127.0.0.1:{port}"),
        "localhost".into(),
        "LOCALHOST:8080".into(),
        format!("[::1]:{port}"),
    ] {
        let response = request(
            served.address,
            &["GET /api/about HTTP/1.1", &format!("Host: {host}")],
        )
        .unwrap();
        assert_eq!(response.status, 200, "{host}");
    }
}

#[test]
fn configured_host_names_are_accepted() {
    let named = Settings {
        hosts: vec!["desk.lan".into()],
        ..settings()
    };
    let served = serve(named);
    let status = |host: &str| {
        request(
            served.address,
            &["GET / HTTP/1.1", &format!("Host: {host}")],
        )
        .unwrap()
        .status
    };
    assert_eq!(
        (
            status("desk.lan"),
            status("DESK.lan:81"),
            status("other.lan")
        ),
        (200, 200, 421)
    );
}

#[test]
fn every_response_carries_the_security_headers() {
    let served = serve(guarded());
    let host = format!("Host: {}", served.address);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let responses: Vec<Response> = [
        vec!["GET / HTTP/1.1", &host, &bearer],
        vec!["HEAD / HTTP/1.1", &host, &bearer],
        vec!["GET / HTTP/1.1", &host],
        vec!["GET /nothing HTTP/1.1", &host, &bearer],
        vec!["GET /api/bars HTTP/1.1", &host, &bearer],
        vec!["GET /api/bars?symbol=600000.SH HTTP/1.1", &host, &bearer],
        vec!["GET /api/decisions/x HTTP/1.1", &host, &bearer],
        vec!["DELETE / HTTP/1.1", &host, &bearer],
        vec!["GET / HTTP/1.1", "Host: evil.example", &bearer],
        vec!["GET / HTTP/1.1", &host, "Content-Length: 9"],
        vec!["GET /login?token=0 HTTP/1.1", &host],
    ]
    .iter()
    .map(|head| request(served.address, head).unwrap())
    .collect();
    let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
    assert_eq!(
        statuses,
        [200, 200, 401, 404, 400, 404, 400, 405, 421, 413, 401]
    );
    for response in responses {
        assert_eq!(
            response.header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "{}",
            response.status
        );
        assert_eq!(response.header("x-content-type-options"), "nosniff");
        assert_eq!(response.header("referrer-policy"), "no-referrer");
        assert!(response.header("cache-control").starts_with("no-"));
        assert!(!response.headers.contains_key("access-control-allow-origin"));
    }
}

#[test]
fn a_control_action_needs_flag_token_post_and_origin() {
    let (mut off, mut on) = (
        serve(guarded()),
        serve(Settings {
            control: true,
            ..guarded()
        }),
    );
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let control = |served: &crate::fixture::Served, path: &str, method: &str, lines: &[&str]| {
        let (line, host) = (
            format!("{method} /api/control/{path} HTTP/1.1"),
            format!("Host: {}", served.address),
        );
        let head: Vec<&str> = [&line as &str, &host, "Content-Length: 0"]
            .into_iter()
            .chain(lines.iter().copied())
            .collect();
        request(served.address, &head).unwrap().status
    };
    let drain = |served: &crate::fixture::Served, method: &str, lines: &[&str]| {
        control(served, "drain", method, lines)
    };
    let origin = |served: &crate::fixture::Served| format!("Origin: http://{}", served.address);

    for path in [
        "drain",
        "trading-state",
        "kill",
        "jobs",
        "jobs/1/cancel",
        "watch",
    ] {
        let (on_origin, off_origin) = (origin(&on), origin(&off));
        for (status, served, method, lines) in [
            (403, &off, "POST", vec![&bearer, &off_origin]),
            (401, &on, "POST", vec![&on_origin]),
            (405, &on, "GET", vec![&bearer, &on_origin]),
            (403, &on, "POST", vec![&bearer]),
            (403, &on, "POST", vec![&bearer, &off_origin]),
        ] {
            let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
            let answered = control(served, path, method, &lines);
            assert_eq!(answered, status, "{path} {method} {lines:?}");
        }
    }

    assert_eq!(
        drain(&off, "POST", &[&bearer, &origin(&off)]),
        403,
        "without the flag"
    );
    assert_eq!(
        drain(&on, "POST", &[&origin(&on)]),
        401,
        "without the token"
    );
    assert_eq!(drain(&on, "GET", &[&bearer, &origin(&on)]), 405, "read");
    assert_eq!(drain(&on, "PUT", &[&bearer, &origin(&on)]), 405, "put");
    assert_eq!(drain(&on, "POST", &[&bearer]), 403, "without an origin");
    for foreign in [
        "null",
        "http://evil.example",
        "https://127.0.0.1",
        &origin(&off)["Origin: ".len()..],
    ] {
        assert_eq!(
            drain(&on, "POST", &[&bearer, &format!("Origin: {foreign}")]),
            403,
            "{foreign}"
        );
    }
    assert_eq!(on.graph.drained.load(Ordering::SeqCst), 0);
    assert_eq!(*on.graph.trading_state.lock().unwrap(), None);

    let kill = |body: &str| {
        let mut connection = Connection::open(on.address);
        let head = format!(
            "POST /api/control/trading-state HTTP/1.1\r\nHost: {}\r\n{bearer}\r\n{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            on.address,
            origin(&on),
            body.len()
        );
        connection.send(head.as_bytes());
        connection.response(true).unwrap().status
    };
    for wrong in [
        "",
        "{}",
        "halted",
        r#"{"state":"dead"}"#,
        r#"{"state":"halted","now":1}"#,
    ] {
        assert_eq!(kill(wrong), 400, "{wrong}");
    }
    assert_eq!(*on.graph.trading_state.lock().unwrap(), None);
    assert_eq!(kill(r#"{"state":"halted"}"#), 200);
    assert_eq!(
        *on.graph.trading_state.lock().unwrap(),
        Some(TradingState::Halted)
    );
    assert_eq!(drain(&on, "POST", &[&bearer, &origin(&on)]), 202);
    assert_eq!(on.graph.drained.load(Ordering::SeqCst), 1);
    assert_eq!(off.graph.drained.load(Ordering::SeqCst), 0);
    off.stop();
    on.stop();
}

#[test]
fn the_page_is_compressed_where_accepted_and_cached_by_etag() {
    let served = serve(settings());
    let plain = get(served.address, "/", &[]);
    let packed = get(served.address, "/", &["Accept-Encoding: gzip, br"]);
    assert_eq!(
        (
            plain.header("content-encoding"),
            packed.header("content-encoding")
        ),
        ("", "gzip")
    );
    assert_eq!(&packed.body[..2], [0x1f, 0x8b]);
    assert!(plain.text().starts_with("<!doctype html>"));
    let tag = plain.header("etag");
    assert_eq!(packed.header("etag"), tag);
    let again = get(served.address, "/", &[&format!("If-None-Match: {tag}")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = request(
        served.address,
        &["HEAD / HTTP/1.1", &format!("Host: {}", served.address)],
    )
    .unwrap();
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
}

#[test]
fn a_browser_without_the_token_gets_a_page_in_both_languages_and_a_program_json() {
    let served = serve(guarded());
    let html = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
    let wrong = format!("/login?token={}", "0".repeat(32));
    for path in ["/", "/login?token=0", &wrong] {
        let response = get(served.address, path, &[html]);
        assert_eq!(response.status, 401, "{path}");
        assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
        assert!(
            response
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
        let text = response.text();
        assert!(
            text.contains("login link") && text.contains("登录链接"),
            "{text}"
        );
        assert!(!text.contains("0000"), "a token is not repeated: {text}");
    }
    let foreign = request(
        served.address,
        &["GET / HTTP/1.1", "Host: evil.example", html],
    )
    .unwrap();
    assert_eq!(foreign.status, 421);
    assert!(foreign.text().contains("host name"));
    let program = get(served.address, "/api/about", &["Accept: */*"]);
    assert_eq!(
        (program.status, program.header("content-type")),
        (401, "application/json")
    );
}
