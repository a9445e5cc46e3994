//! The decision rule of a strategy, and its origin.
//!
//! The first of: the rule of a settings file; the rule in the manifest of a direction bundle, or in the file next to a table
//! of predictions; the default of [`Settings`], which is that of `topologies/baseline.toml`.

use std::path::Path;

use heqis_bundle::{DirectionLayout, check_thresholds, load, suggested_rule};
use heqis_data::predictions::Predictions;
use heqis_data::predictions::write::rule_path;
use heqis_quant::DecisionRule;
use serde::Serialize;

use super::settings::Settings;
use super::strategy::Source;
use crate::error::BacktestError;

/// A rule with its origin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChosenRule {
    /// The rule.
    pub rule: DecisionRule,
    /// Its origin, for display.
    pub from: String,
}

impl ChosenRule {
    /// Chooses the rule of a source. `settings` are those of `path`, or the defaults. `table` has the predictions of a table: if
    /// they have no probabilities, the default rule requires no confidence.
    ///
    /// # Errors
    /// [`BacktestError::Bundle`] when a bundle is invalid, [`BacktestError::Rule`] when the rule of its manifest, or of the
    /// file next to a table, is invalid. A model or table of anything but returns is refused by the same errors.
    pub fn of(
        source: &Source,
        table: Option<&Predictions>,
        settings: &Settings,
        path: Option<&Path>,
    ) -> Result<Self, BacktestError> {
        if let Source::Bundles { direction, .. } = source {
            check_thresholds(&load::<DirectionLayout>(direction)?)?;
        }
        if let Some(path) = path.filter(|_| settings.names_rule) {
            return Ok(Self {
                rule: settings.rule,
                from: format!("settings {}", path.display()),
            });
        }
        match source {
            Source::Bundles { direction, .. } => {
                if let Some(rule) = suggested_rule(&load::<DirectionLayout>(direction)?.bundle)? {
                    let from = format!("bundle {}", direction.display());
                    return Ok(Self { rule, from });
                }
            }
            Source::Table(table) => {
                let file = rule_path(table);
                if file.is_file() {
                    return Ok(Self {
                        rule: Settings::read(&file)?.rule,
                        from: file.display().to_string(),
                    });
                }
            }
        }
        let mut rule = Settings::default().rule;
        let mut from = "default".to_owned();
        if table.is_some_and(|table| !table.has_probabilities()) {
            rule.min_confidence = 0.0;
            from += ", with no least confidence since the table has no probabilities";
        }
        Ok(Self { rule, from })
    }
}
