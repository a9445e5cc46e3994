//! The audit finds each planted leak by the check for it, and passes a strategy without leaks.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use heqis_backtest::BrokerConfig;
use heqis_lab::audit::linear::{Linear, trade};
use heqis_lab::audit::subject::{Decision, Fitted, Subject, Trades};
use heqis_lab::audit::{Audit, Options, audit};
use heqis_lab::error::LabError;
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{Bar, Date, Scaler, Side, Span};

fn bars() -> Vec<Bar> {
    let import = heqis_data::import_args::ImportArgs::default();
    import.one_series(&path()).unwrap().1
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare/002032.SZ.csv")
}

fn test_from() -> Date {
    Date::parse("2013-01-04").unwrap()
}

fn examine(subject: &dyn Subject) -> Audit {
    let options = Options {
        cuts: 16,
        rounds: 2,
        ..Options::default()
    };
    audit(subject, &bars(), test_from(), &options).unwrap()
}

/// Names of the failed checks.
fn found(audit: &Audit) -> Vec<&'static str> {
    let bad = audit.findings.iter().filter(|finding| !finding.good);
    bad.map(|finding| finding.check).collect()
}

/// Returns the return of the last bar.
fn last_return(bars: &[Bar], place: usize) -> f64 {
    match place {
        0 => 0.0,
        _ => bars[place].close / bars[place - 1].close - 1.0,
    }
}

/// A strategy that follows the scaled last return, with one planted leak.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leak {
    /// No leak.
    None,
    /// The scaler is fitted on all bars.
    ScalerOnAll,
    /// A feature is the label.
    LabelInFeatures,
    /// Orders are filled at the close on which they were made.
    SameCloseFill,
    /// A feature is a mean of closes centred on the bar.
    CentredMean,
    /// The sign of the strategy is chosen on the test span.
    ChosenOnTest,
    /// No leak, but an indicator that always depends on the start of the history: a mean of all closes.
    NeverForgets,
}

struct Planted(Leak);

struct Ready {
    leak: Leak,
    scaler: Scaler,
    sign: f64,
}

impl Subject for Planted {
    fn fit(&self, bars: &[Bar], test_from: Date) -> Result<Box<dyn Fitted>, LabError> {
        let before = bars.partition_point(|bar| bar.date < test_from);
        let fitted_on = match self.0 {
            Leak::ScalerOnAll => bars,
            _ => &bars[..before],
        };
        let returns: Vec<f64> = (0..fitted_on.len())
            .map(|place| last_return(fitted_on, place))
            .collect();
        let span = Span::new(fitted_on[0].date, fitted_on[fitted_on.len() - 1].date)?;
        let options = FitOptions {
            kind: ScalerKind::MinMax,
            out_of_range: OutOfRange::Clip,
            window_size: 1,
            span,
        };
        let rows: Vec<[f64; 1]> = returns.iter().map(|value| [*value]).collect();
        let names = ["return_1".to_owned()];
        let scaler = Scaler::fit(
            options,
            &names,
            rows.iter().map(|row| &row[..]),
            returns.iter().copied(),
        )?;
        let judged = match self.0 {
            Leak::ChosenOnTest => before..bars.len(),
            _ => 0..before,
        };
        // The gain from following every move.
        let followed: f64 = judged
            .skip(1)
            .map(|place| last_return(bars, place - 1) * last_return(bars, place))
            .sum();
        Ok(Box::new(Ready {
            leak: self.0,
            scaler,
            sign: if followed > 0.0 { 1.0 } else { -1.0 },
        }))
    }
}

impl Fitted for Ready {
    fn fingerprint(&self) -> String {
        format!("{} {}", self.scaler.to_json(), self.sign)
    }

    fn scaler_span(&self) -> Option<Span> {
        Some(self.scaler.span())
    }

