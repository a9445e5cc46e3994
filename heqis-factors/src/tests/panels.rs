//! Comparisons across the day.

use super::{Bar, rows, set, walk};
use crate::{Columns, FactorSeries, FactorSet, Level, Panel};

/// Rows of a panel, `[day][instrument * factors]`; `trades` says who trades on a day.
fn panel(
    set: &FactorSet,
    all: &[Vec<Bar>],
    trades: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<f64>> {
    let mut panel = Panel::new(set, all.len());
    (0..all[0].len())
        .map(|day| {
            let bars: Vec<Option<&[f64]>> = (0..all.len())
                .map(|i| trades(day, i).then(|| &all[i][day][..]))
                .collect();
            let mut out = vec![0.0; all.len() * set.len()];
            panel.step(&bars, &mut out).unwrap();
            out
        })
        .collect()
}

fn market() -> Vec<Vec<Bar>> {
    (0..6).map(|i| walk(100 + i, 60)).collect()
}

#[test]
fn without_comparisons_a_panel_is_one_series_each() {
    let all = market();
    let set = set("a = slope(close, 9) / close\nb = rsi(close, 6)");
    let days = panel(&set, &all, |_, _| true);
    for (i, bars) in all.iter().enumerate() {
        for (day, row) in rows(&set, bars).iter().enumerate() {
            let ours: Vec<u64> = days[day][2 * i..2 * i + 2]
                .iter()
                .map(|x| x.to_bits())
                .collect();
            assert_eq!(&ours, row);
        }
    }
}

#[test]
fn ranks_and_scores_are_those_of_the_day() {
    let all = market();
    let set = set("x = close / open\nr = rank(x)\ns = z(x)\nd = demean(x)\nu = scale(d)");
    for (day, row) in panel(&set, &all, |day, i| (day + i) % 4 != 0)
        .iter()
        .enumerate()
    {
        let rows: Vec<&[f64]> = row.chunks(5).collect();
        let here: Vec<&[f64]> = rows
            .iter()
            .copied()
            .filter(|row| !row[0].is_nan())
            .collect();
        assert_eq!(here.len(), (0..6).filter(|i| (day + i) % 4 != 0).count());
        let n = here.len() as f64;
        let mean = here.iter().map(|row| row[0]).sum::<f64>() / n;
        let squares: f64 = here.iter().map(|row| (row[0] - mean).powi(2)).sum();
        for row in &here {
            let below = here.iter().filter(|other| other[0] < row[0]).count() as f64;
            let equal = here.iter().filter(|other| other[0] == row[0]).count() as f64;
            assert_eq!(row[1], (below + (equal + 1.0) / 2.0) / n);
            assert!((row[2] - (row[0] - mean) / (squares / (n - 1.0)).sqrt()).abs() < 1e-9);
            assert!((row[3] - (row[0] - mean)).abs() < 1e-12);
        }
        assert!((here.iter().map(|row| row[4].abs()).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn neutral_takes_the_mean_of_the_group_out() {
    let columns = Columns::bars().with("sector", Level::Fixed).unwrap();
    let set = FactorSet::parse("n = neutral(close, $sector)", &columns).unwrap();
    let mut panel = Panel::new(&set, 5);
    let bar = |close: f64, sector: f64| [close, close, close, close, 1.0, 1.0, 1.0, sector];
    let bars = [
        bar(1.0, 2.0),
        bar(5.0, 1.0),
        bar(3.0, 2.0),
        bar(7.0, f64::NAN),
        bar(8.0, 1.0),
    ];
    let day: Vec<Option<&[f64]>> = bars.iter().map(|bar| Some(&bar[..])).collect();
    let mut out = [0.0; 5];
    panel.step(&day, &mut out).unwrap();
    assert!(out[3].is_nan());
    assert_eq!([out[0], out[1], out[2], out[4]], [-1.0, -1.5, 1.0, 1.5]);
}

/// Functions of the past of a comparison read what it was on its days.
#[test]
fn comparisons_have_a_past() {
    let all = market();
    let set = set("r = rank(close)\nm = mean(rank(close), 3)\nrr = rank(delta(rank(close), 2))");
    let days = panel(&set, &all, |_, _| true);
    for day in 2..60 {
        for i in 0..6 {
            let past: f64 = (0..3).map(|ago| days[day - ago][3 * i]).sum();
            assert!((days[day][3 * i + 1] - past / 3.0).abs() < 1e-12);
        }
    }
    assert!(days[1][2].is_nan() && days[2][2].is_finite());
    // A later price level changes no rank of the past.
    let mut moved = Panel::new(&set, 6);
    for (day, row) in days.iter().enumerate() {
        let bars: Vec<Option<&[f64]>> = all.iter().map(|bars| Some(&bars[day][..])).collect();
        let mut out = vec![0.0; 18];
        (0..6)
            .filter(|i| day % 9 == *i)
            .for_each(|i| moved.rescale(i, 0.5));
        moved.step(&bars, &mut out).unwrap();
        let bits = |row: &[f64]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(row), "day {day}");
    }
}

#[test]
fn one_instrument_alone_has_no_comparison() {
    let set = set("r = rank(close)");
    let error = FactorSeries::new(&set).unwrap_err().to_string();
    assert!(
        error.contains("must not compare the instruments of a day"),
        "{error}"
    );
    assert!(set.compares());
}
