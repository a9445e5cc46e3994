//! The API.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use heqis_data::BarReader;
use heqis_quant::{CleanConfig, Cleaner, Date, FeatureSet, FeatureState, Side, Symbol};
use serde_json::Value;

use crate::client::get;
use crate::fixture::{decision, serve, serve_table, settings};

fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn column(response: &Value, name: &str) -> Vec<Option<f64>> {
    response["lines"][name]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::as_f64)
        .collect()
}

/// The bars of the golden table as a file, and its columns by name.
fn golden(dir: &Path) -> (PathBuf, BTreeMap<String, Vec<Option<f64>>>) {
    let mut reader =
        csv::Reader::from_path(shared("data/golden/indicators_002032_talib_and_cn.csv")).unwrap();
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let mut columns: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    let path = dir.join("002032.SZ.csv");
    let mut table = std::fs::File::create(&path).unwrap();
    writeln!(table, "date,open,high,low,close,volume").unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        writeln!(
            table,
            "{}",
            record.iter().take(6).collect::<Vec<_>>().join(",")
        )
        .unwrap();
        for (name, cell) in names.iter().zip(&record) {
            columns
                .entry(name.clone())
                .or_default()
                .push(cell.parse().ok());
        }
    }
    (path, columns)
}

#[test]
fn the_charts_indicators_agree_with_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let (path, golden) = golden(dir.path());
    let served = serve_table(&path);
    let mut lines: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    let mut dates: Vec<String> = Vec::new();
    let mut before = String::new();
    let pairs = [
        ("dif", "cn_dif"),
        ("dea", "cn_dea"),
        ("macd", "cn_macd"),
        ("k", "cn_k50"),
        ("d", "cn_d50"),
        ("j", "cn_j50"),
        ("rsi6", "cn_rsi6"),
        ("rsi12", "cn_rsi12"),
        ("rsi24", "cn_rsi24"),
        ("boll_middle", "cn_boll"),
        ("boll_upper", "cn_ub"),
        ("boll_lower", "cn_lb"),
    ];
    // From the newest page to the oldest, as the chart loads them.
    loop {
        let path = format!("/api/bars?symbol=002032.SZ&limit=777{before}");
        let response = get(served.address, &path, &[]).json();
        let page: Vec<String> = response["date"]
            .as_array()
            .unwrap()
            .iter()
            .map(|date| date.as_str().unwrap().to_owned())
            .collect();
        dates.splice(0..0, page);
        for (line, _) in pairs {
            lines
                .entry(line)
                .or_default()
                .splice(0..0, column(&response, line));
        }
        before = format!("&before_ms={}", response["time_ms"][0]);
        if response["more"] == false {
            break;
        }
    }
    // The cleaner drops bars without a trade and bars that break a rule; ex-right days rescale the indicators, which the
    // other program did not do. So the comparison ends at the first of either.
    let alike = golden["date"]
        .iter()
        .zip(&dates)
        .take_while(|(golden, date)| {
            golden.map(|day| day.to_string()) == Some(date.replace('-', ""))
        })
        .count();
    let marked = get(served.address, "/api/bars?symbol=002032.SZ&limit=5000", &[]).json();
    let marks = marked["marks"].as_array().unwrap();
    let level = marks.iter().position(|mark| {
        mark.as_str().unwrap().contains("ex_right") || mark.as_str().unwrap().contains("level")
    });
    let compared = alike.min(level.unwrap_or(usize::MAX));
    assert!(
        compared > 150,
        "{compared} bars, alike {alike}, level {level:?}"
    );
    for (line, column) in pairs {
        for bar in 0..compared {
            let (own, other) = (lines[line][bar], golden[column][bar]);
            match (own, other) {
                (Some(own), Some(other)) => assert!(
                    (own - other).abs() <= 1e-6 * other.abs().max(1.0),
                    "{line} of bar {bar}: {own} and {other}"
                ),
                (None, None) => {}
                // An indicator may start later here, never with another value.
                (None, Some(_)) => assert!(bar < 30, "{line} of bar {bar}"),
                (Some(own), None) => panic!("{line} of bar {bar}: {own} and nothing"),
            }
        }
    }
}

