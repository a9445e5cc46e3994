//! Markets other than A-shares, and bars shorter than a day, through complete runs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use clap::Parser;
use heqis_backtest::broker::{Ledger, Slippage, Status};
use heqis_backtest::metrics::returns_of;
use heqis_backtest::report::books;
use heqis_backtest::{
    Allocation, BrokerConfig, InstrumentInfo, MarketHistory, OrderIntent, simulate,
};
use heqis_lab::LabError;
use heqis_lab::backtest::BacktestArgs;
use heqis_lab::backtest::{Line, backtest, run as run_command};
use heqis_quant::decision::Side;
use heqis_quant::rules::{Markets, Trade};
use heqis_quant::{Bar, Date, Marks, Symbol};

const MINUTE_NS: i64 = 60_000_000_000;

/// 45,000 minutes around the clock with single minutes, hours and a whole night missing. All bars have different
/// prices, so that a shifted one would be found.
fn minutes() -> Vec<Bar> {
    let symbol = Symbol::parse("BTCUSDT").unwrap();
    let markets = Markets::shipped().unwrap();
    let rules = markets.of(symbol).unwrap().market;
    let first = Date::parse("2024-02-27").unwrap();
    let mut bars = Vec::new();
    for minute in 0_u32.. {
        let (day, of_day) = (minute / 1_440, minute % 1_440 + 1);
        let lost = minute % 97 == 5 || (day == 3 && (200..500).contains(&of_day));
        let night = (day == 9 && of_day > 1_300) || (day == 10 && of_day < 300);
        if lost || night {
            continue;
        }
        let date = Date::from_days(first.days() + day as i32).unwrap();
        let open = 40_000.0 + f64::from(minute) * 0.01;
        bars.push(Bar {
            symbol,
            // The minute that ends at midnight is the last one of its day.
            time_ns: rules.time_ns(date, of_day * 60).unwrap(),
            date,
            open,
            high: open + 0.01,
            low: open,
            close: open + 0.005,
            pre_close: None,
            volume_shares: 1_000.0,
            amount_cny: None,
            marks: Marks::NONE,
        });
        if bars.len() == 45_000 {
            break;
        }
    }
    bars
}

#[test]
fn no_minute_of_45_000_around_the_clock_is_lost_or_shifted() {
    let bars = minutes();
    let market =
        MarketHistory::of_bars(&[(bars[0].symbol, &bars, InstrumentInfo::default())]).unwrap();
    assert!(market.is_intraday());
    assert_eq!(market.steps().len(), bars.len());
    for (step, bar) in market.steps().iter().zip(&bars) {
        assert_eq!(step.time_ns, bar.time_ns);
        assert_eq!(market.days()[step.day as usize], bar.date);
    }
    // Buy and sell alternately at every third bar, across holes and midnights.
    let intents: Vec<OrderIntent> = (0..bars.len())
        .step_by(3)
        .map(|bar| OrderIntent {
            step: bar as u32,
            stock: 0,
            side: if bar % 2 == 0 { Side::Buy } else { Side::Sell },
            score: 0.0,
        })
        .collect();
    let config = BrokerConfig {
        cash_cents: 100_000_000,
        slippage: Slippage::None,
        participation_e4: 10_000,
        ..BrokerConfig::default()
    };
    let markets = Markets::shipped().unwrap();
    let half = Allocation {
        max_weight_e4: 5_000,
        ..Allocation::default()
    };
    let ledger = simulate(&market, &markets, &intents, config, &half).unwrap();
    assert_eq!(ledger.days.len(), bars.len());
    assert_eq!(ledger.fills.len(), intents.len());
    for (fill, intent) in ledger.fills.iter().zip(&intents) {
        assert_eq!(ledger.orders[fill.order].status, Status::Filled);
        assert_eq!(fill.step, intent.step + 1);
        let bar = &bars[fill.step as usize];
        assert_eq!(fill.date, bar.date);
        assert_eq!(fill.open, (bar.open * 1e8).round() as i64);
        assert_eq!(fill.trade == Trade::Buy, intent.side == Side::Buy);
    }
    for row in &ledger.positions {
        let close = bars[row.step as usize].close;
        assert_eq!(row.mark, (close * 1e8).round() as i64);
    }
    table_of_minutes(&market, &ledger, &bars);
    let mut days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
    days.dedup();
    let daily = ledger.daily();
    assert_eq!(daily.iter().map(|day| day.date).collect::<Vec<_>>(), days);
    let fees = |rows: &[heqis_backtest::broker::DayAccount]| -> i64 {
        rows.iter().map(|row| row.fees_cents).sum()
    };
    assert_eq!(fees(&daily), fees(&ledger.days));
    let ends = [daily.last(), ledger.days.last()].map(|last| last.unwrap().equity_cents());
    assert_eq!(ends[0], ends[1]);
}

