//! Short series with indicators worked out by hand, in sheets that follow the textbooks, and single values of lines that
//! the golden table does not have.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::supor;
use heqis_quant::indicators::{
    Adx, Atr, Boll, Cci, CloseVolume, Di, Ema, Hlc, Ma, Macd, Obv, Profile, Returns, SmaCn, Stoch,
    TrueRange, Volatility, VolumeRatio, batch,
};

fn assert_near(ours: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let ours: Vec<f64> = ours.into_iter().collect();
    assert_eq!(ours.len(), expected.len(), "{ours:?} for {expected:?}");
    for (a, b) in ours.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{ours:?} for {expected:?}");
    }
}

fn bar([high, low, close]: [f64; 3]) -> Hlc {
    Hlc { high, low, close }
}

#[test]
fn macd_of_chinese_terminals_starts_at_the_first_close() {
    let closes = [30.2, 30.28, 30.45, 29.35, 29.35, 29.29, 28.83, 28.73];
    let lines = batch(&mut Macd::new(12, 26, 9, Profile::Cn).unwrap(), closes);
    assert_near(
        lines.into_iter().map(|line| line.unwrap().dif),
        &[
            0.0,
            0.006381766382,
            0.02487025268,
            -0.04867717547,
            -0.1057450787,
            -0.1540376516,
            -0.2268134548,
            -0.2892239735,
        ],
        1e-9,
    );
    let slow = batch(&mut Ema::new(26, Profile::Cn).unwrap(), closes);
    assert_near(slow.last().copied().flatten(), &[29.85943183], 1e-8);
}

#[test]
fn the_chinese_mean_started_at_zero_gives_wilders_average_gain_and_loss() {
    let closes = [44.3389f64, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264];
    let mut gains = SmaCn::new(14, 1).unwrap().starting_at(0.0).unwrap();
    let mut losses = gains.clone();
    let changes = || closes.windows(2).map(|pair| pair[1] - pair[0]);
    let gains = batch(&mut gains, changes().map(|change| change.max(0.0)));
    let losses = batch(&mut losses, changes().map(|change| (-change).max(0.0)));
    assert_near(
        gains.into_iter().flatten(),
        &[0.0, 0.00425, 0.003946, 0.054765, 0.086467],
        1e-6,
    );
    assert_near(
        losses.into_iter().flatten(),
        &[0.017764, 0.016495, 0.053696, 0.04986, 0.046299],
        1e-6,
    );
}

#[test]
fn the_first_average_true_range_is_the_mean_of_the_first_fourteen() {
    let bars = [
        [48.7, 47.79, 48.16],
        [48.72, 48.14, 48.61],
        [48.9, 48.39, 48.75],
        [48.87, 48.37, 48.63],
        [48.82, 48.24, 48.74],
        [49.05, 48.635, 49.03],
        [49.2, 48.94, 49.07],
        [49.35, 48.86, 49.32],
        [49.92, 49.5, 49.91],
        [50.19, 49.87, 50.13],
        [50.12, 49.2, 49.53],
        [49.66, 48.9, 49.5],
        [49.88, 49.43, 49.75],
        [50.19, 49.725, 50.03],
    ];
    let ranges = batch(&mut TrueRange::new(Profile::Cn), bars.map(bar));
    assert_near(
        ranges.into_iter().flatten(),
        &[
            0.91, 0.58, 0.51, 0.5, 0.58, 0.415, 0.26, 0.49, 0.6, 0.32, 0.93, 0.76, 0.45, 0.465,
        ],
        1e-9,
    );
    let mean = batch(&mut Atr::new(14, Profile::Cn).unwrap(), bars.map(bar));
    assert_near(mean.into_iter().flatten(), &[0.555], 1e-9);
}

#[test]
fn bollinger_bands_have_the_deviation_of_the_whole_window() {
    let closes = [
        86.1557, 89.0867, 88.7829, 90.3228, 89.0671, 91.1453, 89.4397, 89.175, 86.9302, 87.6752,
        86.9596, 89.4299, 89.3221, 88.7241, 87.4497, 87.2634, 89.4985, 87.9006, 89.126, 90.7043,
        92.9001,
    ];
    let bands = batch(&mut Boll::new(20, 2.0, 0).unwrap(), closes);
    for (band, expected) in bands.into_iter().flatten().zip([
        [91.291862, 88.70794, 86.124018],
        [91.949268, 89.04516, 86.141052],
    ]) {
        assert_near([band.upper, band.middle, band.lower], &expected, 1.5e-6);
    }
}

#[test]
fn the_commodity_channel_index_is_that_of_the_textbook() {
    let bars = [
        [24.2013, 23.8534, 23.8932],
        [24.0721, 23.7242, 23.9528],
        [24.0423, 23.6447, 23.6745],
        [23.8733, 23.3664, 23.7839],
        [23.6745, 23.4559, 23.4956],
        [23.5851, 23.1776, 23.3217],
        [23.8037, 23.3962, 23.754],
        [23.8036, 23.5652, 23.7938],
        [24.3007, 24.0522, 24.1417],
        [24.1516, 23.7739, 23.8137],
        [24.0522, 23.595, 23.7839],
        [24.0622, 23.8435, 23.8634],
        [23.8833, 23.6447, 23.7044],
        [25.1356, 23.9429, 24.9567],
        [25.1952, 24.738, 24.8771],
        [25.066, 24.7678, 24.9616],
        [25.2151, 24.897, 25.1753],
        [25.3741, 24.9268, 25.066],
        [25.3642, 24.9567, 25.2747],
        [25.2648, 24.9268, 24.9964],
        [24.8175, 24.2112, 24.4597],
    ];
    let index = batch(&mut Cci::new(20).unwrap(), bars.map(bar));
    // The sheet has four decimals of the prices.
    assert_near(index.into_iter().flatten(), &[102.315, 30.736], 5e-3);
}

