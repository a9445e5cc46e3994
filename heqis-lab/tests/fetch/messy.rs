//! From a vendor with tables as inconsistent as real ones to a result, without manual steps: fetch, prepare, backtest.
//!
//! Five stocks are traded, one for each fact that the account depends on: special treatment, the delisting period, a
//! dividend, a suspension, a delisting. A sixth one has no bars, and only contradictory rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_data::prepare;
use heqis_data::store::DataSet;
use heqis_fetch::http::Transport;
use heqis_fetch::{FetchArgs, plan};
use heqis_lab::backtest::BacktestArgs;
use heqis_lab::backtest::{Line, backtest, run as run_command};
use heqis_lab::data::check::{self, CheckArgs};
use heqis_lab::prepare::PrepareArgs;
use heqis_quant::Date;
use serde_json::{Value, json};

use crate::world::{later, with_client};

#[derive(Parser)]
struct Fetch {
    #[command(flatten)]
    args: FetchArgs,
}

#[derive(Parser)]
struct Prepare {
    #[command(flatten)]
    args: PrepareArgs,
}

#[derive(Parser)]
struct Backtest {
    #[command(flatten)]
    args: BacktestArgs,
}

const SPECIAL: &str = "600101.SH";
const DELISTING: &str = "600102.SH";
const PAYING: &str = "600103.SH";
const SUSPENDED: &str = "600104.SH";
const DELISTED: &str = "600105.SH";
const CONTRADICTORY: &str = "600106.SH";

/// Rows by interface, filtered as the vendor filters.
struct Tables(BTreeMap<&'static str, Vec<Value>>);

impl Transport for Tables {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        let request: Value = serde_json::from_str(body).unwrap();
        let api = request["api_name"].as_str().unwrap();
        let params = request["params"].as_object().unwrap();
        let day = match api {
            "trade_cal" => "cal_date",
            _ => "trade_date",
        };
        let asked = |row: &&Value| {
            params.iter().all(|(name, value)| match name.as_str() {
                "offset" => true,
                "start_date" => row[day].as_str() >= value.as_str(),
                "end_date" => row[day].as_str() <= value.as_str(),
                name => row[name] == *value,
            })
        };
        let fields: Vec<&str> = request["fields"].as_str().unwrap().split(',').collect();
        let rows = self.0.get(api).into_iter().flatten().filter(asked);
        let items: Vec<Vec<Value>> = rows
            .map(|row| fields.iter().map(|field| row[*field].clone()).collect())
            .collect();
        let data = json!({ "fields": fields, "items": items, "has_more": false });
        Ok((
            200,
            json!({ "code": 0, "msg": "", "data": data }).to_string(),
        ))
    }
}

/// Returns open and close of a stock on a day, or `None` for a day without a bar.
fn prices(code: &str, day: &str) -> Option<(f64, f64)> {
    match code {
        // At the limit of 5 % on the 8th, 10.00 × 1.05.
        SPECIAL if day < "20220908" => Some((10.0, 10.0)),
        SPECIAL if day == "20220908" => Some((10.5, 10.5)),
        SPECIAL => Some((10.6, 10.6)),
        // The delisting period begins on the 19th, 55 % lower.
        DELISTING if day < "20220919" => Some((1.78, 1.78)),
        DELISTING if day == "20220919" => Some((0.8, 0.7)),
        DELISTING => Some((0.7, 0.7)),
        // 0.15 CNY are paid on the 14th.
        PAYING if day < "20220914" => Some((10.0, 10.0)),
        PAYING => Some((9.85, 9.85)),
        SUSPENDED if day == "20220908" => None,
        DELISTED if day > "20220916" => None,
        SUSPENDED | DELISTED => Some((10.0, 10.0)),
        _ => None,
    }
}

