//! The model cards of the linear baselines.

use std::collections::BTreeMap;

use heqis_quant::stats::Proportion;

use super::SpanMetrics;
use super::report::{DIRECTION_BUNDLE, FACTORS_BUNDLE, Report};
use super::table::TableCorpus;
use crate::bundle::card::{
    Card, against, direction_interface, direction_limits, factors_interface, percent, place_of,
    shares,
};
use crate::corpus::{HORIZON_BARS, WINDOW_BARS};

/// Returns the card of the factor model.
pub(super) fn factors(report: &Report<'_>) -> String {
    let pca = &report.baseline.pca;
    let (count, features) = (pca.bias.len(), report.source.features().len());
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
    Card {
        name: FACTORS_BUNDLE,
        about: format!(
            "The first {count} principal components of a window of {WINDOW_BARS} bars × {features} scaled features, each scaled \
             to unit variance on the training span. A linear baseline that any learnt encoder has to beat."
        ),
        interface: factors_interface(WINDOW_BARS, features, count),
        data: data(report),
        figures: format!(
            "Share of the windows' variance around the training mean that the factors carry:\n\n{}\n\
             Share of each factor on the training span:\n\n| factor | share |\n|---|---|\n{components}",
            shares(report.captured)
        ),
        limits: "The factors describe how windows differ, not what follows them. They are linear, were fitted on one \
                 instrument, and their scale holds for windows like those of the training span only; the scaler clips values \
                 beyond that span's range."
            .to_owned(),
    }
    .text()
}

/// Returns the card of the direction model.
pub(super) fn direction(report: &Report<'_>) -> String {
    let choice = &report.baseline.choice;
    let inputs = report.baseline.ridge.weights.len();
    Card {
        name: DIRECTION_BUNDLE,
        about: format!(
            "Ridge regression for the return and multinomial logistic regression for the direction, {HORIZON_BARS} bar(s) \
             ahead, on the factors of `{FACTORS_BUNDLE}` and the last scaled row. A linear baseline that any learnt model \
             has to beat."
        ),
        interface: direction_interface(&format!("[1, {inputs}]")),
        data: data(report),
        figures: format!(
            "{trials} settings were compared on the validation span (penalties {ridge} and {logistic} were chosen); the \
             test span was measured once, afterwards. Intervals are 95 % Wilson intervals.\n\n\
             | figure | validation | test |\n|---|---|---|\n{table}\n\
             {conclusion}",
            trials = choice.trials,
            ridge = choice.ridge_penalty,
            logistic = choice.logistic_penalty,
            table = table(&report.validation, &report.test),
            conclusion = conclusion(&report.test),
        ),
        limits: direction_limits(
            "a yardstick and a working example",
            "one instrument, daily bars, and",
        ),
    }
    .text()
}

/// Returns the section on data and spans, equal in both cards.
fn data(report: &Report<'_>) -> String {
    let table = report.table;
    let training = table.corpus.days.training;
    let about = format!(
        "`{}`, sha256 `{}`: {}",
        table.source,
        table.source_sha256,
        notes(table)
    );
    let seen = format!(
        "Scaler and weights have seen the {rows} feature rows from {from} to {to} only. The {purge} windows before each \
         cut are dropped, so that no bar is seen from both sides of it.",
        rows = table.training_rows(),
        from = training.from,
        to = training.to,
        purge = table.corpus.look_back.purge_bars(HORIZON_BARS),
    );
    let columns = "first window ends | last window ends";
    let days = |split| table.days(split);
    report.source.data(&about, columns, days, &seen)
}

/// Returns in words what the cleaner rejected and marked.
fn notes(table: &TableCorpus) -> String {
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
        table.bars,
        list(&table.rejects),
        list(&table.marks)
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
    let errors = place_of(&test.ridge_minus_zero_return);
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

fn share(share: &Proportion) -> String {
    format!(
        "{} [{}, {}] of {}",
        percent(share.share),
        percent(share.wilson_low),
        percent(share.wilson_high),
        share.of
    )
}

fn small(value: f64) -> String {
    format!("{value:.4e}")
}
