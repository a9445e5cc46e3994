//! A set of factors as the features of a model: the same calls as for the features of `heqis-quant`.

use std::sync::Arc;

use heqis_quant::features::{FeatureProgram, ProgramState};
use heqis_quant::{Bar, FeatureSet, QuantError};

use crate::columns::{Columns, values_of};
use crate::fault::FactorError;
use crate::set::FactorSet;
use crate::shipped;
use crate::stream::FactorSeries;

const PLACE: &str = "features";

/// Returns the features of a list of names: either names that `heqis-quant` computes, or definitions `name = expression` over
/// [`Columns::bars`], or the name of one [shipped set](shipped), which stands for its definitions. This is how every reader of a data set,
/// a scaler, a bundle or a topology turns the names in it into computable features.
///
/// ```
/// use heqis_factors::feature_set;
///
/// assert_eq!(feature_set(&["return_5", "k"])?.warmup_bars(), 70);
/// let set = feature_set(&["roc5 = close / ref(close, 5)", "up = count(close > open, 10)"])?;
/// assert_eq!((set.len(), set.warmup_bars()), (2, 9));
/// assert_eq!(feature_set(&["alpha158"])?.names()[0], "KMID = (close - open) / open");
/// assert!(feature_set(&["roc5 = close / ref(close, 5)", "k"]).is_err());
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
///
/// # Errors
/// Returns [`QuantError::Value`] when a name is unknown, a definition breaks a rule, is not in canonical form or compares instruments across
/// the day, or the list has both kinds.
pub fn feature_set(names: &[impl AsRef<str>]) -> Result<FeatureSet, QuantError> {
    let is_definition = |name: &&str| name.contains('=');
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if let [name] = names[..]
        && let Some(set) = shipped::find(name)
    {
        return of_text(set.text).map_err(QuantError::from);
    }
    let Some(plain) = names.iter().find(|name| !is_definition(name)) else {
        return match names.is_empty() {
            true => FeatureSet::parse(&names),
            false => canonical(&names),
        };
    };
    if names.iter().any(is_definition) {
        let rule = "must be a definition like the others: the set twelve has the standard features as definitions";
        return Err(QuantError::value(
            PLACE,
            "names",
            rule,
            format!("{plain:?}"),
        ));
    }
    FeatureSet::parse(&names)
}

/// Reads definitions, each of which must be what [`FactorSet::definitions`] writes: a feature's name identifies it.
fn canonical(names: &[&str]) -> Result<FeatureSet, QuantError> {
    let set = FactorSet::parse(&names.join("\n"), &Columns::bars())?;
    let differs = |(own, name): (&String, &&str)| own != *name;
    if let Some(at) = set.definitions().iter().zip(names).position(differs) {
        let rule = format!("must be written as {:?}", set.definitions()[at]);
        return Err(QuantError::value(
            PLACE,
            "names",
            rule,
            format!("{:?}", names[at]),
        ));
    }
    if set.len() != names.len() {
        let rule = "must be definitions of features, without helpers";
        return Err(QuantError::value(PLACE, "names", rule, names.len()));
    }
    of_set(&set)
}

/// Returns the factors of a file of definitions over [`Columns::bars`] as features.
///
/// # Errors
/// As [`FactorSet::parse`], and [`FactorError::Quant`] as [`of_set`].
pub fn of_text(text: &str) -> Result<FeatureSet, FactorError> {
    Ok(of_set(&FactorSet::parse(text, &Columns::bars())?)?)
}

/// Returns the factors of a set as features; their names are the definitions.
///
/// # Errors
/// Returns [`QuantError::Value`] when the set compares instruments across the day: one stage or one series sees one instrument at a
/// time.
pub fn of_set(set: &FactorSet) -> Result<FeatureSet, QuantError> {
    let program = Expressions { set: set.clone() };
    program.start()?;
    FeatureSet::of_program(Arc::new(program))
}

#[derive(Debug)]
struct Expressions {
    set: FactorSet,
}

#[derive(Clone, Debug)]
struct ExpressionSeries {
    series: FactorSeries,
    width: usize,
}

impl Expressions {
    fn boxed(&self, series: FactorSeries) -> Box<dyn ProgramState> {
        let width = self.set.len();
        Box::new(ExpressionSeries { series, width })
    }
}

impl FeatureProgram for Expressions {
    fn names(&self) -> &[String] {
        self.set.definitions()
    }

    fn warmup_bars(&self) -> usize {
        self.set.warmup_bars()
    }

    fn start(&self) -> Result<Box<dyn ProgramState>, QuantError> {
        Ok(self.boxed(FactorSeries::new(&self.set)?))
    }

    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn ProgramState>, QuantError> {
        Ok(self.boxed(FactorSeries::restore(&self.set, bytes)?))
    }
}

impl ProgramState for ExpressionSeries {
    fn width(&self) -> usize {
        self.width
    }

    fn update(&mut self, bar: &Bar, out: &mut [f64]) -> bool {
        // The lengths are those of the set.
        self.series.update(&values_of(bar), out).unwrap_or(false)
    }

    fn rescale(&mut self, factor: f64) {
        self.series.rescale(factor);
    }

    fn save(&self) -> Vec<u8> {
        self.series.save().unwrap_or_default()
    }

    fn copy(&self) -> Box<dyn ProgramState> {
        Box::new(self.clone())
    }
}

/// For callers that know only the errors of `heqis-quant`.
impl From<FactorError> for QuantError {
    fn from(error: FactorError) -> Self {
        match error {
            FactorError::Quant(error) => error,
            FactorError::Text(fault) => {
                let field = format!("line {}, column {}", fault.line, fault.column);
                Self::value(PLACE, field, fault.rule, fault.text)
            }
            FactorError::Value { field, rule, got } => Self::value(PLACE, field, rule, got),
        }
    }
}
