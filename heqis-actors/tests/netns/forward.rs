//! Carries packets between two TUN devices on one thread, with faults drawn from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::SyncDevice;

use super::Pair;
use super::packet::{is_ipv4, is_whole, mend_checksum, segment};
use crate::links::Dice;

/// Time within which a forwarder notices that it is stopped.
const LOOK: Duration = Duration::from_millis(20);

/// Faults of one direction. Probabilities are per mille of the packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    pub loss: u64,
    pub duplication: u64,
    /// Segments with data whose bytes are changed, so that the checksum does not match.
    pub corruption: u64,
    /// As `corruption`, with the checksum made to match.
    pub forgery: u64,
    pub delay: Duration,
    /// Up to this much is added to the delay; the order stays.
    pub jitter: Duration,
    /// Packets that are held back so that later ones overtake them.
    pub reorder: u64,
    /// Longest time that such a packet is held back.
    pub hold: Duration,
    /// Bits per second, and the bytes that may wait for their turn.
    pub rate: Option<(u64, u64)>,
}

/// In which directions a partition drops: near to far, far to near.
pub type Ways = [bool; 2];

/// Faults of both directions and partitions, each of which begins some packets after the one before has ended.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub lines: [Line; 2],
    /// Packets between partitions, and how long each lasts.
    pub partitions: Vec<(u64, Duration)>,
    pub ways: Ways,
}

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }
}

/// A running forwarder between the two sides of a pair.
pub struct Forwarder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

