//! The windows that a model is calibrated on.

use crate::error::LabError;
use crate::windows::Windows;
use heqis_backtest::inputs::RawBars;
use heqis_backtest::settings::Settings;
use heqis_bundle::{FactorsLayout, Layout, Role};
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::reference::Tables;
use heqis_factors::feature_set;
use heqis_infer::Bundle;
use heqis_quant::decision::SignalMode;
use heqis_quant::pipeline::{DecisionPipeline, Model, PipelineConfig};
use heqis_quant::{Bar, Date, Prediction, Span, Symbol};
use std::path::PathBuf;

/// Returns the role of a bundle that computes single windows.
pub(crate) fn role(bundle: &Bundle) -> Result<Role, LabError> {
    if bundle.is_stateful() {
        let place = bundle.dir().display();
        let rule = format!("{place}: a stateful model cannot compute single windows");
        return Err(LabError::rule("verify", rule));
    }
    Ok(heqis_bundle::check(bundle)?.role())
}

/// Records the last window and computes nothing.
#[derive(Debug)]
struct WindowRecorder {
    factors: Vec<f32>,
    window: Vec<f32>,
}

impl Model for WindowRecorder {
    type Error = LabError;

    fn factor_count(&self) -> usize {
        self.factors.len()
    }

    fn factors(&mut self, _: Symbol, window: &[f32]) -> Result<&[f32], LabError> {
        self.window.clear();
        self.window.extend_from_slice(window);
        Ok(&self.factors)
    }

    fn predict(&mut self, _: &[f32]) -> Result<Prediction, LabError> {
        Ok(Prediction {
            predicted_return: 0.0,
            probabilities: [0.0, 1.0, 0.0],
        })
    }
}

/// Returns `count` windows of a feature model, evenly spaced over its training span, computed from bars as on the boards.
///
/// # Errors
///
/// [`LabError::Rule`] when the bundle is not a feature model, or the bars hold fewer windows of its training span;
/// [`LabError::Data`] and [`LabError::Quant`] when the bars cannot be read.
pub fn training_windows(
    bundle: &Bundle,
    bars: &[PathBuf],
    count: usize,
) -> Result<Windows, LabError> {
    let place = bundle.dir().display();
    if role(bundle)? != Role::Factors {
        let rule = format!(
            "{place}: only a feature model, whose input is a window of bars, can be calibrated"
        );
        return Err(LabError::rule("verify", rule));
    }
    let manifest = bundle.manifest();
    let span = Span::new(
        Date::parse(&manifest.training_span.from)?,
        Date::parse(&manifest.training_span.to)?,
    )?;
    let layout = FactorsLayout::of(bundle)?;
    let strategy = Settings::default().strategy(SignalMode::Return);
    let features = feature_set(layout.scaler.feature_names())?;
    let config = PipelineConfig::new(layout.scaler, strategy).with_features(features);
    let recorder = WindowRecorder {
        factors: vec![0.0; layout.factors],
        window: Vec::new(),
    };
    let mut pipeline = DecisionPipeline::new(config, recorder)?;
    let mut all: Vec<Vec<f32>> = Vec::new();
    for bars in RawBars::read(bars, Tables::default(), &ImportArgs::default(), None)?
        .bars
        .values()
    {
        for bar in within(bars, span) {
            pipeline.step(*bar)?;
            let window = &pipeline.model().window;
            // A bar that completes no window leaves the previous one.
            if !window.is_empty() && all.last() != Some(window) {
                all.push(window.clone());
            }
        }
    }
    if count == 0 || all.len() < count {
        let rule = format!(
            "{place}: {count} windows of the training span are required, the bars hold {}",
            all.len()
        );
        return Err(LabError::rule("verify", rule));
    }
    let chosen = (0..count).flat_map(|i| all[i * all.len() / count].iter().copied());
    Ok(Windows {
        count,
        inputs: vec![chosen.collect()],
    })
}

/// Returns the bars of a span; those outside it must not affect the calibration.
fn within(bars: &[Bar], span: Span) -> impl Iterator<Item = &Bar> {
    bars.iter().filter(move |bar| span.contains(bar.date))
}
