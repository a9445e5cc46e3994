//! `rank`: takes [`PredictionMessage`]s, collects those of one timestamp and emits a [`CrossSection`].
//!
//! Counts cross-sections that were `complete` and `incomplete`, instruments that were `missing`, and predictions that came `late`.

use std::path::Path;
use std::time::Duration;

use heqis_actors::{
    AnyFrame, BuildContext, Clock, Counter, Emitter, Ending, Frame, Head, Merge, Origins, Payload,
    PortContract, Property, Snapshot, Stage, StageError, Tensor,
};
use heqis_messages::{CrossSection, DecisionMessage, MARKET, PredictionMessage, TARGET};
use heqis_portfolio::section::{Pushed, SectionConfig};
use heqis_portfolio::{Row, ScoreKind, Section, SectionCollector};
use heqis_quant::Symbol;
use heqis_quant::decision::DecisionReason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of a `rank` stage.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RankConfig {
    /// Which output of the model is the score; by default the predicted return.
    #[serde(default)]
    pub score: ScoreKind,
    /// The instruments of each cross-section. Without it, those of the last `remember` ones are expected.
    #[serde(default)]
    pub symbols: Option<Vec<Symbol>>,
    /// For how many cross-sections an instrument that does not come is still expected; by default 5.
    #[serde(default = "remember")]
    #[schemars(range(min = 1, max = 100_000))]
    pub remember: u32,
    /// An incomplete cross-section is closed once a prediction has come whose time is more than this many seconds later; by
    /// default 0, so that the next timestamp closes it. More is needed where the predictions of several instruments overtake one
    /// another.
    #[serde(default)]
    #[schemars(range(max = 1_000_000_000))]
    pub later_s: u64,
    /// An incomplete cross-section is closed this many seconds after its first prediction came, by the node's clock; by default
    /// never. What is closed so depends on the machine, and the journal says what it was.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub wait_s: Option<u64>,
}

fn remember() -> u32 {
    SectionConfig::default().remember
}

impl RankConfig {
    fn section(&self) -> SectionConfig {
        SectionConfig {
            symbols: self.symbols.clone(),
            remember: self.remember,
            later_s: self.later_s,
        }
    }
}

/// A prediction that waits for the rest of its cross-section.
struct Held {
    row: Row,
    /// The head of its frame, where the node does not save the state.
    head: Option<Head>,
    origins: Origins,
}

/// A saved prediction.
#[derive(Serialize, Deserialize)]
struct SavedRow {
    message: Vec<u8>,
    origins: Origins,
}

/// The state, with the predictions that wait.
#[derive(Serialize, Deserialize)]
struct Saved {
    last: Option<(u64, i64)>,
    seen: Vec<(u128, u64)>,
    newest_ns: i64,
    rows: Vec<SavedRow>,
}

/// Collects predictions by timestamp.
pub struct Rank {
    score: ScoreKind,
    wait_ns: Option<i64>,
    collector: SectionCollector<Held>,
    /// What is left of the cross-section whose decisions an earlier run recorded in part.
    again: Origins,
    /// Whether the last recorded cross-section is recorded completely.
    is_whole: bool,
    cx: BuildContext,
    clock: Clock,
    complete: Counter,
    incomplete: Counter,
    missing: Counter,
    late: Counter,
}

impl Rank {
    fn row(&self, message: &PredictionMessage) -> Result<Row, StageError> {
        let snapshot = message.snapshot.ok_or_else(|| {
            StageError::refused("it needs `market` of the indicators stage, which sends none")
        })?;
        Ok(Row {
            bar: message.bar,
            snapshot,
            prediction: message.prediction,
            score: self.score.of(&message.prediction),
        })
    }

    fn push(&mut self, held: Held, out: &mut Emitter<'_, CrossSection>) -> Result<(), StageError> {
        let bar = held.row.bar;
        let now_ns = self.clock.now_ns();
        let origins = held.origins.clone();
        let is_again = holds(&self.again, &origins);
        let pushed = match is_again {
            true => self
                .collector
                .push_again(bar.time_ns, bar.symbol, held, now_ns),
            false => self.collector.push(bar.time_ns, bar.symbol, held, now_ns),
        };
        match pushed {
            Pushed::Taken => {}
            Pushed::Twice(_) => {
                return Err(StageError::refused(format!(
                    "{} has a prediction of this time already",
                    bar.symbol
                )));
            }
            Pushed::Late(section) => {
                self.late.inc();
                emit(section, out);
            }
        }
        if is_again {
            self.take_again(&origins, out);
        }
        self.close_ready(out);
        Ok(())
    }