#[test]
fn pages_of_bars_join_without_gap_or_overlap() {
    let served = serve_table(&shared("data/ashare/600000.SH.csv"));
    let whole = get(served.address, "/api/bars?symbol=600000.SH&limit=5000", &[]).json();
    let listed = get(served.address, "/api/symbols", &[]).json();
    assert_eq!(listed[0]["symbol"], "600000.SH");
    assert_eq!(
        listed[0]["bars"].as_u64().unwrap() as usize,
        whole["time_ms"].as_array().unwrap().len()
    );
    let mut joined: Vec<Value> = Vec::new();
    let mut before = String::new();
    loop {
        let page = get(
            served.address,
            &format!("/api/bars?symbol=600000.SH&limit=1000{before}"),
            &[],
        )
        .json();
        joined.splice(0..0, page["close"].as_array().unwrap().clone());
        before = format!("&before_ms={}", page["time_ms"][0]);
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(&joined, whole["close"].as_array().unwrap());
    let times: Vec<i64> = whole["time_ms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|time| time.as_i64().unwrap())
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b));
    // Towards later days, and around a moment.
    let page = |query: String| {
        let response = get(
            served.address,
            &format!("/api/bars?symbol=600000.SH&limit=1000&{query}"),
            &[],
        )
        .json();
        let at = response["time_ms"].as_array().unwrap().clone();
        let at: Vec<i64> = at.iter().map(|time| time.as_i64().unwrap()).collect();
        (at, response["more"] == true, response["newer"] == true)
    };
    let mut onwards = Vec::new();
    let mut last = 0;
    loop {
        let (at, more, newer) = page(format!("after_ms={last}"));
        assert_eq!(more, !onwards.is_empty());
        last = *at.last().unwrap();
        onwards.extend(at);
        if !newer {
            break;
        }
    }
    assert_eq!(onwards, times);
    let middle = times.len() / 2;
    // One hour earlier it is still the first bar at or after the moment.
    for moment in [times[middle], times[middle] - 3_600_000] {
        let (at, more, newer) = page(format!("around_ms={moment}"));
        assert_eq!(at, times[middle - 500..middle + 500]);
        assert!(more && newer);
    }
    let (at, more, newer) = page(format!("around_ms={}", times[times.len() - 1] + 1));
    assert_eq!(
        (at, more, newer),
        (times[times.len() - 500..].to_vec(), true, false)
    );
    assert_eq!(
        page(format!("after_ms={}", times[times.len() - 1])),
        (vec![], true, false)
    );
    let nothing = get(
        served.address,
        "/api/bars?symbol=600000.SH&before_ms=0",
        &[],
    )
    .json();
    assert_eq!(
        (
            nothing["time_ms"].as_array().unwrap().len(),
            &nothing["more"]
        ),
        (0, &Value::Bool(false))
    );
    assert_eq!(
        get(served.address, "/api/bars?symbol=000001.SZ", &[]).status,
        404
    );
}

