//! The layout of each role: tensors, feature names, windows and scaler, and the rules that they must agree.

use std::path::Path;

use heqis_factors::feature_set;
use heqis_infer::bundle::SCALER_FILE;
use heqis_infer::{Bundle, BundleParts, Dtype, TensorSpec};
use heqis_quant::target::TargetKind;
use heqis_quant::{RowWindow, Scaler};

use crate::error::{BundleError, defect};
use crate::provenance::{fitted_to, suggested_rule};
use crate::role::{Role, joined_names};

/// The layout of a role, read from a bundle that has it.
pub trait Layout: Sized {
    /// The role.
    const ROLE: Role;

    /// Reads the layout of a bundle whose role has been checked.
    ///
    /// # Errors
    ///
    /// [`BundleError::Contract`] with the first rule that the bundle breaks.
    fn read(bundle: &Bundle) -> Result<Self, BundleError>;

    /// Checks that a bundle has the role and keeps its rules, and returns its layout.
    ///
    /// # Errors
    ///
    /// [`BundleError::Contract`] with the first rule that the bundle breaks.
    fn of(bundle: &Bundle) -> Result<Self, BundleError> {
        let role = role_of(bundle)?;
        if role != Self::ROLE {
            return Err(defect(bundle, format!("task must be {}", Self::ROLE), role));
        }
        check_figures(bundle)?;
        Self::read(bundle)
    }
}

/// A bundle with its layout.
#[derive(Clone, Debug)]
pub struct Loaded<L> {
    /// The bundle.
    pub bundle: Bundle,
    /// Its layout.
    pub layout: L,
}

/// Loads a bundle directory that must have a role.
///
/// # Errors
///
/// [`BundleError`] with the first rule that it breaks.
pub fn load<L: Layout>(dir: impl AsRef<Path>) -> Result<Loaded<L>, BundleError> {
    let bundle = Bundle::load(dir)?;
    let layout = L::of(&bundle)?;
    Ok(Loaded { bundle, layout })
}

/// The layout of a bundle of any role.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyLayout {
    /// That of a feature model.
    Factors(FactorsLayout),
    /// That of a direction model.
    Direction(DirectionLayout),
}

impl AnyLayout {
    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            AnyLayout::Factors(_) => Role::Factors,
            AnyLayout::Direction(_) => Role::Direction,
        }
    }
}

/// Checks the rules of a bundle's own role, and returns its layout.
///
/// # Errors
///
/// [`BundleError::Contract`] with the first rule that the bundle breaks.
pub fn check(bundle: &Bundle) -> Result<AnyLayout, BundleError> {
    match role_of(bundle)? {
        Role::Factors => FactorsLayout::of(bundle).map(AnyLayout::Factors),
        Role::Direction => DirectionLayout::of(bundle).map(AnyLayout::Direction),
    }
}

/// Returns the role that the manifest states, which must be that of the model's tensors where these are of the other role.
fn role_of(bundle: &Bundle) -> Result<Role, BundleError> {
    let task = &bundle.manifest().task;
    let unknown = |_| {
        let names = Role::ALL.map(Role::name).join(" or ");
        defect(bundle, format!("task must be {names}"), task)
    };
    let role: Role = task.parse().map_err(unknown)?;
    let (other, input, outputs) = match role {
        Role::Factors => (
            Role::Direction,
            DirectionLayout::INPUT,
            &DirectionLayout::OUTPUTS[..],
        ),
        Role::Direction => (
            Role::Factors,
            FactorsLayout::INPUT,
            &[FactorsLayout::OUTPUT][..],
        ),
    };
    let is_other = bundle.inputs().map(|spec| spec.name.as_str()).eq([input])
        && bundle
            .outputs()
            .map(|spec| spec.name.as_str())
            .eq(outputs.iter().copied());
    match is_other {
        true => Err(defect(bundle, format!("task must be {other}"), role)),
        false => Ok(role),
    }
}

/// Writes a bundle directory as [`Bundle::write`] does, and checks the rules of its role.
///
/// # Errors
///
/// [`BundleError`] with the first rule that the parts break. A bundle that breaks a rule of its role has been written.
pub fn write(dir: impl AsRef<Path>, parts: &BundleParts) -> Result<Bundle, BundleError> {
    let bundle = Bundle::write(dir, parts)?;
    check(&bundle)?;
    Ok(bundle)
}