    /// One more prediction of the cross-section that is recorded in part; with the last one it is closed.
    fn take_again(&mut self, origins: &Origins, out: &mut Emitter<'_, CrossSection>) {
        self.again.remove(origins);
        if self.again.is_empty()
            && let Some(section) = self.collector.close()
        {
            self.emit(section, out);
        }
    }

    fn close_ready(&mut self, out: &mut Emitter<'_, CrossSection>) {
        while let Some(section) = self.collector.next() {
            self.emit(section, out);
        }
        if let (Some(wait_ns), Some(since_ns)) = (self.wait_ns, self.collector.waits_since_ns()) {
            out.wake_at(since_ns.saturating_add(wait_ns));
        }
    }

    fn emit(&self, section: Section<Held>, out: &mut Emitter<'_, CrossSection>) {
        match section.missing.len() {
            0 => self.complete.inc(),
            missing => {
                self.incomplete.inc();
                self.missing.add(missing as u64);
            }
        }
        emit(section, out);
    }
}

/// Whether all items of `one` are among `all`.
fn holds(all: &Origins, one: &Origins) -> bool {
    let within = |run: heqis_actors::OriginRun| {
        let mut runs = all.done().into_iter().chain(all.kept());
        runs.any(|whole| {
            whole.stream == run.stream && whole.first <= run.first && run.last <= whole.last
        })
    };
    !one.is_empty() && one.done().into_iter().chain(one.kept()).all(within)
}

fn emit(section: Section<Held>, out: &mut Emitter<'_, CrossSection>) {
    let (mut rows, mut heads, mut origins) = (Vec::new(), Vec::new(), Origins::default());
    for held in section.rows {
        rows.push(held.row);
        match held.head {
            Some(head) => heads.push(head),
            None => origins.add(&held.origins),
        }
    }
    let message = CrossSection(Section {
        number: section.number,
        time_ns: section.time_ns,
        rows,
        missing: section.missing,
        is_late: section.is_late,
    });
    match &heads[..] {
        [head] if origins.is_empty() => out.emit(head, message),
        heads => out.emit_merged(Merge::of(heads).with(&origins), message),
    }
}

impl Stage for Rank {
    type Config = RankConfig;
    type In = PredictionMessage;
    type Out = CrossSection;
    const KIND: &'static str = "rank";
    const ABOUT: &'static str =
        "Collects the predictions of one timestamp, and names what is missing.";

    const RECOVERS: bool = true;
    const HOLDS_FRAMES: bool = true;
    const TAKES_WARM_UP: bool = false;

    fn check(config: &RankConfig, _: &Path) -> Vec<String> {
        let fault = config.section().validate().err();
        fault.map(|fault| fault.to_string()).into_iter().collect()
    }

    /// Requires the open and the limits of the day.
    fn contract(_: &RankConfig, _: &Path) -> PortContract {
        PortContract::default()
            .require(MARKET, Property::Text("given".to_owned()))
            .pass(TARGET)
    }

    fn build(config: &RankConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let wait_ns = config
            .wait_s
            .map(|wait| Duration::from_secs(wait).as_nanos());
        Ok(Self {
            score: config.score,
            wait_ns: wait_ns.map(|wait| i64::try_from(wait).unwrap_or(i64::MAX)),
            collector: SectionCollector::new(config.section()).map_err(StageError::config)?,
            again: Origins::default(),
            is_whole: false,
            cx: cx.clone(),
            clock: cx.clock().clone(),
            complete: cx.counter("complete"),
            incomplete: cx.counter("incomplete"),
            missing: cx.counter("missing"),
            late: cx.counter("late"),
        })
    }

