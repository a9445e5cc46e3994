//! Model cards: description, metrics and limits of each bundle. Their text is part of shipped bundles: it stays byte for byte.

use std::collections::BTreeMap;

use heqis_data::samples::{FLAT_BAND, HORIZON_BARS, PURGE, Prepared, WINDOW_BARS};
use heqis_quant::stats::Proportion;

use super::report::{DIRECTION_BUNDLE, FACTORS_BUNDLE, Report};
use crate::baseline::SpanMetrics;

/// Returns the card of the factor model.
pub(crate) fn factors(report: &Report<'_>) -> String {
    let pca = &report.baseline.pca;
    let [training, validation, test] = report.captured.map(percent);
    let components: String = pca
        .variances
        .iter()
        .enumerate()
        .map(|(k, variance)| {
            format!(
                "| factor_{k} | {} |\n",
                percent(variance / pca.total_variance)
            )
        })
        .collect();
    format!(
        "# {FACTORS_BUNDLE}\n\n\
         The first {count} principal components of a window of {window} bars × {features} scaled features, each scaled \
         to unit variance on the training span. A linear baseline that any learnt encoder has to beat.\n\n\
         Input `window` f32 [1, {window}, {features}], oldest bar first. Output `factors` f32 [1, {count}].\n\n\
         {data}\n\
         ## Figures\n\n\
         Share of the windows' variance around the training mean that the factors carry:\n\n\
         | span | share |\n|---|---|\n\
         | training | {training} |\n| validation | {validation} |\n| test | {test} |\n\n\
         Share of each factor on the training span:\n\n| factor | share |\n|---|---|\n{components}\n\
         ## What it cannot do\n\n\
         The factors describe how windows differ, not what follows them. They are linear, were fitted on one \
         instrument, and their scale holds for windows like those of the training span only; the scaler clips values \
         beyond that span's range.\n",
        count = pca.bias.len(),
        window = WINDOW_BARS,
        features = report.prepared.feature_names().len(),
        data = data(report),
    )
}

/// Returns the card of the direction model.
pub(crate) fn direction(report: &Report<'_>) -> String {
    let choice = &report.baseline.choice;
    let inputs = report.baseline.ridge.weights.len();
    format!(
        "# {DIRECTION_BUNDLE}\n\n\
         Ridge regression for the return and multinomial logistic regression for the direction, {horizon} bar(s) \
         ahead, on the factors of `{FACTORS_BUNDLE}` and the last scaled row. A linear baseline that any learnt model \
         has to beat.\n\n\
         Input `features` f32 [1, {inputs}]. Outputs `predicted_return` f32 [1, 1] in plain units (0.01 is one per \
         cent) and `probabilities` f32 [1, 3] in the order down, flat, up; flat is a return within ±{band}.\n\n\
         {data}\n\
         ## Figures\n\n\
         {trials} settings were compared on the validation span (penalties {ridge} and {logistic} were chosen); the \
         test span was measured once, afterwards. Intervals are 95 % Wilson intervals.\n\n\
         | figure | validation | test |\n|---|---|---|\n{table}\n\
         {conclusion}\n\
         ## What it cannot do\n\n\
         It is a yardstick and a working example, not advice and not a strategy. It knows one instrument, daily bars, \
         and no costs, limits or suspensions; the intervals take days as \
         independent. A much higher accuracy than that of a naive answer would be a leak until proven otherwise.\n",
        horizon = HORIZON_BARS,
        band = FLAT_BAND,
        data = data(report),
        trials = choice.trials,
        ridge = choice.ridge_penalty,
        logistic = choice.logistic_penalty,
        table = table(&report.validation, &report.test),
        conclusion = conclusion(&report.test),
    )
}

/// Returns the section on data and spans, equal in both cards.
fn data(report: &Report<'_>) -> String {
    let prepared = report.prepared;
    let row = |name: &str, span: &std::ops::Range<usize>| {
        let (first, last) = (
            &prepared.samples[span.start].date,
            &prepared.samples[span.end - 1].date,
        );
        format!("| {name} | {first} | {last} | {} |\n", span.len())
    };
    format!(
        "## Data\n\n\
         `{source}`, sha256 `{sha256}`: {notes}\n\n\
         Features, in order: {features}.\n\n\
         | span | first window ends | last window ends | windows |\n|---|---|---|---|\n{training}{validation}{test}\n\
         Scaler and weights have seen the {rows} feature rows from {from} to {to} only. The {purge} windows before each \
         cut are dropped, so that no bar is seen from both sides of it.\n",
        source = prepared.source,
        sha256 = prepared.source_sha256,
        notes = notes(prepared),
        features = prepared
            .feature_names()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
        training = row("training", &prepared.spans.training),
        validation = row("validation", &prepared.spans.validation),
        test = row("test", &prepared.spans.test),
        rows = prepared.training_rows,
        from = prepared.scaler.span().from,
        to = prepared.scaler.span().to,
        purge = PURGE,
    )
}