/// A feature model: `window` f32 `[1, window, features]` → `factors` f32 `[1, factors]`, which may carry a state.
#[derive(Clone, Debug, PartialEq)]
pub struct FactorsLayout {
    /// Bars in a window.
    pub window: usize,
    /// Number of factors.
    pub factors: usize,
    /// The scaler of the features, which names them.
    pub scaler: Scaler,
}

impl FactorsLayout {
    /// Name of the input.
    pub const INPUT: &str = "window";
    /// Name of the output.
    pub const OUTPUT: &str = "factors";

    /// Returns the names of one row that is sent to the direction model.
    #[must_use]
    pub fn sent_names(&self) -> Vec<String> {
        joined_names(self.factors, self.scaler.feature_names())
    }
}

impl Layout for FactorsLayout {
    const ROLE: Role = Role::Factors;

    fn read(bundle: &Bundle) -> Result<Self, BundleError> {
        let (window, width) = match one(bundle.inputs()) {
            Some((Self::INPUT, &[1, window, width])) => (window, width),
            _ => {
                let rule = "the model must have one f32 input window of shape [1, bars, features]";
                return Err(defect(bundle, rule, show(bundle.inputs())));
            }
        };
        let factors = match one(bundle.outputs()) {
            Some((Self::OUTPUT, &[1, factors])) => factors,
            _ => {
                let rule = "the model must have one output factors of shape [1, factors]";
                return Err(defect(bundle, rule, show(bundle.outputs())));
            }
        };
        let scaler = read_scaler(bundle)?;
        check_names(bundle, &scaler, scaler.feature_names())?;
        check_width(bundle, width)?;
        if scaler.window_size() != window {
            let rule = format!("window_size of the scaler must be {window}, the model's window");
            return Err(defect(bundle, rule, scaler.window_size()));
        }
        let manifest = bundle.manifest();
        if manifest.window_bars != window {
            let rule = format!("window_bars must be {window}, the model's window");
            return Err(defect(bundle, rule, manifest.window_bars));
        }
        check_size(bundle, window, width)?;
        Ok(Self {
            window,
            factors,
            scaler,
        })
    }
}

/// A direction model: `features` f32 `[1, width]` or `[1, rows, width]` → `predicted_return` f32 `[1, 1]` and
/// `probabilities` f32 `[1, 3]`, of down, flat and up. A row is the factors of a window, then the scaled features of its last
/// bar. It carries no state: after a restart, a compute node receives no acknowledged frame again and could not restore one.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionLayout {
    /// Rows that the model reads.
    pub rows: usize,
    /// Values in a row.
    pub width: usize,
    /// Number of factors in a row; 0 for a model without a feature model.
    pub factors: usize,
    /// Index of the output `predicted_return`.
    pub predicted_return: usize,
    /// Index of the output `probabilities`.
    pub probabilities: usize,
    /// The scaler of the features, which names them.
    pub scaler: Scaler,
}

impl DirectionLayout {
    /// Name of the input.
    pub const INPUT: &str = "features";
    /// Names of the outputs.
    pub const OUTPUTS: [&str; 2] = ["predicted_return", "probabilities"];
}

/// Checks that a direction model predicts returns, which the thresholds of a decision rule are compared with: a rank of 0.3 is
/// not a return of 30 %.
///
/// # Errors
///
/// [`BundleError::Contract`] when its target is of another kind.
pub fn check_thresholds(direction: &Loaded<DirectionLayout>) -> Result<(), BundleError> {
    let target = direction.layout.scaler.target();
    match target.kind {
        TargetKind::Return => Ok(()),
        _ => {
            let rule = "the model must predict returns, which the thresholds of a decision rule are compared with";
            Err(defect(&direction.bundle, rule, target))
        }
    }
}

impl Layout for DirectionLayout {
    const ROLE: Role = Role::Direction;

