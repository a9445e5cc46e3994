//! Complete runs of the `backtest` command on the committed bars and bundles.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::BundleModel;
use heqis_data::BarReader;
use heqis_lab::backtest::BacktestArgs;
use heqis_lab::backtest::{Line, backtest, run as run_command};
use heqis_quant::Symbol;
use heqis_quant::decision::{SignalMode, TradingState};
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, PipelineConfig};
use parquet::file::reader::{FileReader, SerializedFileReader};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: BacktestArgs,
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Reads a command line with `{data}` and `{models}` replaced.
fn args(text: &str, out: &Path) -> BacktestArgs {
    let project = project();
    let text = text
        .replace("{data}", &project.join("data/ashare").display().to_string())
        .replace("{models}", &project.join("models").display().to_string());
    let words = ["backtest"].into_iter().chain(text.split_whitespace());
    let out = ["--out".to_owned(), out.display().to_string()];
    let words = words.map(str::to_owned).chain(out);
    Cli::parse_from(words).args
}

/// Runs a command and returns its lines.
fn run(text: &str, out: &Path) -> Result<Vec<Line>, heqis_lab::LabError> {
    backtest(&args(text, out))
}

const TWO_STOCKS: &str = "{data}/002032.SZ.csv {data}/600000.SH.csv --strategy \
    {models}/baseline-factors,{models}/baseline-direction --calendar {data}/000300.SH.csv \
    --benchmark {data}/000300.SH.csv --from 2013-01-01 --to 2015-04-30";

/// Returns every file below a directory by its relative path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(dir).unwrap().to_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

fn records(path: &Path) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.records().map(Result::unwrap).collect()
}

#[test]
fn strategies_modes_and_stocks_give_the_same_bytes_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let modes = format!("{TWO_STOCKS} --mode return,class,both");
    let out = dir.path().join("out");
    let lines = run(&format!("{modes} --threads 1"), &out).unwrap();
    let one = files(&out);
    fs::remove_dir_all(&out).unwrap();
    run(&format!("{modes} --threads 4"), &out).unwrap();
    let four = files(&out);
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        four.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &one {
        assert!(*bytes == four[name], "{} differs", name.display());
    }
    assert_eq!(lines.len(), 6);
    assert!(
        lines.iter().any(|line| line.fills > 20),
        "something is traded"
    );
    // Nine tables in two formats, the one relative to the benchmark among them, the summary and the page of each run, and the two summaries of the command.
    assert_eq!(one.len(), 6 * (9 * 2 + 2) + 2);
}

#[test]
fn the_files_of_a_run_agree_with_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let lines = run(TWO_STOCKS, dir.path()).unwrap();
    for line in &lines {
        let table = |name: &str| records(&line.dir.join(name).with_extension("csv"));
        for name in [
            "signals",
            "orders",
            "fills",
            "positions",
            "equity",
            "trips",
            "metrics",
        ] {
            let path = line.dir.join(name).with_extension("parquet");
            let file = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
            let rows = file.metadata().file_metadata().num_rows();
            assert_eq!(rows as usize, table(name).len(), "{name}");
        }
        let summary: serde_json::Value =
            serde_json::from_slice(&fs::read(line.dir.join("summary.json")).unwrap()).unwrap();
        assert_eq!(summary["metrics"]["basis"]["days_per_year"], 244.0);
        assert_eq!(summary["metrics"]["basis"]["ddof"], 1);
        assert_eq!(summary["orders"], table("orders").len());
        // Cash at the end is cash at the start, less fills and fees, plus dividends.
        let whole = |record: &csv::StringRecord, at: usize| record[at].parse::<i64>().unwrap();
        let mut cash = summary["settings"]["broker"]["cash_cents"]
            .as_i64()
            .unwrap();
        for fill in table("fills") {
            let fees = whole(&fill, 8) + whole(&fill, 9) + whole(&fill, 10);
            cash += match &fill[3] {
                "buy" => -whole(&fill, 7) - fees,
                _ => whole(&fill, 7) - fees,
            };
        }
        let equity = table("equity");
        assert_eq!(whole(equity.last().unwrap(), 1), cash);
        // Each order that is not completely filled states the reason.
        for order in table("orders") {
            assert!(&order[7] == "filled" || !order[8].is_empty(), "{order:?}");
        }
    }
}