impl Forwarder {
    pub fn start(pair: Arc<Pair>, plan: Plan, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut road = Road::new(plan, seed);
            while !stopped.load(Ordering::Acquire) {
                road.turn(&pair.tuns);
            }
            road.tally
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// A packet in flight: when it is due, its number, its direction. The heap orders by the first two.
type UnderWay = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Road {
    plan: Plan,
    dice: Dice,
    tally: Tally,
    under_way: BinaryHeap<UnderWay>,
    /// Packets taken in; also the number of the last one.
    count: u64,
    /// Highest number that has come out, by direction.
    newest: [u64; 2],
    /// When the last packet that keeps the order is due, by direction.
    last_due: [Instant; 2],
    /// When the line has sent all that waits for its turn, by direction.
    free_at: [Instant; 2],
    /// Packets before the next partition, and when the current one ends.
    before_partition: Option<u64>,
    partition_ends: Option<Instant>,
    buffer: Vec<u8>,
}

impl Road {
    fn new(mut plan: Plan, seed: u64) -> Self {
        let now = Instant::now();
        plan.partitions.reverse();
        Self {
            before_partition: plan.partitions.last().map(|(packets, _)| *packets),
            plan,
            dice: Dice(seed),
            tally: Tally::default(),
            under_way: BinaryHeap::new(),
            count: 0,
            newest: [0; 2],
            last_due: [now; 2],
            free_at: [now; 2],
            partition_ends: None,
            buffer: vec![0; 1 << 16],
        }
    }

    /// Waits until a packet arrives or is due, and forwards those that are.
    fn turn(&mut self, tuns: &[SyncDevice; 2]) {
        let now = Instant::now();
        let due = self.under_way.peek().map(|Reverse(next)| next.0);
        let wait = due.map_or(LOOK, |due| due.saturating_duration_since(now).min(LOOK));
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.as_nanos() as _,
        };
        let mut ready = [
            PollFd::new(&tuns[0], PollFlags::IN),
            PollFd::new(&tuns[1], PollFlags::IN),
        ];
        let _ = poll(&mut ready, Some(&wait));
        for way in [0, 1] {
            // A full burst of one side must not starve the other.
            for _ in 0..64 {
                let mut buffer = std::mem::take(&mut self.buffer);
                let read = tuns[way].recv(&mut buffer);
                let packet = read.as_ref().map_or(&[][..], |read| &buffer[..*read]);
                if is_ipv4(packet) {
                    self.take(way, packet.to_vec());
                }
                self.buffer = buffer;
                if read.is_err() {
                    break;
                }
            }
        }
        let now = Instant::now();
        while self
            .under_way
            .peek()
            .is_some_and(|Reverse(next)| next.0 <= now)
        {
            let Some(Reverse((_, number, way, packet))) = self.under_way.pop() else {
                break;
            };
            if number < self.newest[way] {
                self.tally.count("reordered");
            }
            self.newest[way] = self.newest[way].max(number);
            match tuns[1 - way].send(&packet) {
                Ok(_) => self.tally.count("delivered"),
                // The kernel's queue is full: a loss like any other.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.tally.count("lost"),
                Err(error) => panic!("a packet cannot be written to the device: {error}"),
            }
        }
    }

    /// Draws the faults of a packet that has arrived.
    fn take(&mut self, way: usize, mut packet: Vec<u8>) {
        let (now, line) = (Instant::now(), self.plan.lines[way]);
        self.tally.count("packets");
        if self.is_cut(way, now) {
            return self.tally.count("partitioned");
        }
        if self.dice.per_mille(line.loss) {
            return self.tally.count("lost");
        }
        let forged = self.dice.per_mille(line.forgery);
        if forged || self.dice.per_mille(line.corruption) {
            self.corrupt(&mut packet, forged);
        }
        let mut due = now + line.delay;
        if let Some((rate, queue)) = line.rate {
            let free_at = self.free_at[way].max(now);
            let waiting = (free_at - now).as_nanos() as u64 * rate / 8_000_000_000;
            if waiting + packet.len() as u64 > queue {
                return self.tally.count("overflowed");
            }
            let takes = Duration::from_nanos(packet.len() as u64 * 8_000_000_000 / rate);
            self.free_at[way] = free_at + takes;
            due += self.free_at[way] - now;
        }
        if !line.jitter.is_zero() {
            due += Duration::from_nanos(self.dice.draw(line.jitter.as_nanos() as u64));
        }
        if self.dice.per_mille(line.reorder) {
            due += Duration::from_nanos(self.dice.draw(line.hold.as_nanos() as u64));
        } else {
            due = due.max(self.last_due[way]);
            self.last_due[way] = due;
        }
        if !(line.delay + line.jitter).is_zero() {
            self.tally.count("delayed");
        }
        if self.dice.per_mille(line.duplication) {
            self.tally.count("duplicated");
            self.count += 1;
            self.under_way
                .push(Reverse((due, self.count, way, packet.clone())));
        }
        self.count += 1;
        self.under_way.push(Reverse((due, self.count, way, packet)));
    }

    /// Whether a partition drops this packet; begins and ends partitions.
    fn is_cut(&mut self, way: usize, now: Instant) -> bool {
        if self.partition_ends.is_some_and(|end| now >= end) {
            self.partition_ends = None;
            self.before_partition = self.plan.partitions.last().map(|(packets, _)| *packets);
        }
        if self.partition_ends.is_none()
            && let Some(left) = &mut self.before_partition
        {
            *left = left.saturating_sub(1);
            if *left == 0
                && let Some((_, lasts)) = self.plan.partitions.pop()
            {
                self.tally.count("partitions");
                self.before_partition = None;
                self.partition_ends = Some(now + lasts);
            }
        }
        self.partition_ends.is_some() && self.plan.ways[way]
    }

    /// Changes one to four bytes of the segment's data.
    fn corrupt(&mut self, packet: &mut [u8], forged: bool) {
        let Some(segment) = segment(packet).filter(|segment| !segment.payload.is_empty()) else {
            return;
        };
        let payload = segment.payload.clone();
        for _ in 0..self.dice.within(1..5) {
            let at = payload.start + self.dice.draw(payload.len() as u64) as usize;
            packet[at] ^= self.dice.within(1..256) as u8;
        }
        if forged {
            mend_checksum(packet, &segment);
            self.tally.count("forged");
        } else {
            // Changes may cancel in the sum; one more bit does not.
            if is_whole(packet, &segment) {
                packet[payload.start] ^= 1;
            }
            self.tally.count("corrupted");
        }
    }
}
