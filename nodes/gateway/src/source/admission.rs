//! Admission of the bars of live sources: a bar whose day has come and whose symbol is in a list, or among a bounded number of
//! symbols, is admitted.

use std::collections::HashMap;
use std::time::Duration;

use heqis_actors::{BuildContext, Clock, Counter, LogLimit, Note, StageError, duration_ns};
use heqis_quant::{Bar, Date, Symbol};

use super::live_config::LiveConfig;
use super::symbols::SymbolsFile;

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;
/// A clock that stands before this year has not been set yet, and says nothing about the day.
const SET_FROM: i16 = 2020;
/// Shortest time between two reads of the list, two sweeps of unused places, and two writes of the note.
const REFRESH: Duration = Duration::from_secs(1);

/// Admits bars, or counts why it does not: `future_bar` and `refused_symbol`. The note `symbols` states how many symbols have a
/// place, of how many, and which was refused last.
#[derive(Debug)]
pub(super) struct Admission {
    stage: String,
    clock: Clock,
    /// The symbols that have a place, with the time of the last bar by the clock, nanoseconds.
    symbols: HashMap<Symbol, i64>,
    max_symbols: usize,
    kept_ns: i64,
    list: Option<SymbolsFile>,
    newest_refused: Option<Symbol>,
    read_ns: Option<i64>,
    swept_ns: Option<i64>,
    noted_ns: Option<i64>,
    note: Note,
    refused_symbol: Counter,
    future_bar: Counter,
    future_log: LogLimit,
    symbol_log: LogLimit,
    list_log: LogLimit,
}

impl Admission {
    /// # Errors
    /// [`StageError::Config`] when the list of symbols cannot be read.
    pub(super) fn new(cx: &BuildContext, config: &LiveConfig) -> Result<Self, StageError> {
        let list = config
            .symbols_file
            .as_ref()
            .map(|path| SymbolsFile::open(cx.path(path), config.max_symbols))
            .transpose()
            .map_err(|fault| StageError::config(format!("symbols_file: {fault}")))?;
        let log = || LogLimit::new(cx.clock().clone());
        let mut admission = Self {
            stage: cx.stage().to_owned(),
            clock: cx.clock().clone(),
            symbols: HashMap::new(),
            max_symbols: config.max_symbols,
            kept_ns: i64::from(config.symbol_days).saturating_mul(DAY_NS),
            list,
            newest_refused: None,
            read_ns: None,
            swept_ns: None,
            noted_ns: None,
            note: cx.note("symbols"),
            refused_symbol: cx.counter("refused_symbol"),
            future_bar: cx.counter("future_bar"),
            future_log: log(),
            symbol_log: log(),
            list_log: log(),
        };
        admission.write_note(cx.clock().now_ns());
        admission.noted_ns = None;
        Ok(admission)
    }

    /// Returns whether a bar is admitted. A bar from after tomorrow would make all later bars of its symbol late; a symbol
    /// above the limit would take memory in every stage.
    pub(super) fn admit(&mut self, bar: &Bar) -> bool {
        let now_ns = self.clock.now_ns();
        if is_future(bar.date, now_ns) {
            self.future_bar.inc();
            if let Some(left_out) = self.future_log.admit() {
                tracing::warn!(stage = %self.stage, symbol = %bar.symbol, date = %bar.date, suppressed = left_out, "bar refused: its day has not come");
            }
            return false;
        }
        self.refresh(now_ns);
        if let Some(last_ns) = self.symbols.get_mut(&bar.symbol) {
            *last_ns = now_ns;
            return true;
        }
        let refused = match &self.list {
            Some(list) => (!list.contains(bar.symbol)).then_some("symbols_file does not name it"),
            None => (!self.has_room(now_ns)).then_some("max_symbols have a place"),
        };
        if let Some(rule) = refused {
            self.refused_symbol.inc();
            self.newest_refused = Some(bar.symbol);
            if let Some(left_out) = self.symbol_log.admit() {
                tracing::warn!(stage = %self.stage, symbol = %bar.symbol, rule, suppressed = left_out, "symbol refused");
            }
        } else {
            self.symbols.insert(bar.symbol, now_ns);
        }
        if is_due(self.noted_ns, now_ns) {
            self.write_note(now_ns);
        }
        refused.is_none()
    }

    /// Returns whether a place is free; without one, first frees those of symbols that have had no bar for long.
    fn has_room(&mut self, now_ns: i64) -> bool {
        if self.symbols.len() >= self.max_symbols && is_due(self.swept_ns, now_ns) {
            self.swept_ns = Some(now_ns);
            let kept_ns = self.kept_ns;
            self.symbols
                .retain(|_, last_ns| now_ns.saturating_sub(*last_ns) <= kept_ns);
        }
        self.symbols.len() < self.max_symbols
    }

    /// Reads a changed list of symbols; those that it no longer names lose their places.
    fn refresh(&mut self, now_ns: i64) {
        let Some(list) = self.list.as_mut() else {
            return;
        };
        if !is_due(self.read_ns, now_ns) {
            return;
        }
        self.read_ns = Some(now_ns);
        match list.refresh() {
            Ok(false) => {}
            Ok(true) => {
                self.symbols.retain(|symbol, _| list.contains(*symbol));
                tracing::info!(stage = %self.stage, symbols = list.len(), "symbols_file read again");
                self.write_note(now_ns);
            }
            Err(fault) => {
                if let Some(left_out) = self.list_log.admit() {
                    tracing::warn!(stage = %self.stage, fault, suppressed = left_out, "symbols_file cannot be read, the list stays as it was");
                }
            }
        }
    }

