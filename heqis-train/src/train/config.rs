//! The settings of a training: one TOML file, checked as a whole before anything is read or written.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use heqis_data::Rule;
use heqis_data::renamed::{RenamedKey, warnings, without_former};
use heqis_infer::bundle::sha256_hex;
use heqis_quant::{Date, Symbol};
use serde::{Deserialize, Serialize};

use super::cross_section::{Batches, DayScaling, StopBy, ValueLoss, is_default};
use super::device::DeviceKind;
use super::loss::Distillation;
use super::optimiser::OptimiserConfig;
use super::schedule::PlateauConfig;

pub use super::spec::{EncoderSpec, GeneratorSpec};
use crate::corpus::LookBack;
use crate::error::TrainError;
use crate::nets::discriminator::DiscriminatorConfig;

/// All settings of a training. The same settings and the same data give the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of every random stream: initial weights, order of samples, noise.
    #[serde(default)]
    pub seed: u64,
    /// Threads on which networks are trained in parallel; 0: one for each core. The number does not change the result.
    #[serde(default = "one")]
    pub threads: usize,
    /// The device that computes.
    #[serde(default, skip_serializing_if = "DeviceKind::is_cpu")]
    pub device: DeviceKind,
    /// Samples in one step.
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// The training data.
    pub data: DataConfig,
    /// The generators, each with its discriminator.
    #[serde(default = "GeneratorSpec::defaults")]
    pub generators: Vec<GeneratorSpec>,
    /// The discriminators, all of one shape; each classifies series as long as its generator's window.
    #[serde(default)]
    pub discriminator: DiscriminatorConfig,
    /// The encoder whose factors are appended to every row as columns.
    #[serde(default)]
    pub encoder: EncoderSpec,
    /// The phases.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// The weights of the losses.
    #[serde(default)]
    pub losses: LossConfig,
    /// The optimiser.
    #[serde(default)]
    pub optimiser: OptimiserConfig,
    /// How a generator's learning rate is reduced, by its loss on the validation span.
    #[serde(default)]
    pub plateau: PlateauConfig,
}

/// The training data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Directory of a data set written by `heqis-lab prepare`.
    pub set: PathBuf,
    /// Which series: `"all"`, one symbol, a list of symbols, or `{ watch_list = FILE, sector = NAME }`.
    #[serde(default)]
    pub symbols: Symbols,
    /// First day of the validation span; default: after 60 % of the days.
    #[serde(default)]
    pub validation_from: Option<Date>,
    /// First day of the test span; default: after 80 % of the days.
    #[serde(default)]
    pub test_from: Option<Date>,
    /// Last day that is read, labels included; default: all days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Date>,
    /// Bars of each series left out before each cut; default: the rows that a sample reads and the horizon, so that no bar
    /// belongs to samples on both sides. Formerly `purge_days`, which is still read, with a warning.
    #[serde(default, alias = "purge_days")]
    pub purge_bars: Option<usize>,
    /// Days left out after each cut.
    #[serde(default)]
    pub embargo_days: usize,
    /// Bars between two training samples of a series.
    #[serde(default = "one")]
    pub stride: usize,
    /// Training samples in one epoch, drawn again for each; 0: all.
    #[serde(default)]
    pub samples_per_epoch: usize,
    /// The samples of one step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub batches: Batches,
    /// Days in one step of `batches = "days"`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub days_per_step: usize,
    /// How features are compared with those of the day's other instruments.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scale_by_day: DayScaling,
    /// Exchanges the labels of each day among its instruments at random. For tests: what is learned then is chance.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shuffle_labels: bool,
}

/// The series of a data set that are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Symbols {
    /// All of them pooled. The variant comes first, since `all` would also parse as a symbol.
    All(AllSymbols),
    /// Those of a list.
    List(Vec<Symbol>),
    /// One series.
    One(Symbol),
    /// Those of one sector of a watch list, which must list them by code. The variant comes last, since a list of two symbols
    /// would also parse as one.
    Sector(Sector),
}

impl Default for Symbols {
    fn default() -> Self {
        Self::All(AllSymbols::All)
    }
}

/// The value `"all"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllSymbols {
    /// Every series of the data set.
    All,
}