    /// Restores which cross-sections are closed, and which one is recorded only in part.
    fn recover(&mut self, record: &AnyFrame) {
        let Some(message) = record.payload::<DecisionMessage>() else {
            return;
        };
        let decision = &message.decision;
        let Some(ranked) = decision.ranked else {
            return;
        };
        let last = self.collector.last().map_or(0, |(number, _)| number);
        if ranked.section > last {
            (self.again, self.is_whole) = (Origins::default(), false);
        }
        // The time of a late one is earlier than that of its cross-section.
        let is_late = decision.reason == DecisionReason::Late;
        let time_ns = (!is_late).then_some(decision.time_ns);
        let (number, symbol) = (ranked.section, decision.symbol);
        self.collector.recover(number, time_ns, symbol);
        if number >= last && !is_late {
            let origins = record.head().origins();
            // All decisions before the last one keep all items.
            self.is_whole |= origins.kept().is_empty();
            self.again = match self.is_whole {
                true => Origins::default(),
                false => origins,
            };
        }
    }

    /// Of saved predictions those of recorded cross-sections are done.
    fn resume(&mut self, out: &mut Emitter<'_, CrossSection>) -> Result<(), StageError> {
        self.collector.set_again(!self.again.is_empty());
        let again = self.again.clone();
        self.collector
            .forget_recorded(|held| holds(&again, &held.origins));
        let saved: Vec<Origins> = self
            .collector
            .rows()
            .map(|held| held.origins.clone())
            .collect();
        for origins in saved.iter().filter(|origins| holds(&again, origins)) {
            self.take_again(origins, out);
        }
        self.close_ready(out);
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let mut rows = Vec::new();
        for held in self.collector.rows() {
            let message = PredictionMessage {
                bar: held.row.bar,
                prediction: held.row.prediction,
                snapshot: Some(held.row.snapshot),
            };
            let mut bytes = Vec::new();
            if message.encode(&mut bytes).is_err() {
                return Snapshot::Unsupported;
            }
            rows.push(SavedRow {
                message: bytes,
                origins: held.origins.clone(),
            });
        }
        let (last, seen, newest_ns) = self.collector.state();
        Snapshot::of(&Saved {
            last,
            seen: seen
                .map(|(symbol, number)| (symbol.as_key(), number))
                .collect(),
            newest_ns,
            rows,
        })
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        let saved: Saved = Snapshot::read(state)?;
        let mut seen = Vec::new();
        for (key, number) in saved.seen {
            seen.push((Symbol::from_key(key).map_err(StageError::config)?, number));
        }
        self.collector.restore(saved.last, seen, saved.newest_ns);
        let now_ns = self.clock.now_ns();
        for one in saved.rows {
            let message = PredictionMessage::decode(&one.message, Tensor::default())
                .map_err(StageError::config)?;
            let row = self.row(&message)?;
            let held = Held {
                row,
                head: None,
                origins: one.origins,
            };
            self.collector
                .push_again(row.bar.time_ns, row.bar.symbol, held, now_ns);
        }
        Ok(())
    }

    fn process(
        &mut self,
        frame: &Frame<PredictionMessage>,
        out: &mut Emitter<'_, CrossSection>,
    ) -> Result<(), StageError> {
        let held = Held {
            row: self.row(frame)?,
            head: (!self.cx.saves_state()).then(|| frame.head().clone()),
            origins: frame.head().origins(),
        };
        self.push(held, out)
    }

    fn on_timer(
        &mut self,
        now_ns: i64,
        out: &mut Emitter<'_, CrossSection>,
    ) -> Result<(), StageError> {
        let Some(wait_ns) = self.wait_ns else {
            return Ok(());
        };
        while self.again.is_empty()
            && let Some(since_ns) = self.collector.waits_since_ns()
            && since_ns.saturating_add(wait_ns) <= now_ns
            && let Some(section) = self.collector.close()
        {
            self.emit(section, out);
        }
        self.close_ready(out);
        Ok(())
    }

    /// At the end of the data everything is closed.
    fn drain(
        &mut self,
        ending: Ending,
        out: &mut Emitter<'_, CrossSection>,
    ) -> Result<(), StageError> {
        if ending == Ending::Complete {
            while let Some(section) = self.collector.close() {
                self.emit(section, out);
            }
        }
        Ok(())
    }
}
