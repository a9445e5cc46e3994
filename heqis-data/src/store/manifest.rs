//! The manifest of a version: its settings, inputs and contents.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::target::Target;
use heqis_quant::{CleanConfig, Date, Span, Symbol};
use serde::{Deserialize, Serialize};

use crate::bars::TableOptions;
use crate::error::DataError;

/// The schema version that this build writes and reads.
pub const SCHEMA_VERSION: u32 = 1;
/// The file that names the current version.
pub const FILE: &str = "manifest.json";

/// The description of one version. It contains neither time nor host, so equal inputs give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Equal to [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The directory of the version, `v-` and a digest of settings and inputs.
    pub version: String,
    /// The settings that rows depend on.
    pub settings: Settings,
    /// The span that the scaler was fitted on.
    pub scaler_span: Span,
    /// The days of the first and the last bar.
    pub span: Span,
    /// Row counts.
    pub rows: RowCounts,
    /// Number of rejected rows, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Number of stored bars with each mark of the cleaner.
    pub marks: BTreeMap<String, u64>,
    /// Number of bars with a return that have no label by the other instruments of their day, by reason; left out when empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unlabelled: BTreeMap<String, u64>,
    /// Number of findings in the reference data, by evidence.
    #[serde(default)]
    pub findings: BTreeMap<String, u64>,
    /// Warnings for users of the data set; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The files of `bars`, in the order of years.
    pub files: Vec<FileEntry>,
    /// The files with the rows, in the order of their names.
    pub inputs: Vec<Input>,
    /// The reference tables.
    #[serde(default)]
    pub tables: Vec<TableEntry>,
    /// The series, in the order of symbols.
    pub symbols: Vec<SymbolEntry>,
}

/// The settings that rows depend on; when one of them changes, all series are computed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The version of this program.
    pub code_version: String,
    /// The features, in the order of a row.
    pub features: Vec<String>,
    /// The identifier of the feature list: [`heqis_quant::FeatureSet::id`].
    pub feature_set_id: u32,
    /// Number of rows in the window of a model, kept with the scaler.
    pub window_bars: usize,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// What the labels are; left out for the return from close to the next close.
    #[serde(default, skip_serializing_if = "Target::is_default")]
    pub target: Target,
    /// Whether features and labels use known ex-rights, and the level of the prices to show.
    pub adjustment: Adjust,
    /// How the scaler scales.
    #[serde(default = "min_max")]
    pub scaler: ScalerKind,
    /// The treatment of live values outside the range of the training span.
    #[serde(default = "clip")]
    pub out_of_range: OutOfRange,
    /// Where the training span ends.
    pub train_to: TrainTo,
    /// Options of the table reader, which override detected properties.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reading: TableOptions,
    /// Settings of the cleaner, from the configuration and the tables.
    pub clean: CleanConfig,
}

impl Settings {
    /// Returns the settings that all series depend on, without those of the cleaner for single stocks, which are part of
    /// the digest of each series.
    #[must_use]
    pub fn common(&self) -> Self {
        let mut common = self.clone();
        common.clean.list_dates.clear();
        common.clean.st_periods.clear();
        common.clean.free_days.clear();
        common
    }
}

fn is_default(reading: &TableOptions) -> bool {
    *reading == TableOptions::default()
}

fn min_max() -> ScalerKind {
    ScalerKind::MinMax
}

fn clip() -> OutOfRange {
    OutOfRange::Clip
}

/// How prices before an ex-right are made comparable with later ones.
///
/// Features and labels are ratios and independent of the price level, so forward and backward give the same ones. They
/// differ in the level of the prices that `data show` computes; stored prices are always as traded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Adjust {
    /// Only by the reference prices of the bars and the ex-rights that the cleaner suspects.
    #[default]
    None,
    /// Also by known ex-rights; prices are shown on the level of the last day.
    Forward,
    /// Also by known ex-rights; prices are shown on the level of the first day.
    Backward,
}

