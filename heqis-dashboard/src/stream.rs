//! `GET /api/stream`: everything that changes, as server-sent events on one connection per page.
//!
//! A page receives the current state when it has read the previous one, so a slow page skips states and nothing is queued
//! for it. Decisions are numbered: a page that reconnects sends the number of its last one (`Last-Event-ID`) and receives
//! what it missed, or `resync` when that is too much or the number belongs to another process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::api::responses::DecisionRow;
use crate::api_error::error_response;
use crate::connections::Seat;
use crate::decisions::Decisions;
use crate::sources::Sources;

/// Interval between two snapshots.
const INTERVAL: Duration = Duration::from_millis(250);
/// Longest silence on a stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest number of decisions in one event; a page that missed more reloads the list.
const MAX_ROWS: usize = 500;

/// Counts the open streams, ends them, and shares one snapshot among them.
#[derive(Debug)]
pub(crate) struct Hub {
    max_streams: usize,
    open: AtomicUsize,
    stopping: watch::Sender<bool>,
    /// Origin of the ticks, which are the same for all pages.
    since: Instant,
    snapshot: Mutex<Option<Snapshot>>,
}

/// The changes at one tick, serialised once for all pages.
#[derive(Debug)]
struct Snapshot {
    at: Instant,
    live: Option<Bytes>,
    /// Number of the last decision.
    last: u64,
    /// The event for pages whose last decision has this number.
    decisions: Option<(u64, Bytes)>,
}

impl Hub {
    pub(crate) fn new(max_streams: usize) -> Self {
        Self {
            max_streams,
            open: AtomicUsize::new(0),
            stopping: watch::Sender::new(false),
            since: Instant::now(),
            snapshot: Mutex::new(None),
        }
    }

    /// Ends every stream: a graceful stop of the server would wait for them.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns the ticks that all pages share, from the next one on.
    fn ticks(&self) -> Interval {
        let now = Instant::now();
        let elapsed = now.duration_since(self.since).as_nanos() % INTERVAL.as_nanos();
        let ahead = INTERVAL - Duration::from_nanos(u64::try_from(elapsed).unwrap_or(0));
        let mut ticks = interval_at(now + ahead, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// Returns the snapshot of the tick `at`, or a newer one.
    fn snapshot(&self, sources: &Sources, at: Instant) -> MutexGuard<'_, Option<Snapshot>> {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshot.as_ref().is_none_or(|snapshot| snapshot.at < at) {
            *snapshot = Some(Snapshot::of(sources, at));
        }
        snapshot
    }
}

impl Snapshot {
    fn of(sources: &Sources, at: Instant) -> Self {
        let live = sources.live.as_ref().and_then(|live| {
            let body = serde_json::to_string(&live.state()).ok()?;
            Some(Bytes::from(format!("event: live\ndata: {body}\n\n")))
        });
        Self {
            at,
            live,
            last: sources.decisions.last(),
            decisions: None,
        }
    }

    /// Returns an event with the decisions after number `has`, or `resync`; `None` without new ones.
    fn decisions(&mut self, list: &Decisions, has: Option<u64>) -> Option<Bytes> {
        if has == Some(self.last) {
            return None;
        }
        if let (Some(has), Some((known, event))) = (has, &self.decisions)
            && has == *known
        {
            return Some(event.clone());
        }
        let (epoch, last) = (list.epoch(), self.last);
        let missed = has.and_then(|has| Some((has, list.after(has, MAX_ROWS)?)));
        let Some((has, missed)) = missed else {
            return Some(Bytes::from(format!(
                "id: {epoch:x}-{last}\nevent: resync\ndata: {{\"last\":{last}}}\n\n"
            )));
        };
        let rows = missed.iter().take_while(|(number, _)| *number <= last);
        let new = NewDecisions {
            rows: rows.map(DecisionRow::of).collect(),
        };
        let body = serde_json::to_string(&new).ok()?;
        let event = Bytes::from(format!(
            "id: {epoch:x}-{last}\nevent: decisions\ndata: {body}\n\n"
        ));
        self.decisions = Some((has, event.clone()));
        Some(event)
    }
}

