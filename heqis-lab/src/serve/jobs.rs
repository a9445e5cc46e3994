//! Jobs: commands of this program as child processes, a few at a time, each with the tail of its log.
//!
//! ```text
//! order ▸ commands ▸ child ▸ job-N-out, job-N-err ▸ log ▸ page
//!                          ▸ job-N waits for its exit
//! ```

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use heqis_dashboard::Jobs;
use heqis_dashboard::jobs::{
    Job, JobKind, JobList, JobLog, JobOrder, JobState, Rejected, WatchList, WatchOrder,
};

use serde_json::Value;

use super::{commands, watch};

/// The option by which a command exits at the end of its standard input: see [`end_with_parent`].
const ATTENDED: &str = "--attended";
/// Lines of a log that are kept.
const MAX_LINES: usize = 2_000;
/// Longest line that is kept; longer ones are cut.
const MAX_LINE_BYTES: usize = 2_000;
/// Longest line from which progress is read: an epoch of many networks takes some ten kilobytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// Jobs that are listed.
const MAX_JOBS: usize = 50;

/// Starts jobs and lists them.
pub(super) struct JobRunner {
    program: PathBuf,
    dir: PathBuf,
    watch: Option<PathBuf>,
    max_running: usize,
    version: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    ending: bool,
    jobs: VecDeque<Arc<JobProcess>>,
    /// Threads that wait for the exit of jobs.
    waiters: Vec<JoinHandle<()>>,
}

/// The child process of one job.
struct JobProcess {
    child: Mutex<Child>,
    output: Mutex<JobOutput>,
    version: Arc<AtomicU64>,
}

/// State and log of one job.
struct JobOutput {
    job: Job,
    lines: VecDeque<String>,
    /// The total work that the command reported, in its own unit.
    total: Option<f64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of day of an event, shown on the page"
)]
fn now_ms() -> i64 {
    let age = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}

impl JobRunner {
    /// Returns a runner that runs `program` in `dir`, at most `max_running` jobs at once.
    pub(super) fn new(
        program: PathBuf,
        dir: &Path,
        watch: Option<PathBuf>,
        max_running: usize,
    ) -> Self {
        Self {
            program,
            dir: dir.to_owned(),
            watch,
            max_running,
            version: Arc::new(AtomicU64::new(1)),
            state: Mutex::default(),
        }
    }

    /// Ends all jobs and rejects new ones.
    pub(super) fn end(&self) {
        let (jobs, waiters) = {
            let mut state = lock(&self.state);
            state.ending = true;
            (state.jobs.clone(), std::mem::take(&mut state.waiters))
        };
        for process in &jobs {
            process.cancel();
        }
        for thread in waiters {
            // A thread that panicked waits for nothing.
            let _ = thread.join();
        }
    }

    fn find(&self, number: u64) -> Option<Arc<JobProcess>> {
        let state = lock(&self.state);
        state
            .jobs
            .iter()
            .find(|process| lock(&process.output).job.n == number)
            .cloned()
    }
}

impl Jobs for JobRunner {
    fn kinds(&self) -> Vec<JobKind> {
        commands::kinds()
    }