    fn decide(&self, bars: &[Bar]) -> Result<Vec<Decision>, LabError> {
        let mut decisions = Vec::new();
        let mut is_in = false;
        for place in 1..bars.len() {
            let mut scaled = [0.0];
            self.scaler
                .transform_into(&[last_return(bars, place)], &mut scaled)?;
            let zero = {
                let mut zero = [0.0];
                self.scaler.transform_into(&[0.0], &mut zero)?;
                zero[0]
            };
            let mut predicted_return = 0.01 * self.sign * f64::from(scaled[0] - zero);
            match self.leak {
                Leak::LabelInFeatures if place + 1 < bars.len() => {
                    predicted_return += last_return(bars, place + 1);
                }
                Leak::CentredMean => {
                    let around = &bars[place.saturating_sub(3)..(place + 4).min(bars.len())];
                    let mean =
                        around.iter().map(|bar| bar.close).sum::<f64>() / around.len() as f64;
                    predicted_return = mean / bars[place].close - 1.0;
                }
                Leak::NeverForgets => {
                    let all = &bars[..=place];
                    let mean = all.iter().map(|bar| bar.close).sum::<f64>() / all.len() as f64;
                    predicted_return = mean / bars[place].close - 1.0;
                }
                _ => {}
            }
            let side = match (is_in, predicted_return > 0.0) {
                (false, true) => Side::Buy,
                (true, false) => Side::Sell,
                _ => Side::Hold,
            };
            is_in = if side == Side::Hold {
                is_in
            } else {
                side == Side::Buy
            };
            decisions.push(Decision {
                date: bars[place].date,
                time_ns: bars[place].time_ns,
                predicted_return,
                side,
            });
        }
        Ok(decisions)
    }

    fn trade(&self, bars: &[Bar], decisions: &[Decision]) -> Result<Trades, LabError> {
        let mut trades = trade(bars, decisions, BrokerConfig::default(), &[], None)?;
        if self.leak == Leak::SameCloseFill {
            for fill in &mut trades.fills {
                let bar = bars.iter().find(|bar| bar.date == fill.decided).unwrap();
                fill.date = fill.decided;
                fill.market = (bar.close * 100.0).round() as i64;
                fill.price = fill.market;
            }
        }
        Ok(trades)
    }
}

#[test]
fn a_strategy_without_leaks_passes() {
    for subject in [&Linear::default() as &dyn Subject, &Planted(Leak::None)] {
        let audit = examine(subject);
        assert!(audit.is_good(), "{:#?}", audit.findings);
        assert_eq!(audit.findings.len(), 7);
    }
}

#[test]
fn a_scaler_fitted_on_the_test_span_is_found() {
    assert_eq!(
        found(&examine(&Planted(Leak::ScalerOnAll))),
        ["fit_sees_no_test", "scaler_span"]
    );
}

#[test]
fn a_label_among_the_features_is_found() {
    assert_eq!(
        found(&examine(&Planted(Leak::LabelInFeatures))),
        ["future_cut_off", "shuffled"]
    );
}

#[test]
fn a_fill_at_the_close_of_the_decision_is_found() {
    assert_eq!(found(&examine(&Planted(Leak::SameCloseFill))), ["fills"]);
}

#[test]
fn a_centred_mean_is_found() {
    assert_eq!(
        found(&examine(&Planted(Leak::CentredMean))),
        ["future_cut_off", "shuffled"]
    );
}

#[test]
fn a_choice_made_on_the_test_span_is_found() {
    assert_eq!(
        found(&examine(&Planted(Leak::ChosenOnTest))),
        ["fit_sees_no_test"]
    );
}

#[test]
fn an_indicator_that_depends_on_the_start_is_found() {
    assert_eq!(
        found(&examine(&Planted(Leak::NeverForgets))),
        ["start_drift"]
    );
}

