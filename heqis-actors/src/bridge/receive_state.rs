//! What has arrived on the receiving half of an edge: from which sender, up to which number, and with which outcomes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::acknowledged;
use super::conn::LinkError;
use super::setup::BridgeSetup;
use heqis_core::link::dedup_log::{Arrival, DedupLog, FrameId};
use heqis_core::link::messages::{
    Ack, Hello, MAX_RANGES_SENT, MAX_SEQ, PositionRange, Welcome, decode_frame,
};
use heqis_core::wire::WireFrame;
use heqis_core::{Delivery, DropCause, Ending, FrameOutcome, SavedFrames, Tracker};
use heqis_core::{NO_STAGE, Ticket};

/// The state of one sender instance.
struct Session {
    sender: u64,
    id: u64,
    /// The highest number received.
    received: u64,
    /// Frames after the last hello are numbered above this. An at-most-once sender has given up the frames between
    /// `received` and this number; credit counted from `received` might never let it send again.
    given_up: u64,
    tracker: Arc<Tracker>,
}

/// The numbers and frames of one receiving half.
pub(super) struct ReceiveState {
    setup: Rc<BridgeSetup>,
    session: Option<Session>,
    /// Sessions so far.
    sessions: u64,
    /// Frames received over the life of this process, to recognise what a restarted sender repeats; only on an
    /// at-least-once edge.
    log: DedupLog,
    /// The sender's last number, once it has declared its stream complete.
    last_seq: Option<u64>,
    /// This node accepts no further frames.
    closed: bool,
    edge_ended: bool,
    /// The limit that the sender knows.
    reported_limit: u64,
    /// What the saved state includes, where the node saves its state.
    saved: Vec<PositionRange>,
    /// What the state that is being saved includes: positions, and the number up to which it does, with its session.
    saving: (Vec<PositionRange>, Option<(u64, u64)>),
}

impl ReceiveState {
    pub(super) fn new(setup: Rc<BridgeSetup>) -> Self {
        Self {
            setup,
            session: None,
            sessions: 0,
            log: DedupLog::default(),
            last_seq: None,
            closed: false,
            edge_ended: false,
            reported_limit: 0,
            saved: Vec::new(),
            saving: (Vec::new(), None),
        }
    }

    /// Whether frames are acknowledged only when the saved state includes them.
    fn saves(&self) -> bool {
        self.keeps() && self.setup.control.saves_received()
    }

    /// What the states of the stages include: everything received but what still waits on the edge.
    pub(super) fn snapshot(&mut self) -> SavedFrames {
        let (mut waiting, mut first) = (Vec::new(), u64::MAX);
        let session = self.session.as_ref();
        self.setup.edge.waiting(|frame| {
            waiting.push(FrameId::of(&frame.head));
            let ticket = frame.head.ticket.as_ref();
            let seq = session.zip(ticket);
            let seq = seq.and_then(|(session, ticket)| ticket.seq_in(&session.tracker));
            // A frame of an earlier session may have copies in this one.
            first = first.min(seq.unwrap_or(1));
        });
        let number = session.map(|session| (session.id, session.received.min(first - 1)));
        let saved = self.log.saved(&waiting);
        let ranges = saved.ranges.iter();
        let ranges = ranges.map(|&(stream, part, first, last)| PositionRange {
            stream,
            part,
            first,
            last,
        });
        self.saving = (ranges.collect(), number);
        saved
    }

    /// The state that [`ReceiveState::snapshot`] was part of is on the disk.
    pub(super) fn saved(&mut self) {
        let (ranges, number) = std::mem::take(&mut self.saving);
        self.saved = ranges;
        let Some(session) = &self.session else { return };
        // The numbers of a session that has begun since then are other ones.
        let number = number.filter(|(id, _)| *id == session.id);
        let seq = number.map_or(0, |(_, seq)| seq);
        session.tracker.set_saved(seq);
        match self.last_seq {
            Some(last) if number.is_some() && seq >= last => self.end_edge(Ending::Complete),
            Some(_) => self.setup.control.save_demand().demand(),
            None => {}
        }
    }

