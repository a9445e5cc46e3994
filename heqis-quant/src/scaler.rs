//! Feature rows to scaled rows, and the target of a model back to a return: the content of `scaler_params.json`.

use serde::{Deserialize, Serialize};

use crate::date::Span;
use crate::error::QuantError;
use crate::error::finite;
use crate::target::Target;

const PLACE: &str = "scaler_params.json";
/// A z-score beyond five deviations counts as out of range.
const Z_LIMIT: f64 = 5.0;

/// How a value is scaled: always `(x − x_min) / x_scale`, with two meanings of the two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScalerKind {
    /// `x_min` is the least value of the span and `x_scale` its range, so the span lies in 0 to 1.
    MinMax,
    /// `x_min` is the mean of the span and `x_scale` its deviation (divisor n).
    ZScore,
}

impl ScalerKind {
    /// Returns its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min_max",
            Self::ZScore => "z_score",
        }
    }
}

impl ScalerKind {
    /// Returns the range of scaled values beyond which a live value is counted.
    #[must_use]
    pub fn bounds(self) -> (f64, f64) {
        match self {
            Self::MinMax => (0.0, 1.0),
            Self::ZScore => (-Z_LIMIT, Z_LIMIT),
        }
    }
}

/// The treatment of a live value outside the range. It is counted either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutOfRange {
    /// The model gets the nearest bound.
    Clip,
    /// The model gets the value.
    Pass,
}

/// Options of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitOptions {
    /// How values are scaled.
    pub kind: ScalerKind,
    /// The treatment of live values outside the range.
    pub out_of_range: OutOfRange,
    /// The number of rows in the window of the model, kept with the scaler so that one file describes the input.
    pub window_size: usize,
    /// The days that the rows come from; it must be the training span and nothing else.
    pub span: Span,
}

/// A scaler for each feature and one for the target, checked.
///
/// ```
/// use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
/// use heqis_quant::{Date, Scaler, Span};
///
/// let day = Date::parse("2024-01-02")?;
/// let options = FitOptions {
///     kind: ScalerKind::MinMax, out_of_range: OutOfRange::Clip, window_size: 1, span: Span::new(day, day)?,
/// };
/// let scaler = Scaler::fit(options, &["return_1"], [&[-0.1][..], &[0.3][..]], [-0.1, 0.1])?;
/// let mut row = [0.0];
/// assert_eq!(scaler.transform_into(&[0.0], &mut row)?, 0);
/// assert_eq!(row, [0.25]);
/// // A value outside the fitted range is counted, and here clipped.
/// assert_eq!((scaler.transform_into(&[0.9], &mut row)?, row), (1, [1.0]));
/// assert_eq!(Scaler::from_json(&scaler.to_json())?, scaler);
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scaler {
    kind: ScalerKind,
    feature_names: Vec<String>,
    x_min: Vec<f64>,
    x_scale: Vec<f64>,
    y_min: f64,
    y_scale: f64,
    n_features: usize,
    window_size: usize,
    span: Span,
    out_of_range: OutOfRange,
    #[serde(skip_serializing_if = "Target::is_default")]
    target: Target,
}

/// The document as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kind: ScalerKind,
    feature_names: Vec<String>,
    x_min: Vec<f64>,
    x_scale: Vec<f64>,
    y_min: f64,
    y_scale: f64,
    n_features: usize,
    window_size: usize,
    span: Span,
    out_of_range: OutOfRange,
    #[serde(default)]
    target: Target,
}

