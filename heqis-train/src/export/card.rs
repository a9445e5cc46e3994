//! Model cards of trained models, worded the same way for good and bad metrics. Their text is part of shipped bundles: it stays
//! byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write;

use heqis_data::samples::{FLAT_BAND, HORIZON_BARS};
use heqis_quant::DecisionRule;
use serde_json::Value;

use super::direction::Direction;
use super::subject::Export;
use crate::baselines::metrics::Metrics;
use crate::baselines::trained::label;
use crate::train::SavedWeights;

/// Returns the card of the feature model.
pub(super) fn factors(export: &Export<'_>, figures: &BTreeMap<String, Value>) -> String {
    let mut rows = String::new();
    for span in ["training", "validation", "test"] {
        let share = figures["unexplained_variance"][span]
            .as_f64()
            .unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(rows, "| {span} | {:.1} % |", 100.0 * (1.0 - share));
    }
    format!(
        "# {name}\n\n\
         The encoder of a {kind}: a window of {bars} bars × {features} scaled features → {factors} factors, by convolutions \
         and pools of fixed size. Trained to give the window back, on the training span alone.\n\n\
         Input `window` f32 [1, {bars}, {features}], oldest bar first. Output `factors` f32 [1, {factors}].\n\n\
         {data}\n\
         ## Figures\n\n\
         Share of the windows' variance, around their mean, that comes back through the factors:\n\n\
         | span | share |\n|---|---|\n{rows}\n\
         ## What it cannot do\n\n\
         The factors describe how windows look, not what follows them. They hold for windows like those of the training span; \
         the scaler clips values beyond its range. Factors of another encoder are other numbers under the same names: the direction models of \
         this run name this one by its hash.\n",
        name = export.factors_name,
        kind = encoder_kind(export),
        bars = export.encoder_bars(),
        features = export.run.manifest.features.len(),
        factors = export.factors(),
        data = data(export),
    )
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
    format!(
        "# {name}\n\n\
         The return and the direction {HORIZON_BARS} bar ahead, by `{target}` of a game of {count} generators against as many \
         discriminators: {networks}. Seed {seed}.\n\n\
         Input `features` f32 [1, {rows}, {width}], oldest row first, each row the factors of `{factors}` and then the scaled features. Outputs \
         `predicted_return` f32 [1, 1] in plain units (0.01 is one per cent) and `probabilities` f32 [1, 3] in the order \
         down, flat, up; flat is a return within ±{FLAT_BAND}.\n\n\
         {data}\n\
         ## Figures\n\n\
         Every choice was made on the validation span; the test span was measured once, afterwards. *alone* is a generator \
         before the game (empirical risk only), *game* after it; an ensemble is the plain mean. Intervals are 95 %.\n\n\
         {table}\
         {conclusion}\n\
         ## A rule to begin with\n\n\
         {rule}\n\
         ## What it cannot do\n\n\
         It is a working example, not advice and not a strategy. It knows the bars of its training span and no costs, limits or \
         suspensions; the intervals take days as independent. A much higher accuracy than that of a naive answer would be a \
         leak until proven otherwise.\n",
        count = manifest.config.generators.len(),
        networks = networks.join(", "),
        seed = manifest.config.seed,
        rows = direction.rows(),
        width = direction.width(),
        factors = export.factors_name,
        data = data(export),
        table = export.table.markdown(),
        conclusion = conclusion(export, target, &chosen),
        rule = rule_text(rule),
    )
}

fn data(export: &Export<'_>) -> String {
    let manifest = &export.run.manifest;
    let days = &manifest.days;
    let [training, validation, test] = manifest.samples;
    let row = |name: &str, span: heqis_quant::Span, samples: usize| {
        format!("| {name} | {} | {} | {samples} |\n", span.from, span.to)
    };
    format!(
        "## Data\n\n\
         Data set `{source}` of `heqis-lab prepare`, its manifest's sha256 `{sha256}`. Prices are as that set has them.\n\n\
         Features, in order: {features}.\n\n\
         | span | from | to | windows |\n|---|---|---|---|\n{training}{validation}{test}\n\
         Scaler, encoder and networks have seen the training span only.\n",
        source = export.source(),
        sha256 = manifest.data_sha256,
        features = manifest
            .features
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
        training = row("training", days.training, training),
        validation = row("validation", days.validation, validation),
        test = row("test", days.test, test),
    )
}

/// Returns in words whether the test metrics beat the naive predictions and the other baselines.
fn conclusion(export: &Export<'_>, target: &str, chosen: &str) -> String {
    let get = |model: &str| export.table.get(model, "test").map(|entry| &entry.metrics);
    let Some(metrics) = get(chosen) else {
        return String::new();
    };
    let mut text = String::from("On the test span ");
    if let Some(returns) = &metrics.returns {
        let d = &returns.minus_last_value;
        let place = place(d.low > 0.0, d.high < 0.0);
        let _ = write!(
            text,
            "the squared error is {place} that of predicting no change"
        );
        if let (Some(share), Some(mean)) = (returns.direction, direction_of(get("training mean"))) {
            let place = self::place(share.wilson_low > mean, share.wilson_high < mean);
            let _ = write!(
                text,
                "; the accuracy on signs is {place} that of the training mean's sign"
            );
        }
    }
    let class = |metrics: Option<&Metrics>| Some(metrics?.classes.as_ref()?.accuracy);
    if let (Some(ours), Some(naive)) = (class(Some(metrics)), class(get("training majority"))) {
        let place = place(
            ours.wilson_low > naive.share,
            ours.wilson_high < naive.share,
        );
        let _ = write!(
            text,
            "; the accuracy on classes is {place} that of always naming the majority class"
        );
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

/// Returns where a metric lies, given whether its whole interval is above or below the value of the comparison.
fn place(above: bool, below: bool) -> &'static str {
    match (above, below) {
        (true, _) => "above",
        (_, true) => "below",
        _ => "not distinguishable from",
    }
}
