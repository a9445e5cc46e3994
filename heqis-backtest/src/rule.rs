//! Which rule a strategy is traded by, and where it comes from.
//!
//! The first of: the rule of a settings file; the rule that a direction bundle's manifest carries, or that lies beside a
//! table of predictions; the default of [`Settings`], which is that of `topologies/baseline.toml`.

use std::path::Path;

use heqis_bundle::suggested_rule;
use heqis_data::predictions::Predictions;
use heqis_data::predictions::write::rule_path;
use heqis_infer::Bundle;
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
    /// Where it comes from, in words.
    pub from: String,
}

impl ChosenRule {
    /// Chooses the rule of a source; `settings` are those of `path`, or the defaults. Of a table it is [`Predictions`] that
    /// say whether there are probabilities: the default rule asks for none where there are none.
    ///
    /// # Errors
    /// [`BacktestError::Infer`] when a bundle cannot be read, [`BacktestError::Rule`] when its manifest, or the file beside a
    /// table, has a rule that is none.
    pub fn of(
        source: &Source,
        table: Option<&Predictions>,
        settings: &Settings,
        path: Option<&Path>,
    ) -> Result<Self, BacktestError> {
        if let Some(path) = path.filter(|_| settings.names_rule) {
            return Ok(Self {
                rule: settings.rule,
                from: format!("settings {}", path.display()),
            });
        }
        match source {
            Source::Bundles { direction, .. } => {
                if let Some(rule) = suggested_rule(&Bundle::load(direction)?)? {
                    let from = format!("bundle {}", direction.display());
                    return Ok(Self { rule, from });
                }
            }
            Source::Table(table) => {
                let beside = rule_path(table);
                if beside.is_file() {
                    return Ok(Self {
                        rule: Settings::read(&beside)?.rule,
                        from: beside.display().to_string(),
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