/// A sector of a watch list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sector {
    /// The file.
    pub watch_list: PathBuf,
    /// The name of the sector in it.
    pub sector: String,
}

/// The phases: encoder, then supervised pre-training of each generator (empirical risk), then adversarial training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Epochs of the encoder on the training span, before anything else.
    pub encoder_epochs: usize,
    /// Epochs of the generators' supervised pre-training. Formerly `alone_epochs`, still read, with a warning; the digest of
    /// the settings keeps the former name.
    #[serde(rename(serialize = "alone_epochs"), alias = "alone_epochs")]
    pub pretraining_epochs: usize,
    /// Epochs of adversarial training; 0 keeps the pre-trained generators. Formerly `game_epochs`, still read, with a warning.
    #[serde(rename(serialize = "game_epochs"), alias = "game_epochs")]
    pub adversarial_epochs: usize,
    /// Adversarial epochs in which each discriminator sees the candidates of its own generator only.
    pub identity_epochs: usize,
    /// Number of adversarial epochs after which the best generator teaches the worst, each time; 0: never.
    pub distil_every: usize,
    /// Distillation: weight of the teacher's probabilities.
    pub distil_alpha: f64,
    /// Distillation: temperature that logits are divided by.
    pub distil_temperature: f64,
    /// Distillation: weight of the squared error.
    pub distil_lambda: f64,
    /// Epochs after each distillation in which the best generator is trained against the best discriminator, at most 5.
    pub fine_tune_epochs: usize,
    /// Epochs without a better validation loss after which a generator is stopped; 0: never.
    pub patience_epochs: usize,
    /// What that loss is, which also chooses the best epoch, the teacher and the generator that is fine-tuned.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_by: StopBy,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            encoder_epochs: 20,
            pretraining_epochs: 10,
            adversarial_epochs: 40,
            identity_epochs: 10,
            distil_every: 10,
            distil_alpha: 0.7,
            distil_temperature: 2.0,
            distil_lambda: 0.5,
            fine_tune_epochs: 3,
            patience_epochs: 15,
            stop_by: StopBy::Loss,
        }
    }
}

impl ScheduleConfig {
    /// Returns the parameters of distillation.
    #[must_use]
    pub(crate) fn distillation(&self) -> Distillation {
        Distillation {
            alpha: self.distil_alpha,
            temperature: self.distil_temperature,
            lambda: self.distil_lambda,
        }
    }
}

/// The weights of the terms in a generator's loss L_G.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of the loss of the predicted value.
    pub value: f64,
    /// That loss.
    #[serde(skip_serializing_if = "is_default")]
    pub value_loss: ValueLoss,
    /// Weight of the cross-entropy.
    pub class: f64,
    /// Weight of the adversarial loss. Formerly `deception`, still read, with a warning.
    #[serde(rename(serialize = "deception"), alias = "deception")]
    pub adversarial: f64,
    /// How a candidate's class is encoded for a discriminator.
    pub judged_class: CandidateClass,
}

/// How a candidate's class is encoded for a discriminator. Real classes are one-hot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateClass {
    /// As probabilities, by softmax. A discriminator learns to recognise a candidate by its class not being one-hot, and makes
    /// generators overconfident.
    Softmax,
    /// As a one-hot sample of them with the gradient of the softmax: the straight-through Gumbel-softmax (Jang et al., arXiv
    /// 1611.01144), so that its form carries no information for a discriminator.
    #[default]
    Gumbel,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            value: 1.0,
            value_loss: ValueLoss::Mse,
            class: 1.0,
            adversarial: 1.0,
            judged_class: CandidateClass::default(),
        }
    }
}