    /// The node restores a state that includes these frames.
    pub(super) fn restore(&mut self, saved: Option<&SavedFrames>) {
        self.log = saved.map(DedupLog::restored).unwrap_or_default();
        self.saved = self.log.without(std::iter::empty());
    }

    /// The node does not save its state any more: acknowledges everything that has its outcome.
    fn stop_saving(&mut self) {
        if self.setup.control.saves_received() {
            return;
        }
        if let Some(session) = &self.session {
            session.tracker.set_saved(u64::MAX);
        }
        if self.last_seq.is_some() {
            self.end_edge(Ending::Complete);
        }
    }

    /// The frames of a complete stream that only stages hold, which emit nothing further, count as delivered.
    pub(super) fn release_held(&mut self) {
        self.stop_saving();
        if self.last_seq.is_some()
            && self.edge_ended
            && !self.is_settled()
            && self.setup.control.only_receivers_left()
            && let Some(session) = &self.session
        {
            match self.setup.control.held_outside().load(Ordering::Acquire) {
                0 => session.tracker.deliver_rest(session.received),
                held => self.setup.report_held(held),
            }
        }
    }

    /// Most frames that wait for the stage.
    fn credit(&self) -> u64 {
        self.setup.options.credit as u64
    }

    /// Whether the sender sends frames again, and copies are recognised: the edge is at-least-once.
    fn keeps(&self) -> bool {
        self.setup.options.delivery == Delivery::AtLeastOnce
    }

    /// Whether frames are to be sent again in this session: a stage that has failed held them, and is rebuilt without them.
    pub(super) fn wants_again(&self) -> bool {
        let session = self.session.as_ref().filter(|_| !self.closed);
        session.is_some_and(|session| session.tracker.any_stayed())
    }

    /// Begins or continues a session with the sender of `hello`.
    pub(super) fn welcome(&mut self, hello: &Hello) -> Welcome {
        let wants_again = self.wants_again();
        let known = self
            .session
            .take_if(|session| session.sender == hello.instance && !wants_again);
        let is_known = known.is_some();
        if !is_known {
            // A successor declares its own last number.
            self.last_seq = None;
            if hello.at_least_once {
                for range in acknowledged(hello) {
                    self.log.insert(range);
                }
            }
        }
        let mut session = known.unwrap_or_else(|| {
            self.sessions += 1;
            Session {
                sender: hello.instance,
                id: self.setup.instance.wrapping_add(self.sessions),
                received: hello.first_seq - 1,
                given_up: 0,
                tracker: self.tracker(hello.first_seq - 1),
            }
        });
        session.given_up = hello.first_seq - 1;
        let (id, received) = (session.id, session.received);
        self.session = Some(session);
        self.reported_limit = self.limit();
        Welcome {
            session: id,
            received,
            limit: self.reported_limit,
            done: if hello.at_least_once && !is_known {
                self.done_ranges()
            } else {
                Vec::new()
            },
        }
    }

    fn tracker(&self, done: u64) -> Arc<Tracker> {
        let (every, window) = (self.credit() / 4, self.setup.window as u64);
        let (control, bell) = (&self.setup.control, self.setup.bell.clone());
        if self.saves() {
            return Tracker::saving(done, every, window, control.save_demand().clone(), bell);
        }
        let window = if self.setup.whole { window } else { 0 };
        Tracker::new(done, every, self.keeps(), window, bell)
    }

    /// What need not be sent again: what was received and is done, and what the node's log holds. Where the node saves its
    /// state, that has to include it.
    fn done_ranges(&self) -> Vec<PositionRange> {
        let mut ranges = match self.saves() {
            true => self.saved.clone(),
            false => self.log.done(),
        };
        if !self.saves() {
            // What this process has recorded came over this edge, or is made of other frames of the same items.
            let logged = self.setup.committed.runs_before().into_iter();
            ranges.extend(logged.map(|(stream, first, last)| PositionRange {
                stream,
                part: 0,
                first,
                last,
            }));
        }
        ranges.sort_by_key(|range| Reverse(range.last - range.first));
        ranges.truncate(MAX_RANGES_SENT);
        ranges
    }