fn vendor() -> Tables {
    let mut tables: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    let first = Date::parse("2022-09-05").unwrap().days();
    let traded = [SPECIAL, DELISTING, PAYING, SUSPENDED, DELISTED];
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    for at in 0..26 {
        let date = Date::from_days(first + at).unwrap();
        let day = date.to_string().replace('-', "");
        let is_open = !date.is_weekend();
        let calendar = json!({
            "exchange": "SSE", "cal_date": day, "is_open": i32::from(is_open), "pretrade_date": null,
        });
        tables.entry("trade_cal").or_default().push(calendar);
        for code in traded.iter().filter(|_| is_open) {
            let Some((open, close)) = prices(code, &day) else {
                continue;
            };
            let paid = if *code == PAYING && day == "20220914" {
                0.15
            } else {
                0.0
            };
            let reference = last
                .insert(code, close)
                .map(|close| ((close - paid) * 100.0).round() / 100.0);
            let volume = 1_000_000 + at;
            // Locked at its limit.
            let spread = if *code == SPECIAL && day == "20220908" {
                0.0
            } else {
                0.01
            };
            let mut put = |api, row| tables.entry(api).or_default().push(row);
            put(
                "daily",
                json!({
                    "ts_code": code, "trade_date": day, "open": open, "high": open.max(close) + spread,
                    "low": open.min(close) - spread, "close": close, "pre_close": reference, "change": null, "pct_chg": null,
                    "vol": volume, "amount": f64::from(volume) * close / 10.0,
                }),
            );
            put("daily_basic", json!({ "ts_code": code, "trade_date": day }));
            let factor = if *code == PAYING && day.as_str() >= "20220914" {
                10.0 / 9.85
            } else {
                1.0
            };
            put(
                "adj_factor",
                json!({ "ts_code": code, "trade_date": day, "adj_factor": factor }),
            );
            put("stk_limit", json!({ "ts_code": code, "trade_date": day }));
        }
    }
    let stock = |code, status, listed: Option<&str>, delisted: Option<&str>| {
        json!({
            "ts_code": code, "name": "n", "industry": null, "market": null, "exchange": "SSE", "list_status": status,
            "list_date": listed, "delist_date": delisted, "cnspell": null,
        })
    };
    tables.insert(
        "stock_basic",
        vec![
            stock(SPECIAL, "L", Some("20000101"), None),
            stock(DELISTING, "L", Some("20000101"), None),
            stock(PAYING, "L", None, Some("")),
            stock(SUSPENDED, "P", Some("20000101"), None),
            // Listed and delisted at once.
            stock(DELISTED, "L", Some("20000101"), None),
            stock(DELISTED, "D", Some("20000101"), Some("20220921")),
            // Delisted before it was listed.
            stock(CONTRADICTORY, "D", Some("20220101"), Some("20210101")),
        ],
    );
    let name = |code, name: &str, from: Option<&str>, to: Option<&str>, reason: Option<&str>| json!({ "ts_code": code, "name": name, "start_date": from, "end_date": to, "change_reason": reason });
    tables.insert(
        "namechange",
        vec![
            // The same name with and without an end, in full-width letters, and overlapping the previous name.
            name(SPECIAL, "ST甲", Some("20200506"), None, Some("ST")),
            name(SPECIAL, "ＳＴ甲 ", Some("20200506"), Some("20221231"), None),
            name(SPECIAL, "ST甲", Some("20200506"), None, Some("ST")),
            name(SPECIAL, "甲", None, Some("20200601"), None),
            name(
                DELISTING,
                "退市乙",
                Some("20220919"),
                None,
                Some("退市整理"),
            ),
            name(
                DELISTING,
                "＊ＳＴ乙",
                Some("20200506"),
                Some("20221231"),
                Some("*ST"),
            ),
            name(CONTRADICTORY, "丙", Some("20200101"), None, None),
            name(CONTRADICTORY, "ST丙", Some("20200101"), None, None),
            name(
                CONTRADICTORY,
                "丙丙",
                Some("20200601"),
                Some("20200101"),
                None,
            ),
            name(CONTRADICTORY, "丙", Some("20990101"), None, None),
        ],
    );
    let suspended = |code, day, kind, timing: Option<&str>| json!({ "ts_code": code, "trade_date": day, "suspend_timing": timing, "suspend_type": kind });
    tables.insert(
        "suspend_d",
        vec![
            suspended(SUSPENDED, "20220908", "S", None),
            suspended(SUSPENDED, "20220909", "R", None),
            suspended(SPECIAL, "20220906", "S", Some("09:30-10:00")),
            suspended(CONTRADICTORY, "20220906", "X", None),
        ],
    );
    let dividend = |code, period, announced, stage, cash: f64, ex_date: Option<&str>| {
        json!({
            "ts_code": code, "end_date": period, "ann_date": announced, "div_proc": stage, "stk_div": 0.0,
            "stk_bo_rate": null, "stk_co_rate": null, "cash_div": cash * 0.8, "cash_div_tax": cash, "record_date": null,
            "ex_date": ex_date, "pay_date": ex_date,
        })
    };
    tables.insert(
        "dividend",
        vec![
            dividend(PAYING, "20211231", "20220401", "预案", 0.1, None),
            dividend(
                PAYING,
                "20211231",
                "20220401",
                "实施",
                0.1,
                Some("20220914"),
            ),
            dividend(
                PAYING,
                "20211231",
                "20220402",
                "实施",
                0.1,
                Some("20220914"),
            ),
            dividend(
                PAYING,
                "20220630",
                "20220820",
                "实施",
                0.05,
                Some("20220914"),
            ),
            dividend(
                CONTRADICTORY,
                "20211231",
                "20220401",
                "实施",
                -1.0,
                Some("20220914"),
            ),
        ],
    );
    Tables(tables)
}

