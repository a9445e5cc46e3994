//! The progress of a run: a bar on a terminal, else plain lines.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pace::{SECOND_NS, WallClock};

/// Reports the progress of a run on a terminal or in a log.
pub struct Progress<'a> {
    output: Output,
    clock: &'a dyn WallClock,
    begun_ns: Cell<u64>,
    reported_ns: Cell<u64>,
    done: Cell<u64>,
    total: Cell<u64>,
}

enum Output {
    Bar(ProgressBar),
    Lines(RefCell<Box<dyn Write>>),
}

/// Least time between two lines, except before the last one.
const BETWEEN_LINES_NS: u64 = 10 * SECOND_NS;

impl<'a> Progress<'a> {
    /// Reports on the standard error stream: with a bar if that is a terminal, else in lines.
    #[must_use]
    pub(crate) fn to_stderr(clock: &'a dyn WallClock) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::lines(std::io::stderr(), clock);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{msg:12} {wide_bar} {pos}/{len}  {per_sec}  {eta} left";
        // The template is a constant; if it were invalid, the default style would remain.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::new(Output::Bar(bar), clock)
    }

    /// Reports in plain lines.
    #[must_use]
    pub fn lines(out: impl Write + 'static, clock: &'a dyn WallClock) -> Self {
        Self::new(Output::Lines(RefCell::new(Box::new(out))), clock)
    }

    fn new(output: Output, clock: &'a dyn WallClock) -> Self {
        Self {
            output,
            clock,
            begun_ns: Cell::new(0),
            reported_ns: Cell::new(0),
            done: Cell::new(0),
            total: Cell::new(0),
        }
    }

    /// Writes a note at once.
    pub fn note(&self, text: &str) {
        match &self.output {
            Output::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Output::Lines(out) => {
                // A closed log must not stop the run.
                let _ = writeln!(out.borrow_mut(), "{text}");
            }
        }
    }

    /// Starts to count calls.
    pub fn begin(&self, total: usize) {
        let now = self.clock.now_ns();
        self.begun_ns.set(now);
        self.reported_ns.set(now);
        self.done.set(0);
        self.total.set(total as u64);
        if let Output::Bar(bar) = &self.output {
            bar.set_length(total as u64);
            bar.reset();
        }
    }

    /// Counts one call of an interface as done.
    pub fn step(&self, api: &str) {
        let (done, total) = (self.done.get() + 1, self.total.get());
        self.done.set(done);
        if let Output::Bar(bar) = &self.output {
            bar.set_message(api.to_owned());
            bar.inc(1);
            return;
        }
        let now = self.clock.now_ns();
        if done < total && now.saturating_sub(self.reported_ns.get()) < BETWEEN_LINES_NS {
            return;
        }
        self.reported_ns.set(now);
        let spent_s = now.saturating_sub(self.begun_ns.get()) as f64 / SECOND_NS as f64;
        // A run from the cache may take less time than the resolution of the clock.
        let rate = match spent_s > 0.0 {
            true => format!(
                ", {:.1} calls/s, {:.0} s left",
                done as f64 / spent_s,
                spent_s / done as f64 * total.saturating_sub(done) as f64
            ),
            false => String::new(),
        };
        self.note(&format!("{api}: {done} of {total} calls{rate}"));
    }

    /// Ends the count and removes the bar.
    pub fn end(&self) {
        if let Output::Bar(bar) = &self.output {
            bar.finish_and_clear();
        }
    }
}
