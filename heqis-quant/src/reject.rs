//! Reasons for which the cleaner rejects a bar.

use std::fmt;

/// The reason for which a bar is rejected. A rejected bar does not become the last bar of its series; see
/// [`Reject::OutsideLimits`] for its effect on the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reject {
    /// A number is NaN or infinite.
    NotANumber {
        /// The field.
        field: &'static str,
    },
    /// A price is zero or negative.
    NonPositivePrice {
        /// The field.
        field: &'static str,
        /// The price.
        value: f64,
    },
    /// A price is above 100 million.
    ImplausiblePrice {
        /// The field.
        field: &'static str,
        /// The price.
        value: f64,
    },
    /// The highest price is below the lowest.
    HighBelowLow {
        /// The highest price.
        high: f64,
        /// The lowest price.
        low: f64,
    },
    /// The open or the close is not between low and high.
    OpenOrCloseOutsideRange {
        /// `open` or `close`.
        field: &'static str,
        /// The price.
        value: f64,
    },
    /// The volume or the amount is negative.
    NegativeVolume {
        /// `volume_shares` or `amount_cny`.
        field: &'static str,
        /// The number.
        value: f64,
    },
    /// The volume is above 10¹⁵ shares.
    ImplausibleVolume {
        /// The volume in shares.
        value: f64,
    },
    /// Amount over volume is above twice the highest or below half the lowest price of the bar.
    ImplausibleAmount {
        /// The amount.
        amount_cny: f64,
        /// The volume.
        volume_shares: f64,
    },
    /// The stock did not trade: some vendors fill the days of a suspension with such rows.
    NoTrade,
    /// The series already has this bar.
    Duplicate,
    /// The series already has a bar of this time with other values.
    Contradiction,
    /// The series already has a later bar.
    OutOfOrder,
    /// The exchange was closed: a weekend for a stock, or a day without trading in the calendar.
    ClosedMarket,
    /// The bar ended outside the trading hours of its exchange: its time is most likely that of another zone.
    OutsideSession {
        /// The end of the bar in UTC nanoseconds.
        time_ns: i64,
    },
    /// The bar equals the bar of an earlier day: some vendors fill holidays and suspensions with copies. Bars with one price
    /// are passed, since two single trades can be equal.
    Repeated,
    /// The bar leaves the price limits of its day, and no single ex-right reference price explains it.
    ///
    /// If the next day confirms the level of the rejected bar, it passes with [`crate::Marks::LEVEL_RESET`], so that a true
    /// but unexplained jump does not end the series.
    OutsideLimits {
        /// The lowest price of the bar.
        low: f64,
        /// The highest price of the bar.
        high: f64,
        /// The reference price that the limits were computed from.
        reference: f64,
        /// The limit in percent.
        percent: i64,
    },
}

impl Reject {
    /// All reasons, in the order of the checks, for counters.
    pub const REASONS: [&'static str; 16] = [
        "not_a_number",
        "non_positive_price",
        "implausible_price",
        "high_below_low",
        "open_or_close_outside_range",
        "negative_volume",
        "implausible_volume",
        "implausible_amount",
        "no_trade",
        "duplicate",
        "contradiction",
        "out_of_order",
        "closed_market",
        "outside_session",
        "repeated",
        "outside_limits",
    ];

    /// Returns the name of the reason, one of [`Reject::REASONS`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.index()]
    }

    /// Returns the index of the reason in [`Reject::REASONS`].
    #[must_use]
    pub fn index(&self) -> usize {
        match self {
            Self::NotANumber { .. } => 0,
            Self::NonPositivePrice { .. } => 1,
            Self::ImplausiblePrice { .. } => 2,
            Self::HighBelowLow { .. } => 3,
            Self::OpenOrCloseOutsideRange { .. } => 4,
            Self::NegativeVolume { .. } => 5,
            Self::ImplausibleVolume { .. } => 6,
            Self::ImplausibleAmount { .. } => 7,
            Self::NoTrade => 8,
            Self::Duplicate => 9,
            Self::Contradiction => 10,
            Self::OutOfOrder => 11,
            Self::ClosedMarket => 12,
            Self::OutsideSession { .. } => 13,
            Self::Repeated => 14,
            Self::OutsideLimits { .. } => 15,
        }
    }

    /// Returns whether the series lacks a traded bar. Days without a trade, copies, duplicates and late bars are no loss.
    #[must_use]
    pub fn loses_a_bar(&self) -> bool {
        !matches!(
            self,
            Self::NoTrade
                | Self::Duplicate
                | Self::Contradiction
                | Self::OutOfOrder
                | Self::ClosedMarket
                | Self::Repeated
        )
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Self::NotANumber { field } => write!(f, ": {field}"),
            Self::NonPositivePrice { field, value }
            | Self::ImplausiblePrice { field, value }
            | Self::OpenOrCloseOutsideRange { field, value }
            | Self::NegativeVolume { field, value } => write!(f, ": {field} {value}"),
            Self::ImplausibleVolume { value } => write!(f, ": {value} shares"),
            Self::ImplausibleAmount {
                amount_cny,
                volume_shares,
            } => write!(f, ": {amount_cny} CNY for {volume_shares} shares"),
            Self::HighBelowLow { high, low } => write!(f, ": high {high}, low {low}"),
            Self::NoTrade
            | Self::Duplicate
            | Self::Contradiction
            | Self::OutOfOrder
            | Self::ClosedMarket
            | Self::Repeated => Ok(()),
            Self::OutsideLimits {
                low,
                high,
                reference,
                percent,
            } => write!(
                f,
                ": {low} to {high} against {percent} percent of {reference}"
            ),
            Self::OutsideSession { time_ns } => {
                let seconds = (time_ns.div_euclid(1_000_000_000) + 8 * 3600).rem_euclid(86_400);
                let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
                write!(f, ": {hour:02}:{minute:02} at UTC+08:00; see --timezone")
            }
        }
    }
}
