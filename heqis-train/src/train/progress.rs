//! How far a training is: events, as lines of JSON and as a bar.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::curves::Point;
use super::phase::Phase;
use super::run::GeneratorMetrics;
use super::state::NextEpoch;
use crate::error::TrainError;

/// The file of a run directory that holds the lines.
pub const FILE: &str = "progress.jsonl";

/// What a training tells.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// It begins, or goes on.
    Start {
        /// Whether it goes on behind a checkpoint.
        resumed: bool,
        /// The epoch that comes first.
        #[serde(rename = "clock")]
        next: NextEpoch,
        /// All work, in steps of one generator alone.
        cost: usize,
        /// The part of it that is left.
        left: usize,
        /// Number of parameters of each network.
        parameters: &'a BTreeMap<String, usize>,
    },
    /// An epoch is over and its checkpoint written.
    Epoch {
        /// The phase.
        phase: Phase,
        /// The epoch, from 0.
        epoch: usize,
        /// Epochs of the phase, at most.
        of: usize,
        /// What comes next.
        next: NextEpoch,
        /// Work that is left.
        left: usize,
        /// What it did.
        points: &'a [Point],
    },
    /// All is done.
    End {
        /// What came out, by generator.
        #[serde(rename = "figures")]
        metrics: &'a BTreeMap<String, GeneratorMetrics>,
    },
}

/// What hears of a training's progress.
pub trait ProgressObserver: Send {
    /// Hears that a step is done; there are many, and networks that learn side by side take theirs as they come.
    fn on_step(&mut self);

    /// Hears an event.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] when it cannot be written down.
    fn on_event(&mut self, event: &Event<'_>) -> Result<(), TrainError>;
}

/// A listener that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl ProgressObserver for NoProgress {
    fn on_step(&mut self) {}

    fn on_event(&mut self, _: &Event<'_>) -> Result<(), TrainError> {
        Ok(())
    }
}

/// Seconds between two lines about steps inside an epoch.
const STEP_LINE_SECONDS: f64 = 5.0;

/// Writes `progress.jsonl`, shows a bar, and prints the same lines when asked.
pub struct ProgressReporter<'a> {
    path: PathBuf,
    file: Option<File>,
    /// Each line of JSON goes here too.
    out: Option<&'a mut (dyn Write + Send)>,
    bar: ProgressBar,
    /// Time since some fixed moment.
    elapsed: &'a (dyn Fn() -> Duration + Sync),
    /// When this run began, and the work that was left then.
    start: (Duration, usize),
    /// All work, and what is left of it.
    work: (usize, usize),
    steps_in_epoch: u64,
    last_line: Duration,
}

impl std::fmt::Debug for ProgressReporter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProgressReporter({})", self.path.display())
    }
}

impl<'a> ProgressReporter<'a> {
    /// Makes a reporter for a run directory. `elapsed` tells the time since some fixed moment.
    #[must_use]
    pub fn new(
        run: &Path,
        bar: bool,
        out: Option<&'a mut (dyn Write + Send)>,
        elapsed: &'a (dyn Fn() -> Duration + Sync),
    ) -> Self {
        let bar = match bar {
            true => ProgressBar::new(1),
            false => ProgressBar::hidden(),
        };
        // A template that is refused leaves the bar's own.
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3} % {msg}") {
            bar.set_style(style);
        }
        Self {
            path: run.join(FILE),
            file: None,
            out,
            bar,
            elapsed,
            start: (Duration::ZERO, 0),
            work: (0, 0),
            steps_in_epoch: 0,
            last_line: Duration::ZERO,
        }
    }

    /// Returns the file, opened behind what an earlier run wrote; a line that a kill cut short is closed first.
    fn open(&mut self) -> std::io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let before = std::fs::read(&self.path).unwrap_or_default();
                let mut file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&self.path)?;
                if before.last().is_some_and(|byte| *byte != b'\n') {
                    file.write_all(b"\n")?;
                }
                file
            }
        };
        Ok(self.file.insert(file))
    }

    /// Returns the seconds since the start, and those that are left by the work done since.
    fn times(&self) -> (f64, Option<f64>) {
        let (began, left_then) = self.start;
        let seconds = (self.elapsed)().saturating_sub(began).as_secs_f64();
        let (_, left) = self.work;
        let done = left_then.saturating_sub(left);
        let eta = (done > 0).then(|| seconds * left as f64 / done as f64);
        (seconds, eta)
    }

    fn write(&mut self, mut line: serde_json::Value) -> std::io::Result<()> {
        let (seconds, eta) = self.times();
        line["seconds"] = json!(seconds);
        line["eta_seconds"] = json!(eta);
        self.last_line = (self.elapsed)();
        let text = format!("{line}\n");
        self.open()?.write_all(text.as_bytes())?;
        if let Some(out) = &mut self.out {
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

impl ProgressObserver for ProgressReporter<'_> {
    fn on_step(&mut self) {
        self.steps_in_epoch += 1;
        self.bar.tick();
        let since = (self.elapsed)().saturating_sub(self.last_line);
        if since.as_secs_f64() >= STEP_LINE_SECONDS {
            // A line about a step may be lost; those about epochs may not.
            let _ = self.write(json!({"event": "step", "steps_in_epoch": self.steps_in_epoch}));
        }
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        match event {
            Event::Start { cost, left, .. } => {
                self.start = ((self.elapsed)(), *left);
                self.work = (*cost, *left);
                self.bar.set_length(*cost as u64);
            }
            Event::Epoch { left, .. } => {
                self.work.1 = *left;
                self.steps_in_epoch = 0;
                self.bar.set_message(message(event, self.times().1));
            }
            Event::End { .. } => {
                self.work.1 = 0;
                self.bar.finish_and_clear();
            }
        }
        self.bar.set_position((self.work.0 - self.work.1) as u64);
        let line =
            serde_json::to_value(event).map_err(|source| TrainError::json(&self.path, source))?;
        let written = self.write(line);
        written.map_err(|source| TrainError::file(&self.path, source))
    }
}

/// Returns what the bar says of an epoch: `game 3/40 g1 2.07 g2 2.06 d-g1 1.31 left 4:05`.
fn message(event: &Event<'_>, eta_seconds: Option<f64>) -> String {
    let Event::Epoch {
        phase,
        epoch,
        of,
        points,
        ..
    } = event
    else {
        return String::new();
    };
    let phase = match phase {
        Phase::Encoder => "encoder",
        Phase::Pretraining => "alone",
        Phase::Adversarial => "game",
        Phase::Done => "done",
    };
    let mut text = format!("{phase} {}/{of}", epoch + 1);
    for point in points.iter().filter(|point| point.pass == 0) {
        if let Some(loss) = point.validation_loss.or(point.loss) {
            text += &format!(" {} {loss:.3}", point.network);
        }
    }
    if let Some(seconds) = eta_seconds {
        let seconds = seconds.round() as u64;
        text += &format!(" left {}:{:02}", seconds / 60, seconds % 60);
    }
    text
}