/// Checks that the table of the account has each minute once, with its time.
fn table_of_minutes(market: &MarketHistory, ledger: &Ledger, bars: &[Bar]) {
    let returns = returns_of(&ledger.days, 100_000_000).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, table) in books::tables(market, ledger, &returns) {
        table.save(dir.path(), name).unwrap();
    }
    let mut reader = csv::Reader::from_path(dir.path().join("equity.csv")).unwrap();
    let headers = reader.headers().unwrap().clone();
    assert_eq!((&headers[0], &headers[1]), ("date", "time"));
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), bars.len());
    let rules = market.stocks()[0].market();
    for (row, bar) in rows.iter().zip(bars) {
        assert_eq!(row[1], rules.local_time(bar.time_ns));
    }
    // 2024-02-27 00:01 is the first, and the last of that day is 24:00.
    assert_eq!(&rows[0][1], "2024-02-27T00:01:00+00:00");
    let midnight = bars
        .iter()
        .position(|bar| bar.time_ns % (1_440 * MINUTE_NS) == 0);
    let midnight = &rows[midnight.unwrap()];
    let ends = (&midnight[0], &midnight[1]);
    assert_eq!(ends, ("2024-02-27", "2024-02-28T00:00:00+00:00"));
    let fills = fs::read_to_string(dir.path().join("fills.csv")).unwrap();
    assert!(fills.starts_with(
        "order,date,time,symbol,side,shares,open,price,amount_cents,commission_cents,stamp_duty_cents,transfer_cents,\
         down_limit,up_limit\n"
    ));
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: BacktestArgs,
}

/// Writes four days of a rising symbol, and predictions of the rise.
fn write(dir: &Path, symbol: &str, days: [&str; 4], price: f64) {
    let mut bars = String::from("symbol,date,open,high,low,close,volume\n");
    let path = dir.join("predictions.csv");
    let mut text = fs::read_to_string(&path)
        .unwrap_or_else(|_| String::from("symbol,date,predicted_return,down,flat,up\n"));
    for (i, day) in days.into_iter().enumerate() {
        let price = price * (1.0 + 0.01 * i as f64);
        bars += &format!(
            "{symbol},{day},{price},{},{},{price},1000000\n",
            price * 1.01,
            price * 0.99
        );
        text += &format!("{symbol},{day},0.05,0.1,0.1,0.8\n");
    }
    fs::write(dir.join(format!("{symbol}.csv")), bars).unwrap();
    fs::write(path, text).unwrap();
}

const WEEK: [&str; 4] = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"];

fn args(dir: &Path, tables: &[&str], more: &str) -> BacktestArgs {
    let shown = |name: &str| dir.join(name).display().to_string();
    let bars = tables.iter().map(|symbol| shown(&format!("{symbol}.csv")));
    let words = ["backtest".to_owned()].into_iter().chain(bars);
    let words = words.chain(["--strategy".into(), shown("predictions.csv")]);
    let words = words.chain(["--out".into(), shown("out")]);
    let more = more.replace("{dir}", &dir.display().to_string());
    Cli::parse_from(words.chain(more.split_whitespace().map(str::to_owned))).args
}

fn run(dir: &Path, tables: &[&str], more: &str) -> Result<Vec<Line>, LabError> {
    backtest(&args(dir, tables, more))
}

fn summary(line: &Line) -> serde_json::Value {
    let text = fs::read_to_string(line.dir.join("summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn untradable_symbols_are_left_out_by_name_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let tables = ["600000.SH", "000300.SH", "900901.SH", "CL=F"];
    for symbol in tables {
        write(dir.path(), symbol, WEEK, 10.0);
    }
    for more in ["", "--portfolio"] {
        let lines = run(dir.path(), &tables, more).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].fills, 1);
        let text = summary(&lines[0]);
        let left: Vec<&str> = text["left_out"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["symbol"].as_str().unwrap())
            .collect();
        assert_eq!(left, ["000300.SH", "900901.SH", "CL=F"]);
        assert!(
            text["left_out"][0]["reason"]
                .as_str()
                .unwrap()
                .contains("index")
        );
        let page = fs::read_to_string(lines[0].dir.join("report.html")).unwrap();
        assert!(page.contains("Not traded") && page.contains("000300.SH"));
    }
    let shown = run_command(&args(dir.path(), &tables, ""))
        .unwrap()
        .lines
        .join("\n");
    assert!(shown.contains("000300.SH is left out: an index"), "{shown}");
    assert!(
        shown.contains("CL=F is left out: no market file knows"),
        "{shown}"
    );
    let error = run(dir.path(), &["000300.SH"], "").unwrap_err().to_string();
    assert!(error.contains("000300.SH: an index is computed"), "{error}");
    // Without one the field is absent.
    let lines = run(dir.path(), &["600000.SH"], "").unwrap();
    assert_eq!(summary(&lines[0]).get("left_out"), None);
}