/// Body of a `decisions` event.
#[derive(Serialize)]
struct NewDecisions {
    rows: Vec<DecisionRow>,
}

/// One of the streams that a hub allows; released on drop.
struct StreamSlot(Arc<Hub>);

impl StreamSlot {
    fn take(hub: &Arc<Hub>) -> Option<Self> {
        let taken = hub
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < hub.max_streams).then_some(open + 1)
            });
        taken.is_ok().then(|| Self(hub.clone()))
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The stream of one page.
struct PageStream {
    sources: web::Data<Sources>,
    slot: StreamSlot,
    stopping: watch::Receiver<bool>,
    ticks: Interval,
    /// Number of the last decision that the page has; `None` before the first event.
    has: Option<u64>,
    /// Version of the list of jobs that the page has.
    jobs: Option<u64>,
    last_sent: Instant,
}

/// `GET /api/stream`.
pub(crate) async fn stream(
    request: HttpRequest,
    sources: web::Data<Sources>,
    hub: web::Data<Hub>,
) -> HttpResponse {
    let hub = hub.into_inner();
    let Some(slot) = StreamSlot::take(&hub) else {
        let mut response = error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            "the limit of open pages is reached",
        );
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        return response;
    };
    if let Some(seat) = request.conn_data::<Arc<Seat>>() {
        seat.keep();
    }
    let page = PageStream {
        has: last_event(&request).and_then(|id| number_of(&id, sources.decisions.epoch())),
        stopping: hub.stopping.subscribe(),
        ticks: hub.ticks(),
        sources,
        slot,
        jobs: None,
        last_sent: Instant::now(),
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events(page))
}

/// Returns the id of the last event that the page received.
fn last_event(request: &HttpRequest) -> Option<String> {
    let id = request.headers().get("last-event-id")?;
    Some(id.to_str().ok()?.to_owned())
}

/// Returns the number in an event id, `None` when the id belongs to another epoch.
fn number_of(id: &str, epoch: u64) -> Option<u64> {
    let (of, number) = id.split_once('-')?;
    (u64::from_str_radix(of, 16).ok()? == epoch)
        .then(|| number.parse().ok())
        .flatten()
}

fn events(page: PageStream) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures_util::stream::unfold(page, |mut page| async move {
        let event = page.next().await?;
        page.last_sent = Instant::now();
        Some((Ok(event), page))
    })
}

impl PageStream {
    /// Returns the next bytes to send, `None` when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            tokio::select! {
                _ = self.stopping.changed() => return None,
                now = self.ticks.tick() => {
                    let mut out = Vec::new();
                    if let Some(snapshot) = &mut *self.slot.0.snapshot(&self.sources, now) {
                        out.extend(snapshot.decisions(&self.sources.decisions, self.has));
                        self.has = Some(snapshot.last);
                        out.extend(snapshot.live.clone());
                    }
                    out.extend(self.jobs());
                    if out.is_empty() && now.duration_since(self.last_sent) >= KEEP_ALIVE {
                        out.push(Bytes::from_static(b": keep-alive\n\n"));
                    }
                    match out.len() {
                        0 => {}
                        1 => return out.pop(),
                        _ => return Some(Bytes::from(out.concat())),
                    }
                }
            }
        }
    }

    /// Returns an event with the jobs when they have changed.
    fn jobs(&mut self) -> Option<Bytes> {
        let jobs = self.sources.jobs.as_ref()?;
        let version = jobs.version();
        if self.jobs == Some(version) {
            return None;
        }
        self.jobs = Some(version);
        let body = serde_json::to_string(&jobs.list()).ok()?;
        Some(Bytes::from(format!("event: jobs\ndata: {body}\n\n")))
    }
}