/// Compares with the decisions of the boards' pipeline on the same bars, bar by bar.
#[test]
fn decisions_equal_those_of_the_decision_pipeline_in_every_mode() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{data}/002032.SZ.csv --strategy {models}/baseline-factors,{models}/baseline-direction \
        --mode return,class,both --no-pages";
    let lines = run(text, dir.path()).unwrap();
    let models = project().join("models");
    let bars = fs::read(project().join("data/ashare/002032.SZ.csv")).unwrap();
    let symbol = Symbol::parse("002032.SZ").unwrap();
    let mut compared = 0;
    for (line, mode) in lines
        .iter()
        .zip([SignalMode::Return, SignalMode::Class, SignalMode::Both])
    {
        let (model, scaler) = BundleModel::load(
            Some(&models.join("baseline-factors")),
            &models.join("baseline-direction"),
        )
        .unwrap();
        let strategy = Settings::default().strategy(mode);
        let mut path = DecisionPipeline::new(PipelineConfig::new(scaler, strategy), model).unwrap();
        let mut decided = Vec::new();
        for bar in BarReader::new(bars.as_slice(), Some(symbol), "bars").unwrap() {
            if let BarOutcome::Decided { decision, .. } = path.step(bar.unwrap()).unwrap() {
                decided.push((
                    decision.date.to_string(),
                    decision.predicted_return.to_string(),
                    decision.side.to_string(),
                    decision.reason.to_string(),
                ));
            }
        }
        let written: Vec<_> = records(&line.dir.join("signals.csv"))
            .iter()
            .map(|row| (row[0].into(), row[3].into(), row[7].into(), row[9].into()))
            .collect();
        assert_eq!(written, decided, "{mode:?}");
        compared += written.len();
    }
    assert!(compared > 3 * 2_500, "{compared} decisions compared");
}

/// The settings of a backtest set the trading state by day; the boards' pipeline with the same states agrees.
#[test]
fn the_trading_state_applies_from_its_day_on_as_on_a_board() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("settings.toml");
    let day = |text: &str| text.parse::<heqis_quant::Date>().unwrap();
    let (reducing, halted, again) = ("2009-01-05", "2011-01-04", "2013-01-04");
    fs::write(
        &settings,
        format!(
            "trading_state = [{{ from = \"{reducing}\", state = \"reducing\" }}, {{ from = \"{halted}\", state = \"halted\" }}, \
             {{ from = \"{again}\", state = \"active\" }}]\n"
        ),
    )
    .unwrap();
    let text = format!(
        "{{data}}/002032.SZ.csv --strategy {{models}}/baseline-factors,{{models}}/baseline-direction --no-pages --settings {}",
        settings.display()
    );
    let lines = run(&text, dir.path()).unwrap();
    let models = project().join("models");
    let bars = fs::read(project().join("data/ashare/002032.SZ.csv")).unwrap();
    let symbol = Symbol::parse("002032.SZ").unwrap();
    let (model, scaler) = BundleModel::load(
        Some(&models.join("baseline-factors")),
        &models.join("baseline-direction"),
    )
    .unwrap();
    let strategy = Settings::default().strategy(SignalMode::Return);
    let mut path = DecisionPipeline::new(PipelineConfig::new(scaler, strategy), model).unwrap();
    let mut decided = Vec::new();
    for bar in BarReader::new(bars.as_slice(), Some(symbol), "bars").unwrap() {
        let bar = bar.unwrap();
        path.set_trading_state(match bar.date {
            date if date < day(reducing) => TradingState::Active,
            date if date < day(halted) => TradingState::Reducing,
            date if date < day(again) => TradingState::Halted,
            _ => TradingState::Active,
        });
        if let BarOutcome::Decided { decision, .. } = path.step(bar).unwrap() {
            decided.push((
                decision.date.to_string(),
                decision.side.to_string(),
                decision.reason.to_string(),
            ));
        }
    }
    let written: Vec<(String, String, String)> = records(&lines[0].dir.join("signals.csv"))
        .iter()
        .map(|row| (row[0].into(), row[7].into(), row[9].into()))
        .collect();
    assert_eq!(written, decided);
    let within = |from: &str, to: &str, what: &str| {
        let days = written
            .iter()
            .filter(|(date, ..)| from <= date.as_str() && date.as_str() < to);
        days.filter(|(_, side, reason)| side == what || reason == what)
            .count()
    };
    assert!(within("2004", reducing, "buy") > 0 && within(again, "2020", "buy") > 0);
    assert_eq!(within(reducing, again, "buy"), 0);
    assert!(within(reducing, halted, "reducing") > 0);
    assert!(within(halted, again, "halted") > 0);
    assert_eq!(within(halted, again, "sell"), 0);
}