impl Scaler {
    /// Fits a scaler on rows of `feature_names.len()` values and on the targets of the same span.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when there is no row or target, a row has the wrong length, a value is not finite,
    /// or a feature never changes in the span, since a constant cannot be scaled.
    pub fn fit<'a>(
        options: FitOptions,
        feature_names: &[impl AsRef<str>],
        rows: impl IntoIterator<Item = &'a [f64]>,
        targets: impl IntoIterator<Item = f64>,
    ) -> Result<Self, QuantError> {
        let names: Vec<String> = feature_names
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect();
        let mut columns = vec![Vec::new(); names.len()];
        for row in rows {
            if row.len() != names.len() {
                return Err(QuantError::value(
                    PLACE,
                    "row",
                    format!("must have {} values", names.len()),
                    row.len(),
                ));
            }
            for ((column, value), name) in columns.iter_mut().zip(row).zip(&names) {
                column.push(finite(PLACE, name, *value)?);
            }
        }
        let targets = targets
            .into_iter()
            .map(|y| finite(PLACE, "target", y))
            .collect::<Result<Vec<_>, _>>()?;
        let spreads: Vec<Spread> = columns.iter().map(|column| Spread::of(column)).collect();
        Self::from_spreads(options, &names, &spreads, Spread::of(&targets))
    }

    /// Fits a scaler on the spread of each feature and of the target in the span, for spans that do not fit into memory.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the number of spreads is not that of the names, a spread has no value or one that
    /// is not finite, or a feature never changes.
    pub fn from_spreads(
        options: FitOptions,
        feature_names: &[impl AsRef<str>],
        features: &[Spread],
        target: Spread,
    ) -> Result<Self, QuantError> {
        let names: Vec<String> = feature_names
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect();
        if names.len() != features.len() {
            let rule = format!("must be as many as the {} features", names.len());
            return Err(QuantError::value(PLACE, "spreads", rule, features.len()));
        }
        let (mut x_min, mut x_scale) = (Vec::new(), Vec::new());
        for (spread, name) in features.iter().zip(&names) {
            let (min, scale) = fit_one(options.kind, *spread, name)?;
            x_min.push(min);
            x_scale.push(scale);
        }
        let (y_min, y_scale) = fit_one(options.kind, target, "target")?;
        Document {
            kind: options.kind,
            n_features: names.len(),
            feature_names: names,
            x_min,
            x_scale,
            y_min,
            y_scale,
            window_size: options.window_size,
            span: options.span,
            out_of_range: options.out_of_range,
            target: Target::default(),
        }
        .check()
    }

    /// Reads `scaler_params.json`.
    ///
    /// # Errors
    /// Returns [`QuantError::Json`] when the text is not such a document, and [`QuantError::Value`] when lengths disagree,
    /// a name repeats, a number is not finite, a scale is not positive, or the span ends before it starts.
    pub fn from_json(text: &str) -> Result<Self, QuantError> {
        let document: Document = serde_json::from_str(text).map_err(|source| QuantError::Json {
            place: PLACE,
            source,
        })?;
        document.check()
    }

    /// Writes `scaler_params.json`. [`Scaler::from_json`] restores every number to the bit.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only maps whose keys are not strings, or failing writers, can make this fail; neither occurs here.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Scales a row into `out`, both `[features]`, and returns how many values lay outside the range of the span.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is not that of the scaler, or a value is not finite or
    /// does not fit into an `f32`; `out` is then undefined.
    pub fn transform_into(&self, row: &[f64], out: &mut [f32]) -> Result<usize, QuantError> {
        for (field, len) in [("row", row.len()), ("out", out.len())] {
            if len != self.n_features {
                return Err(QuantError::value(
                    PLACE,
                    field,
                    format!("must have {} values", self.n_features),
                    len,
                ));
            }
        }
        for (value, name) in row.iter().zip(&self.feature_names) {
            finite(PLACE, name, *value)?;
        }
        let (low, high) = self.kind.bounds();
        let mut outside = 0;
        for (i, (value, out)) in row.iter().zip(out.iter_mut()).enumerate() {
            let mut scaled = (value - self.x_min[i]) / self.x_scale[i];
            if !(low..=high).contains(&scaled) {
                outside += 1;
                if self.out_of_range == OutOfRange::Clip {
                    scaled = scaled.clamp(low, high);
                }
            }
            *out = scaled as f32;
            if !out.is_finite() {
                let name = &self.feature_names[i];
                return Err(QuantError::value(
                    PLACE,
                    name,
                    "must fit into the f32 of a model once scaled",
                    scaled,
                ));
            }
        }
        Ok(outside)
    }

    /// Scales a target.
    #[must_use]
    pub fn transform_target(&self, target: f64) -> f64 {
        (target - self.y_min) / self.y_scale
    }

    /// Turns the output of a regression head back into a target.
    #[must_use]
    pub fn inverse_target(&self, scaled: f64) -> f64 {
        scaled * self.y_scale + self.y_min
    }

    /// Returns the names of the features in the order of a row.
    #[must_use]
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// Returns the number of features in a row.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Returns the number of rows in the window of the model.
    #[must_use]
    pub fn window_size(&self) -> usize {
        self.window_size
    }

    /// Returns the days that the scaler was fitted on.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Returns the least and the largest value of each feature, unscaled, beyond which a live value is counted.
    pub fn ranges(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (low, high) = self.kind.bounds();
        let scales = self.x_min.iter().zip(&self.x_scale);
        scales.map(move |(x_min, x_scale)| (x_min + low * x_scale, x_min + high * x_scale))
    }

    /// Returns how values are scaled.
    #[must_use]
    pub fn kind(&self) -> ScalerKind {
        self.kind
    }

    /// Returns the scaler of another target; the file names it unless it is the default.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Returns what the model predicts: a rank is not a return.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Returns the treatment of values outside the range.
    #[must_use]
    pub fn out_of_range(&self) -> OutOfRange {
        self.out_of_range
    }
}

