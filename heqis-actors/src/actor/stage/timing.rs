//! What a stage does at a time: its timer, and the delay of a batch.

use super::{StageActor, Step};
use heqis_core::duration_ns;

/// The least time between two calls of a timer by the machine's clock.
const PAUSE_NS: i64 = 1_000_000;

impl StageActor {
    /// Calls the stage's timer when it is due. The frames that waited on the edges when it came due go first, so that a late
    /// turn of the arbiter does not change which frames the stage has seen at that time.
    pub(super) fn timer(&mut self) -> Option<Step> {
        let wake_ns = self.setup.emitter.wake_ns?;
        let stage = self.stage.as_mut()?;
        let now_ns = self.setup.cx.clock.now_ns();
        self.began_ns.get_or_insert(now_ns);
        if now_ns < wake_ns {
            self.wake_at(wake_ns);
            return None;
        }
        let before = match self.before_timer {
            Some(before) => before,
            None => self
                .setup
                .inlets
                .iter()
                .map(|inlet| inlet.edge.queued_on(inlet.lane))
                .sum(),
        };
        self.before_timer = Some(before);
        if before > 0 || !self.in_process.is_empty() {
            return None;
        }
        self.before_timer = None;
        self.setup.emitter.wake_ns = None;
        if let Err(error) = stage.on_timer(now_ns, &mut self.setup.emitter) {
            return Some(self.failed(&error));
        }
        self.setup.cx.kept.commit();
        // A stage that asks for a time that has passed again and again leaves its neighbours theirs.
        let pause_ns = if self.setup.cx.clock.is_real() {
            PAUSE_NS
        } else {
            1
        };
        if let Some(wake_ns) = &mut self.setup.emitter.wake_ns {
            *wake_ns = (*wake_ns).max(now_ns.saturating_add(pause_ns));
        }
        Some(Step::Worked)
    }

    /// The inputs are empty: nothing goes before a timer that is due. Returns whether one is.
    pub(super) fn timer_is_next(&mut self) -> bool {
        match &mut self.before_timer {
            Some(before) => {
                *before = 0;
                true
            }
            None => false,
        }
    }

    /// Waits for more frames of a batch that is not full, and returns whether to look for them again. `None` where the
    /// batch is processed as it is.
    pub(super) fn wait_for_batch(&mut self) -> Option<Step> {
        let delay_ns = duration_ns(self.setup.options.batch.max_delay);
        // Waiting would not move a replay clock.
        if delay_ns == 0 || self.setup.cx.clock.jumps() {
            return None;
        }
        let due_ns = self.in_process[0].enter_ns.saturating_add(delay_ns);
        // The timer waits for no further frames.
        let due_ns = self
            .setup
            .emitter
            .wake_ns
            .map_or(due_ns, |wake_ns| due_ns.min(wake_ns));
        let left_ns = due_ns.saturating_sub(self.setup.cx.clock.now_ns());
        let left_ns = u64::try_from(left_ns).ok().filter(|left_ns| *left_ns > 0)?;
        if self.setup.may_wait {
            // A thread wakes up closer to the time than a timer of the runtime does, and blocks no other stage here.
            let inlet = &self.setup.inlets[0];
            inlet
                .edge
                .wait_for_more(inlet.lane, std::time::Duration::from_nanos(left_ns));
            return Some(Step::Worked);
        }
        self.wake_at(due_ns);
        Some(Step::Idle)
    }

    fn wake_at(&mut self, at_ns: i64) {
        let cx = &self.setup.cx;
        self.alarm.set_passively(at_ns, &cx.clock, &cx.waker.0);
    }
}
