//! The model cards of trained models.

use std::fmt::Write;

use heqis_quant::DecisionRule;

use super::direction::Direction;
use super::subject::Export;
use crate::baselines::trained::label;
use crate::bundle::card::{
    Card, against, direction_interface, direction_limits, factors_interface, place_of, shares,
};
use crate::corpus::HORIZON_BARS;
use crate::metrics::Metrics;
use crate::train::SavedWeights;

/// Returns the card of the feature model; `unexplained` is the fraction of the variance that is lost, by span.
pub(super) fn factors(export: &Export<'_>, unexplained: [f64; 3]) -> String {
    let (bars, factors) = (export.encoder_bars(), export.factors());
    let features = export.source.features().len();
    Card {
        name: export.factors_name,
        about: format!(
            "The encoder of a {}: a window of {bars} bars × {features} scaled features → {factors} factors, by convolutions \
             and pools of fixed size. Trained to give the window back, on the training span alone.",
            encoder_kind(export)
        ),
        interface: factors_interface(bars, features, factors),
        data: data(export),
        figures: format!(
            "Share of the windows' variance, around their mean, that comes back through the factors:\n\n{}",
            shares(unexplained.map(|share| 1.0 - share))
        ),
        limits: "The factors describe how windows look, not what follows them. They hold for windows like those of the training \
                 span; the scaler clips values beyond its range. Factors of another encoder are other numbers under the same \
                 names: the direction models of this run name this one by its hash."
            .to_owned(),
    }
    .text()
}

fn encoder_kind(export: &Export<'_>) -> &'static str {
    use crate::train::config::EncoderSpec;
    match export.run.manifest.config.encoder {
        EncoderSpec::T3vae { .. } => "t³-VAE",
        EncoderSpec::Cae { .. } | EncoderSpec::None => "convolutional autoencoder",
    }
}

/// Returns the card of a direction model.
pub(super) fn direction(
    export: &Export<'_>,
    name: &str,
    target: &str,
    direction: &Direction,
    rule: Option<&DecisionRule>,
) -> String {
    let manifest = &export.run.manifest;
    let networks: Vec<String> = manifest
        .config
        .generators
        .iter()
        .map(|spec| {
            let kind = format!("{:?}", spec.kind).to_lowercase();
            format!("{} ({kind}, {} rows)", spec.name, spec.window_bars)
        })
        .collect();
    let chosen = label(target, SavedWeights::Best);
    let shape = format!(
        "[1, {}, {}], oldest row first, each row the factors of `{}` and then the scaled features",
        direction.rows(),
        direction.width(),
        export.factors_name
    );
    let to_predict = export.source.corpus.target;
    let predicted = match to_predict.is_default() {
        true => format!("The return and the direction {HORIZON_BARS} bar ahead"),
        false => format!("The {to_predict}, and its direction"),
    };
    Card {
        name,
        about: format!(
            "{predicted}, by `{target}` of a game of {count} generators against as \
             many discriminators: {networks}. Seed {seed}.",
            count = manifest.config.generators.len(),
            networks = networks.join(", "),
            seed = manifest.config.seed,
        ),
        interface: direction_interface(&shape),
        data: data(export),
        figures: format!(
            "Every choice was made on the validation span; the test span was measured once, afterwards. *alone* is a generator \
             before the game (empirical risk only), *game* after it; an ensemble is the plain mean. Intervals are 95 %.\n\n\
             {table}{conclusion}\n## A rule to begin with\n\n{rule}",
            table = export.table.markdown(),
            conclusion = conclusion(export, target, &chosen),
            rule = rule_text(rule),
        ),
        limits: direction_limits("a working example", "the bars of its training span and"),
    }
    .text()
}

/// Returns the section on data and spans, equal in all cards.
fn data(export: &Export<'_>) -> String {
    let source = &export.source;
    let about = format!(
        "Data set `{}` of `heqis-lab prepare`, its manifest's sha256 `{}`. Prices are as that set has them.",
        source.source, source.source_sha256
    );
    let days = |split| {
        let span = source.corpus.days.get(split);
        (span.from, span.to)
    };
    let seen = "Scaler, encoder and networks have seen the training span only.";
    source.data(&about, "from | to", days, seen)
}

/// Returns in words whether the test metrics beat the naive predictions and the other baselines.
fn conclusion(export: &Export<'_>, target: &str, chosen: &str) -> String {
    let get = |model: &str| export.table.get(model, "test").map(|entry| &entry.metrics);
    let Some(metrics) = get(chosen) else {
        return String::new();
    };
    let mut text = String::from("On the test span ");
    if let Some(returns) = &metrics.returns {
        let place = place_of(&returns.minus_last_value);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "the squared error is {place} that of predicting no change"
        );
        if let (Some(share), Some(mean)) = (returns.direction, direction_of(get("training mean"))) {
            let signs = against(&share, mean, "the training mean's sign");
            let _ = write!(text, "; the accuracy on signs is {signs}");
        }
    }
    let class = |metrics: Option<&Metrics>| Some(metrics?.classes.as_ref()?.accuracy);
    if let (Some(ours), Some(naive)) = (class(Some(metrics)), class(get("training majority"))) {
        let classes = against(&ours, naive.share, "always naming the majority class");
        let _ = write!(text, "; the accuracy on classes is {classes}");
    }
    let better = better(export, chosen);
    match better.is_empty() {
        true => text.push_str(". Nothing in the table has a smaller squared error."),
        false => {
            let _ = write!(
                text,
                ". A smaller squared error have: {}.",
                better.join("; ")
            );
        }
    }
    if better.contains(&"ridge") {
        text.push_str(" The game does not beat ridge here.");
    }
    if better.contains(&label(target, SavedWeights::Pretrained).as_str()) {
        text.push_str(" The game did not make the generator better than it was alone.");
    }
    text.push('\n');
    text
}

/// Returns the models of the table whose squared error on the test span is smaller than that of the chosen one.
fn better<'a>(export: &'a Export<'_>, chosen: &str) -> Vec<&'a str> {
    let error = |metrics: &Metrics| Some(metrics.returns.as_ref()?.mse);
    let test = export.table.get(chosen, "test");
    let Some(ours) = test.and_then(|entry| error(&entry.metrics)) else {
        return Vec::new();
    };
    let entries = export.table.entries().iter();
    entries
        .filter(|entry| entry.span == "test")
        .filter(|entry| error(&entry.metrics).is_some_and(|theirs| theirs < ours))
        .map(|entry| entry.model.as_str())
        .collect()
}

/// Returns in words which rule follows from the validation span, and how.
fn rule_text(rule: Option<&DecisionRule>) -> String {
    match rule {
        None => "The predicted returns of the validation span lie too close together for one.\n"
            .to_owned(),
        Some(DecisionRule {
            enter,
            exit,
            min_confidence,
            ..
        }) => format!(
            "`rule = {{ enter = {enter}, exit = {exit}, min_confidence = {min_confidence} }}`: upper quartile and median of the \
             predicted returns and median of the odds of up, all on the validation span. It says what is much and what is \
             little for this model, and was not chosen by what it would have earned; costs are not in it.\n"
        ),
    }
}

fn direction_of(metrics: Option<&Metrics>) -> Option<f64> {
    Some(metrics?.returns.as_ref()?.direction?.share)
}