#[test]
fn a_table_of_predictions_decides_as_its_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let bundles = "{data}/002032.SZ.csv --strategy {models}/baseline-factors,{models}/baseline-direction --no-pages";
    let first = run(bundles, &dir.path().join("a")).unwrap();
    let mut text = String::from("symbol,date,predicted_return,down,flat,up\n");
    for row in records(&first[0].dir.join("signals.csv")) {
        let cells = [1, 0, 3, 4, 5, 6].map(|at: usize| row[at].to_owned());
        text += &(cells.join(",") + "\n");
    }
    let table = dir.path().join("table.csv");
    fs::write(&table, &text).unwrap();
    let by_table = format!(
        "{{data}}/002032.SZ.csv --strategy {} --no-pages",
        table.display()
    );
    let second = run(&by_table, &dir.path().join("b")).unwrap();
    for name in ["signals.csv", "fills.csv", "equity.csv"] {
        let read = |line: &Line| fs::read(line.dir.join(name)).unwrap();
        assert!(read(&first[0]) == read(&second[0]), "{name} differs");
    }
    // An invalid prediction is rejected with its line.
    fs::write(&table, text.replacen(",0.", ",NaN,0.", 1)).unwrap();
    assert!(run(&by_table, &dir.path().join("c")).is_err());
}

#[test]
fn a_portfolio_shares_one_account_and_its_page_is_self_contained() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("settings.toml");
    fs::write(
        &settings,
        "rule = { enter = 0.0, exit = -0.002, min_confidence = 0.0 }\n\
         allocation = { max_positions = 2 }\n\
         commission = { rate_e7 = 1000, min_cents = 100 }\n",
    )
    .unwrap();
    let text = format!("{TWO_STOCKS} --portfolio --settings {}", settings.display());
    let lines = run(&text, dir.path()).unwrap();
    assert_eq!(lines.len(), 1);
    let positions = records(&lines[0].dir.join("positions.csv"));
    let symbols: std::collections::BTreeSet<&str> = positions.iter().map(|row| &row[1]).collect();
    assert_eq!(symbols.len(), 2, "both stocks are held");
    let page = fs::read_to_string(lines[0].dir.join("report.html")).unwrap();
    for expected in [
        "<h2>Account",
        "<h2>Drawdown",
        "class=\"months\"",
        "<h2>Orders",
        "<title>2013-",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    let fills = records(&lines[0].dir.join("fills.csv")).len();
    assert_eq!(
        page.matches("<title>2").count(),
        fills,
        "every fill has its mark"
    );
    let lower = page.to_lowercase();
    for foreign in [
        "http:", "https:", "//", "<script", "<link", "<img", "@import", "url(", "nan",
    ] {
        assert!(!lower.contains(foreign), "{foreign}");
    }
    balanced(&page);
}

