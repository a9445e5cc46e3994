//! The plots of a run: curves by epoch, predictions of each generator, and reconstructions and factors of the encoder.

use burn::module::Module;
use heqis_data::svg::{Curve, Style, chart};

use super::curves::Point;
use super::device::device_of;
use super::state::{EncoderState, State};
use super::tensors::numbers;
use crate::corpus::{CLASSES, Corpus, Split};
use crate::error::TrainError;
use crate::metrics::forecast::Truth;

/// Number of features whose reconstruction is drawn.
const DRAWN_FEATURES: usize = 4;

/// Returns all plots with their file names without `.svg`.
///
/// # Errors
///
/// [`TrainError`] when a tensor cannot be read.
pub(crate) fn all(state: &State, corpus: &Corpus) -> Result<Vec<(String, String)>, TrainError> {
    let mut pictures = by_epoch(&state.curves);
    let truth = Truth::of(corpus, corpus.samples(Split::Validation));
    for generator in &state.generators {
        let forecast = generator.predict_best(corpus, Split::Validation)?;
        let of = |name: &str, returns: &[f64]| Curve {
            name: name.to_owned(),
            points: (0..)
                .zip(returns)
                .map(|(at, value)| (f64::from(at), 100.0 * value))
                .collect(),
        };
        let curves = [
            of("actual", &truth.returns),
            of("predicted", &forecast.returns.unwrap_or_default()),
        ];
        let title = format!(
            "{}: next return in per cent, validation span",
            generator.spec.name
        );
        let picture = chart(&title, "sample", &curves, Style::Line);
        pictures.push((format!("fit-{}", generator.spec.name), picture));
    }
    if let Some(encoder) = &state.encoder {
        pictures.push((
            "reconstruction".to_owned(),
            reconstruction(encoder, corpus)?,
        ));
        pictures.push(("latent".to_owned(), latent(encoder, corpus)?));
    }
    Ok(pictures)
}

/// Returns the curves by epoch; adversarial epochs follow those of pre-training.
fn by_epoch(points: &[Point]) -> Vec<(String, String)> {
    let of = |name: &str, network: &str, value: &dyn Fn(&Point) -> Option<f64>| {
        let own = points
            .iter()
            .filter(|p| p.network == network && p.pass == 0);
        Curve {
            name: name.to_owned(),
            points: own
                .enumerate()
                .filter_map(|(at, point)| Some((at as f64 + 1.0, value(point)?)))
                .collect(),
        }
    };
    let mut names: Vec<&str> = Vec::new();
    for point in points {
        if !names.contains(&point.network.as_str()) {
            names.push(&point.network);
        }
    }
    let (discriminators, others): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| name.starts_with("d-"));
    let (encoders, generators): (Vec<&str>, Vec<&str>) =
        others.into_iter().partition(|name| *name == "encoder");
    let curves = |names: &[&str], value: &dyn Fn(&Point) -> Option<f64>| -> Vec<Curve> {
        names.iter().map(|name| of(name, name, value)).collect()
    };
    let supervised = |p: &Point| Some(p.mse? + p.cross_entropy?);
    let mut accuracies = Vec::new();
    for name in &discriminators {
        accuracies.push(of(&format!("{name} real"), name, &|p| p.real_accuracy));
        accuracies.push(of(&format!("{name} fake"), name, &|p| p.fake_accuracy));
    }
    let draw = |name: &str, title: &str, curves: &[Curve]| {
        let picture = chart(title, "epoch", curves, Style::Line);
        (name.to_owned(), picture)
    };
    let mut pictures = vec![
        draw(
            "training-loss",
            "squared error + cross-entropy, training samples",
            &curves(&generators, &supervised),
        ),
        draw(
            "validation-loss",
            "supervised loss, validation span",
            &curves(&generators, &|p| p.validation_loss),
        ),
        draw(
            "validation-direction",
            "share of moves with the right sign, validation span",
            &curves(&generators, &|p| p.validation_direction),
        ),
    ];
    if !discriminators.is_empty() {
        let title = "share of series that discriminators classify correctly";
        pictures.push(draw("discriminators", title, &accuracies));
        let losses = curves(&discriminators, &|p| p.loss);
        pictures.push(draw(
            "discriminator-loss",
            "loss of discriminators",
            &losses,
        ));
    }
    for encoder in encoders {
        let curves = [
            of("training", encoder, &|p| p.loss),
            of("validation", encoder, &|p| p.validation_loss),
        ];
        pictures.push(draw("encoder-loss", "loss of the encoder", &curves));
    }
    pictures
}

/// Draws the first features of one window of the validation span and their reconstruction.
fn reconstruction(encoder: &EncoderState, corpus: &Corpus) -> Result<String, TrainError> {
    let samples = corpus.samples(Split::Validation);
    let middle = &samples[samples.len() / 2..][..1];
    let net = encoder.best_net.valid();
    let windows = corpus.encoder_windows(middle, &device_of(&net));
    let (shape, target) = numbers(net.target(windows.clone()))?;
    let (_, found) = numbers(net.reconstruct(windows))?;
    let (rows, features) = (shape[1], shape[2]);
    let names = corpus.scaler.feature_names().iter().enumerate();
    let curves: Vec<Curve> = names
        .take(DRAWN_FEATURES)
        .flat_map(|(f, name)| {
            let of = |name: String, values: &[f32]| Curve {
                name,
                points: (0..rows)
                    .map(|row| (row as f64, values[row * features + f].into()))
                    .collect(),
            };
            [
                of(name.clone(), &target),
                of(format!("{name} reconstructed"), &found),
            ]
        })
        .collect();
    let title = "scaled features of one window and their reconstruction";
    Ok(chart(title, "row", &curves, Style::Line))
}

/// Draws the first two factors of the validation span, coloured by the actual class.
fn latent(encoder: &EncoderState, corpus: &Corpus) -> Result<String, TrainError> {
    let samples = corpus.samples(Split::Validation);
    let net = encoder.best_net.valid();
    let mut curves: Vec<Curve> = CLASSES
        .iter()
        .map(|name| Curve {
            name: (*name).to_owned(),
            points: vec![],
        })
        .collect();
    for chunk in samples.chunks(512) {
        let windows = corpus.encoder_windows(chunk, &device_of(&net));
        let (_, codes) = numbers(net.encode(windows))?;
        for (sample, code) in chunk.iter().zip(codes.chunks(encoder.factors)) {
            let (series, row) = corpus.place(sample);
            let class = usize::from(series.classes[row]);
            let second = code.get(1).copied().unwrap_or_default();
            curves[class].points.push((code[0].into(), second.into()));
        }
    }
    let title = "first two factors of the validation span, by the actual direction";
    Ok(chart(title, "first factor", &curves, Style::Dots))
}
