//! The ranges of the filters' parameters.

use super::*;

#[test]
fn a_parameter_out_of_its_range_is_refused_by_name() {
    let off = Filters::default();
    let limits = |min, max| RsiFilter {
        bars: 6,
        profile: crate::indicators::Profile::Cn,
        min,
        max,
    };
    for (filters, reason) in [
        (
            Filters {
                stop_loss: Some(1.0),
                ..off
            },
            "stop_loss: must lie between 0 and 1",
        ),
        (
            Filters {
                stop_loss: Some(f64::NAN),
                ..off
            },
            "stop_loss",
        ),
        (
            Filters {
                loss_cool_down_days: Some(0),
                ..off
            },
            "loss_cool_down_days: must be in 1..=2500, got 0",
        ),
        (
            Filters {
                max_daily_gain: Some(f64::INFINITY),
                ..off
            },
            "max_daily_gain",
        ),
        (
            Filters {
                limit_lock_break: Some(LimitLockBreak {
                    volume_ratio: 0.0,
                    ban_days: 1,
                }),
                ..off
            },
            "limit_lock_break.volume_ratio",
        ),
        (
            Filters {
                limit_lock_break: Some(LimitLockBreak {
                    volume_ratio: 2.0,
                    ban_days: 9_999,
                }),
                ..off
            },
            "limit_lock_break.ban_days",
        ),
        (
            Filters {
                trend: Some(TrendParams {
                    short_bars: 20,
                    long_bars: 20,
                }),
                ..off
            },
            "trend.short_bars: must be less than long_bars = 20",
        ),
        (
            Filters {
                trend: Some(TrendParams {
                    short_bars: 0,
                    long_bars: 20,
                }),
                ..off
            },
            "ma n: must be in 1..=",
        ),
        (
            Filters {
                gap_fall_back: Some(GapFallBack {
                    gap: 0.0,
                    fall: 0.1,
                }),
                ..off
            },
            "gap_fall_back.gap",
        ),
        (
            Filters {
                gap_fall_back: Some(GapFallBack {
                    gap: 0.1,
                    fall: 1.0,
                }),
                ..off
            },
            "gap_fall_back.fall",
        ),
        (
            Filters {
                rsi: Some(limits(80.0, 20.0)),
                ..off
            },
            "rsi.min",
        ),
        (
            Filters {
                rsi: Some(limits(0.0, 101.0)),
                ..off
            },
            "rsi.min",
        ),
        (
            Filters {
                adx: Some(AdxFilter {
                    bars: 14,
                    smooth_bars: 6,
                    profile: crate::indicators::Profile::Cn,
                    min: f64::NAN,
                }),
                ..off
            },
            "adx.min",
        ),
        (
            Filters {
                min_predicted_return: Some(f64::NAN),
                ..off
            },
            "min_predicted_return",
        ),
    ] {
        let message = strategy(filters).validate().unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    assert!(serde_json::from_str::<Filters>("{\"stop_los\":0.1}").is_err());
}

#[test]
fn renamed_keys_are_read_by_both_names_and_written_by_the_former() {
    let texts = ["one_word_no_buy", "limit_locked_no_buy"].map(|key| format!("{{\"{key}\":true}}"));
    for text in &texts {
        let filters: Filters = serde_json::from_str(text).unwrap();
        assert!(filters.limit_locked_no_buy, "{text}");
        let written = serde_json::to_value(filters).unwrap();
        for (former, current) in Filters::RENAMED {
            assert!(written.get(former).is_some() && written.get(current).is_none());
        }
    }
}

#[test]
fn filter_indicators_are_identified_by_their_lengths() {
    let filters: Filters = serde_json::from_str(
        "{\"trend\":{\"short_bars\":5,\"long_bars\":20},\"rsi\":{\"bars\":6},\
         \"adx\":{\"bars\":14,\"smooth_bars\":6,\"profile\":\"talib\",\"min\":20.0}}",
    )
    .unwrap();
    let indicators = filters.indicators();
    assert_eq!(
        indicators.names(),
        ["ma_5", "ma_20", "rsi_6_cn", "adx_14_6_talib"]
    );
    assert_ne!(indicators.id(), FilterIndicators::default().id());
    assert!(strategy(filters).needs_market() && !strategy(Filters::default()).needs_market());
}