impl TrainConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] and [`TrainError::Data`] when it cannot be read, [`TrainError::Rule`] when a setting is out of
    /// range.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TrainError::file(path, source))?;
        Self::parse(path, &text)
    }

    /// Reads and checks a text; errors name `path`.
    ///
    /// # Errors
    ///
    /// As [`TrainConfig::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, TrainError> {
        let table: toml::Table =
            toml::from_str(text).map_err(|source| TrainError::toml(path, source))?;
        let renamed = warnings(&table, &RENAMED);
        for warning in renamed.map_err(|both| Rule::new(path.display(), both))? {
            eprintln!("warning: {}: {warning}", path.display());
        }
        let config: Self = toml::from_str(text).map_err(|source| {
            Rule::new(
                path.display(),
                without_former(&source.to_string(), &RENAMED),
            )
        })?;
        config.check()?;
        Ok(config)
    }

    /// Returns SHA-256 of all settings as JSON, defaults included, in lower-case hex, so that files with equal settings have
    /// equal digests. Renamed keys are written with their former names, so that digests of former versions hold.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a setting cannot be written as JSON.
    pub fn sha256(&self) -> Result<String, TrainError> {
        let text = serde_json::to_string(self)
            .map_err(|source| TrainError::training("settings", source.to_string()))?;
        Ok(sha256_hex(
            text.replace("\"purge_bars\":", "\"purge_days\":")
                .as_bytes(),
        ))
    }

    /// Returns the number of rows that a sample reads.
    #[must_use]
    pub fn look_back(&self) -> LookBack {
        let windows = self.generators.iter().map(|spec| spec.window_bars);
        let window_bars = windows.max().unwrap_or(1);
        LookBack {
            window_bars,
            series_bars: window_bars,
            encoder_bars: self.encoder.shape().0,
        }
    }

    /// Checks every setting that its type does not check.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`], naming the setting, the rule and the value.
    pub fn check(&self) -> Result<(), TrainError> {
        let (o, s, p, l) = (&self.optimiser, &self.schedule, &self.plateau, &self.losses);
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        if l.value_loss != ValueLoss::Mse && self.data.batches != Batches::Days {
            let rule = "compares the instruments of a day and needs data.batches = \"days\"";
            return Err(TrainError::training("losses.value_loss", rule.to_owned()));
        }
        let rules: [(&str, bool, f64, &str); 16] = [
            (
                "batch_size",
                self.batch_size > 0,
                self.batch_size as f64,
                "at least 1",
            ),
            (
                "optimiser.learning_rate",
                positive(o.learning_rate),
                o.learning_rate,
                "above 0",
            ),
            (
                "optimiser.discriminator_learning_rate",
                positive(o.discriminator_learning_rate),
                o.discriminator_learning_rate,
                "above 0",
            ),
            (
                "optimiser.beta_1",
                (0.0..1.0).contains(&o.beta_1),
                o.beta_1.into(),
                "from 0 to below 1",
            ),
            (
                "optimiser.beta_2",
                (0.0..1.0).contains(&o.beta_2),
                o.beta_2.into(),
                "from 0 to below 1",
            ),
            (
                "optimiser.epsilon",
                positive(o.epsilon.into()),
                o.epsilon.into(),
                "above 0",
            ),
            (
                "optimiser.weight_decay",
                not_negative(o.weight_decay.into()),
                o.weight_decay.into(),
                "not negative",
            ),
            (
                "optimiser.clip_norm",
                not_negative(o.clip_norm),
                o.clip_norm,
                "not negative",
            ),
            (
                "plateau.factor",
                p.factor > 0.0 && p.factor < 1.0,
                p.factor,
                "between 0 and 1",
            ),
            (
                "plateau.threshold",
                (0.0..1.0).contains(&p.threshold),
                p.threshold,
                "from 0 to below 1",
            ),
            (
                "schedule.distil_alpha",
                (0.0..=1.0).contains(&s.distil_alpha),
                s.distil_alpha,
                "from 0 to 1",
            ),
            (
                "schedule.distil_temperature",
                positive(s.distil_temperature),
                s.distil_temperature,
                "above 0",
            ),
            (
                "schedule.fine_tune_epochs",
                s.fine_tune_epochs <= 5,
                s.fine_tune_epochs as f64,
                "at most 5",
            ),
            (
                "losses",
                [l.value, l.class, l.adversarial]
                    .into_iter()
                    .all(not_negative),
                l.value.min(l.class).min(l.adversarial),
                "not negative",
            ),
            (
                "data.days_per_step",
                self.data.days_per_step > 0,
                self.data.days_per_step as f64,
                "at least 1",
            ),
            (
                "data.stride",
                self.data.stride > 0,
                self.data.stride as f64,
                "at least 1",
            ),
        ];
        if let Some((place, _, value, rule)) = rules.iter().find(|(_, holds, ..)| !holds) {
            return Err(TrainError::training(
                place,
                format!("must be {rule}, got {value}"),
            ));
        }
        self.check_generators()
    }

    fn check_generators(&self) -> Result<(), TrainError> {
        let refuse = |rule: String| Err(TrainError::training("generators", rule));
        if self.generators.is_empty() {
            return refuse("must have at least one entry".to_owned());
        }
        for (at, spec) in self.generators.iter().enumerate() {
            let name = &spec.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return refuse(format!(
                    "a name must consist of letters, digits, - and _, got {name:?}"
                ));
            }
            if self.generators[..at]
                .iter()
                .any(|other| other.name == *name)
            {
                return refuse(format!("names must be unique, two are {name:?}"));
            }
            // The networks check their configurations; the number of features does not matter.
            let (_, factors) = self.encoder.shape();
            let network = spec.network(1, 1 + factors, &self.encoder);
            network.init(&Device::flex(), self.seed)?;
        }
        Ok(())
    }
}

