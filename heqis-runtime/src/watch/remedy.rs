//! The command that may bring a stalled node back: a power relay, `ssh … systemctl restart`, a message to a person.

use std::collections::VecDeque;
use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use heqis_actors::{Clock, duration_ns};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::Alarm;

/// Most bytes of a command's output that go to the log.
const OUTPUT_BYTES: usize = 8 * 1024;
/// How long output may still come when the command has ended: whoever it left behind may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A command and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemedySpec {
    /// Program and arguments; no shell stands between.
    pub command: Vec<String>,
    /// How long it may run before it is killed, with all that it started.
    pub timeout: Duration,
    /// Most runs within `window`.
    pub max: u32,
    /// Length of the sliding window.
    pub window: Duration,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended with exit code 0.
    Succeeded,
    /// It ended otherwise.
    Failed(String),
    /// It ran longer than it may and was killed.
    TimedOut,
    /// There is no such program, or it may not be run.
    NotStarted(String),
    /// It has run as often as it may within the window.
    Withheld,
}

impl Outcome {
    /// Every name, as [`Outcome::name`] gives it.
    pub const NAMES: [&'static str; 5] = [
        "succeeded",
        "failed",
        "timed_out",
        "not_started",
        "withheld",
    ];

    /// One word for a metric label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::NotStarted(_) => "not_started",
            Self::Withheld => "withheld",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed(how) => write!(f, "failed: {how}"),
            Self::TimedOut => f.write_str("killed: it ran longer than it may"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::Withheld => f.write_str("withheld: it has run as often as it may"),
        }
    }
}

/// Runs a command within its limits.
#[derive(Debug)]
pub struct Remedy {
    spec: RemedySpec,
    /// When it was started, the oldest first; never more than `spec.max`.
    runs_ns: VecDeque<i64>,
}

impl Remedy {
    /// A remedy that has not been used.
    #[must_use]
    pub fn new(spec: RemedySpec) -> Self {
        Self {
            spec,
            runs_ns: VecDeque::new(),
        }
    }

    /// Runs the command to its end, or says why not. It finds the peer's name in `HEQIS_PEER` and the alarm's cause in
    /// `HEQIS_ALARM`; what it prints goes to the log.
    pub async fn apply(&mut self, peer: &str, alarm: &Alarm, clock: &Clock) -> Outcome {
        let now_ns = clock.now_ns();
        let window_ns = duration_ns(self.spec.window);
        while let Some(&oldest) = self.runs_ns.front()
            && now_ns.saturating_sub(oldest) >= window_ns
        {
            self.runs_ns.pop_front();
        }
        if self.runs_ns.len() >= self.spec.max as usize {
            return Outcome::Withheld;
        }
        self.runs_ns.push_back(now_ns);
        let Some((program, arguments)) = self.spec.command.split_first() else {
            return Outcome::NotStarted("no command is given".into());
        };
        let spawned = Command::new(program)
            .args(arguments)
            .env("HEQIS_PEER", peer)
            .env("HEQIS_ALARM", alarm.cause())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts can be killed with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return Outcome::NotStarted(format!("{program}: {error}")),
        };
        let output = [
            child.stdout.take().map(|pipe| log(peer, pipe)),
            child.stderr.take().map(|pipe| log(peer, pipe)),
        ];
        let deadline_ns = now_ns.saturating_add(duration_ns(self.spec.timeout));
        let outcome = tokio::select! {
            status = child.wait() => match status {
                Ok(status) if status.success() => Outcome::Succeeded,
                Ok(status) => Outcome::Failed(status.to_string()),
                Err(error) => Outcome::Failed(error.to_string()),
            },
            () = clock.sleep_until(deadline_ns) => {
                kill(&mut child).await;
                Outcome::TimedOut
            }
        };
        for mut said in output.into_iter().flatten() {
            if tokio::time::timeout(LAST_WORDS, &mut said).await.is_err() {
                said.abort();
            }
        }
        outcome
    }
}

/// Copies what is said to the log, up to a limit; what comes after it is read and forgotten, so that nobody waits on a
/// full pipe.
fn log(
    peer: &str,
    mut pipe: impl AsyncRead + Unpin + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let peer = peer.to_owned();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        let mut left = OUTPUT_BYTES;
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            let shown = count.min(left);
            left -= shown;
            for line in String::from_utf8_lossy(&buffer[..shown]).lines() {
                tracing::info!(%peer, "watchdog command says: {line}");
            }
        }
    })
}

/// Kills the command's whole group and waits for the command.
async fn kill(child: &mut Child) {
    let group = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group
        && let Err(error) =
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
    {
        tracing::warn!(%error, "the watchdog command could not be killed");
    }
    let _ = child.wait().await;
}