#[test]
fn a_decision_has_its_bar_its_features_and_its_timings() {
    let path = shared("data/ashare/600000.SH.csv");
    let served = serve_table(&path);
    let day = "2012-08-06";
    served
        .decisions
        .push(decision(7, "600000.SH", day, Side::Buy));
    let shown = get(served.address, "/api/decisions/1", &[]).json();
    assert_eq!(shown["decision"]["side"], "buy");
    assert_eq!(shown["decision"]["reason"], "entered");
    assert_eq!(
        shown["decision"]["probabilities"][2],
        Value::Null,
        "not a finite number"
    );
    assert_eq!(shown["timings"][0]["stage"], "cleaner");
    assert_eq!(
        (
            shown["timings"][0]["enter_us"].as_f64(),
            shown["decision"]["age_us"].as_f64()
        ),
        (Some(1.5), Some(4.0))
    );

    // The same features as the boards compute on this file.
    let set = FeatureSet::standard();
    let mut state = FeatureState::new(&set).unwrap();
    let mut cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let symbol = Symbol::parse("600000.SH").ok();
    let file = std::fs::File::open(&path).unwrap();
    let bar = BarReader::new(file, symbol, "600000.SH.csv")
        .unwrap()
        .filter_map(|bar| cleaner.check(bar.unwrap()).ok())
        .find_map(|bar| {
            let row = state.update(&bar).unwrap();
            (bar.date.to_string() == day).then_some((bar, row))
        });
    let (bar, row) = bar.unwrap();
    assert_eq!(shown["bar"]["close"].as_f64(), Some(bar.close));
    assert_eq!(shown["bar"]["volume"].as_f64(), Some(bar.volume_shares));
    let fed: Vec<(&str, f64)> = shown["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["name"].as_str().unwrap(), f["value"].as_f64().unwrap()))
        .collect();
    let expected: Vec<(&str, f64)> = set
        .names()
        .iter()
        .map(String::as_str)
        .zip(row.unwrap())
        .collect();
    assert_eq!(fed, expected);
    assert_eq!(get(served.address, "/api/decisions/2", &[]).status, 404);
    assert_eq!(get(served.address, "/api/decisions/0", &[]).status, 404);
}

#[test]
fn decisions_are_filtered_by_instrument_side_and_day() {
    let served = serve(settings());
    for (position, (symbol, day, side)) in [
        ("600000.SH", "2024-01-02", Side::Buy),
        ("002032.SZ", "2024-01-02", Side::Hold),
        ("600000.SH", "2024-01-03", Side::Sell),
        ("002032.SZ", "2024-01-03", Side::Buy),
    ]
    .into_iter()
    .enumerate()
    {
        served
            .decisions
            .push(decision(position as u64, symbol, day, side));
    }
    let found = |query: &str| -> Vec<u64> {
        let response = get(served.address, &format!("/api/decisions?{query}"), &[]).json();
        assert_eq!(response["last"], 4);
        response["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["n"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(found(""), [4, 3, 2, 1]);
    assert_eq!(found("symbol=600000.SH"), [3, 1]);
    assert_eq!(found("side=trade"), [4, 3, 1]);
    assert_eq!(
        found("side=buy&from=2024-01-03&to=2024-01-03"),
        [4],
        "buys of one day"
    );
    assert_eq!(found("limit=2"), [4, 3]);
    assert_eq!(found("limit=2&before=3"), [2, 1]);
}

#[test]
fn the_openapi_document_describes_the_responses() {
    let served = serve_table(&shared("data/ashare/600000.SH.csv"));
    served
        .decisions
        .push(decision(7, "600000.SH", "2012-08-06", Side::Buy));
    let document = get(served.address, "/api/openapi.json", &[]).json();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let pointer = reference
            .split('"')
            .next()
            .unwrap()
            .strip_prefix('#')
            .unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let mut described_paths = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(read) = methods.get("get") else {
            continue;
        };
        let path = path.replace("{n}", "1");
        let path = match path.as_str() {
            "/api/bars" => format!("{path}?symbol=600000.SH&limit=1"),
            _ => path,
        };
        let schema = &read["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let response = get(served.address, &path, &[]);
        // Data that this page does not have is covered by the lab's tests.
        if matches!(response.status, 400 | 404) {
            continue;
        }
        described_paths += 1;
        let response = response.json();
        let Some(pointer) = schema["$ref"].as_str() else {
            assert!(response.is_array(), "{path}");
            continue;
        };
        let described = document.pointer(&pointer[1..]).unwrap()["properties"]
            .as_object()
            .unwrap();
        let names: Vec<&String> = response.as_object().unwrap().keys().collect();
        let known: Vec<&String> = described.keys().collect();
        assert_eq!(names, known, "{path}");
    }
    assert_eq!(
        described_paths, 10,
        "about, symbols, bars, strategies, decisions, one of them, quality, topology, live, events"
    );
}

#[test]
fn absent_data_is_announced_and_answers_404() {
    let served = serve(settings());
    let about = get(served.address, "/api/about", &[]).json();
    let has = |name: &str| about["can"][name].as_bool().unwrap();
    assert!(has("topology") && has("quality"));
    for (name, path) in [
        ("runs", "/api/runs"),
        ("runs", "/api/equity?run=x"),
        ("drift", "/api/drift"),
        ("jobs", "/api/jobs"),
        ("jobs", "/api/job-kinds"),
        ("watch", "/api/watch"),
    ] {
        assert!(!has(name), "{name}");
        let response = get(served.address, path, &[]);
        assert_eq!(response.status, 404, "{path}: {}", response.text());
        assert!(response.text().contains("this page has no"), "{path}");
    }
    let strategies = get(served.address, "/api/strategies", &[]).json();
    assert_eq!(
        (&strategies[0]["id"], &strategies[0]["kind"]),
        (&"own".into(), &"live".into())
    );
    assert_eq!(
        get(served.address, "/api/decisions?strategy=own", &[]).status,
        200
    );
    assert_eq!(
        get(served.address, "/api/decisions?strategy=other", &[]).status,
        404
    );
}

#[test]
fn predictions_are_compared_with_the_next_bar() {
    let served = serve_table(&shared("data/ashare/600000.SH.csv"));
    let bars = get(served.address, "/api/bars?symbol=600000.SH&limit=300", &[]).json();
    let number = |column: &str, at: usize| bars[column][at].as_f64().unwrap();
    let mut squares = 0.0;
    let mut hits = 0;
    for at in 0..299 {
        let day = bars["date"][at].as_str().unwrap();
        let mut made = decision(at as u64, "600000.SH", day, Side::Hold);
        made.predicted_return = if at % 2 == 0 { 0.01 } else { -0.01 };
        made.probabilities = [0.2, 0.2, 0.6];
        served.decisions.push(made);
        let followed = number("close", at + 1) / number("reference", at + 1) - 1.0;
        let predicted = if at % 2 == 0 { 0.01 } else { -0.01 };
        squares += (predicted - followed).powi(2);
        hits += usize::from(predicted * followed > 0.0);
    }
    // The last bar has no successor, and the other instrument has no bars.
    served.decisions.push(decision(
        900,
        "600000.SH",
        bars["date"][299].as_str().unwrap(),
        Side::Hold,
    ));
    served
        .decisions
        .push(decision(901, "000001.SZ", "2012-01-04", Side::Hold));
    let quality = get(served.address, "/api/quality?period=year", &[]).json();
    assert_eq!(
        (&quality["pairs"], &quality["strategy"]),
        (&299.into(), &"own".into())
    );
    let mse = quality["fit"]["mse"].as_f64().unwrap();
    assert!((mse - squares / 299.0).abs() < 1e-12, "{mse}");
    let periods = quality["periods"].as_array().unwrap();
    let sum = |name: &str| -> f64 {
        periods
            .iter()
            .map(|period| period[name].as_f64().unwrap())
            .sum()
    };
    assert_eq!(sum("pairs"), 299.0);
    let rate: f64 = periods
        .iter()
        .map(|period| period["hit_rate"].as_f64().unwrap() * period["moves"].as_f64().unwrap())
        .sum();
    assert!((rate - hits as f64).abs() < 1e-9, "{rate} and {hits}");
    let up = quality["calibration"]
        .as_array()
        .unwrap()
        .iter()
        .find(|bin| bin["class"] == "up")
        .unwrap();
    assert_eq!(
        (up["pairs"].as_u64(), up["low"].as_f64()),
        (Some(299), Some(0.6))
    );
}

#[test]
fn csv_holds_the_same_values_as_json() {
    let served = serve_table(&shared("data/ashare/600000.SH.csv"));
    served
        .decisions
        .push(decision(1, "600000.SH", "2012-08-06", Side::Buy));
    let read = |path: &str| {
        let response = get(served.address, path, &[]);
        assert_eq!(response.header("content-type"), "text/csv; charset=utf-8");
        assert!(
            response
                .header("content-disposition")
                .starts_with("attachment"),
            "{path}"
        );
        let mut reader = csv::Reader::from_reader(response.body.as_slice());
        let columns = reader.headers().unwrap().clone();
        let rows: Vec<BTreeMap<String, String>> = reader
            .records()
            .map(|row| {
                columns
                    .iter()
                    .map(str::to_owned)
                    .zip(row.unwrap().iter().map(str::to_owned))
                    .collect()
            })
            .collect();
        rows
    };
    let bars = read("/api/bars?symbol=600000.SH&limit=40&format=csv");
    let json = get(served.address, "/api/bars?symbol=600000.SH&limit=40", &[]).json();
    assert_eq!(bars.len(), 40);
    for (at, row) in bars.iter().enumerate() {
        assert_eq!(row["close"].parse::<f64>().ok(), json["close"][at].as_f64());
        assert_eq!(
            row["boll_upper"].parse::<f64>().ok(),
            json["lines"]["boll_upper"][at].as_f64()
        );
    }
    let decisions = read("/api/decisions?format=csv");
    assert_eq!(
        (
            decisions[0]["side"].as_str(),
            decisions[0]["wanted"].as_str()
        ),
        ("buy", "buy")
    );
    assert_eq!(
        (decisions[0]["down"].as_str(), decisions[0]["up"].as_str()),
        ("0.1", "")
    );
}

#[test]
fn a_rejected_decision_states_the_side_before_filters() {
    let served = serve(settings());
    served
        .decisions
        .push(decision(1, "600000.SH", "2024-01-02", Side::Buy));
    let mut rejected = decision(2, "600000.SH", "2024-01-03", Side::Hold);
    rejected.reason = heqis_quant::decision::DecisionReason::LimitDown;
    rejected.position = heqis_quant::decision::Position::Flat;
    served.decisions.push(rejected);
    let rows = |query: &str| {
        get(served.address, &format!("/api/decisions?{query}"), &[]).json()["rows"].clone()
    };
    let only = rows("refused=true");
    assert_eq!(only.as_array().unwrap().len(), 1);
    assert_eq!(
        (&only[0]["side"], &only[0]["wanted"]),
        (&"hold".into(), &"buy".into())
    );
    assert_eq!(rows("refused=false")[0]["n"], 1);
}

#[test]
fn csv_without_a_limit_holds_every_row() {
    let served = serve_table(&shared("data/ashare/600000.SH.csv"));
    let day = Date::parse("2004-01-01").unwrap();
    for position in 0..12_345 {
        let date = Date::from_days(day.days() + (position / 100) as i32).unwrap();
        let date = date.to_string();
        let side = if position % 3 == 0 {
            Side::Buy
        } else {
            Side::Hold
        };
        served
            .decisions
            .push(decision(position, "600000.SH", &date, side));
    }
    let numbers = |path: &str| -> Vec<u64> {
        let response = get(served.address, path, &[]);
        assert_eq!(response.header("content-type"), "text/csv; charset=utf-8");
        let mut reader = csv::Reader::from_reader(response.body.as_slice());
        let rows = reader.records().map(|row| row.unwrap()[0].parse().unwrap());
        rows.collect()
    };
    let all = numbers("/api/decisions?format=csv");
    assert!(
        all.iter().copied().eq((1..=12_345).rev()),
        "{} rows",
        all.len()
    );
    assert_eq!(numbers("/api/decisions?format=csv&side=buy").len(), 4_115);
    assert_eq!(numbers("/api/decisions?format=csv&limit=7").len(), 7);
    assert_eq!(
        numbers("/api/decisions?format=csv&from=2099-01-01").len(),
        0
    );
    let bars = get(served.address, "/api/bars?symbol=600000.SH&format=csv", &[]);
    let lines = bars.text().lines().count();
    let table = std::fs::read_to_string(shared("data/ashare/600000.SH.csv")).unwrap();
    assert!(lines > 2_000 && lines <= table.lines().count(), "{lines}");
}
