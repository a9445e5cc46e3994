//! Jobs: commands of this very program as child processes, a few at a time, each with the end of its log.
//!
//! ```text
//! order ▸ commands ▸ child ▸ job-N-out, job-N-err ▸ log ▸ page
//!                          ▸ job-N waits for its end
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

use super::{commands, watch};

/// The option with which a command ends when its standard input does: see [`end_with_parent`].
const ATTENDED: &str = "--attended";
/// Lines of a log that are kept.
const MAX_LINES: usize = 2_000;
/// Longest line that is kept; the rest of it is left out.
const MAX_LINE_BYTES: usize = 2_000;
/// Jobs that are remembered.
const MAX_JOBS: usize = 50;

/// Starts jobs and remembers them.
pub(super) struct Bench {
    program: PathBuf,
    dir: PathBuf,
    watch: Option<PathBuf>,
    most: usize,
    version: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    ending: bool,
    jobs: VecDeque<Arc<Work>>,
    /// Who waits for the ends of jobs.
    waiting: Vec<JoinHandle<()>>,
}

/// One job.
struct Work {
    child: Mutex<Child>,
    told: Mutex<Told>,
    version: Arc<AtomicU64>,
}

struct Told {
    job: Job,
    lines: VecDeque<String>,
    /// All work as the command counts it, where it said.
    whole: Option<f64>,
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

impl Bench {
    /// A bench that runs `program` in `dir`, at most `most` jobs at once.
    pub(super) fn new(program: PathBuf, dir: &Path, watch: Option<PathBuf>, most: usize) -> Self {
        Self {
            program,
            dir: dir.to_owned(),
            watch,
            most,
            version: Arc::new(AtomicU64::new(1)),
            state: Mutex::default(),
        }
    }

    /// Ends all jobs, and takes no more.
    pub(super) fn end(&self) {
        let (jobs, waiting) = {
            let mut state = lock(&self.state);
            state.ending = true;
            (state.jobs.clone(), std::mem::take(&mut state.waiting))
        };
        for work in &jobs {
            work.cancel();
        }
        for thread in waiting {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }

    fn find(&self, number: u64) -> Option<Arc<Work>> {
        let state = lock(&self.state);
        state
            .jobs
            .iter()
            .find(|work| lock(&work.told).job.n == number)
            .cloned()
    }
}

impl Jobs for Bench {
    fn kinds(&self) -> Vec<JobKind> {
        commands::kinds()
    }