#[test]
fn an_account_has_one_currency() {
    let dir = tempfile::tempdir().unwrap();
    for symbol in ["600000.SH", "AAPL"] {
        write(dir.path(), symbol, WEEK, 10.0);
    }
    let tables = ["600000.SH", "AAPL"];
    let error = run(dir.path(), &tables, "--portfolio")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("600000.SH in CNY and AAPL in USD"),
        "{error}"
    );
    assert_eq!(run(dir.path(), &tables, "").unwrap().len(), 2);
}

#[test]
fn a_year_has_the_days_of_its_market_unless_the_settings_differ() {
    let dir = tempfile::tempdir().unwrap();
    let weekend = ["2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08"];
    write(dir.path(), "600000.SH", WEEK, 10.0);
    write(dir.path(), "AAPL", WEEK, 180.0);
    write(dir.path(), "BTCUSDT", weekend, 40_000.0);
    let tables = ["600000.SH", "AAPL", "BTCUSDT"];
    let years = |more: &str| -> Vec<f64> {
        let lines = run(dir.path(), &tables, more).unwrap();
        lines
            .iter()
            .map(|line| line.metrics.basis.days_per_year)
            .collect()
    };
    assert_eq!(years(""), [244.0, 252.0, 365.0]);
    fs::write(
        dir.path().join("year.toml"),
        "[basis]\ndays_per_year = 244\n",
    )
    .unwrap();
    assert_eq!(years("--settings {dir}/year.toml"), [244.0; 3]);
    let lines = run(dir.path(), &["BTCUSDT"], "").unwrap();
    // Bought on Saturday with all of a million: 24.7277 coins, which shows that fractions are traded.
    let fills = fs::read_to_string(lines[0].dir.join("fills.csv")).unwrap();
    assert!(fills.contains("2024-01-06,BTCUSDT,buy,"), "{fills}");
    let page = fs::read_to_string(lines[0].dir.join("report.html")).unwrap();
    assert!(page.contains("USD</b>fees") && page.contains("a year has 365 of them"));
}

#[test]
fn prices_and_quantities_are_written_with_the_decimals_of_the_market() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "510300.SH", WEEK, 4.0);
    write(dir.path(), "600000.SH", WEEK, 10.0);
    let fills = |symbol: &str| {
        let lines = run(dir.path(), &[symbol], "").unwrap();
        fs::read_to_string(lines[0].dir.join("fills.csv")).unwrap()
    };
    // 4.04 and a tick of 0.001.
    let fund = fills("510300.SH");
    assert!(
        fund.contains(",open,price,amount_cents,") && fund.contains(",4.040,4.041,"),
        "{fund}"
    );
    let stock = fills("600000.SH");
    assert!(
        stock.contains(",open_cents,price_cents,") && stock.contains(",1010,1011,"),
        "{stock}"
    );
}

#[test]
fn an_own_market_is_traded() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "SAP.DE", WEEK, 150.0);
    let error = run(dir.path(), &["SAP.DE"], "").unwrap_err().to_string();
    assert!(error.contains("SAP.DE: no market file knows"), "{error}");
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    let error = run(dir.path(), &["SAP.DE"], "--markets {dir}/own").unwrap_err();
    assert!(
        error.to_string().contains("must hold *.toml files"),
        "{error}"
    );
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/markets.md");
    let docs = fs::read_to_string(docs).unwrap();
    // The example of the page is valid.
    let example = docs
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    fs::write(own.join("xetra.toml"), example).unwrap();
    for path in ["own", "own/xetra.toml"] {
        let lines = run(
            dir.path(),
            &["SAP.DE"],
            &format!("--markets {{dir}}/{path}"),
        )
        .unwrap();
        assert_eq!(lines[0].metrics.basis.days_per_year, 254.0);
        let fills = fs::read_to_string(lines[0].dir.join("fills.csv")).unwrap();
        // 151.5 and a tick of 0.005; the fee is at most 60.
        assert!(
            fills.contains(",151.500,151.505,") && fills.contains(",6000,0,0,"),
            "{fills}"
        );
    }
    fs::write(own.join("bad.toml"), "name = 'x'\nlots = 1\n").unwrap();
    let error = run(dir.path(), &["SAP.DE"], "--markets {dir}/own")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("bad.toml line 2: must be a market file, got unknown field `lots`"),
        "{error}"
    );
}