#[test]
fn the_stochastic_oscillator_is_the_place_in_the_range_and_its_mean() {
    // The sheet has no closes before the window is full; they do not count.
    let bars = [
        [127.009, 125.3574, 126.0],
        [127.6159, 126.1633, 127.0],
        [126.5911, 124.9296, 125.0],
        [127.3472, 126.0937, 127.0],
        [128.173, 126.8199, 127.0],
        [128.4317, 126.4817, 127.0],
        [127.3671, 126.034, 127.0],
        [126.422, 124.8301, 125.0],
        [126.8995, 126.3921, 126.5],
        [126.8498, 125.7156, 126.0],
        [125.646, 124.5615, 125.0],
        [125.7156, 124.5715, 125.0],
        [127.1582, 125.0689, 126.0],
        [127.7154, 126.8597, 127.2876],
        [127.6855, 126.6309, 127.1781],
        [128.2228, 126.8001, 128.0138],
        [128.2725, 126.7105, 127.1085],
        [128.0934, 126.8001, 127.7253],
        [128.2725, 126.1335, 127.0587],
    ];
    let lines = batch(&mut Stoch::new(14, 1, 3).unwrap(), bars.map(bar));
    let lines: Vec<_> = lines.into_iter().flatten().collect();
    assert_near(
        lines.iter().map(|line| line.k),
        &[89.202108, 65.810552, 81.747713, 64.523797],
        1e-6,
    );
    // The sheet gives a mean from the second of these bars on.
    assert_near(
        lines[1..].iter().map(|line| line.d),
        &[74.20719, 78.920124, 70.694021],
        1e-6,
    );
}

#[test]
fn on_balance_volume_starts_at_nothing_or_at_the_first_volume() {
    let bars = [
        (53.26, 8000.0),
        (53.3, 8200.0),
        (53.32, 8100.0),
        (53.72, 8300.0),
        (54.19, 8900.0),
        (53.92, 9200.0),
        (54.65, 13300.0),
        (54.6, 10300.0),
        (54.21, 9900.0),
    ]
    .map(|(close, volume_shares)| CloseVolume {
        close,
        volume_shares,
    });
    let sheet = [
        0.0, 8200.0, 16300.0, 24600.0, 33500.0, 24300.0, 37600.0, 27300.0, 17400.0,
    ];
    for (profile, start) in [(Profile::Cn, 0.0), (Profile::Talib, 8000.0)] {
        let lines = batch(&mut Obv::new(profile), bars);
        assert_eq!(lines, sheet.map(|volume| Some(volume + start)));
    }
}

#[test]
fn directional_movement_agrees_with_values_computed_elsewhere() {
    let bars: Vec<Hlc> = supor().iter().map(|day| day.hlc()).collect();
    // From TA-Lib 0.8.2.
    let talib = batch(&mut Di::new(14, Profile::Talib).unwrap(), bars.clone());
    for (day, plus_di, minus_di) in [
        (14, 7.4204947, 32.33215548),
        (15, 7.99440128, 31.36803457),
        (100, 17.01990167, 23.49238717),
        (2812, 25.74741908, 16.19523786),
    ] {
        let line = talib[day].unwrap();
        assert_near([line.plus_di, line.minus_di], &[plus_di, minus_di], 1e-8);
    }
    // From the formula of Chinese terminals, DMI(14, 6), in whole columns.
    let cn = batch(&mut Adx::new(14, 6, Profile::Cn).unwrap(), bars);
    assert_eq!(cn.iter().position(Option::is_some), Some(19));
    for (day, plus_di, minus_di, adx) in [
        (
            19,
            11.19221411192212,
            23.357664233576667,
            44.476094756876364,
        ),
        (
            100,
            19.461077844311347,
            20.658682634730535,
            43.26641284297748,
        ),
        (
            2812,
            23.431635388740002,
            19.89276139410188,
            11.961417162119348,
        ),
    ] {
        let line = cn[day].unwrap();
        let ours = [line.plus_di, line.minus_di, line.adx];
        assert_near(ours, &[plus_di, minus_di, adx], 1e-9);
    }
}

#[test]
fn means_returns_and_volumes_agree_with_values_computed_elsewhere() {
    let days = supor();
    let closes = || days.iter().map(|day| day.close);
    let volumes = || days.iter().map(|day| day.volume_shares);
    let last = |values: Vec<Option<f64>>| values.last().copied().flatten();
    let mean = last(batch(&mut Ma::new(20).unwrap(), closes()));
    assert_near(mean, &[39.612], 1e-9);
    let change = last(batch(&mut Returns::new(5).unwrap(), closes()));
    assert_near(change, &[0.04011313962458221], 1e-12);
    let deviation = last(batch(&mut Volatility::new(20).unwrap(), closes()));
    assert_near(deviation, &[0.01594582969909974], 1e-12);
    let ratios = batch(&mut VolumeRatio::new(5).unwrap(), volumes());
    assert_eq!(ratios[4], None);
    let ratios = [5, 6, 2812].map(|day| ratios[day].unwrap());
    let expected = [0.4741255439691272, 0.3484241582009914, 1.1854057466316965];
    assert_near(ratios, &expected, 1e-12);
}