    fn list(&self) -> JobList {
        let state = lock(&self.state);
        let rows: Vec<Job> = state
            .jobs
            .iter()
            .rev()
            .map(|work| lock(&work.told).job.clone())
            .collect();
        JobList {
            running: rows
                .iter()
                .filter(|job| job.state == JobState::Running)
                .count() as u64,
            most: self.most as u64,
            rows,
        }
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn log(&self, job: u64, after: u64) -> Option<JobLog> {
        let work = self.find(job)?;
        let told = lock(&work.told);
        let kept = told.lines.len() as u64;
        let before = told.job.lines - kept;
        let skip = after.clamp(before, told.job.lines) - before;
        Some(JobLog {
            job: told.job.clone(),
            first: before + skip + 1,
            lines: told.lines.iter().skip(skip as usize).cloned().collect(),
            next: told.job.lines,
        })
    }

    fn start(&self, order: &JobOrder) -> Result<u64, Rejected> {
        let arguments = commands::arguments(order)?;
        let mut state = lock(&self.state);
        let running = |work: &&Arc<Work>| lock(&work.told).job.state == JobState::Running;
        let busy = state.jobs.iter().filter(running).count();
        if busy >= self.most || state.ending {
            let rule = format!("{busy} jobs run, at most {} may at once", self.most);
            return Err(Rejected::Busy(rule));
        }
        let broken =
            |error: std::io::Error| Rejected::Failed(format!("{}: {error}", order.command));
        // The pipe is never written to: it ends with this process, however that ends, and the command ends with it.
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
        let work = Arc::new(Work {
            child: Mutex::new(child),
            version: self.version.clone(),
            told: Mutex::new(Told {
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
                whole: None,
            }),
        });
        match attend(&work, number, out, err) {
            Ok(thread) => state.waiting.push(thread),
            Err(error) => {
                // Without anybody to attend to it the child must not go on.
                let mut child = lock(&work.child);
                let _ = child.kill();
                let _ = child.wait();
                return Err(broken(error));
            }
        }
        state.waiting.retain(|thread| !thread.is_finished());
        if state.jobs.len() == MAX_JOBS {
            // The oldest that has ended: of those that run there are far fewer than are remembered.
            let oldest = state.jobs.iter().position(|work| !running(&work));
            oldest.map(|at| state.jobs.remove(at));
        }
        state.jobs.push_back(work);
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(number)
    }

    fn cancel(&self, job: u64) -> Result<bool, Rejected> {
        let work = self.find(job);
        let work = work.ok_or_else(|| Rejected::NotFound(format!("there is no job {job}")))?;
        Ok(work.cancel())
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

/// Ends this process when its standard input does, because whoever started it is no more. Every command leaves what was
/// there before, or a state that it goes on from, wherever it is ended.
///
/// # Errors
/// When no thread can be had for it.
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

/// Reads what a child says and waits for its end, on threads of their own.
#[expect(
    clippy::disallowed_methods,
    reason = "threads that read a child's output and end with it"
)]
fn attend(
    work: &Arc<Work>,
    number: u64,
    out: Option<impl Read + Send + 'static>,
    err: Option<impl Read + Send + 'static>,
) -> std::io::Result<JoinHandle<()>> {
    let (to_out, to_err, work) = (work.clone(), work.clone(), work.clone());
    let out = Builder::new()
        .name(format!("job-{number}-out"))
        .spawn(move || to_out.listen(out))?;
    let err = Builder::new()
        .name(format!("job-{number}-err"))
        .spawn(move || to_err.listen(err))?;
    Builder::new().name(format!("job-{number}")).spawn(move || {
        let _ = (out.join(), err.join());
        work.finish();
    })
}

impl Work {
    /// Keeps what the child says, line by line, until it says no more.
    fn listen(&self, source: Option<impl Read>) {
        let Some(source) = source else { return };
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        loop {
            let (used, whole) = match source.fill_buf() {
                Ok([]) | Err(_) => break,
                // A bar goes back to the beginning of its line: that is a line too.
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
            line.truncate(MAX_LINE_BYTES);
            if whole {
                self.keep(&line);
                line.clear();
            }
        }
        self.keep(&line);
    }

    fn keep(&self, line: &[u8]) {
        let text: String = String::from_utf8_lossy(line)
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        if text.trim().is_empty() {
            return;
        }
        let mut told = lock(&self.told);
        let told = &mut *told;
        progress(told, &text);
        if told.lines.len() == MAX_LINES {
            told.lines.pop_front();
        }
        told.job.lines += 1;
        told.job.last = Some(text.clone());
        told.lines.push_back(text);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for the child, which has said its last word.
    fn finish(&self) {
        let ended = lock(&self.child).wait();
        let mut told = lock(&self.told);
        let job = &mut told.job;
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

    /// Ends the child, and returns whether it ran.
    fn cancel(&self) -> bool {
        {
            let mut told = lock(&self.told);
            if told.job.state != JobState::Running {
                return false;
            }
            told.job.state = JobState::Cancelled;
        }
        // Every command leaves what was there before, or a state that it goes on from, wherever it is ended.
        let _ = lock(&self.child).kill();
        self.version.fetch_add(1, Ordering::AcqRel);
        true
    }
}

/// Takes out of a line how far the command is: training's lines of JSON, and `3 of 10 calls`.
fn progress(told: &mut Told, line: &str) {
    if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
        if let Some(cost) = event["cost"].as_f64() {
            told.whole = Some(cost);
        }
        if let (Some(left), Some(whole)) = (event["left"].as_f64(), told.whole)
            && whole > 0.0
        {
            told.job.progress = Some((1.0 - left / whole).clamp(0.0, 1.0));
        }
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let counted = words.windows(3).find_map(|three| {
        let (done, of, whole) = (
            three[0].parse::<f64>().ok()?,
            three[1],
            three[2].parse::<f64>().ok()?,
        );
        (of == "of" && whole > 0.0 && done <= whole).then_some(done / whole)
    });
    if counted.is_some() {
        told.job.progress = counted;
    }
}