impl Adjust {
    /// Returns the name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

/// Where the training span ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainTo {
    /// On this day, included.
    Date(Date),
    /// After this share of all days with a stored bar.
    Fraction(f64),
}

/// Row counts of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCounts {
    /// Rows read from the inputs.
    pub read: u64,
    /// Rejected rows.
    pub rejected: u64,
    /// Bars stored.
    pub bars: u64,
    /// Bars with features.
    pub with_features: u64,
    /// Bars with a label.
    pub labelled: u64,
    /// Rows that the scaler was fitted on.
    pub scaler: u64,
}

/// One file of `bars`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its rows with features.
    pub with_features: u64,
    /// Its rows with a label.
    pub labelled: u64,
    /// Its bars with each mark of the cleaner.
    pub marks: BTreeMap<String, u64>,
    /// The days of its bars.
    pub days: Vec<Date>,
}

impl FileEntry {
    /// Returns the year of the file's bars, or `None` for a name that the writer does not use.
    #[must_use]
    pub fn year(&self) -> Option<i16> {
        self.name.strip_suffix(".parquet")?.parse().ok()
    }
}

/// One file with rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its path, as given.
    pub path: String,
    /// SHA-256 of its bytes in lower-case hex.
    pub sha256: String,
    /// Its detected layout, encoding and units.
    #[serde(default)]
    pub detected: String,
    /// Its rows, unreadable ones included.
    pub rows: u64,
    /// Its unreadable rows.
    pub unreadable: u64,
    /// Warnings about the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The reason why it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Its only symbol; absent if it has several or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
}

/// One reference table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEntry {
    /// Its content: `events`, `factors`, `calendar`, `stock_basic`, `namechange`, `suspend_d` or
    /// `stk_limit`.
    pub role: String,
    /// Its path, as given.
    pub path: String,
    /// SHA-256 of its bytes in lower-case hex.
    pub sha256: String,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolEntry {
    /// The instrument.
    pub symbol: Symbol,
    /// SHA-256 of the series' rows as read, in the order of time.
    pub input_sha256: String,
    /// SHA-256 of its reference data.
    #[serde(default, rename = "known_sha256")]
    pub reference_sha256: String,
    /// The day of its last row as read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_to: Option<Date>,
    /// Bars stored.
    pub bars: u64,
    /// Bars before which trading days are missing.
    pub gaps: u64,
    /// Rejected rows.
    pub rejected: u64,
    /// The reason why its prices are treated as adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<String>,
    /// The days of its first and last bar; absent if all rows were rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

impl Manifest {
    /// Reads the manifest of the data set in `root`.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when it cannot be read, [`DataError::Json`] when its syntax or fields are wrong, and
    /// [`DataError::Rule`] when its schema version is another one.
    pub fn read(root: &Path) -> Result<Self, DataError> {
        let path = root.join(FILE);
        let text =
            std::fs::read_to_string(&path).map_err(|source| DataError::file(&path, source))?;
        /// The field that every schema version has.
        #[derive(Deserialize)]
        struct Probe {
            schema_version: u32,
        }
        let json = |source| DataError::json(&path, source);
        let probe: Probe = serde_json::from_str(&text).map_err(json)?;
        if probe.schema_version != SCHEMA_VERSION {
            return Err(DataError::kind(
                &path,
                format!(
                    "schema_version must be {SCHEMA_VERSION}, got {}; prepare the data set again",
                    probe.schema_version
                ),
            ));
        }
        let manifest: Self = serde_json::from_str(&text).map_err(json)?;
        let named = manifest.version.strip_prefix("v-");
        if !named.is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(DataError::kind(
                &path,
                format!(
                    "version must be v- and hex digits, got {:?}",
                    manifest.version
                ),
            ));
        }
        Ok(manifest)
    }

    /// Returns the file's content.
    ///
    /// # Errors
    ///
    /// [`DataError::Json`] when a number is not finite.
    pub fn to_json(&self) -> Result<String, DataError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|source| DataError::json(Path::new(FILE), source))?;
        text.push('\n');
        Ok(text)
    }
}