impl Document {
    fn check(self) -> Result<Scaler, QuantError> {
        let refuse = |field: &str, rule: String, value: &dyn ToString| {
            Err(QuantError::value(PLACE, field, rule, value.to_string()))
        };
        let n = self.n_features;
        if n == 0 {
            return refuse("n_features", "must be at least 1".into(), &n);
        }
        if self.window_size == 0 {
            return refuse(
                "window_size",
                "must be at least 1".into(),
                &self.window_size,
            );
        }
        for (field, len) in [
            ("feature_names", self.feature_names.len()),
            ("x_min", self.x_min.len()),
            ("x_scale", self.x_scale.len()),
        ] {
            if len != n {
                return refuse(field, format!("must have n_features = {n} entries"), &len);
            }
        }
        for (i, name) in self.feature_names.iter().enumerate() {
            if name.is_empty() || self.feature_names[..i].contains(name) {
                return refuse(
                    "feature_names",
                    "must not be empty or repeat".into(),
                    &format!("{name:?}"),
                );
            }
        }
        let numbers = (0..n).map(|i| {
            (
                self.feature_names[i].as_str(),
                self.x_min[i],
                self.x_scale[i],
            )
        });
        for (name, min, scale) in numbers.chain([("y", self.y_min, self.y_scale)]) {
            finite(PLACE, &format!("{name} min"), min)?;
            if finite(PLACE, &format!("{name} scale"), scale)? <= 0.0 {
                return refuse(&format!("{name} scale"), "must be positive".into(), &scale);
            }
        }
        let span = Span::new(self.span.from, self.span.to)?;
        self.target.check()?;
        Ok(Scaler {
            kind: self.kind,
            feature_names: self.feature_names,
            x_min: self.x_min,
            x_scale: self.x_scale,
            y_min: self.y_min,
            y_scale: self.y_scale,
            n_features: n,
            window_size: self.window_size,
            span,
            out_of_range: self.out_of_range,
            target: self.target,
        })
    }
}

/// The statistics of one feature in the span that a scaler needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Number of values.
    pub count: u64,
    /// The least value.
    pub least: f64,
    /// The greatest value.
    pub greatest: f64,
    /// The mean; only a z-score needs it.
    pub mean: f64,
    /// The deviation with divisor n; only a z-score needs it.
    pub deviation: f64,
}

impl Spread {
    /// Returns the spread of the values.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        Self {
            count: values.len() as u64,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            deviation: square.sqrt(),
        }
    }
}

fn fit_one(kind: ScalerKind, values: Spread, name: &str) -> Result<(f64, f64), QuantError> {
    if values.count == 0 {
        return Err(QuantError::value(
            PLACE,
            name,
            "must have at least one value in the span",
            0,
        ));
    }
    let range = values.greatest - values.least;
    let (min, scale) = match kind {
        ScalerKind::MinMax => (values.least, range),
        // Rounding errors can give a constant a deviation.
        ScalerKind::ZScore if range == 0.0 => (values.mean, 0.0),
        ScalerKind::ZScore => (values.mean, values.deviation),
    };
    if scale > 0.0 && scale.is_finite() && min.is_finite() {
        Ok((min, scale))
    } else {
        Err(QuantError::value(
            PLACE,
            name,
            "must vary in the span, within finite numbers",
            scale,
        ))
    }
}

#[cfg(test)]
mod tests;