/// Fetches the whole market into `DIR/tables`.
fn fetched(dir: &Path) -> PathBuf {
    let out = dir.join("tables");
    let args = Fetch::try_parse_from([
        "fetch",
        "--from=2022-09-05",
        "--to=2022-09-30",
        &format!("--cache={}", dir.join("cache").display()),
        &format!("--out={}", out.display()),
    ]);
    let args = args.unwrap().args;
    let (summary, _) = with_client(&vendor(), &later(), &args.cache, |client| {
        plan::fetch(client, &args)
    });
    assert_eq!(summary.unwrap().late, Vec::<String>::new());
    out
}

fn arguments(tables: &Path, dir: &Path) -> BacktestArgs {
    let predictions = dir.join("p.csv");
    let mut text = "symbol,date,predicted_return,down,flat,up\n".to_owned();
    for (code, day, buys) in [
        (SPECIAL, "20220907", true),
        (DELISTING, "20220905", true),
        (DELISTING, "20220916", false),
        (PAYING, "20220905", true),
        (SUSPENDED, "20220907", true),
        (DELISTED, "20220905", true),
    ] {
        text += &match buys {
            true => format!("{code},{day},0.02,0.1,0.1,0.8\n"),
            false => format!("{code},{day},-0.02,0.8,0.1,0.1\n"),
        };
    }
    std::fs::write(&predictions, text).unwrap();
    let words = [
        "backtest".to_owned(),
        tables.display().to_string(),
        format!("--strategy={}", predictions.display()),
        format!("--out={}", dir.join("runs").display()),
    ];
    Backtest::try_parse_from(words).unwrap().args
}

fn line<'a>(lines: &'a [Line], code: &str) -> &'a Line {
    lines.iter().find(|line| line.label.symbol == code).unwrap()
}