/// Checks that every opened element is closed, in order.
fn balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name = tag.split_whitespace().next().unwrap();
        if name.starts_with('!') || tag.ends_with('/') || name == "meta" {
            continue;
        }
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn invalid_arguments_are_rejected_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("settings.toml");
    let both = "--strategy {models}/baseline-factors,{models}/baseline-direction";
    for (text, toml, reason) in [
        (
            "{data}/002032.SZ.csv --strategy {models}/baseline-direction".to_owned(),
            "",
            "must read no factors without a feature model",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both} {both}"),
            "",
            "must have different names",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both} --from 2030-01-01"),
            "",
            "must hold at least one bar",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both}"),
            "[broker]\nbuy_days = 0",
            "buy_days",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both}"),
            "trading_state = [{ from = \"2010-01-05\", state = \"halted\" }, { from = \"2010-01-05\", state = \"active\" }]",
            "trading_state: must be later",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both}"),
            "kill = []\ntrading_state = []",
            "settings.toml: kill is now trading_state: both are given, remove kill",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both}"),
            "[filters]\none_word_no_buy = true\nlimit_locked_no_buy = true",
            "settings.toml: filters.one_word_no_buy is now filters.limit_locked_no_buy: both are given",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both}"),
            "moon = 1",
            "must be settings",
        ),
        (
            format!("{{data}}/002032.SZ.csv {both} --benchmark {{data}}/000300.SH.csv"),
            "",
            "must have a close on or before",
        ),
    ] {
        fs::write(&settings, toml).unwrap();
        let text = format!("{text} --settings {} --no-pages", settings.display());
        let error = run(&text, &dir.path().join("out")).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_rule_takes_defaults_for_absent_fields_and_other_gaps_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.toml");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        Settings::read(&path)
    };
    let default = Settings::default().rule;
    let rule = read("rule = { enter = 0.003 }").unwrap().rule;
    assert_eq!((rule.enter, rule.exit), (0.003, default.exit));
    assert_eq!(rule.min_confidence, default.min_confidence);
    assert_eq!(rule.min_exit_confidence, 0.0);
    let refused = |text: &str| read(text).unwrap_err().to_string();
    let text = refused("commission = { rate_e7 = 2500 }");
    assert!(text.contains("min_cents"), "{text}");
    assert!(refused("rule = { entre = 0.1 }").contains("entre"));
}

/// Hold and cash accompany every run: in its lines, its files and its page, with the same broker and costs.
#[test]
fn hold_and_cash_accompany_every_run() {
    let dir = tempfile::tempdir().unwrap();
    let lines = run(&format!("{TWO_STOCKS} --mode return,class"), dir.path()).unwrap();
    for line in &lines {
        let (hold, cash) = (&line.alternatives.hold, &line.alternatives.cash);
        assert_eq!((cash.curve.total_return, cash.fees_cents), (0.0, 0));
        assert_eq!((hold.days, hold.trades.count), (line.metrics.days, 1));
        assert!(hold.fees_cents > 0 && hold.exposure.unwrap() > 0.9);
        let summary: serde_json::Value =
            serde_json::from_slice(&fs::read(line.dir.join("summary.json")).unwrap()).unwrap();
        let total = summary["hold"]["curve"]["total_return"].as_f64();
        assert_eq!(total, Some(hold.curve.total_return));
        assert_eq!(summary["cash"]["curve"]["total_return"], 0.0);
        let page = fs::read_to_string(line.dir.join("report.html")).unwrap();
        assert!(page.contains(">hold</th>") && page.contains(">cash</th>"));
    }
    // Both modes of one stock have the same alternative.
    assert_eq!(lines[0].label.symbol, lines[2].label.symbol);
    assert_eq!(lines[0].alternatives, lines[2].alternatives);
    let table = records(&dir.path().join("summary.csv"));
    assert_eq!(table.len(), 4);
}

