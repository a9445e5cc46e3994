//! Sends alarms to a webhook, from a thread of its own.
//!
//! The queue is bounded and attempts are limited; a notice that cannot be delivered is logged and dropped. The receiver's
//! certificate is checked by Mozilla's list of authorities, or by the file that `SSL_CERT_FILE` names.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use heqis_dashboard::live::Alarm;
use heqis_tls::web_client;
use serde_json::{Value, json};
use ureq::tls::TlsConfig;

use super::words::word;

/// Most notices that wait.
const QUEUE: usize = 64;
/// Pauses before the second attempt and those after it.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Posts alarms. Ends its thread when it is dropped; a notice with attempts left is then dropped.
pub(super) struct Webhook {
    notices: Option<SyncSender<Value>>,
    /// Dropped to end a pause between two attempts.
    going: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Webhook {
    /// Starts a thread that posts to `url`.
    pub(super) fn start(url: String) -> std::io::Result<Self> {
        let tls = web_client().map_err(std::io::Error::other)?;
        Self::with(url, tls, &PAUSES, PATIENCE)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own, so that a slow receiver delays no node"
    )]
    fn with(
        url: String,
        tls: TlsConfig,
        pauses: &'static [Duration],
        patience: Duration,
    ) -> std::io::Result<Self> {
        let (notices, waiting) = sync_channel(QUEUE);
        let (going, gone) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name("alarm-webhook".into())
            .spawn(move || post_all(&agent(tls, patience), &url, &waiting, &gone, pauses))?;
        Ok(Self {
            notices: Some(notices),
            going: Some(going),
            thread: Some(thread),
        })
    }

    /// Queues a notice; a full queue drops it.
    pub(super) fn send(&self, topology: &str, node: &str, raised: bool, alarm: &Alarm) {
        let verb = if raised { "raised" } else { "cleared" };
        let notice = json!({
            "text": format!("{topology}/{node}: {} {verb} for {}: {}", word(alarm.name), alarm.subject, alarm.text),
            "topology": topology,
            "node": node,
            "raised": raised,
            "alarm": alarm,
        });
        let Some(notices) = &self.notices else { return };
        if let Err(TrySendError::Full(notice)) = notices.try_send(notice) {
            tracing::error!(%notice, "alarm not sent: the queue of the webhook is full");
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.notices.take();
        self.going.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn agent(tls: TlsConfig, patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .tls_config(tls);
    config.build().into()
}

fn post_all(
    agent: &ureq::Agent,
    url: &str,
    waiting: &Receiver<Value>,
    gone: &Receiver<()>,
    pauses: &[Duration],
) {
    for notice in waiting {
        let body = notice.to_string();
        let mut pauses = pauses.iter();
        loop {
            let posted = agent
                .post(url)
                .header("content-type", "application/json")
                .send(body.as_str());
            // The address may hold a secret: neither it nor an error that repeats it is logged.
            let error = match posted {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) => format!("status {}", answer.status().as_u16()),
                Err(ureq::Error::StatusCode(status)) => format!("status {status}"),
                Err(ureq::Error::Rustls(error)) => format!("TLS: {error}"),
                Err(_) => "no answer".to_owned(),
            };
            let Some(pause) = pauses.next() else {
                tracing::error!(%notice, error, "alarm not sent: given up");
                break;
            };
            tracing::warn!(error, "alarm not sent yet");
            if gone.recv_timeout(*pause) == Err(RecvTimeoutError::Disconnected) {
                tracing::error!(%notice, error, "alarm not sent: the node ends");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use heqis_dashboard::live::AlarmName;

    use super::*;

    const LONG: [Duration; 1] = [Duration::from_secs(3_600)];
    const QUICK: [Duration; 2] = [Duration::from_millis(1); 2];

    fn alarm(subject: &str) -> Alarm {
        Alarm {
            name: AlarmName::LinkDown,
            subject: subject.into(),
            since_ms: 5,
            text: "no connection".into(),
        }
    }

    /// Takes one request and answers with `status`.
    fn serve(listener: &TcpListener, status: &str) -> Value {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_notice_is_posted_again_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let webhook = Webhook::with(url, TlsConfig::builder().build(), &QUICK, PATIENCE).unwrap();
        webhook.send("dual", "gateway", true, &alarm("a->b"));
        assert_eq!(
            serve(&listener, "503 Service Unavailable"),
            serve(&listener, "204 No Content")
        );
        webhook.send("dual", "gateway", false, &alarm("a->b"));
        let cleared = serve(&listener, "200 OK");
        assert_eq!(
            (&cleared["raised"], &cleared["alarm"]["name"]),
            (&false.into(), &"link_down".into())
        );
        assert_eq!(
            cleared["text"],
            "dual/gateway: link_down cleared for a->b: no connection"
        );
    }

    #[test]
    fn a_notice_that_is_never_accepted_is_dropped_and_the_next_one_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let webhook = Webhook::with(url, TlsConfig::builder().build(), &QUICK, PATIENCE).unwrap();
        webhook.send("dual", "gateway", true, &alarm("first"));
        webhook.send("dual", "gateway", true, &alarm("second"));
        for _ in 0..3 {
            assert_eq!(serve(&listener, "500 No")["alarm"]["subject"], "first");
        }
        assert_eq!(serve(&listener, "200 OK")["alarm"]["subject"], "second");
    }

    #[test]
    fn an_end_does_not_wait_for_the_pauses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let webhook = Webhook::with(url, TlsConfig::builder().build(), &LONG, PATIENCE).unwrap();
        webhook.send("dual", "gateway", true, &alarm("first"));
        serve(&listener, "500 No");
        drop(webhook);
    }
}