/// Returns the rows of a run's table as `column=value`.
fn rows(line: &Line, table: &str, columns: &[&str]) -> Vec<String> {
    let path = line.dir.join(table).with_extension("csv");
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let places: Vec<usize> = columns.iter().map(|column| at(column)).collect();
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            places
                .iter()
                .map(|at| &row[*at])
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[test]
fn inconsistent_tables_pass_fetch_and_prepare_and_contradictions_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let tables = fetched(dir.path());
    let out = dir.path().join("set");
    let words = [
        "prepare",
        &tables.display().to_string(),
        &format!("--out={}", out.display()),
        "--adjust=backward",
        "--features=return_1,range_ratio",
        "--window=2",
        "--train-to=2022-09-30",
    ]
    .map(str::to_owned);
    let args = Prepare::try_parse_from(words).unwrap().args;
    let outcome = prepare::prepare(&args.options().unwrap()).unwrap();
    let manifest = &outcome.manifest;
    assert!(manifest.rejects.is_empty(), "{:?}", manifest.rejects);
    assert_eq!(manifest.rows.bars, 5 * 20 - 1 - 10);
    let roles: Vec<&str> = manifest
        .tables
        .iter()
        .map(|table| table.role.as_str())
        .collect();
    assert_eq!(roles[0], "events", "the dividends are events");
    let data = DataSet::open(&out).unwrap();
    let found = std::fs::read_to_string(data.dir().join("findings.csv")).unwrap();
    for (evidence, symbol, expected) in [
        (
            "unreadable",
            CONTRADICTORY,
            "column cash_div_tax: must be in 0..=100000000",
        ),
        (
            "listing",
            CONTRADICTORY,
            "must not lie before the listing on 2022-01-01",
        ),
        ("listing", PAYING, "column list_date: must be known"),
        (
            "listing",
            DELISTED,
            "is 2022-09-21 in one of two rows and empty in the other",
        ),
        ("names", CONTRADICTORY, "two names begin on one day, ST丙"),
        (
            "names",
            CONTRADICTORY,
            "must not lie after the end 2020-01-01",
        ),
        ("suspend_d", CONTRADICTORY, "must be S or R"),
    ] {
        let is_it = |row: &&str| {
            row.starts_with(symbol) && row.contains(evidence) && row.contains(expected)
        };
        assert_eq!(
            found.lines().filter(is_it).count(),
            1,
            "{expected}: {found}"
        );
    }
    assert!(!found.contains("{"), "no debug form: {found}");
    let answer = check::run(&CheckArgs {
        dir: out,
        calendar: None,
        json: false,
    });
    let answer = answer.unwrap();
    assert!(answer.good, "{:?}", answer.lines);
    assert_eq!(
        manifest.findings.values().sum::<u64>(),
        7,
        "{:?}",
        manifest.findings
    );
}