    /// The number up to which the sender may send: what the stage has taken, plus the credit.
    fn limit(&self) -> u64 {
        let reached = self
            .session
            .as_ref()
            .map_or(0, |session| session.received.max(session.given_up));
        if self.closed {
            return reached;
        }
        // The queue may still hold frames of an earlier session, which this session's numbers do not count.
        reached
            + self
                .credit()
                .saturating_sub(self.setup.edge.queued() as u64)
    }

    /// Handles a data frame.
    pub(super) fn data(&mut self, wire: &WireFrame) -> Result<(), LinkError> {
        let seq = wire.header.seq;
        let (credit, keeps, saves) = (self.credit(), self.keeps(), self.saves());
        let queued = self.setup.edge.queued() as u64;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if self.closed {
            // Sent before the sender had read the goodbye. It stays unacknowledged, and is sent to this node's successor.
            return Ok(());
        }
        if seq <= session.received {
            // Sent again although it had arrived: the number has, or will get, its one outcome.
            return Ok(());
        }
        let highest = if keeps {
            session.received + 1
        } else {
            self.last_seq.unwrap_or(MAX_SEQ)
        };
        if seq > highest || self.last_seq.is_some_and(|last| seq > last) {
            return Err(LinkError::Protocol(format!(
                "frame {seq} after frame {}",
                session.received
            )));
        }
        let excess = || LinkError::Protocol(format!("frame {seq} exceeds the credit of {credit}"));
        if queued >= credit {
            return Err(excess());
        }
        // An at-most-once sender has booked these as lost with the link.
        session.tracker.skip(session.received + 1, seq - 1);
        session.received = seq;
        let books = &self.setup.edge.books;
        let mut frame = match decode_frame(wire, self.setup.payload) {
            Ok(frame) => frame,
            Err(error) => {
                self.setup
                    .unreadable(|| format!("frame {seq} does not decode: {error}"));
                books.sent(1);
                books.dropped(DropCause::Decode, 1);
                session
                    .tracker
                    .complete(seq, Some(FrameOutcome::Dropped(DropCause::Decode)));
                return Ok(());
            }
        };
        let ticket = Ticket::new(session.tracker.clone(), seq);
        if keeps {
            let id = FrameId::of(&frame.head);
            let arrival = self.log.classify(&id);
            if let (Arrival::New, Some(ways)) = (&arrival, &self.setup.ways)
                && let Some(other) = ways.other(&frame.head, &self.setup.edge.name)
            {
                let reason = format!("item {} came over edge '{other}' too", frame.head.origins());
                self.setup.report_overlap(reason);
            }
            let known = match arrival {
                Arrival::Overlaps => {
                    self.setup
                        .report_overlap(format!("made from {}", frame.head.origins()));
                    Arrival::New
                }
                // A state that was saved before the log's last records needs the frames of those.
                Arrival::New if !saves && self.setup.is_recorded_before(&frame.head) => {
                    Arrival::Done
                }
                known => known,
            };
            if !matches!(known, Arrival::New) {
                books.sent(1);
                books.close(FrameOutcome::Duplicate, 1);
                ticket.set(FrameOutcome::Duplicate);
                if let Arrival::InFlight(first) = known {
                    first.iter().for_each(|first| first.follow(ticket.clone()));
                }
                return Ok(());
            }
            self.log.track(id, &ticket);
        }
        if self.edge_ended {
            return Err(LinkError::Protocol(format!(
                "frame {seq} is new, and the stream was complete"
            )));
        }
        frame.head.ticket = Some(ticket);
        if self.setup.edge.push(frame).is_err() {
            return Err(excess());
        }
        if queued + 1 > credit / 2 {
            self.setup.edge.request_room();
        }
        Ok(())
    }

