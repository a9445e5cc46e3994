//! `GET /api/stream`: everything that changes, as server-sent events on one connection a page.
//!
//! A page is handed the state of the moment when it has taken what was sent before, so a slow one misses states and is
//! never queued for. Decisions are numbered: a page that was away says the last number it has (`Last-Event-ID`) and gets
//! what it missed, or `resync` when that is too much or the numbers are another process's.

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

use crate::api::answers::DecisionRow;
use crate::api::refuse;
use crate::{Decisions, Desk};

/// Pause between two looks at what has changed.
const PAUSE: Duration = Duration::from_millis(250);
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
    /// All pages look at the same times, counted from here.
    since: Instant,
    look: Mutex<Option<Look>>,
}

/// What there is to tell at one time, put into words once for all pages.
#[derive(Debug)]
struct Look {
    at: Instant,
    live: Option<Bytes>,
    /// Number of the last decision.
    last: u64,
    /// The last decision that pages had, and what they are told of the later ones.
    decisions: Option<(u64, Bytes)>,
}

impl Hub {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: AtomicUsize::new(0),
            ending: watch::Sender::new(false),
            since: Instant::now(),
            look: Mutex::new(None),
        }
    }

    /// Ends every stream: a server that stops would wait for them.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// When pages look, from the next time on.
    fn looks(&self) -> Interval {
        let now = Instant::now();
        let into = now.duration_since(self.since).as_nanos() % PAUSE.as_nanos();
        let ahead = PAUSE - Duration::from_nanos(u64::try_from(into).unwrap_or(0));
        let mut looks = interval_at(now + ahead, PAUSE);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        looks
    }

    /// What there is to tell at the time `at`, or at a later one when a page comes late.
    fn look(&self, desk: &Desk, at: Instant) -> MutexGuard<'_, Option<Look>> {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if look.as_ref().is_none_or(|look| look.at < at) {
            *look = Some(Look::of(desk, at));
        }
        look
    }
}

impl Look {
    fn of(desk: &Desk, at: Instant) -> Self {
        let live = desk.live.as_ref().and_then(|live| {
            let body = serde_json::to_string(&live.state()).ok()?;
            Some(Bytes::from(format!("event: live\ndata: {body}\n\n")))
        });
        Self {
            at,
            live,
            last: desk.decisions.last(),
            decisions: None,
        }
    }

    /// The decisions behind `has`, or word that the list has to be read anew; nothing when there are none.
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
        let news = News {
            rows: rows.map(DecisionRow::of).collect(),
        };
        let body = serde_json::to_string(&news).ok()?;
        let event = Bytes::from(format!(
            "id: {epoch:x}-{last}\nevent: decisions\ndata: {body}\n\n"
        ));
        self.decisions = Some((has, event.clone()));
        Some(event)
    }
}

/// Decisions that a page has not got.
#[derive(Serialize)]
struct News {
    rows: Vec<DecisionRow>,
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
    let reader = Reader {
        has: last_event(&request).and_then(|said| known(&said, desk.decisions.epoch())),
        ending: hub.ending.subscribe(),
        looks: hub.looks(),
        desk,
        place,
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
                    if let Some(look) = &mut *self.place.0.look(&self.desk, now) {
                        out.extend(look.decisions(&self.desk.decisions, self.has));
                        self.has = Some(look.last);
                        out.extend(look.live.clone());
                    }
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
}
