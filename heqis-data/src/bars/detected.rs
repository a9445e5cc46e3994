//! Detected properties of a table.

use std::fmt;

use heqis_quant::encoding::Encoding;
use serde::Serialize;

use super::header::Layout;
use super::units::VolumeUnit;

/// The detected properties of a table, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// The family of the table.
    pub layout: Layout,
    /// The encoding of the header.
    pub encoding: Encoding,
    /// The unit of the volume.
    pub volume_unit: VolumeUnit,
    /// The unit of the amount in CNY, or `None` without an amount.
    pub amount_unit_cny: Option<u32>,
    /// The examined rows whose amount confirms the units; 0 if the header alone decides.
    pub confirming_rows: usize,
    /// The examined rows that fit no units.
    pub unexplained_rows: usize,
    /// Whether rows are bars of a part of a day.
    pub has_time: bool,
    /// Whether prices are adjusted, according to a flag, a title or the amounts.
    pub adjusted: bool,
    /// Warnings for the user: columns that could affect a rule and are not read, and unconfirmed units.
    pub warnings: Vec<String>,
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} layout in {}, {} bars, volume in {} ",
            self.layout.name(),
            self.encoding.name(),
            if self.has_time { "minute" } else { "daily" },
            self.volume_unit.name(),
        )?;
        match self.confirming_rows {
            0 => f.write_str("by the header")?,
            rows => write!(f, "by the amounts of {rows} rows")?,
        }
        match self.amount_unit_cny {
            None => f.write_str(", no amount")?,
            Some(1) => f.write_str(", amount in CNY")?,
            Some(unit) => write!(f, ", amount in {unit} CNY")?,
        }
        if self.adjusted {
            f.write_str(", adjusted prices")?;
        }
        Ok(())
    }
}
