//! The command that may recover a stalled node: a power relay, `ssh … systemctl restart`, a message to an operator.

use std::collections::VecDeque;
use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use heqis_actors::{Clock, duration_ns};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::stall::Alarm;

/// Most bytes of a command's output that are logged.
const OUTPUT_BYTES: usize = 8 * 1024;
/// How long output is read after the command has ended: a process that it left may hold the pipe open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// A command and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverySpec {
    /// Program and arguments, run without a shell.
    pub command: Vec<String>,
    /// How long it may run before it is killed, with all that it started.
    pub timeout: Duration,
    /// Most runs within `window`.
    pub max: u32,
    /// Length of the sliding window.
    pub window: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended with exit code 0.
    Succeeded,
    /// It ended with another exit code or by a signal.
    Failed(String),
    /// It exceeded its time limit and was killed.
    TimedOut,
    /// The program does not exist or may not be run.
    NotStarted(String),
    /// It was not run: the limit within the window is reached.
    RateLimited,
}

impl Outcome {
    /// Every name that [`Outcome::name`] returns.
    pub const NAMES: [&'static str; 5] = [
        "succeeded",
        "failed",
        "timed_out",
        "not_started",
        "withheld",
    ];

    /// Returns the word for a metric label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::NotStarted(_) => "not_started",
            Self::RateLimited => "withheld",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed(how) => write!(f, "failed: {how}"),
            Self::TimedOut => f.write_str("killed: it exceeded its time limit"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::RateLimited => f.write_str("not run: the limit within the window is reached"),
        }
    }
}

/// Runs a command within its limits.
#[derive(Debug)]
pub struct RecoveryCommand {
    spec: RecoverySpec,
    /// Start times, the oldest first; at most `spec.max`.
    runs_ns: VecDeque<i64>,
}

impl RecoveryCommand {
    /// Returns a command that has not run yet.
    #[must_use]
    pub fn new(spec: RecoverySpec) -> Self {
        Self {
            spec,
            runs_ns: VecDeque::new(),
        }
    }

    /// Runs the command to its end, or returns why it was not run. Its environment holds the name of the peer in `HEQIS_PEER`
    /// and the cause of the alarm in `HEQIS_ALARM`; its output is logged.
    pub async fn run(&mut self, peer: &str, alarm: &Alarm, clock: &Clock) -> Outcome {
        let now_ns = clock.now_ns();
        let window_ns = duration_ns(self.spec.window);
        while let Some(&oldest) = self.runs_ns.front()
            && now_ns.saturating_sub(oldest) >= window_ns
        {
            self.runs_ns.pop_front();
        }
        if self.runs_ns.len() >= self.spec.max as usize {
            return Outcome::RateLimited;
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
            // Its own process group, so that its children are killed with it.
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
        for mut copy in output.into_iter().flatten() {
            if tokio::time::timeout(OUTPUT_GRACE, &mut copy).await.is_err() {
                copy.abort();
            }
        }
        outcome
    }
}

/// Copies output to the log, up to a limit. The rest is read and discarded, so that the command never blocks on a full
/// pipe.
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
                tracing::info!(%peer, "watchdog command: {line}");
            }
        }
    })
}

/// Kills the command's process group and waits for the command.
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