#[test]
fn the_headline_of_the_readme_equals_the_output_of_its_command() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{data}/002032.SZ.csv --strategy {models}/cae-factors,{models}/multi-gan-direction --from 2014-07-18";
    let shown = run_command(&args(text, dir.path())).unwrap().lines;
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    for line in &shown[..4] {
        assert!(readme.contains(line.trim_end()), "{line}");
    }
}

/// Writes a table of bars of `600101.SH` and the predictions `date return`, and returns the line of the run.
fn one_stock(dir: &Path, bars: &str, predictions: &[(&str, f64)], more: &str) -> Line {
    fs::write(dir.join("600101.SH.csv"), bars).unwrap();
    let mut text = "symbol,date,predicted_return,down,flat,up\n".to_owned();
    for (date, predicted) in predictions {
        let (down, up) = if *predicted > 0.0 {
            (0.1, 0.8)
        } else {
            (0.8, 0.1)
        };
        text += &format!("600101.SH,{date},{predicted},{down},0.1,{up}\n");
    }
    fs::write(dir.join("p.csv"), text).unwrap();
    let (bars, p) = (dir.join("600101.SH.csv"), dir.join("p.csv"));
    let text = format!("{} --strategy {} {more}", bars.display(), p.display());
    run(&text, &dir.join("out")).unwrap().swap_remove(0)
}

const PLAIN: &str = "date,open,high,low,close,volume,amount\n\
    2023-02-01,10.00,10.10,9.90,10.00,100000000,1000000000\n\
    2023-02-02,10.00,10.10,9.90,10.00,100000001,1000000010\n\
    2023-02-03,10.00,10.10,9.90,10.00,100000002,1000000020\n";

#[test]
fn without_events_and_references_the_size_of_missing_dividends_is_marked_as_assumed() {
    let dir = tempfile::tempdir().unwrap();
    let line = one_stock(dir.path(), PLAIN, &[("2023-02-01", 0.02)], "");
    let [missing] = &line.missing_dividends[..] else {
        panic!("{:?}", line.missing_dividends);
    };
    // 99,800 shares at 10.00 after two closes: 998,000.00 × 2 / 244 × 2 % = 163.606….
    assert_eq!((missing.ex_right_days, missing.days_held), (None, 2));
    assert_eq!(
        (missing.lost_cents, missing.assumed_cents),
        (0, Some(16_361))
    );
    let page = fs::read_to_string(line.dir.join("report.html")).unwrap();
    let expected = "no ex-right events given: the bars of 1 stock have no reference prices, so every cash dividend inside the price \
                limits is missing; for 2 days with shares, at an assumed 2 % a year, that would be about 164 CNY";
    assert!(page.contains(expected), "{page}");
    // A table of events states that there were no events.
    let events = dir.path().join("events.csv");
    fs::write(
        &events,
        "ts_code,ex_date,cash_div,gift,incr,rights,rights_price\n",
    )
    .unwrap();
    let more = format!("--events {}", events.display());
    let line = one_stock(dir.path(), PLAIN, &[("2023-02-01", 0.02)], &more);
    assert!(line.missing_dividends.is_empty() && line.warnings.is_empty());
}

#[test]
fn names_of_an_untraded_stock_are_ignored_and_unclear_ones_of_a_traded_stock_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let names = dir.path().join("names.csv");
    let header = "ts_code,name,start_date,end_date,change_reason\n";
    let other =
        "600999.SH,乙,20010101,20101231,其他\n600999.SH,ST乙,20010101,,其他\n600999.SH,丙,x,,\n";
    let own = "600101.SH,甲,20010101,,其他\n600101.SH,ST甲,20010101,,ST\n";
    let more = format!("--names {}", names.display());
    fs::write(&names, format!("{header}{other}")).unwrap();
    let line = one_stock(dir.path(), PLAIN, &[("2023-02-01", 0.02)], &more);
    assert_eq!((line.fills, line.warnings.len()), (1, 0));
    fs::write(&names, format!("{header}{other}{own}")).unwrap();
    let line = one_stock(dir.path(), PLAIN, &[("2023-02-01", 0.02)], &more);
    assert_eq!(line.fills, 1);
    assert_eq!(
        line.warnings,
        [
            "1 entry on traded stocks cannot be used or is unclear: 600101.SH: names are unclear: two names begin on one day, ST甲 \
          from 2001-01-01 to an open end and 甲 from 2001-01-01 to an open end; counted as under special treatment"
        ]
    );
    // The narrower limit applies: an open at 10.50 is at the limit of special treatment.
    let locked = "date,open,high,low,close,volume,amount\n\
        2023-02-01,10.00,10.10,9.90,10.00,100000000,1000000000\n\
        2023-02-02,10.50,10.50,10.40,10.50,100000000,1049000000\n\
        2023-02-03,10.45,10.50,10.40,10.45,100000000,1045000000\n";
    let line = one_stock(dir.path(), locked, &[("2023-02-01", 0.02)], &more);
    assert_eq!(line.fills, 0);
}