    fn list(&self) -> JobList {
        let state = lock(&self.state);
        let rows: Vec<Job> = state
            .jobs
            .iter()
            .rev()
            .map(|process| lock(&process.output).job.clone())
            .collect();
        JobList {
            running: rows
                .iter()
                .filter(|job| job.state == JobState::Running)
                .count() as u64,
            most: self.max_running as u64,
            rows,
        }
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn log(&self, job: u64, after: u64) -> Option<JobLog> {
        let process = self.find(job)?;
        let output = lock(&process.output);
        let kept = output.lines.len() as u64;
        let before = output.job.lines - kept;
        let skip = after.clamp(before, output.job.lines) - before;
        Some(JobLog {
            job: output.job.clone(),
            first: before + skip + 1,
            lines: output.lines.iter().skip(skip as usize).cloned().collect(),
            next: output.job.lines,
        })
    }

    fn start(&self, order: &JobOrder) -> Result<u64, Rejected> {
        let arguments = commands::arguments(order)?;
        let mut state = lock(&self.state);
        let running =
            |process: &&Arc<JobProcess>| lock(&process.output).job.state == JobState::Running;
        let busy = state.jobs.iter().filter(running).count();
        if busy >= self.max_running || state.ending {
            let rule = format!("{busy} jobs run, at most {} may at once", self.max_running);
            return Err(Rejected::Busy(rule));
        }
        let broken =
            |error: std::io::Error| Rejected::Failed(format!("{}: {error}", order.command));
        // Nothing is written to the pipe. It closes when this process ends for any reason, and the command exits with it.
        let mut child = Command::new(&self.program)
            .arg(ATTENDED)
            .args(&arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        state.next += 1;
        let number = state.next;
        let process = Arc::new(JobProcess {
            child: Mutex::new(child),
            version: self.version.clone(),
            output: Mutex::new(JobOutput {
                job: Job {
                    n: number,
                    command: order.command.clone(),
                    arguments,
                    state: JobState::Running,
                    started_ms: now_ms(),
                    ended_ms: None,
                    exit: None,
                    progress: None,
                    last: None,
                    lines: 0,
                },
                lines: VecDeque::new(),
                total: None,
            }),
        });
        match spawn_readers(&process, number, out, err) {
            Ok(thread) => state.waiters.push(thread),
            Err(error) => {
                // No thread reads the child's output, so the child must not continue.
                let mut child = lock(&process.child);
                let _ = child.kill();
                let _ = child.wait();
                return Err(broken(error));
            }
        }
        state.waiters.retain(|thread| !thread.is_finished());
        if state.jobs.len() == MAX_JOBS {
            // The oldest that has ended. Far fewer jobs run than are listed.
            let oldest = state.jobs.iter().position(|process| !running(&process));
            oldest.map(|at| state.jobs.remove(at));
        }
        state.jobs.push_back(process);
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(number)
    }

    fn cancel(&self, job: u64) -> Result<bool, Rejected> {
        let process = self.find(job);
        let process =
            process.ok_or_else(|| Rejected::NotFound(format!("there is no job {job}")))?;
        Ok(process.cancel())
    }

    fn watch_list(&self) -> Result<Option<WatchList>, Rejected> {
        self.watch.as_deref().map(watch::read).transpose()
    }

    fn watch(&self, order: &WatchOrder) -> Result<bool, Rejected> {
        let path = self.watch.as_deref();
        let path = path.ok_or_else(|| Rejected::NotFound("this page has no watch list".into()))?;
        // One writer at a time.
        let _state = lock(&self.state);
        watch::add(path, order)
    }
}

/// Ends this process at the end of its standard input, which means that its parent has ended. A command that is ended at
/// any point leaves the previous files, or a state from which it resumes.
///
/// # Errors
/// When the thread cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread that waits for the end of standard input"
)]
pub fn end_with_parent() -> std::io::Result<()> {
    Builder::new().name("parent-watch".into()).spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(1);
    })?;
    Ok(())
}

/// Starts the threads that read a child's output and wait for its exit.
#[expect(
    clippy::disallowed_methods,
    reason = "threads that read a child's output and end with it"
)]
fn spawn_readers(
    process: &Arc<JobProcess>,
    number: u64,
    out: Option<impl Read + Send + 'static>,
    err: Option<impl Read + Send + 'static>,
) -> std::io::Result<JoinHandle<()>> {
    let (to_out, to_err, process) = (process.clone(), process.clone(), process.clone());
    let out = Builder::new()
        .name(format!("job-{number}-out"))
        .spawn(move || to_out.read_lines(out))?;
    let err = Builder::new()
        .name(format!("job-{number}-err"))
        .spawn(move || to_err.read_lines(err))?;
    Builder::new().name(format!("job-{number}")).spawn(move || {
        let _ = (out.join(), err.join());
        process.finish();
    })
}