#[test]
fn each_kind_of_impossible_fill_is_found() {
    use heqis_lab::audit::checks::{costs, fills};
    let bars = bars();
    let ready = Planted(Leak::None).fit(&bars, test_from()).unwrap();
    let honest = ready.trade(&bars, &ready.decide(&bars).unwrap()).unwrap();
    assert!(honest.fills.len() > 10);
    assert!(fills(&bars, &honest).good);
    type Change = fn(&mut Trades);
    let changes: [(&str, Change); 7] = [
        ("decided at the close", |trades| {
            trades.fills[5].decided_ns = trades.fills[5].time_ns
        }),
        ("a day without trades", |trades| {
            trades.fills[5].time_ns = Date::parse("2014-01-04").unwrap().close_time_ns()
        }),
        ("is not in", |trades| trades.fills[5].market *= 2),
        ("is better than the market's", |trades| {
            let fill = &mut trades.fills[5];
            fill.price = fill.market + if fill.is_buy { -1 } else { 1 };
        }),
        ("is outside the limits", |trades| {
            let fill = &mut trades.fills[5];
            fill.limits = Some((fill.price + 1, fill.price + 100));
        }),
        ("is outside the limits", |trades| {
            let fill = &mut trades.fills[5];
            fill.limits = Some((1, fill.price - 1));
        }),
        ("where the broker promises", |trades| {
            let fill = &mut trades.fills[5];
            fill.price += if fill.is_buy { 1 } else { -1 };
        }),
    ];
    for (words, change) in changes {
        let mut trades = honest.clone();
        change(&mut trades);
        let finding = fills(&bars, &trades);
        assert!(
            !finding.good && finding.detail.contains(words),
            "{words}: {finding:?}"
        );
    }
    assert!(costs(&honest).good);
    let free = Trades {
        fees_cents: 0,
        ..honest
    };
    assert!(!costs(&free).good, "trading that costs nothing");
}

#[test]
fn the_command_reports_every_check_and_its_exit_code_the_result() {
    let run = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
            .arg("audit")
            .arg(path())
            .args(["--test-from", "2013-01-04", "--cuts", "4", "--rounds", "1"])
            .args(words)
            .output()
            .unwrap()
    };
    let good = run(&[]);
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success(), "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("pass  "))
            .count(),
        7,
        "{text}"
    );
    // With zero standard errors even a chance correlation fails.
    let bad = run(&["--max-errors", "0", "--json"]);
    assert_eq!(bad.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    let failed: Vec<&str> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["good"] == false)
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["shuffled"]);
}

/// A row of a table, with the last day that its model was fitted on.
#[derive(Clone, Copy)]
struct Row {
    predicted_return: f64,
    up: f64,
    fitted_to: Option<Date>,
}