#[test]
fn inconsistent_tables_give_a_backtest_that_is_right_to_the_cent() {
    let dir = tempfile::tempdir().unwrap();
    let tables = fetched(dir.path());
    let lines = backtest(&arguments(&tables, dir.path())).unwrap();

    // 10.50 is the limit of a stock under special treatment, so the purchase of the 8th is rejected.
    let special = line(&lines, SPECIAL);
    assert_eq!(special.fills, 0);
    assert_eq!(
        rows(special, "orders", &["status", "reasons"]),
        ["refused 2022-09-08 limit_up"]
    );

    // One tick above 1.78 with 1,000,000.00: 558,500 shares are 999,715.00, 249.93 of commission and 10.00 of transfer. The
    // first day of the delisting period has no limits: one tick below 0.80.
    let delisting = line(&lines, DELISTING);
    assert_eq!(
        rows(
            delisting,
            "fills",
            &["date", "side", "shares", "price_cents", "down_limit_cents"]
        ),
        [
            "2022-09-06 buy 558500 179 169",
            "2022-09-19 sell 558500 79 "
        ]
    );

    // 99,800 shares at 10.01 are 998,998.00, 249.75 and 9.99; 0.10 and 0.05 a share before tax on the 14th.
    let paying = line(&lines, PAYING);
    assert_eq!(
        rows(
            paying,
            "entitlements",
            &["date", "held_shares", "cash_cents"]
        ),
        ["2022-09-14 99800 998000", "2022-09-14 99800 499000"]
    );
    let equity = rows(paying, "equity", &["date", "cash_cents", "equity_cents"]);
    let cash = 100_000_000 - 99_899_800 - 24_975 - 999;
    assert_eq!(
        equity[6],
        format!("2022-09-13 {cash} {}", cash + 99_800_000)
    );
    let cash = cash + 1_497_000;
    assert_eq!(
        equity[7],
        format!("2022-09-14 {cash} {}", cash + 998 * 98_500)
    );

    // No trade without a bar.
    let suspended = line(&lines, SUSPENDED);
    assert_eq!(
        rows(suspended, "orders", &["status", "reasons"]),
        ["refused 2022-09-08 suspended"]
    );

    // Held when it was delisted, two days after its last bar: worth zero from that day on.
    let delisted = line(&lines, DELISTED);
    let equity = rows(delisted, "equity", &["date", "holdings_cents"]);
    assert_eq!(
        equity[equity.len() - 2..],
        ["2022-09-20 99800000", "2022-09-21 0"]
    );
    let expected = "600105.SH was delisted on 2022-09-21: 99800 shares, last counted as 998000.00 CNY, could not be sold";
    assert!(
        delisted.warnings[0].starts_with(expected),
        "{:?}",
        delisted.warnings
    );
    let page = std::fs::read_to_string(delisted.dir.join("report.html")).unwrap();
    assert!(page.contains(expected), "the page says so");
    let summary = std::fs::read_to_string(delisted.dir.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(
        summary["delisted_holdings"],
        json!([{ "symbol": DELISTED, "date": "2022-09-21", "shares": 99_800, "last_value_cents": 99_800_000 }])
    );
    assert_eq!(
        rows(delisted, "trips", &["closed", "open", "earned_cents"]),
        ["2022-09-21 false 0"]
    );

    // Contradictions of a stock that is not traded are not reported.
    for line in &lines {
        assert!(
            line.missing_dividends.is_empty(),
            "{:?}",
            line.missing_dividends
        );
        assert!(
            line.warnings
                .iter()
                .all(|warning| !warning.contains(CONTRADICTORY))
        );
    }
}

#[test]
fn without_dividends_a_backtest_reports_the_missing_amount_to_the_cent() {
    let dir = tempfile::tempdir().unwrap();
    let tables = fetched(dir.path());
    std::fs::remove_file(tables.join("dividend.csv")).unwrap();
    let arguments = arguments(&tables, dir.path());
    let lines = backtest(&arguments).unwrap();
    let missing: Vec<_> = lines
        .iter()
        .flat_map(|line| &line.missing_dividends)
        .collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let one = missing[0];
    assert_eq!(one.symbol.as_str(), PAYING);
    assert_eq!((one.ex_right_days, one.ex_right_days_held), (Some(1), 1));
    assert_eq!((one.lost_cents, one.assumed_cents), (1_497_000, None));
    let text = run_command(&arguments).unwrap().lines.join("\n");
    let expected = "warning: no ex-right events given: 1 day of 1 stock with a reference price below the last close, which are \
                ex-rights; 1 times shares were held, and lost 14970.00 CNY by it";
    assert!(text.contains(expected), "{text}");

    // An unreadable event is missing, and is reported first.
    let header = "ts_code,ex_date,cash_div,gift,incr,rights,rights_price\n";
    let events =
        format!("{header}{PAYING},20220914,0.15x,0,0,0,0\n{CONTRADICTORY},20220914,y,0,0,0,0\n");
    std::fs::write(dir.path().join("events.csv"), events).unwrap();
    let mut arguments = arguments;
    arguments.input.events = Some(dir.path().join("events.csv"));
    let lines = backtest(&arguments).unwrap();
    let paying = line(&lines, PAYING);
    assert_eq!(paying.missing_dividends.len(), 1);
    let expected = "1 ex-right event cannot be used, so their dividends and shares are missing from the account: 600103.SH: ";
    assert!(
        paying.warnings[0].starts_with(expected),
        "{:?}",
        paying.warnings
    );
    assert!(
        paying.warnings[0]
            .contains("line 2, column cash_div: must be a finite decimal number, got \"0.15x\"")
    );
    assert!(
        line(&lines, SUSPENDED).warnings.is_empty(),
        "it is another stock's event"
    );
}