impl JobProcess {
    /// Keeps the child's output, line by line, until its end.
    fn read_lines(&self, source: Option<impl Read>) {
        let Some(source) = source else { return };
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        loop {
            let (used, is_complete) = match source.fill_buf() {
                Ok([]) | Err(_) => break,
                // A progress bar returns to the beginning of its line: each update counts as a line.
                Ok(bytes) => match bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                    Some(end) => {
                        line.extend_from_slice(&bytes[..end]);
                        (end + 1, true)
                    }
                    None => {
                        line.extend_from_slice(bytes);
                        (bytes.len(), false)
                    }
                },
            };
            source.consume(used);
            line.truncate(MAX_EVENT_BYTES);
            if is_complete {
                self.keep(&line);
                line.clear();
            }
        }
        self.keep(&line);
    }

    fn keep(&self, line: &[u8]) {
        let whole: String = String::from_utf8_lossy(line)
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        let text = whole[..whole.floor_char_boundary(MAX_LINE_BYTES)].to_owned();
        if text.trim().is_empty() {
            return;
        }
        let mut output = lock(&self.output);
        let output = &mut *output;
        let event = serde_json::from_str(&whole).ok();
        update_progress(output, &whole, event.as_ref());
        if output.lines.len() == MAX_LINES {
            output.lines.pop_front();
        }
        output.job.lines += 1;
        output.job.last = match &event {
            Some(event) => sentence(event).or_else(|| output.job.last.take()),
            None => Some(text.clone()),
        };
        output.lines.push_back(text);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for the exit of the child, whose output has ended.
    fn finish(&self) {
        let ended = lock(&self.child).wait();
        let mut output = lock(&self.output);
        let job = &mut output.job;
        job.ended_ms = Some(now_ms());
        job.exit = ended.as_ref().ok().and_then(std::process::ExitStatus::code);
        if job.state == JobState::Running {
            job.state = match job.exit {
                Some(0) => JobState::Done,
                _ => JobState::Failed,
            };
        }
        if job.state == JobState::Done && job.progress.is_some() {
            job.progress = Some(1.0);
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends the child and returns whether it was running.
    fn cancel(&self) -> bool {
        {
            let mut output = lock(&self.output);
            if output.job.state != JobState::Running {
                return false;
            }
            output.job.state = JobState::Cancelled;
        }
        // A command that is ended at any point leaves the previous files, or a state from which it resumes.
        let _ = lock(&self.child).kill();
        self.version.fetch_add(1, Ordering::AcqRel);
        true
    }
}

/// Returns an event of a training as its progress bar words it, such as `adversarial 3/40 g1 2.070 g2 2.062`; `None` for one
/// that says nothing new.
fn sentence(event: &Value) -> Option<String> {
    let (epoch, of) = (event["epoch"].as_u64()?, event["of"].as_u64()?);
    let mut text = format!("{} {}/{of}", event["phase"].as_str()?, epoch + 1);
    for point in event["points"].as_array()? {
        let loss = [&point["validation_loss"], &point["loss"]]
            .into_iter()
            .find_map(Value::as_f64);
        if let (Some(0), Some(network), Some(loss)) =
            (point["pass"].as_u64(), point["network"].as_str(), loss)
        {
            text += &format!(" {network} {loss:.3}");
        }
    }
    Some(text)
}

/// Reads the progress from a line: training's lines of JSON, and `3 of 10 calls`.
fn update_progress(output: &mut JobOutput, line: &str, event: Option<&Value>) {
    if let Some(event) = event {
        if let Some(cost) = event["cost"].as_f64() {
            output.total = Some(cost);
        }
        if let (Some(left), Some(total)) = (event["left"].as_f64(), output.total)
            && total > 0.0
        {
            output.job.progress = Some((1.0 - left / total).clamp(0.0, 1.0));
        }
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let counted = words.windows(3).find_map(|three| {
        let (done, of, total) = (
            three[0].parse::<f64>().ok()?,
            three[1],
            three[2].parse::<f64>().ok()?,
        );
        (of == "of" && total > 0.0 && done <= total).then_some(done / total)
    });
    if counted.is_some() {
        output.job.progress = counted;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn process() -> JobProcess {
        let child = Command::new("true").spawn().unwrap();
        JobProcess {
            child: Mutex::new(child),
            version: Arc::default(),
            output: Mutex::new(JobOutput {
                job: Job {
                    n: 1,
                    command: "train".into(),
                    arguments: Vec::new(),
                    state: JobState::Running,
                    started_ms: 0,
                    ended_ms: None,
                    exit: None,
                    progress: None,
                    last: None,
                    lines: 0,
                },
                lines: VecDeque::new(),
                total: None,
            }),
        }
    }

    #[test]
    fn progress_is_read_from_a_line_that_is_longer_than_a_kept_one() {
        let points: Vec<Value> = (0..60)
            .map(|at| {
                let rates = [0.125; 40];
                json!({"pass": 0, "network": format!("g{at}"), "loss": 2.0, "validation_loss": null, "rates": rates.to_vec()})
            })
            .collect();
        let line = json!({"event": "epoch", "phase": "adversarial", "epoch": 2, "of": 40, "left": 25, "points": points}).to_string();
        assert!(line.len() > 5 * MAX_LINE_BYTES);
        let process = process();
        process.read_lines(Some(format!("{{\"event\":\"start\",\"cost\":100,\"left\":100}}\n{line}\n{{\"event\":\"step\"}}\n").as_bytes()));
        let output = lock(&process.output);
        assert_eq!(output.job.progress, Some(0.75));
        assert!(output.lines.iter().all(|line| line.len() <= MAX_LINE_BYTES));
        assert_eq!(output.job.lines, 3);
        // The list shows words instead of JSON, and a step says nothing new.
        let last = output.job.last.as_deref().unwrap();
        assert!(
            last.starts_with("adversarial 3/40 g0 2.000 g1 2.000"),
            "{last}"
        );
        drop(output);
        process.finish();
    }
}