/// Audits the table of a linear model without leaks after a change of its rows. `change` receives bars, index and row, and
/// omits a row by `None`. Returns the failed checks and those that were not possible.
fn table_audit(change: impl Fn(&[Bar], usize, Row) -> Option<Row>) -> [Vec<String>; 2] {
    let bars = bars();
    let linear = Linear::default().fit(&bars, test_from()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("p.csv");
    let mut text = String::from("symbol,date,predicted_return,p_down,p_flat,p_up,fitted_to\n");
    for decision in linear.decide(&bars).unwrap() {
        let place = bars.partition_point(|bar| bar.date < decision.date);
        let row = Row {
            predicted_return: decision.predicted_return,
            up: 0.4 + decision.predicted_return.clamp(-0.1, 0.1),
            fitted_to: Date::parse("2012-12-31").ok(),
        };
        if let Some(row) = change(&bars, place, row) {
            let fitted_to = row.fitted_to.map(|day| day.to_string());
            text += &format!(
                "002032.SZ,{},{},{},0.2,{},{}\n",
                decision.date,
                row.predicted_return,
                0.8 - row.up,
                row.up,
                fitted_to.unwrap_or_default()
            );
        }
    }
    std::fs::write(&table, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .arg("audit")
        .arg(path())
        .arg("--predictions")
        .arg(&table)
        .args(["--test-from", "2013-01-04", "--json"])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let of = |key: &str| {
        let findings = answer["findings"].as_array().unwrap().iter();
        let found = findings.filter(|finding| finding[key] == false);
        found
            .map(|finding| finding["check"].as_str().unwrap().to_owned())
            .collect()
    };
    let found: Vec<String> = of("good");
    assert_eq!(output.status.success(), found.is_empty());
    [found, of("checked")]
}

#[test]
fn a_table_without_leaks_passes_and_impossible_checks_are_listed() {
    let [found, unchecked] = table_audit(|_, _, row| Some(row));
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(
        unchecked,
        ["fit_sees_no_test", "future_cut_off", "start_drift"]
    );
    let silent = table_audit(|_, _, row| {
        Some(Row {
            fitted_to: None,
            ..row
        })
    });
    assert_eq!(silent[0], Vec::<String>::new());
    assert_eq!(
        silent[1],
        [
            "fit_sees_no_test",
            "future_cut_off",
            "start_drift",
            "fitted_to"
        ]
    );
}

/// Returns a value between -0.02 and 0.02, the same for an index in every run.
fn noise(place: usize) -> f64 {
    let mixed = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1 << 24) as f64
        * 0.04
        - 0.02
}

#[test]
fn every_planted_leak_in_a_table_is_found() {
    let next = |bars: &[Bar], place: usize| match place + 1 < bars.len() {
        true => last_return(bars, place + 1),
        false => 0.0,
    };
    let predicting = |row: Row, predicted_return| {
        Some(Row {
            predicted_return,
            ..row
        })
    };
    type Change<'c> = &'c dyn Fn(&[Bar], usize, Row) -> Option<Row>;
    let leaks: [(&str, Change<'_>, &[&str]); 9] = [
        (
            "the label",
            &|bars, place, row| predicting(row, next(bars, place)),
            &["look_ahead", "copied_returns"],
        ),
        (
            "the label in per cent, with a little noise",
            &|bars, place, row| predicting(row, 100.0 * (next(bars, place) + noise(place))),
            &["look_ahead"],
        ),
        (
            "a model of the last return, in rows that are one too early",
            &|bars, place, row| predicting(row, noise(place) - 0.5 * next(bars, place)),
            &["look_ahead"],
        ),
        (
            "a mean of closes centred on the bar",
            &|bars, place, row| {
                let around = &bars[place.saturating_sub(3)..(place + 4).min(bars.len())];
                let mean = around.iter().map(|bar| bar.close).sum::<f64>() / around.len() as f64;
                predicting(row, mean / bars[place].close - 1.0)
            },
            &["look_ahead"],
        ),
        (
            "the label on every third day, and one outlier",
            &|bars, place, row| {
                let predicted_return = if place % 3 == 0 {
                    next(bars, place)
                } else {
                    row.predicted_return
                };
                predicting(
                    row,
                    if place + 50 == bars.len() {
                        1e6
                    } else {
                        predicted_return
                    },
                )
            },
            &["look_ahead"],
        ),
        (
            "the label in the classes alone",
            &|bars, place, row| {
                Some(Row {
                    up: 0.4 + (4.0 * next(bars, place)).clamp(-0.4, 0.4),
                    ..row
                })
            },
            &["look_ahead", "copied_returns"],
        ),
        (
            "labels in rows that are one too late",
            &|bars, place, row| predicting(row, last_return(bars, place)),
            &["copied_returns"],
        ),
        (
            "a fit on later days",
            &|_, _, row| {
                Some(Row {
                    fitted_to: Date::parse("2015-06-30").ok(),
                    ..row
                })
            },
            &["fitted_to"],
        ),
        (
            "days before a loss left out",
            &|bars, place, row| (next(bars, place) > -0.03).then_some(row),
            &["coverage"],
        ),
    ];
    for (leak, change, expected) in leaks {
        let [found, _] = table_audit(change);
        assert_eq!(found, expected, "{leak}");
    }
}

fn models() -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let [factors, direction] =
        ["baseline-factors", "baseline-direction"].map(|name| models.join(name));
    format!("{},{}", factors.display(), direction.display())
}

#[test]
fn the_shipped_bundles_pass_after_their_training_span_and_fail_within_it() {
    let run = |test_from: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
            .arg("audit")
            .arg(path())
            .args(["--strategy", &models(), "--test-from", test_from])
            .args(["--cuts", "4", "--rounds", "2", "--json"])
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let bad: Vec<String> = answer["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["good"] == false)
            .map(|finding| finding["check"].as_str().unwrap().to_owned())
            .collect();
        bad
    };
    assert_eq!(run("2014-07-18"), Vec::<String>::new());
    assert_eq!(run("2012-01-04"), ["scaler_span"]);
}