/// Returns five-minute bars of forty days of a random walk, and writes them as a table.
fn five_minutes(dir: &Path) -> Vec<Bar> {
    let symbol = Symbol::parse("600000.SH").unwrap();
    let markets = Markets::shipped().unwrap();
    let rules = markets.of(symbol).unwrap().market;
    let mut table = String::from("symbol,datetime,open,high,low,close,volume\n");
    let mut bars = Vec::new();
    let (mut close, mut seed) = (1_000_i64, 7_u64);
    let first = Date::parse("2024-03-01").unwrap().days();
    let days = (first..first + 56).map(|day| Date::from_days(day).unwrap());
    for date in days.filter(|date| !date.is_weekend()) {
        for bar in 1..=48_u32 {
            // From 09:35 to 11:30 and from 13:05 to 15:00.
            let minute = 570 + 5 * bar + if bar > 24 { 90 } else { 0 };
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let open = close;
            close = (close + (seed >> 33) as i64 % 7 - 3).max(500);
            let [open, high, low, close] = [open, open.max(close) + 1, open.min(close) - 1, close]
                .map(|cents| cents as f64 / 100.0);
            let volume = 1e6 + (seed >> 40) as f64 % 1e5;
            table += &format!(
                "{symbol},{date} {:02}:{:02}:00,{open},{high},{low},{close},{volume}\n",
                minute / 60,
                minute % 60
            );
            bars.push(Bar {
                symbol,
                time_ns: rules.time_ns(date, minute * 60).unwrap(),
                date,
                open,
                high,
                low,
                close,
                pre_close: None,
                volume_shares: volume,
                amount_cny: None,
                marks: Marks::NONE,
            });
        }
    }
    fs::write(dir.join("600000.SH.csv"), table).unwrap();
    bars
}

#[derive(Parser)]
struct SelectCli {
    #[command(flatten)]
    args: heqis_lab::select::SelectArgs,
}

#[derive(Parser)]
struct AuditCli {
    #[command(flatten)]
    args: heqis_lab::audit::AuditArgs,
}

#[test]
fn minutes_are_selected_and_audited() {
    use heqis_backtest::settings::Settings;
    use heqis_lab::select::{baselines, evaluator::Evaluator};
    use heqis_quant::decision::SignalMode;
    let dir = tempfile::tempdir().unwrap();
    let bars = five_minutes(dir.path());
    // A span from the middle of a day to the middle of another: bought at the open of its second bar, held to the end.
    let evaluator = Evaluator {
        settings: Settings::default(),
        events: Vec::new(),
    };
    let span = 500..900;
    let hold = baselines::hold(&bars);
    let run = evaluator
        .run(&bars, span.clone(), &hold, SignalMode::Return)
        .unwrap();
    let expected = bars[span.end - 1].close / bars[span.start + 1].open;
    let got = 1.0 + run.metrics.curve.total_return;
    // Lots, a tick, fees.
    assert!((got / expected - 1.0).abs() < 0.005, "{got} {expected}");
    let mut days: Vec<Date> = bars[span].iter().map(|bar| bar.date).collect();
    days.dedup();
    assert_eq!(run.returns.len(), days.len());

    let path = dir.path().join("600000.SH.csv").display().to_string();
    let out = dir.path().join("select").display().to_string();
    let words = [
        "select",
        &path,
        "--validate-from",
        "2024-03-20",
        "--test-from",
        "2024-04-12",
        "--folds",
        "2",
        "--out",
        &out,
    ];
    let lines = heqis_lab::select::run(&SelectCli::parse_from(words).args)
        .unwrap()
        .lines;
    assert!(lines[0].starts_with("600000.SH: "), "{lines:?}");
    let chosen = fs::read_to_string(dir.path().join("select/selection.json")).unwrap();
    assert!(
        chosen.contains("2024-04-12") && !chosen.contains("left_out"),
        "{chosen}"
    );

    let words = [
        "audit",
        &path,
        "--test-from",
        "2024-04-12",
        "--cuts",
        "4",
        "--rounds",
        "1",
        "--json",
    ];
    let answer = heqis_lab::audit::run(&AuditCli::parse_from(words).args).unwrap();
    let text: serde_json::Value = serde_json::from_str(&answer.lines[0]).unwrap();
    for finding in text["findings"].as_array().unwrap() {
        assert_eq!(finding["good"], true, "{finding}");
    }
    // An index is neither selected nor audited.
    write(dir.path(), "000300.SH", WEEK, 3_000.0);
    let index = dir.path().join("000300.SH.csv").display().to_string();
    let words = ["audit", &index, "--test-from", "2024-01-04"];
    let error = heqis_lab::audit::run(&AuditCli::parse_from(words).args).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("000300.SH cannot be traded: an index"),
        "{error}"
    );
    let words = [
        "select",
        &path,
        &index,
        "--validate-from",
        "2024-03-20",
        "--test-from",
        "2024-04-12",
        "--folds",
        "2",
        "--out",
        &out,
    ];
    let lines = heqis_lab::select::run(&SelectCli::parse_from(words).args)
        .unwrap()
        .lines;
    assert!(
        lines[1].starts_with("000300.SH is left out: an index"),
        "{lines:?}"
    );
}
