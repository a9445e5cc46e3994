//! Wrong tokens: counted, limited per address, and logged at a bounded rate.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use heqis_core::{Clock, Counter, LogLimit};

/// Wrong tokens of one address within [`SPAN_NS`] that are answered as such; those beyond it are asked to wait.
const MOST: u32 = 20;
/// Span in which they are counted, nanoseconds.
const SPAN_NS: i64 = 60_000_000_000;
/// Most addresses that are counted apart; further ones share one count.
const MAX_ADDRESSES: usize = 1_024;

/// The wrong tokens that a server was given. The right token is accepted all the same: it has at least 128 bits, so that a
/// limit is not what protects it, and its owner cannot be locked out.
#[derive(Debug)]
pub struct WrongTokens {
    server: &'static str,
    clock: Clock,
    seen: Mutex<Seen>,
    total: AtomicU64,
    counter: Option<Counter>,
}

#[derive(Debug)]
struct Seen {
    /// Begin of the span and wrong tokens in it, by address; `None` of all further addresses.
    by_address: HashMap<Option<IpAddr>, (i64, u32)>,
    log: LogLimit,
}

impl WrongTokens {
    /// Counts the wrong tokens of `server`, as the log names it.
    #[must_use]
    pub fn new(server: &'static str, clock: Clock) -> Self {
        let log = LogLimit::new(clock.clone());
        Self {
            server,
            clock,
            seen: Mutex::new(Seen {
                by_address: HashMap::new(),
                log,
            }),
            total: AtomicU64::new(0),
            counter: None,
        }
    }

    /// Counts them in `counter` as well.
    #[must_use]
    pub fn counter(mut self, counter: Counter) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Counts one from `peer`. Returns whether it is still one of the few that are answered as such.
    pub fn count(&self, peer: Option<IpAddr>) -> bool {
        self.total.fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = &self.counter {
            counter.inc();
        }
        let now_ns = self.clock.now_ns();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.by_address.contains_key(&peer) && seen.by_address.len() >= MAX_ADDRESSES {
            seen.by_address
                .retain(|_, (since_ns, _)| now_ns.saturating_sub(*since_ns) < SPAN_NS);
        }
        let known = seen.by_address.contains_key(&peer) || seen.by_address.len() < MAX_ADDRESSES;
        let slot = if known { peer } else { None };
        let (since_ns, wrong) = seen.by_address.entry(slot).or_insert((now_ns, 0));
        if now_ns.saturating_sub(*since_ns) >= SPAN_NS {
            (*since_ns, *wrong) = (now_ns, 0);
        }
        *wrong = wrong.saturating_add(1);
        let few = *wrong <= MOST;
        if let Some(suppressed) = seen.log.admit() {
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            tracing::warn!(server = self.server, peer, suppressed, "wrong token");
        }
        few
    }

    /// Wrong tokens since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_many_wrong_tokens_waits_and_others_do_not() {
        let clock = Clock::virtual_at(0);
        let wrong = WrongTokens::new("page", clock.clone());
        let peer = |n: u32| Some(IpAddr::from(std::net::Ipv4Addr::from(n)));
        let waits = (0..30).filter(|_| !wrong.count(peer(1))).count();
        assert_eq!((waits, wrong.total()), (10, 30));
        assert!(wrong.count(peer(2)));
        clock.advance_to(SPAN_NS - 1);
        assert!(!wrong.count(peer(1)));
        clock.advance_to(SPAN_NS);
        assert!(wrong.count(peer(1)));
    }

    #[test]
    fn a_flood_of_addresses_needs_bounded_memory() {
        let wrong = WrongTokens::new("page", Clock::virtual_at(0));
        for n in 0..5_000 {
            wrong.count(Some(IpAddr::from(std::net::Ipv4Addr::from(n))));
        }
        let addresses = wrong
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_address
            .len();
        assert!(addresses <= MAX_ADDRESSES + 1, "{addresses}");
    }
}
