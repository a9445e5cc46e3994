//! Independent definitions of the layouts, encoded by bincode.

use bincode::Encode;

#[derive(Encode)]
pub(crate) struct BarLayout {
    pub(crate) symbol: u128,
    pub(crate) time_ns: i64,
    pub(crate) days: i32,
    pub(crate) prices: (f64, f64, f64, f64),
    pub(crate) pre_close: Option<f64>,
    pub(crate) volume_shares: f64,
    pub(crate) amount_cny: Option<f64>,
    pub(crate) marks: u16,
}

#[derive(Clone, Copy, Encode)]
pub(crate) struct RefLayout {
    pub(crate) symbol: u128,
    pub(crate) days: i32,
    pub(crate) time_ns: i64,
    pub(crate) close: f64,
}

#[derive(Encode)]
pub(crate) struct RowLayout {
    pub(crate) bar: RefLayout,
    pub(crate) set_id: u32,
    pub(crate) values: Vec<f64>,
}

#[derive(Encode)]
pub(crate) struct FeaturesLayout {
    pub(crate) bar: RefLayout,
    pub(crate) set_id: u32,
}

#[derive(Encode)]
pub(crate) struct PredictionLayout {
    pub(crate) bar: RefLayout,
    pub(crate) predicted_return: f64,
    pub(crate) probabilities: (f64, f64, f64),
}

#[derive(Encode)]
pub(crate) struct SnapshotLayout {
    pub(crate) open: f64,
    pub(crate) reference_close: Option<f64>,
    pub(crate) limits: Option<(i64, i64)>,
    pub(crate) level_ratio: f64,
    pub(crate) after_limit_lock: bool,
    pub(crate) volume_ratio: Option<f64>,
    pub(crate) filter_indicators_id: u32,
    pub(crate) indicators: (Option<f64>, Option<f64>, Option<f64>, Option<f64>),
}

#[derive(Encode)]
pub(crate) struct RiskLayout {
    pub(crate) entry_price: Option<f64>,
    pub(crate) cool_down_days: u32,
    pub(crate) ban_days: u32,
}

#[derive(Encode)]
pub(crate) struct RankedLayout {
    pub(crate) section: u64,
    pub(crate) rank: Option<u32>,
    pub(crate) of: u32,
    pub(crate) missing: u32,
    pub(crate) numbers: (f64, f64, f64, f64),
    pub(crate) order: Option<(u64, f64, f64)>,
    pub(crate) unfilled: Option<(u64, f64, f64)>,
    pub(crate) moments: Option<(u32, f64, f64, f64)>,
    pub(crate) names: Vec<u128>,
}

#[derive(Encode)]
pub(crate) struct CrossSectionLayout {
    pub(crate) number: u64,
    pub(crate) time_ns: i64,
    pub(crate) rows: Vec<RowOfSection>,
    pub(crate) missing: Vec<u128>,
    pub(crate) is_late: bool,
}

#[derive(Encode)]
pub(crate) struct RowOfSection {
    pub(crate) bar: RefLayout,
    pub(crate) snapshot: SnapshotLayout,
    pub(crate) predicted_return: f64,
    pub(crate) probabilities: (f64, f64, f64),
    pub(crate) score: f64,
}

#[derive(Encode)]
pub(crate) struct DecisionLayout {
    pub(crate) bar: RefLayout,
    pub(crate) side: u8,
    pub(crate) confidence: f64,
    pub(crate) reason: u8,
    pub(crate) is_long: bool,
    pub(crate) predicted_return: f64,
    pub(crate) probabilities: (f64, f64, f64),
    pub(crate) number: u64,
}
