//! The progress of a training: events, as lines of JSON and as a progress bar.

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

/// The file of a run directory with the lines.
pub const FILE: &str = "progress.jsonl";

/// An event of a training.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The training starts or resumes.
    Start {
        /// Whether it resumes after a checkpoint.
        resumed: bool,
        /// The first epoch to run.
        #[serde(rename = "clock")]
        next: NextEpoch,
        /// The total cost, in supervised steps of one generator.
        cost: usize,
        /// The remaining cost.
        left: usize,
        /// Number of parameters of each network.
        parameters: &'a BTreeMap<String, usize>,
    },
    /// An epoch has ended and its checkpoint is written.
    Epoch {
        /// The phase.
        phase: Phase,
        /// The epoch, from 0.
        epoch: usize,
        /// The maximum number of epochs of the phase.
        of: usize,
        /// The epoch that comes next.
        next: NextEpoch,
        /// The remaining cost.
        left: usize,
        /// The metrics of each network.
        points: &'a [Point],
    },
    /// The training is complete.
    End {
        /// The metrics by generator.
        #[serde(rename = "figures")]
        metrics: &'a BTreeMap<String, GeneratorMetrics>,
    },
}

/// Receives the progress of a training.
pub trait ProgressObserver: Send {
    /// Called after each step. Networks that are trained in parallel report their steps in any order.
    fn on_step(&mut self);

    /// Called for each event.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] when the event cannot be written.
    fn on_event(&mut self, event: &Event<'_>) -> Result<(), TrainError>;
}

/// An observer that ignores all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl ProgressObserver for NoProgress {
    fn on_step(&mut self) {}

    fn on_event(&mut self, _: &Event<'_>) -> Result<(), TrainError> {
        Ok(())
    }
}

/// Least seconds between two lines about steps inside an epoch.
const STEP_LINE_SECONDS: f64 = 5.0;

/// Writes `progress.jsonl`, shows a progress bar, and optionally copies the lines to a writer.
pub struct ProgressReporter<'a> {
    path: PathBuf,
    file: Option<File>,
    /// Each line of JSON is also written here.
    out: Option<&'a mut (dyn Write + Send)>,
    bar: ProgressBar,
    /// Time since a fixed instant.
    elapsed: &'a (dyn Fn() -> Duration + Sync),
    /// The time when this process started training, and the cost that remained then.
    start: (Duration, usize),
    /// The total cost and the remaining cost.
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
    /// Creates a reporter for a run directory. `elapsed` returns the time since a fixed instant.
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
        // With an invalid template the bar keeps its default.
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

    /// Returns the file, opened for appending; a line that a killed process left incomplete is ended first.
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

    /// Returns the seconds since the start, and an estimate of those that remain.
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
            // A failure to write a line about steps is ignored; one about an epoch is an error.
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

/// Returns the bar's text for an epoch: `adversarial 3/40 g1 2.07 g2 2.06 d-g1 1.31 left 4:05`.
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
        Phase::Pretraining => "pre-training",
        Phase::Adversarial => "adversarial",
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
