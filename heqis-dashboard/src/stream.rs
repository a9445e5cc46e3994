//! `GET /api/stream`: everything that changes, as server-sent events on one connection a page.
//!
//! A page is handed the state of the moment when it has taken what was sent before, so a slow one misses states and is
//! never queued for. Decisions are numbered: a page that was away says the last number it has (`Last-Event-ID`) and gets
//! what it missed, or `resync` when that is too much or the numbers are another process's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::Desk;
use crate::api::answers::DecisionRow;
use crate::api::refuse;

/// Pause between two looks at what has changed.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest silence on a stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Most decisions that are sent at once; a page that misses more reads the list anew.
const MAX_ROWS: usize = 500;

/// Counts the open streams, and ends them all.
#[derive(Debug)]
pub(crate) struct Hub {
    most: usize,
    open: AtomicUsize,
    ending: watch::Sender<bool>,
    /// The last state that was made, shared by all pages.
    state: Mutex<Option<(Instant, Bytes)>>,
}

impl Hub {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: AtomicUsize::new(0),
            ending: watch::Sender::new(false),
            state: Mutex::new(None),
        }
    }

    /// Ends every stream: a server that stops would wait for them.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// The live state as an event, made once for all pages that ask within a pause.
    fn state(&self, desk: &Desk, now: Instant) -> Option<Bytes> {
        let live = desk.live.as_ref()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, event)) = &*state
            && now.duration_since(*made) < PAUSE
        {
            return Some(event.clone());
        }
        let body = serde_json::to_string(&live.state()).ok()?;
        let event = Bytes::from(format!("event: live\ndata: {body}\n\n"));
        *state = Some((now, event.clone()));
        Some(event)
    }
}

/// One of the places of a hub; given back when it is dropped.
struct Place(Arc<Hub>);

impl Place {
    fn take(hub: &Arc<Hub>) -> Option<Self> {
        let taken = hub
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < hub.most).then_some(open + 1)
            });
        taken.is_ok().then(|| Self(hub.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One page's stream.
struct Reader {
    desk: web::Data<Desk>,
    place: Place,
    ending: watch::Receiver<bool>,
    looks: Interval,
    /// Number of the last decision that the page has; `None` until it was told where the list stands.
    has: Option<u64>,
    /// The version of the jobs that the page has.
    jobs: Option<u64>,
    spoke: Instant,
}

/// `GET /api/stream`.
pub(crate) async fn stream(
    request: HttpRequest,
    desk: web::Data<Desk>,
    hub: web::Data<Hub>,
) -> HttpResponse {
    let hub = hub.into_inner();
    let Some(place) = Place::take(&hub) else {
        let mut answer = refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "as many pages as are allowed are open",
        );
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        return answer;
    };
    let mut looks = interval(PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        has: last_event(&request).and_then(|said| known(&said, desk.decisions.epoch())),
        ending: hub.ending.subscribe(),
        desk,
        place,
        looks,
        jobs: None,
        spoke: Instant::now(),
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events(reader))
}

/// What the page says it has got last.
fn last_event(request: &HttpRequest) -> Option<String> {
    let said = request.headers().get("last-event-id")?;
    Some(said.to_str().ok()?.to_owned())
}

/// The number of an event id of the list with this epoch.
fn known(id: &str, epoch: u64) -> Option<u64> {
    let (of, number) = id.split_once('-')?;
    (u64::from_str_radix(of, 16).ok()? == epoch)
        .then(|| number.parse().ok())
        .flatten()
}

fn events(reader: Reader) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures_util::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        reader.spoke = Instant::now();
        Some((Ok(event), reader))
    })
}

impl Reader {
    /// The next bytes to send, `None` when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if *self.ending.borrow() {
                return None;
            }
            tokio::select! {
                _ = self.ending.changed() => return None,
                now = self.looks.tick() => {
                    let mut out = Vec::new();
                    out.extend(self.decisions());
                    out.extend(self.place.0.state(&self.desk, now));
                    out.extend(self.jobs());
                    if out.is_empty() && now.duration_since(self.spoke) >= KEEP_ALIVE {
                        out.push(Bytes::from_static(b": still here\n\n"));
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

    /// The jobs, when they have changed.
    fn jobs(&mut self) -> Option<Bytes> {
        let jobs = self.desk.jobs.as_ref()?;
        let version = jobs.version();
        if self.jobs == Some(version) {
            return None;
        }
        self.jobs = Some(version);
        let body = serde_json::to_string(&jobs.list()).ok()?;
        Some(Bytes::from(format!("event: jobs\ndata: {body}\n\n")))
    }

    /// The decisions that the page has not got, or word that it has to read the list anew.
    fn decisions(&mut self) -> Option<Bytes> {
        let decisions = &self.desk.decisions;
        let epoch = decisions.epoch();
        let missed = match self.has {
            Some(has) => decisions.after(has, MAX_ROWS),
            None => None,
        };
        let Some(missed) = missed else {
            let last = decisions.last();
            self.has = Some(last);
            let event =
                format!("id: {epoch:x}-{last}\nevent: resync\ndata: {{\"last\":{last}}}\n\n");
            return Some(Bytes::from(event));
        };
        let (last, _) = missed.last()?;
        self.has = Some(*last);
        let rows: Vec<DecisionRow> = missed.iter().map(DecisionRow::of).collect();
        let body = json!({ "rows": rows });
        let event = format!("id: {epoch:x}-{last}\nevent: decisions\ndata: {body}\n\n");
        Some(Bytes::from(event))
    }
}