/// Keys that have a new name: table, former name, name. Former names are read for one version.
const RENAMED: [RenamedKey<'static>; 4] = [
    ("data", "purge_days", "purge_bars"),
    ("schedule", "alone_epochs", "pretraining_epochs"),
    ("schedule", "game_epochs", "adversarial_epochs"),
    ("losses", "deception", "adversarial"),
];

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn batch_size() -> usize {
    64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Settings with the four renamed keys under the given names.
    fn settings(purge: &str, pretraining: &str, adversarial: &str, loss: &str) -> String {
        format!(
            "[data]\nset = \"s\"\n{purge} = 3\n[schedule]\n{pretraining} = 4\n{adversarial} = 5\n[losses]\n{loss} = 0.5\n"
        )
    }

    fn parse(text: &str) -> Result<TrainConfig, TrainError> {
        TrainConfig::parse(Path::new("test.toml"), text)
    }

    #[test]
    fn former_keys_are_read_with_a_warning_and_give_the_same_digest() {
        let new = settings(
            "purge_bars",
            "pretraining_epochs",
            "adversarial_epochs",
            "adversarial",
        );
        let former = settings("purge_days", "alone_epochs", "game_epochs", "deception");
        let (one, other) = (parse(&new).unwrap(), parse(&former).unwrap());
        assert_eq!(one, other);
        let schedule = &other.schedule;
        assert_eq!(other.data.purge_bars, Some(3));
        assert_eq!(
            (schedule.pretraining_epochs, schedule.adversarial_epochs),
            (4, 5)
        );
        assert_eq!(other.losses.adversarial, 0.5);
        assert_eq!(one.sha256().unwrap(), other.sha256().unwrap());
        let warnings = |text: &str| warnings(&toml::from_str(text).unwrap(), &RENAMED).unwrap();
        assert!(warnings(&new).is_empty());
        let warnings = warnings(&former);
        assert_eq!(warnings.len(), RENAMED.len());
        for (warning, (table, former, name)) in warnings.iter().zip(RENAMED) {
            let renamed = format!("{table}.{former} is now {table}.{name};");
            assert!(warning.starts_with(&renamed), "{warning}");
        }
    }

    #[test]
    fn a_digest_contains_the_former_keys_of_its_version() {
        let config = parse("[data]\nset = \"s\"\n").unwrap();
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["schedule"]["alone_epochs"], 10);
        assert_eq!(json["schedule"]["game_epochs"], 40);
        assert_eq!(json["losses"]["deception"], 1.0);
    }

    #[test]
    fn a_key_with_both_of_its_names_is_refused() {
        for (table, former, name) in RENAMED {
            let set = if table == "data" {
                ""
            } else {
                "[data]\nset = \"s\"\n"
            };
            let own = if table == "data" { "set = \"s\"\n" } else { "" };
            let text = format!("{set}[{table}]\n{own}{former} = 1\n{name} = 1\n");
            let refused = parse(&text).unwrap_err().to_string();
            let both = format!("test.toml: {table}.{former} is now {table}.{name}: both are given");
            assert!(refused.starts_with(&both), "{refused}");
        }
    }
}