/// Returns in words what the cleaner rejected and marked.
fn notes(prepared: &Prepared) -> String {
    let list = |counts: &BTreeMap<String, usize>| match counts.is_empty() {
        true => "none".to_owned(),
        false => counts
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!(
        "{} bars; rejected by the cleaner: {}; passed with a mark: {}. Prices are unadjusted.",
        prepared.bars,
        list(&prepared.rejects),
        list(&prepared.marks)
    )
}

/// Formats one metric of a span.
type Cell = fn(&SpanMetrics) -> String;

fn table(validation: &SpanMetrics, test: &SpanMetrics) -> String {
    let rows: [(&str, Cell); 14] = [
        ("mean squared error, ridge", |f| small(f.ridge.mse)),
        ("mean squared error, no change (last value)", |f| {
            small(f.zero_return.mse)
        }),
        ("mean squared error, ridge minus no change", |f| {
            let difference = &f.ridge_minus_zero_return;
            format!(
                "{} [{}, {}]",
                small(difference.mean),
                small(difference.low),
                small(difference.high)
            )
        }),
        ("smallest and largest predicted return", |f| {
            let [least, most] = f.predicted_return_range;
            format!("{least:.4}, {most:.4}")
        }),
        ("mean squared error, training mean", |f| {
            small(f.training_mean_return.mse)
        }),
        ("mean absolute error, ridge", |f| small(f.ridge.mae)),
        ("mean absolute error, no change (last value)", |f| {
            small(f.zero_return.mae)
        }),
        ("sign of a move, ridge", |f| share(&f.sign_accuracy)),
        ("sign of a move, always up", |f| {
            share(&f.always_up_sign_accuracy)
        }),
        ("class, most likely", |f| share(&f.class_accuracy)),
        ("class, always the training majority", |f| {
            format!(
                "{} ({})",
                share(&f.majority_class_accuracy),
                f.majority_class
            )
        }),
        ("Brier score, logistic", |f| format!("{:.4}", f.brier)),
        ("Brier score, training base rates", |f| {
            format!("{:.4}", f.brier_of_training_base_rates)
        }),
        ("base rates", |f| {
            f.base_rates
                .iter()
                .map(|(class, rate)| format!("{class} {}", percent(*rate)))
                .collect::<Vec<_>>()
                .join(", ")
        }),
    ];
    rows.iter()
        .map(|(name, cell)| format!("| {name} | {} | {} |\n", cell(validation), cell(test)))
        .collect()
}

/// Returns in words whether the test metrics beat the naive predictions.
fn conclusion(test: &SpanMetrics) -> String {
    let difference = &test.ridge_minus_zero_return;
    let errors = place(difference.low > 0.0, difference.high < 0.0);
    let signs = against(
        &test.sign_accuracy,
        test.always_up_sign_accuracy.share,
        "always predicting a rise",
    );
    let classes = against(
        &test.class_accuracy,
        test.majority_class_accuracy.share,
        "always naming the majority class",
    );
    format!(
        "On the test span the predicted return's squared error is {errors} that of predicting no change; the accuracy \
         on signs is {signs}; the accuracy on classes is {classes}.\n"
    )
}

fn against(accuracy: &Proportion, naive: f64, words: &str) -> String {
    format!(
        "{} that of {words}",
        place(accuracy.wilson_low > naive, accuracy.wilson_high < naive)
    )
}

/// Returns where a metric lies, given whether its whole interval is above or below the value of the comparison.
fn place(above: bool, below: bool) -> &'static str {
    match (above, below) {
        (true, _) => "above",
        (_, true) => "below",
        _ => "not distinguishable from",
    }
}

fn share(share: &Proportion) -> String {
    format!(
        "{} [{}, {}] of {}",
        percent(share.share),
        percent(share.wilson_low),
        percent(share.wilson_high),
        share.of
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn small(value: f64) -> String {
    format!("{value:.4e}")
}
