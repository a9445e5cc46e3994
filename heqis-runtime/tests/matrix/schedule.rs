//! What happens to the nodes in one run, drawn from a seed.

use std::fmt;

/// SplitMix64 (Steele, Lea, Flood 2014): the same draws on every machine.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// Where the bars come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A replay as fast as the pipeline takes it.
    Replay,
    /// A replay at a multiple of real time.
    Paced,
    /// Lines from a socket, recorded, with a saved state.
    Live,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGTERM, and a start once it has ended, as by `systemctl restart`.
    Term,
    Kill,
    /// SIGSTOP, and SIGCONT after this many milliseconds.
    Suspend(u64),
    /// SIGTERM, and a start of the other program, whose version is another one.
    Upgrade,
    /// The disk of the journal is full for this many milliseconds.
    DiskFull(u64),
    /// The journal's file gets another name.
    MoveJournal,
    RemoveJournal,
    /// The clock of the node is stepped by this many seconds.
    StepClock(i64),
}

/// To whom it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Gateway,
    Compute,
    Both,
    BothReversed,
}

impl Target {
    /// The nodes, in their order: 0 is the gateway, 1 compute.
    pub fn nodes(self) -> &'static [usize] {
        match self {
            Self::Gateway => &[0],
            Self::Compute => &[1],
            Self::Both => &[0, 1],
            Self::BothReversed => &[1, 0],
        }
    }
}

/// When it is done. A `share` is one of the decisions of an undisturbed run, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the processes were started, before there is a frame.
    Start { us: u64 },
    /// When this many decisions are in the journal.
    Stream { share: u64 },
    /// So long after a SIGTERM to the same nodes in mid-stream.
    Drain { share: u64, us: u64 },
    /// When all decisions but this many are in the journal, and some time more.
    Close { left: u64, us: u64 },
    /// After both nodes have ended and were started again, so long after that.
    AfterEnd { us: u64 },
}

impl Moment {
    fn order(self) -> (u64, u64) {
        match self {
            Self::Start { us } => (0, us),
            Self::Stream { share } | Self::Drain { share, .. } => (1, share),
            Self::Close { left, us } => (2, us + 1_000 * (100 - left)),
            Self::AfterEnd { us } => (3, us),
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub moment: Moment,
    pub deed: Deed,
    pub target: Target,
    /// Between the first node and the second one.
    pub apart_us: u64,
    /// How long a node that ended stays away.
    pub away_ms: u64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            moment,
            deed,
            target,
            apart_us,
            away_ms,
        } = self;
        write!(f, "{moment:?}: {deed:?} {target:?}, away {away_ms} ms")?;
        match target.nodes().len() {
            1 => Ok(()),
            _ => write!(f, ", {apart_us} us apart"),
        }
    }
}

/// What a machine may lack for a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// A disk of its own, which can be full.
    Disk,
    /// A library that steps the clock of one process.
    Clock,
}

/// One run with what happens in it.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub way: Way,
    /// Whether the journal is cut into small segments.
    pub sealed: bool,
    /// In the order in which they happen.
    pub events: Vec<Event>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {:?}", self.seed, self.way)?;
        if self.sealed {
            write!(f, ", small segments")?;
        }
        for event in &self.events {
            write!(f, "\n    {event}")?;
        }
        Ok(())
    }
}

/// So long that the other node takes the suspended one for dead.
const LONG_PAUSE_MS: u64 = 6_500;

const WAYS: [Way; 3] = [Way::Replay, Way::Paced, Way::Live];

impl Schedule {
    /// An undisturbed run.
    pub fn quiet(way: Way, sealed: bool) -> Self {
        Self {
            seed: 0,
            way,
            sealed,
            events: Vec::new(),
        }
    }

    /// Consecutive seeds go through all ways and moments; everything else is drawn. One in eight troubles the disk, the
    /// journal's file or the clock.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let way = WAYS[usize::try_from(seed % 3).unwrap()];
        let first = (seed / 3) % 5;
        let count = 1 + random.below(3);
        let mut events: Vec<Event> = (0..count)
            .map(|number| {
                let kind = if number == 0 { first } else { random.below(5) };
                event(&mut random, kind)
            })
            .collect();
        if seed % 8 == 5 {
            events[0] = trouble(&mut random);
        }
        events.sort_by_key(|event| event.moment.order());
        Self {
            seed,
            way,
            sealed: random.below(3) == 0,
            events,
        }
    }

    pub fn need(&self) -> Need {
        match (self.troubles_disk(), self.steps_clock()) {
            (true, _) => Need::Disk,
            (_, true) => Need::Clock,
            _ => Need::Nothing,
        }
    }

    pub fn troubles_disk(&self) -> bool {
        let is_full = |event: &Event| matches!(event.deed, Deed::DiskFull(_));
        self.events.iter().any(is_full)
    }

    pub fn troubles_file(&self) -> bool {
        let touches = |event: &Event| matches!(event.deed, Deed::MoveJournal | Deed::RemoveJournal);
        self.events.iter().any(touches)
    }

    pub fn steps_clock(&self) -> bool {
        let steps = |event: &Event| matches!(event.deed, Deed::StepClock(_));
        self.events.iter().any(steps)
    }
}

fn event(random: &mut Random, kind: u64) -> Event {
    let share = 5 + random.below(990);
    let moment = match kind {
        0 => Moment::Start {
            us: random.below(400_000),
        },
        1 => Moment::Stream { share },
        2 => Moment::Drain {
            share,
            us: random.below(40_000),
        },
        3 => Moment::Close {
            left: random.below(4) * random.below(4),
            us: random.below(40_000),
        },
        _ => Moment::AfterEnd {
            us: random.below(600_000),
        },
    };
    let suspend = Deed::Suspend(20 + random.below(600));
    let targets = [
        Target::Gateway,
        Target::Compute,
        Target::Both,
        Target::BothReversed,
    ];
    let mut event = Event {
        moment,
        deed: random.pick(&[Deed::Term, Deed::Kill, suspend, Deed::Upgrade]),
        target: random.pick(&targets),
        apart_us: random.below(2) * random.below(30_000),
        away_ms: random.pick(&[0, 20, 20, 100, 100, 300, 2_600]),
    };
    if let (Deed::Suspend(ms), 2_600) = (&mut event.deed, event.away_ms) {
        *ms = LONG_PAUSE_MS;
    }
    event
}

fn trouble(random: &mut Random) -> Event {
    let seconds = random.pick(&[-86_400, -30, 7, 86_400]);
    let full = Deed::DiskFull(random.pick(&[50, 700, 2_500]));
    let deed = random.pick(&[
        full,
        full,
        Deed::MoveJournal,
        Deed::RemoveJournal,
        Deed::StepClock(seconds),
    ]);
    Event {
        moment: Moment::Stream {
            share: 5 + random.below(990),
        },
        deed,
        target: match deed {
            Deed::StepClock(_) => random.pick(&[Target::Gateway, Target::Compute, Target::Both]),
            _ => Target::Compute,
        },
        apart_us: 0,
        away_ms: 100,
    }
}