#[test]
fn a_sale_on_the_first_day_of_the_delisting_period_fills_far_below_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let bars = "ts_code,trade_date,open,high,low,close,pre_close,vol,amount\n\
        600101.SH,20220907,2.00,2.02,1.98,2.00,2.01,600000,120000\n\
        600101.SH,20220908,2.00,2.02,1.98,2.00,2.00,600500,120100\n\
        600101.SH,20220909,2.00,2.02,1.98,1.99,2.00,600000,119900\n\
        600101.SH,20221010,0.90,1.00,0.70,0.75,1.99,900000,69000\n\
        600101.SH,20221011,0.74,0.80,0.72,0.77,0.75,800000,61000\n";
    let names = dir.path().join("names.csv");
    let text = "ts_code,name,start_date,end_date,change_reason\n\
        600101.SH,*ST例,20200506,20221009,*ST\n600101.SH,退市例,20221010,,退市整理\n";
    fs::write(&names, text).unwrap();
    let more = format!("--names {}", names.display());
    let predictions = [("2022-09-07", 0.02), ("2022-09-09", -0.02)];
    let line = one_stock(dir.path(), bars, &predictions, &more);
    let fills: Vec<String> = records(&line.dir.join("fills.csv"))
        .iter()
        .map(|row| format!("{} {} {}", &row[1], &row[3], &row[6]))
        .collect();
    assert_eq!(fills, ["2022-09-08 buy 201", "2022-10-10 sell 89"]);
}

#[test]
fn a_delisting_that_a_bar_contradicts_is_left_out_and_a_long_gap_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let stocks = dir.path().join("stocks.csv");
    let header = "ts_code,name,list_date,delist_date\n";
    fs::write(&stocks, format!("{header}600101.SH,a,20010101,20230202\n")).unwrap();
    let more = format!("--stocks {}", stocks.display());
    let bars = format!("{PLAIN}2023-08-01,10.00,10.10,9.90,10.00,100000003,1000000030\n");
    let line = one_stock(dir.path(), &bars, &[("2023-02-01", 0.02)], &more);
    assert_eq!(line.fills, 1);
    assert_eq!(
        line.warnings,
        [
            "600101.SH has a bar on 2023-08-01, and was delisted on 2023-02-02 by the list of stocks: the delisting is left out",
            "600101.SH has no bar between 2023-02-03 and 2023-08-01: whether its listing was suspended, so that 2023-08-01 has no \
             price limit, is not known; the usual limits are taken"
        ]
    );
    // Delisted after the last bar: the account lasts until then, and its holding is worth zero.
    fs::write(&stocks, format!("{header}600101.SH,a,20010101,20230210\n")).unwrap();
    let line = one_stock(dir.path(), PLAIN, &[("2023-02-01", 0.02)], &more);
    let last = records(&line.dir.join("equity.csv")).pop().unwrap();
    // 1,000,000.00 less 99,800 × 10.01 = 998,998.00 and fees of 249.75 and 9.99.
    assert_eq!((&last[0], &last[2], &last[3]), ("2023-02-10", "0", "74226"));
}
