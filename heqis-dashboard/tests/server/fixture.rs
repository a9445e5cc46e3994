//! A dashboard with data, for the tests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use heqis_dashboard::decisions::{Decision, Decisions, StageTime};
use heqis_dashboard::jobs::Rejected;
use heqis_dashboard::live::{Condition, Event, EventKind, Level, NodeState, State, Topology};
use heqis_dashboard::{BarFiles, Dashboard, Live, LiveBars, Settings, Sources, Token};
use heqis_quant::decision::{DecisionReason, Position};
use heqis_quant::{Date, Side, Symbol, TradingState};
use tokio::sync::oneshot;

pub(crate) const TOKEN: &str = "00112233445566778899aabbccddeeff";
pub(crate) const EPOCH: u64 = 0xABC;

/// A dashboard on a thread of its own; stopped on drop.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) graph: Arc<Graph>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A graph that records the actions on it.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) drained: AtomicUsize,
    pub(crate) trading_state: Mutex<Option<TradingState>>,
}

impl Live for Graph {
    fn topology(&self) -> Topology {
        Topology {
            name: "fixture".into(),
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
                machine: None,
                detail: None,
                stages: Vec::new(),
                edges: Vec::new(),
                trading_states: Vec::new().into(),
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

    fn can_set_trading_state(&self) -> bool {
        true
    }

    fn set_trading_state(&self, state: TradingState) -> Result<Vec<String>, Rejected> {
        *self.trading_state.lock().unwrap() = Some(state);
        Ok(Vec::new())
    }

    fn drain(&self) {
        self.drained.fetch_add(1, Ordering::SeqCst);
    }
}

/// Settings on a free loopback port.
pub(crate) fn settings() -> Settings {
    Settings::new("127.0.0.1:0".parse().unwrap())
}

/// As [`settings`], with [`TOKEN`].
pub(crate) fn guarded() -> Settings {
    Settings {
        token: Some(Token::parse(TOKEN).unwrap()),
        ..settings()
    }
}

/// Serves decisions and a graph without bars.
pub(crate) fn serve(settings: Settings) -> Served {
    let bars = LiveBars::new(10, vec!["return_1".into()]);
    start(settings, Arc::new(bars))
}

/// Serves the bars of a CSV file, decisions and a graph.
pub(crate) fn serve_table(path: &std::path::Path) -> Served {
    start(settings(), Arc::new(BarFiles::read(&[path]).unwrap()))
}

fn start(settings: Settings, bars: Arc<dyn heqis_dashboard::BarStore>) -> Served {
    let decisions = Arc::new(Decisions::new(20_000, EPOCH));
    let graph = Arc::new(Graph::default());
    let sources = Sources {
        live: Some(graph.clone()),
        ..Sources::new("fixture".into(), bars, decisions.clone())
    };
    let (address_sender, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let dashboard = Dashboard::start(settings, sources).unwrap();
            address_sender.send(dashboard.address()).unwrap();
            let _ = stopped.await;
            dashboard.stop().await;
        });
    });
    Served {
        address: address.recv().unwrap(),
        decisions,
        graph,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Served {
    /// Stops the server and waits for its end.
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

/// A decision on the close of `date`, from the source item at `position`.
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
            Side::Buy => DecisionReason::Entered,
            Side::Sell => DecisionReason::Exited,
            Side::Hold => DecisionReason::BelowEnter,
        },
        position: Position::Long,
        predicted_return: 0.004,
        probabilities: [0.1, 0.3, f64::NAN],
        timings: vec![StageTime {
            stage: "cleaner".into(),
            enter_us: 1.5,
            leave_us: 4.0,
        }],
    }
}