    /// Handles the sender's declaration that no number above `last_seq` exists.
    pub(super) fn end(&mut self, last_seq: u64) -> Result<(), LinkError> {
        if self.closed {
            return Ok(());
        }
        if self.wants_again() {
            return Err(LinkError::Again);
        }
        let received = self.session.as_ref().map_or(0, |session| session.received);
        let most = if self.keeps() { received } else { MAX_SEQ };
        if !(received..=most).contains(&last_seq) {
            return Err(LinkError::Protocol(format!(
                "ends at {last_seq}, {received} was sent"
            )));
        }
        if let Some(session) = &self.session {
            // Numbers that an at-most-once sender gave up after the last one received.
            session.tracker.skip(received + 1, last_seq);
            session.tracker.set_eager();
        }
        self.last_seq = Some(last_seq);
        match self.saves() && !self.edge_ended {
            // The last frames that the stages emit derive from their state, which has to include everything sent.
            true => self.setup.control.save_demand().demand(),
            false => self.end_edge(Ending::Complete),
        }
        Ok(())
    }

    /// Whether the sender has declared its stream complete.
    pub(super) fn is_complete(&self) -> bool {
        self.last_seq.is_some()
    }

    /// Accepts nothing further: what has arrived is finished and acknowledged.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if let Some(session) = &self.session {
            session.tracker.set_eager();
        }
        self.end_edge(Ending::Left);
    }

    /// Reports each outcome at once, because the sender leaves and waits for them.
    pub(super) fn report_each(&self) {
        if let Some(session) = &self.session {
            session.tracker.set_eager();
        }
    }

    /// Drops what has arrived and is not done.
    pub(super) fn abandon(&mut self) {
        self.setup.edge.abandon();
        self.end_edge(Ending::Left);
    }

    fn end_edge(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.edge_ended, true) {
            self.setup.edge.end_producer(ending);
        }
    }

    /// The next acknowledgement, when there is news, or when `always`. Stages that hold frames take more of them while none is
    /// done: that half of the credit is free again is news too.
    pub(super) fn ack(&mut self, always: bool) -> Option<Ack> {
        let limit = self.limit();
        let session = self.session.as_ref()?;
        let is_due = always
            || session.tracker.has_news()
            || limit.saturating_sub(self.reported_limit) > self.credit() / 2;
        is_due.then(|| {
            let (done, outcomes) = session.tracker.report();
            self.reported_limit = limit;
            Ack {
                limit,
                done,
                outcomes,
            }
        })
    }

    /// How many frames are without an acknowledgement, and how many have one.
    pub(super) fn open(&self) -> (u64, u64) {
        let session = self.session.as_ref().filter(|_| self.keeps());
        session.map_or((0, 0), |session| {
            let done = session.tracker.done();
            (session.received.saturating_sub(done), done)
        })
    }

    /// Which stage holds most of the frames without an acknowledgement.
    pub(super) fn holder(&self) -> String {
        let window = self.setup.window;
        let mut stages: BTreeMap<u16, u64> = BTreeMap::new();
        for stage in self.log.open_stages() {
            *stages.entry(stage).or_default() += 1;
        }
        let unsaved = self.session.as_ref();
        let unsaved = unsaved.map_or(0, |session| session.tracker.unsaved());
        if unsaved > 0 {
            return format!("{unsaved} of {window} wait until the state of the node is saved");
        }
        let most = stages.into_iter().max_by_key(|(_, frames)| *frames);
        match most {
            Some((stage, frames)) if stage != NO_STAGE => {
                let name = self.setup.stages.get(usize::from(stage));
                let name = name.map_or("", String::as_str);
                format!("{frames} of {window} held by stage '{name}'")
            }
            _ => format!("{} of {window} not done", self.open().0),
        }
    }

    /// Whether every known outcome was reported to the sender.
    pub(super) fn is_reported(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| !session.tracker.has_news())
    }

    /// Whether something has arrived and is not done.
    pub(super) fn is_waiting(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.tracker.done() < session.received)
    }

    /// Whether every number received has an outcome and none will follow.
    pub(super) fn is_settled(&self) -> bool {
        self.edge_ended
            && self.session.as_ref().is_none_or(|session| {
                let last = self.last_seq.unwrap_or(session.received);
                session.tracker.is_settled(last.max(session.received))
            })
    }
}
