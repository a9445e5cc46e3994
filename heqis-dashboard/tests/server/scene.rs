//! A server with something to show.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use heqis_dashboard::decisions::{Decision, Decisions, StageTime};
use heqis_dashboard::jobs::Refused;
use heqis_dashboard::live::{Condition, Event, EventKind, Level, NodeState, State, Topology};
use heqis_dashboard::{Dashboard, Desk, Live, Settings, Shelf, Tables, Token};
use heqis_quant::decision::{Stance, VerdictReason};
use heqis_quant::{Date, KillState, Side, Symbol};
use tokio::sync::oneshot;

pub(crate) const TOKEN: &str = "00112233445566778899aabbccddeeff";
pub(crate) const EPOCH: u64 = 0xABC;

/// A dashboard on a thread of its own; ends when it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) graph: Arc<Graph>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A graph that remembers what it was told.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) drained: AtomicUsize,
    pub(crate) killed: Mutex<Option<KillState>>,
}

impl Live for Graph {
    fn topology(&self) -> Topology {
        Topology {
            name: "scene".into(),
            nodes: Vec::new(),
            stages: Vec::new(),
            edges: Vec::new(),
            budgets: Vec::new(),
        }
    }

    fn state(&self) -> State {
        State {
            at_ms: 1,
            nodes: vec![NodeState {
                node: "gateway".into(),
                condition: Condition::Running,
                detail: None,
                stages: Vec::new(),
                edges: Vec::new(),
                kill: Vec::new(),
                engines: Vec::new(),
            }],
            alarms: Vec::new(),
            events: Vec::new(),
        }
    }

    fn events(&self, before: Option<u64>, most: usize) -> (Vec<Event>, bool) {
        let event = |n| Event {
            n,
            at_ms: 1,
            node: "gateway".into(),
            kind: EventKind::LinkUp,
            level: Level::Info,
            subject: "a->b".into(),
            cause: None,
        };
        let older = (1..before.unwrap_or(4)).rev();
        let rows: Vec<Event> = older.take(most).map(event).collect();
        let more = rows.last().is_some_and(|event| event.n > 1);
        (rows, more)
    }

    fn can_kill(&self) -> bool {
        true
    }

    fn kill(&self, state: KillState) -> Result<(), Refused> {
        *self.killed.lock().unwrap() = Some(state);
        Ok(())
    }

    fn drain(&self) {
        self.drained.fetch_add(1, Ordering::SeqCst);
    }
}

/// Settings on any free port of this machine.
pub(crate) fn settings() -> Settings {
    Settings::new("127.0.0.1:0".parse().unwrap())
}

/// As [`settings`], behind [`TOKEN`].
pub(crate) fn guarded() -> Settings {
    Settings {
        token: Some(Token::parse(TOKEN).unwrap()),
        ..settings()
    }
}

/// Serves a desk with decisions and a graph, and no bars.
pub(crate) fn serve(settings: Settings) -> Served {
    let shelf = Shelf::new(10, vec!["return_1".into()]);
    start(settings, Arc::new(shelf))
}

/// Serves the bars of a CSV file.
pub(crate) fn serve_table(path: &std::path::Path) -> Served {
    start(settings(), Arc::new(Tables::read(&[path]).unwrap()))
}

fn start(settings: Settings, market: Arc<dyn heqis_dashboard::Market>) -> Served {
    let decisions = Arc::new(Decisions::new(1_000, EPOCH));
    let graph = Arc::new(Graph::default());
    let desk = Desk {
        live: Some(graph.clone()),
        ..Desk::new("scene".into(), market, decisions.clone())
    };
    let (told, tell) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let dashboard = Dashboard::start(settings, desk).unwrap();
            told.send(dashboard.address()).unwrap();
            let _ = stopped.await;
            dashboard.stop().await;
        });
    });
    Served {
        address: tell.recv().unwrap(),
        decisions,
        graph,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Served {
    /// Ends the server and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A decision to buy on the close of `date`, from the source item at `position`.
pub(crate) fn decision(position: u64, symbol: &str, date: &str, side: Side) -> Decision {
    let date = Date::parse(date).unwrap();
    Decision {
        origin: (1, position),
        symbol: Symbol::parse(symbol).unwrap(),
        date,
        time_ns: date.close_time_ns(),
        close: 10.5,
        side,
        confidence: 0.6,
        reason: match side {
            Side::Buy => VerdictReason::Entered,
            Side::Sell => VerdictReason::Exited,
            Side::Hold => VerdictReason::BelowEnter,
        },
        stance: Stance::In,
        predicted_return: 0.004,
        probabilities: [0.1, 0.3, f64::NAN],
        timings: vec![StageTime {
            stage: "cleaner".into(),
            enter_us: 1.5,
            leave_us: 4.0,
        }],
    }
}
