//! The calls of a run, the replies that are complete, and those that are requested again.

use std::path::Path;

use clap::Parser;
use heqis_data::DataError;
use heqis_fetch::{FetchArgs, FetchError, Summary, plan};

use crate::vendor::{InProcess, Market, Stock, market};
use crate::world::{Still, fetch_error, files_in, later, with_client};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: FetchArgs,
}

/// A folder with a cache, tables and an optional watch list.
struct Run {
    folder: tempfile::TempDir,
    vendor: InProcess,
    from: &'static str,
    to: &'static str,
    watch: bool,
    refresh: bool,
}

fn run_from(from: &'static str, to: &'static str, market: Market) -> Run {
    Run {
        folder: tempfile::tempdir().unwrap(),
        vendor: InProcess::new(market),
        from,
        to,
        watch: false,
        refresh: false,
    }
}

impl Run {
    fn watching(mut self, list: &str) -> Self {
        std::fs::write(self.path("watch.toml"), list).unwrap();
        self.watch = true;
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn go(&self, clock: &Still) -> (Result<Summary, FetchError>, String) {
        let mut words = vec![
            "fetch".to_owned(),
            format!("--from={}", self.from),
            format!("--to={}", self.to),
        ];
        let paths = [
            ("--cache", "cache"),
            ("--out", "out"),
            ("--watch", "watch.toml"),
        ];
        for (option, name) in &paths[..2 + usize::from(self.watch)] {
            words.push(format!("{option}={}", self.path(name).display()));
        }
        let args = Cli::try_parse_from(words).unwrap().args;
        with_client(&self.vendor, clock, &self.path("cache"), |client| {
            client.refresh = self.refresh;
            plan::fetch(client, &args)
        })
    }

    /// Lines of a table, without the header.
    fn rows(&self, api: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("out").join(format!("{api}.csv"))).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    fn requests(&self, api: &str) -> usize {
        let requests = self.vendor.requests.borrow();
        requests
            .iter()
            .filter(|call| call.starts_with(&format!("{api} ")))
            .count()
    }
}

fn cache_files(run: &Run, api: &str) -> usize {
    files_in(&run.path("cache").join(api)).len()
}

#[test]
fn the_market_is_requested_day_by_day_and_a_second_run_is_offline_and_equal() {
    // A Friday to a Monday.
    let mut paying = market();
    paying.dividends = vec![
        ("600000.SH", "20160815", 0.515),
        ("600000.SH", "20150623", 0.757),
    ];
    let run = run_from("2016-08-12", "2016-08-15", paying);
    let (summary, _) = run.go(&later());
    let summary = summary.unwrap();
    assert_eq!((summary.late.len(), summary.days_ahead), (0, 0));
    assert_eq!(run.rows("trade_cal").len(), 4);
    assert_eq!(
        run.rows("stock_basic").len(),
        4,
        "the delisted one included"
    );
    // The delisted stock has no bars.
    for api in ["daily", "daily_basic", "adj_factor", "stk_limit"] {
        assert_eq!((run.requests(api), run.rows(api).len()), (2, 6), "{api}");
    }
    assert_eq!(
        (run.requests("suspend_d"), run.rows("suspend_d").len()),
        (2, 0)
    );
    assert_eq!(
        (run.requests("namechange"), run.rows("namechange").len()),
        (1, 4)
    );
    assert_eq!(
        run.requests("dividend"),
        2,
        "one call for each ex-right day"
    );
    assert_eq!(
        run.rows("dividend"),
        ["600000.SH,20151231,20160401,实施,0,,,0.4635,0.515,,20160815,"]
    );
    let tables = files_in(&run.path("out"));
    run.vendor.take_requests();
    let (second, _) = run.go(&later());
    assert_eq!(second.unwrap().counts.requests, 0);
    assert!(run.vendor.take_requests().is_empty());
    assert_eq!(files_in(&run.path("out")), tables);
}

#[test]
fn an_open_day_without_bars_is_reported_and_requested_again_until_they_are_published() {
    let published = |day| Market {
        published: day,
        ..market()
    };
    let mut run = run_from("2016-08-16", "2016-08-17", published("20160816"));
    // An empty reply is not complete, even long after that day.
    for _ in 0..2 {
        let (summary, notes) = run.go(&later());
        let late = ["daily", "daily_basic", "adj_factor", "stk_limit"]
            .map(|api| format!("{api} 20160817"));
        assert_eq!(summary.unwrap().late, late);
        assert!(notes.contains("daily 20160817: no rows yet"), "{notes}");
        assert_eq!(run.rows("daily").len(), 3, "one day of three stocks");
    }
    assert_eq!((run.requests("daily"), cache_files(&run, "daily")), (3, 1));
    run.vendor = InProcess::new(published("20160817"));
    let (summary, _) = run.go(&later());
    assert!(summary.unwrap().late.is_empty());
    assert_eq!(run.vendor.take_requests().len(), 4, "only the late calls");
    assert_eq!(run.rows("daily").len(), 6);
    assert_eq!(run.go(&later()).0.unwrap().counts.requests, 0);
}

#[test]
fn a_day_that_is_not_over_is_requested_again_when_it_is() {
    let run = run_from("2016-08-16", "2016-08-17", market());
    let evening = Still::at("2016-08-17", 18);
    assert!(run.go(&evening).0.unwrap().late.is_empty());
    run.vendor.take_requests();
    // The bars of the evening may still be corrected; the day before is final.
    run.go(&Still::at("2016-08-17", 23)).0.unwrap();
    assert_eq!(run.requests("daily"), 1);
    assert_eq!(run.vendor.take_requests().len(), 1 + 3 + 6 + 1);
    run.go(&Still::at("2016-08-18", 0)).0.unwrap();
    assert_eq!(run.vendor.take_requests().len(), 1 + 3 + 6 + 1);
    assert_eq!(
        run.go(&Still::at("2016-08-18", 1))
            .0
            .unwrap()
            .counts
            .requests,
        0
    );
}

#[test]
fn future_open_days_are_counted_and_not_requested() {
    let mut run = run_from("2016-08-16", "2016-08-19", market());
    let (summary, _) = run.go(&Still::at("2016-08-17", 20));
    assert_eq!(summary.unwrap().days_ahead, 2);
    assert_eq!(run.requests("daily"), 2);
    assert_eq!(run.rows("trade_cal").len(), 4);
    run.from = "2016-08-18";
    let (summary, _) = run.go(&Still::at("2016-08-17", 20));
    assert_eq!(summary.unwrap().days_ahead, 2);
    let table = run.path("out/daily.csv");
    assert!(!table.exists(), "the table of an earlier run is removed");
}

#[test]
fn lists_and_calendar_older_than_the_last_day_are_fetched_again_and_the_old_ones_are_kept() {
    let mut run = run_from("2016-08-16", "2016-08-17", market());
    run.go(&Still::at("2016-08-18", 9)).0.unwrap();
    let before = files_in(&run.path("cache").join("stock_basic"));
    assert_eq!(before.len(), 3);
    // A month later there is a new stock. A run up to a day of the old list does not fetch it, a later one does.
    run.vendor.market.stocks.push(Stock {
        code: "603000.SH",
        name: "新股",
        status: "L",
        list_date: "20160901",
        delist_date: None,
    });
    let month_later = || Still::at("2016-09-18", 9);
    run.go(&month_later()).0.unwrap();
    assert_eq!(run.rows("stock_basic").len(), 4);
    (run.from, run.to) = ("2016-09-13", "2016-09-14");
    run.go(&month_later()).0.unwrap();
    assert_eq!(run.rows("stock_basic").len(), 5);
    let after = files_in(&run.path("cache").join("stock_basic"));
    assert_eq!(after.len(), 6);
    assert!(
        before.iter().all(|file| after.contains(file)),
        "an old list was changed"
    );
    run.vendor.take_requests();
    assert_eq!(run.go(&month_later()).0.unwrap().counts.requests, 0);
}

#[test]
fn a_calendar_from_before_its_last_day_is_fetched_again() {
    let run = run_from("2016-08-15", "2016-08-19", market());
    run.go(&Still::at("2016-08-16", 9)).0.unwrap();
    run.vendor.take_requests();
    run.go(&Still::at("2016-08-21", 9)).0.unwrap();
    assert_eq!(run.requests("trade_cal"), 1);
    assert_eq!(cache_files(&run, "trade_cal"), 2);
    run.go(&Still::at("2016-08-22", 9)).0.unwrap();
    assert_eq!(run.requests("trade_cal"), 1, "now it is final");
}

#[test]
fn refresh_requests_everything_again_and_keeps_the_old_replies() {
    let mut run = run_from("2016-08-16", "2016-08-17", market());
    run.go(&later()).0.unwrap();
    let first = run.vendor.take_requests();
    let before = files_in(&run.path("cache"));
    run.refresh = true;
    run.go(&later()).0.unwrap();
    assert_eq!(run.vendor.take_requests(), first);
    let after = files_in(&run.path("cache"));
    assert_eq!(after.len(), 2 * before.len() - 1, "except the lock");
    assert!(before.iter().all(|file| after.contains(file)));
    run.refresh = false;
    assert_eq!(run.go(&later()).0.unwrap().counts.requests, 0);
}

#[test]
fn a_calendar_with_a_missing_day_is_an_error() {
    let mut incomplete = market();
    incomplete.reports_more = false;
    incomplete.cap_rows = 6;
    // The seventh day is cut off by a cap that is unknown to the client.
    let run = run_from("2016-08-15", "2016-08-21", incomplete);
    let text = fetch_error(run.go(&later()).0).to_string();
    assert!(
        text.contains("must have every requested day, got nothing on 2016-08-15"),
        "{text}"
    );
}

#[test]
fn a_market_beyond_the_cap_is_paged() {
    let mut wide = market();
    wide.cap_rows = 2;
    let run = run_from("2016-08-16", "2016-08-17", wide);
    run.go(&later()).0.unwrap();
    assert_eq!(run.rows("daily").len(), 6);
    let requests = run.vendor.take_requests();
    assert!(
        requests.contains(&r#"daily {"offset":"2","trade_date":"20160817"}"#.to_owned()),
        "{requests:?}"
    );
    assert_eq!(run.go(&later()).0.unwrap().counts.requests, 0);
}

#[test]
fn a_span_beyond_six_thousand_rows_is_split_whether_or_not_the_vendor_reports_more() {
    for reports_more in [true, false] {
        let mut silent = market();
        silent.reports_more = reports_more;
        let list = "[[sector]]\nname = \"s\"\nstocks = [\"600000.SH\"]\n";
        let run = run_from("1999-11-10", "2024-12-31", silent).watching(list);
        let (summary, _) = run.go(&later());
        let summary = summary.unwrap();
        assert!(summary.late.is_empty(), "{:?}", summary.late);
        // Mondays to Fridays of 25 years.
        let open = run
            .rows("trade_cal")
            .iter()
            .filter(|row| row.contains(",1,"))
            .count();
        assert_eq!(
            (open, run.rows("daily").len()),
            (6560, 6560),
            "reports more: {reports_more}"
        );
        let mut days = run.rows("daily");
        days.sort();
        days.dedup();
        assert_eq!(days.len(), 6560, "no day twice");
        assert_eq!(
            run.requests("daily"),
            3,
            "once for the whole span, then for both halves"
        );
        assert_eq!(run.go(&later()).0.unwrap().counts.requests, 0);
    }
}

const LIST: &str = r#"
[[sector]]
name = "banks"
stocks = ["浦发银行", "600000.SH"]
indices = ["000300.SH"]

[[sector]]
name = "others"
stocks = ["002032", "万科A"]
indices = ["000300.SH"]
funds = ["510300.SH"]
"#;

#[test]
fn a_watch_list_has_stocks_by_name_or_code_and_each_is_requested_once() {
    let run = run_from("2016-08-16", "2016-08-17", market()).watching(LIST);
    assert!(run.go(&later()).0.unwrap().late.is_empty());
    for api in [
        "daily",
        "daily_basic",
        "adj_factor",
        "stk_limit",
        "suspend_d",
        "dividend",
        "namechange",
    ] {
        assert_eq!(run.requests(api), 3, "{api}");
    }
    for code in ["600000.SH", "002032.SZ", "000002.SZ"] {
        let rows = run.rows("daily");
        assert_eq!(
            rows.iter().filter(|row| row.starts_with(code)).count(),
            2,
            "{code}"
        );
    }
    assert_eq!(
        (run.requests("index_daily"), run.rows("index_daily").len()),
        (1, 2)
    );
    assert_eq!(
        (run.requests("fund_daily"), run.rows("fund_daily").len()),
        (1, 2)
    );
    assert!(run.rows("index_daily")[0].starts_with("000300.SH,"));
    assert!(run.rows("fund_daily")[0].starts_with("510300.SH,"));
    run.vendor.take_requests();
    assert_eq!(run.go(&later()).0.unwrap().counts.requests, 0);
}

#[test]
fn a_stock_that_the_vendor_lists_twice_is_watched_once() {
    let mut twice = market();
    twice.stocks.push(Stock {
        code: "600001.SH",
        name: "邯郸钢铁",
        status: "L",
        list_date: "19991110",
        delist_date: None,
    });
    let list = "[[sector]]\nname = \"s\"\nstocks = [\"邯郸钢铁\", \"600000.SH\"]\n";
    let run = run_from("2016-08-16", "2016-08-17", twice).watching(list);
    let (summary, notes) = run.go(&later());
    assert!(summary.unwrap().late.is_empty());
    assert!(notes.contains("600001.SH: not listed"), "{notes}");
    assert_eq!(run.rows("stock_basic").len(), 5, "both rows are written");
}

#[test]
fn ambiguous_and_invalid_watch_lists_are_refused_with_suggestions() {
    let mut twins = market();
    twins.stocks.push(Stock {
        code: "600900.SH",
        name: "苏泊尔",
        status: "P",
        list_date: "20100101",
        delist_date: None,
    });
    let sector = |line: &str| format!("[[sector]]\nname = \"white goods\"\n{line}\n");
    let faults = [
        (
            sector("stocks = [\"苏泊\"]"),
            "sector white goods: no stock is called 苏泊; nearest: 苏泊尔 002032.SZ",
        ),
        (
            sector("stocks = [\"苏泊尔\"]"),
            "苏泊尔 is ambiguous: 002032.SZ, 600900.SH",
        ),
        (
            sector("stocks = [\"600009.SH\"]"),
            "no stock is called 600009.SH",
        ),
        (sector("indices = [\"000300\"]"), "exchange"),
        (sector("stock = [\"600000.SH\"]"), "unknown field `stock`"),
        (sector(""), "sector white goods has no instrument"),
        ("sector = []".to_owned(), "has no sector"),
        ("sector = 1".to_owned(), "line 1"),
    ];
    let mut run = run_from("2016-08-16", "2016-08-17", twins);
    for (list, words) in faults {
        run = run.watching(&list);
        let text = run.go(&later()).0.unwrap_err().to_string();
        assert!(text.contains(words), "{list}: {text}");
        assert_eq!(run.requests("daily"), 0);
    }
    std::fs::remove_file(run.path("watch.toml")).unwrap();
    let (result, _) = run.go(&later());
    assert!(
        matches!(&result, Err(FetchError::Data(DataError::File { path, .. })) if Path::new(path).ends_with("watch.toml")),
        "{result:?}"
    );
}

#[test]
fn watched_stocks_without_trading_are_complete_and_those_with_late_bars_are_not() {
    let mut some = market();
    some.suspended = vec![("002032.SZ", "20160817")];
    some.stocks.push(Stock {
        code: "603000.SH",
        name: "新股",
        status: "L",
        list_date: "20160901",
        delist_date: None,
    });
    let list = "[[sector]]\nname = \"s\"\nstocks = [\"002032.SZ\", \"600001.SH\", \"603000.SH\"]\n";
    let run = run_from("2016-08-16", "2016-08-17", some).watching(list);
    let (summary, notes) = run.go(&later());
    assert!(
        summary.unwrap().late.is_empty(),
        "suspended on the last day"
    );
    assert_eq!(run.requests("daily"), 1);
    for code in ["600001.SH", "603000.SH"] {
        assert!(
            notes.contains(&format!("{code}: not listed from 2016-08-16 to 2016-08-17")),
            "{notes}"
        );
    }
    assert_eq!(run.go(&later()).0.unwrap().counts.requests, 0);

    let lagging = Market {
        published: "20160816",
        ..market()
    };
    let run = run_from("2016-08-16", "2016-08-17", lagging).watching(LIST);
    let (summary, _) = run.go(&later());
    let late = summary.unwrap().late;
    assert_eq!(late.len(), 3 * 4 + 2, "{late:?}");
    assert!(
        late.contains(&"index_daily 20160817 20160816 000300.SH".to_owned()),
        "{late:?}"
    );
    // The existing rows are written, and the same calls are made again.
    assert_eq!(run.rows("daily").len(), 3);
    run.vendor.take_requests();
    run.go(&later()).0.unwrap();
    assert_eq!(run.vendor.take_requests().len(), 14);
}

#[test]
fn a_code_that_the_vendor_does_not_know_is_reported() {
    let list = "[[sector]]\nname = \"s\"\nindices = [\"000999.SH\"]\n";
    let run = run_from("2016-08-16", "2016-08-17", market()).watching(list);
    let (summary, _) = run.go(&later());
    assert_eq!(
        summary.unwrap().late,
        ["index_daily 20160817 20160816 000999.SH"]
    );
}

#[test]
fn a_first_day_after_the_last_is_refused() {
    let run = run_from("2016-08-17", "2016-08-16", market());
    let text = fetch_error(run.go(&later()).0).to_string();
    assert!(
        text.contains("--to: must not lie before 2016-08-17"),
        "{text}"
    );
    assert!(run.vendor.take_requests().is_empty());
}
