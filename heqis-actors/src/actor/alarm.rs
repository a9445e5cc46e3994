//! Wakes an actor at a time of its clock.

use std::sync::Arc;

use crate::doorbell::Doorbell;
use heqis_core::Clock;

/// The next time at which an actor is woken. An actor that sets no time costs nothing.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// The earliest time for which a wake-up is on its way.
    at_ns: Option<i64>,
}

impl Alarm {
    /// Rings `bell` when the clock has reached `at_ns`, and on a replay clock moves it there. Earlier times that were set
    /// still ring.
    pub(super) fn set(&mut self, at_ns: i64, clock: &Clock, bell: &Arc<Doorbell>) {
        if self.is_new(at_ns, clock) {
            let (clock, bell) = (clock.clone(), bell.clone());
            actix_rt::spawn(async move {
                clock.sleep_until(at_ns).await;
                bell.ring();
            });
        }
    }

    /// As [`Alarm::set`], but a replay clock is moved by others alone.
    pub(super) fn set_passively(&mut self, at_ns: i64, clock: &Clock, bell: &Arc<Doorbell>) {
        if self.is_new(at_ns, clock) {
            let (clock, bell) = (clock.clone(), bell.clone());
            actix_rt::spawn(async move {
                clock.reached(at_ns).await;
                bell.ring();
            });
        }
    }

    fn is_new(&mut self, at_ns: i64, clock: &Clock) -> bool {
        let now_ns = clock.now_ns();
        let new = self
            .at_ns
            .is_none_or(|set_ns| at_ns < set_ns || set_ns <= now_ns);
        if new {
            self.at_ns = Some(at_ns);
        }
        new
    }
}