    fn write_note(&mut self, now_ns: i64) {
        self.noted_ns = Some(now_ns);
        let of = match &self.list {
            Some(list) => list.len(),
            None => self.max_symbols,
        };
        let count = self.symbols.len();
        self.note.set(match self.newest_refused {
            Some(symbol) => format!("{count} of {of}, refused last: {symbol}"),
            None => format!("{count} of {of}"),
        });
    }
}

/// Whether something that is done once in [`REFRESH`] is due; also after the clock was set back.
fn is_due(done_ns: Option<i64>, now_ns: i64) -> bool {
    done_ns.is_none_or(|done_ns| {
        now_ns < done_ns || now_ns.saturating_sub(done_ns) >= duration_ns(REFRESH)
    })
}

/// Returns whether a day lies after tomorrow, by UTC: somewhere it is tomorrow already.
fn is_future(date: Date, now_ns: i64) -> bool {
    let today = i32::try_from(now_ns.div_euclid(DAY_NS))
        .ok()
        .and_then(Date::from_days);
    today.is_some_and(|today| today.year() >= SET_FROM && date.days() > today.days() + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::{Path, PathBuf};

    use heqis_quant::Marks;

    use super::*;

    #[test]
    fn only_days_after_tomorrow_are_in_the_future() {
        let day = |text: &str| Date::parse(text).unwrap();
        let noon = |text: &str| i64::from(day(text).days()) * DAY_NS + DAY_NS / 2;
        for (date, now, future) in [
            ("2026-11-26", "2026-11-26", false),
            ("2026-11-27", "2026-11-26", false),
            ("2026-11-28", "2026-11-26", true),
            ("2062-11-26", "2026-11-26", true),
            ("1999-11-10", "2026-11-26", false),
            // A board that has just started without a clock of its own.
            ("2026-11-26", "1970-01-01", false),
        ] {
            assert_eq!(is_future(day(date), noon(now)), future, "{date} on {now}");
        }
    }

    fn bar(symbol: &str) -> Bar {
        let date = Date::parse("2015-06-01").unwrap();
        Bar {
            symbol: Symbol::parse(symbol).unwrap(),
            time_ns: date.close_time_ns(),
            date,
            open: 1.0,
            high: 1.0,
            low: 1.0,
            close: 1.0,
            pre_close: None,
            volume_shares: 1.0,
            amount_cny: None,
            marks: Marks::NONE,
        }
    }

    fn admission(
        directory: &Path,
        max_symbols: usize,
        list: Option<&str>,
    ) -> (Admission, BuildContext, Clock) {
        let clock = Clock::virtual_at(DAY_NS);
        let cx = BuildContext::detached("market", directory, clock.clone());
        let config = LiveConfig {
            max_symbols,
            symbols_file: list.map(PathBuf::from),
            ..LiveConfig::default()
        };
        (Admission::new(&cx, &config).unwrap(), cx, clock)
    }

    #[test]
    fn a_symbol_without_a_bar_for_days_gives_its_place_back() {
        let (mut admission, cx, clock) = admission(Path::new(""), 2, None);
        let note = || cx.counters().notes()["symbols"].clone();
        assert_eq!(note(), "0 of 2");
        assert!(admission.admit(&bar("600000.SH")) && admission.admit(&bar("600001.SH")));
        clock.advance_to(DAY_NS + 5 * DAY_NS);
        assert!(!admission.admit(&bar("600002.SH")) && admission.admit(&bar("600000.SH")));
        assert_eq!(note(), "2 of 2, refused last: 600002.SH");
        clock.advance_to(DAY_NS + 8 * DAY_NS);
        assert!(admission.admit(&bar("600002.SH")), "600001.SH is gone");
        assert!(admission.admit(&bar("600000.SH")) && !admission.admit(&bar("600001.SH")));
        assert_eq!(cx.counter("refused_symbol").get(), 2);
    }

    #[test]
    fn a_list_of_symbols_admits_those_alone_and_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("symbols.txt");
        std::fs::write(&list, "# ours\n600000.SH # a bank\n\n600001.SH\n").unwrap();
        let (mut admission, cx, clock) = admission(directory.path(), 2, Some("symbols.txt"));
        for garbage in 2..100 {
            assert!(!admission.admit(&bar(&format!("6{garbage:05}.SH"))));
        }
        assert!(admission.admit(&bar("600000.SH")) && admission.admit(&bar("600001.SH")));
        let later = |admission: &mut Admission, seconds: i64, symbol: &str| {
            clock.advance_to(DAY_NS + seconds * 1_000_000_000);
            admission.admit(&bar(symbol))
        };
        std::fs::write(&list, "600000.SH\n600002.SH\n#\n").unwrap();
        assert!(later(&mut admission, 2, "600002.SH") && !later(&mut admission, 2, "600001.SH"));
        // Whatever cannot be read leaves the list as it was.
        for bad in ["no symbol!\n", "600000.SH\n600001.SH\n600002.SH\n", ""] {
            std::fs::write(&list, bad).unwrap();
            assert!(
                later(&mut admission, 4 + bad.len() as i64, "600002.SH"),
                "{bad}"
            );
        }
        std::fs::remove_file(&list).unwrap();
        assert!(
            later(&mut admission, 100, "600000.SH") && !later(&mut admission, 102, "600001.SH")
        );
        assert_eq!(
            cx.counters().notes()["symbols"],
            "2 of 2, refused last: 600001.SH"
        );
    }
}