    fn read(bundle: &Bundle) -> Result<Self, BundleError> {
        if bundle.is_stateful() {
            let rule = "the model must carry no state, which a compute node could not restore";
            return Err(defect(bundle, rule, "one"));
        }
        let (rows, width) = match one(bundle.inputs()) {
            Some((Self::INPUT, &[1, width])) => (1, width),
            Some((Self::INPUT, &[1, rows, width])) => (rows, width),
            _ => {
                let rule = "the model must have one f32 input features of shape [1, width] or [1, rows, width]";
                return Err(defect(bundle, rule, show(bundle.inputs())));
            }
        };
        let output = |name: &str, shape: [usize; 2]| {
            let mut outputs = bundle.outputs();
            let found = outputs.position(|spec| spec.name == name && spec.shape == shape);
            let rule = format!("the model must have an output {name} of shape {shape:?}");
            found.ok_or_else(|| defect(bundle, rule, show(bundle.outputs())))
        };
        let [value, classes] = Self::OUTPUTS;
        let predicted_return = output(value, [1, 1])?;
        let probabilities = output(classes, [1, 3])?;
        let scaler = read_scaler(bundle)?;
        let manifest = bundle.manifest();
        let factors = manifest.feature_names.len();
        let factors = factors.saturating_sub(scaler.n_features());
        check_names(
            bundle,
            &scaler,
            &joined_names(factors, scaler.feature_names()),
        )?;
        check_width(bundle, width)?;
        let window = scaler.window_size();
        let bars = window.checked_add(rows - 1);
        if bars != Some(manifest.window_bars) {
            let bars = bars.map_or_else(
                || format!("{window} + {}", rows - 1),
                |bars| bars.to_string(),
            );
            let rule = format!(
                "window_bars must be {bars}, the scaler's window of {window} and the model's further rows"
            );
            return Err(defect(bundle, rule, manifest.window_bars));
        }
        check_size(bundle, window, scaler.n_features())?;
        check_size(bundle, rows, width)?;
        Ok(Self {
            rows,
            width,
            factors,
            predicted_return,
            probabilities,
            scaler,
        })
    }
}

/// Returns name and shape of the only tensor, if there is one and it is `f32`.
fn one<'a>(mut specs: impl Iterator<Item = &'a TensorSpec>) -> Option<(&'a str, &'a [usize])> {
    let spec = specs.next()?;
    let is_one = specs.next().is_none() && spec.dtype == Dtype::F32;
    is_one.then_some((spec.name.as_str(), spec.shape.as_slice()))
}

/// Shows tensors; of many, the first ones and the number of the others.
fn show<'a>(specs: impl Iterator<Item = &'a TensorSpec>) -> String {
    const MOST: usize = 4;
    let mut specs = specs.map(ToString::to_string);
    let mut shown: Vec<String> = specs.by_ref().take(MOST).collect();
    let others = specs.count();
    if others > 0 {
        shown.push(format!("and {others} more"));
    }
    shown.join(", ")
}

fn read_scaler(bundle: &Bundle) -> Result<Scaler, BundleError> {
    let text = std::str::from_utf8(bundle.scaler_params());
    let scaler = text
        .map_err(|error| error.to_string())
        .and_then(|text| Scaler::from_json(text).map_err(|error| error.to_string()));
    scaler.map_err(|error| defect(bundle, format!("{SCALER_FILE} must be a scaler"), error))
}

/// Checks that the features can be computed, and that the manifest names what the scaler does.
fn check_names(bundle: &Bundle, scaler: &Scaler, expected: &[String]) -> Result<(), BundleError> {
    if let Err(error) = feature_set(scaler.feature_names()) {
        let rule = "the scaler's features must be ones that HEQIS computes";
        return Err(defect(bundle, rule, error));
    }
    let names = &bundle.manifest().feature_names;
    let differs = |at: &usize| names.get(*at) != expected.get(*at);
    let Some(at) = (0..names.len().max(expected.len())).find(differs) else {
        return Ok(());
    };
    let show = |names: &[String]| match names.get(at) {
        Some(name) => format!("{name} among {}", names.len()),
        None => format!("none among {}", names.len()),
    };
    let rule = format!(
        "feature_names[{at}] must be {} names, by the scaler",
        show(expected)
    );
    Err(defect(bundle, rule, show(names)))
}

/// Checks that a window of this many rows can be kept in memory.
fn check_size(bundle: &Bundle, rows: usize, width: usize) -> Result<(), BundleError> {
    let window = RowWindow::new(rows, width);
    window.map(drop).map_err(|_| {
        let rule = "a window of the model must hold at most 2^24 values";
        defect(bundle, rule, format!("{rows} rows of {width}"))
    })
}

/// Checks the day and the decision rule of the manifest, which the commands read.
fn check_figures(bundle: &Bundle) -> Result<(), BundleError> {
    suggested_rule(bundle)?;
    fitted_to(bundle)?;
    Ok(())
}

/// Checks that a row of the model's input holds as many values as the manifest names.
fn check_width(bundle: &Bundle, width: usize) -> Result<(), BundleError> {
    let names = bundle.manifest().feature_names.len();
    match names == width {
        true => Ok(()),
        false => {
            let rule =
                format!("a row of the model's input must hold {names} values, by feature_names");
            Err(defect(bundle, rule, width))
        }
    }
}
