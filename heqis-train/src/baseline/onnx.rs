//! The baselines as ONNX graphs of plain operators.

use heqis_infer::InferError;
use heqis_infer::onnx::{Attribute, GraphBuilder};

use crate::linear::logistic::Logistic;
use crate::linear::pca::Pca;
use crate::linear::ridge::Ridge;
use heqis_bundle::Provenance;

/// Returns the model `window` f32 [1, W, F] → `factors` f32 [1, K].
///
/// # Errors
///
/// [`InferError::Graph`] when a weight is not finite or the shapes disagree.
pub fn factors(
    pca: &Pca,
    features: usize,
    provenance: &Provenance<'_>,
) -> Result<Vec<u8>, InferError> {
    let (window_bars, components) = (provenance.window_bars, pca.bias.len());
    let flat_len = window_bars * features;
    let mut graph = GraphBuilder::new("baseline-factors");
    let window = graph.input("window", &[1, window_bars, features]);
    let flat_shape = graph.int64s("flat_shape", &[1, flat_len as i64]);
    let flat = graph.node("flat", "Reshape", &[&window, &flat_shape], &[]);
    let weights = graph.weights("weights", &[flat_len, components], &columns(&pca.weights));
    let bias = graph.weights("bias", &[components], &narrow(&pca.bias));
    let factors = graph.node("factors", "Gemm", &[&flat, &weights, &bias], &[]);
    graph.output(&factors, &[1, components]);
    provenance.write(&mut graph);
    graph.finish()
}

/// Returns the model `features` f32 [1, K + F] → `predicted_return` f32 [1, 1] and `probabilities` f32 [1, 3].
///
/// # Errors
///
/// [`InferError::Graph`] when a weight is not finite or the shapes disagree.
pub fn direction(
    ridge: &Ridge,
    logistic: &Logistic,
    provenance: &Provenance<'_>,
) -> Result<Vec<u8>, InferError> {
    let (inputs, classes) = (ridge.weights.len(), logistic.bias.len());
    let mut graph = GraphBuilder::new("baseline-direction");
    let features = graph.input("features", &[1, inputs]);
    let weights = graph.weights("return_weights", &[inputs, 1], &narrow(&ridge.weights));
    let bias = graph.weights("return_bias", &[1], &narrow(&[ridge.bias]));
    let predicted_return = graph.node(
        "predicted_return",
        "Gemm",
        &[&features, &weights, &bias],
        &[],
    );
    let weights = graph.weights(
        "class_weights",
        &[inputs, classes],
        &columns(&logistic.weights),
    );
    let bias = graph.weights("class_bias", &[classes], &narrow(&logistic.bias));
    let scores = graph.node("scores", "Gemm", &[&features, &weights, &bias], &[]);
    let probabilities = graph.node(
        "probabilities",
        "Softmax",
        &[&scores],
        &[("axis", Attribute::Int(1))],
    );
    graph.output(&predicted_return, &[1, 1]);
    graph.output(&probabilities, &[1, classes]);
    provenance.write(&mut graph);
    graph.finish()
}

/// Rounds to `f32`, the precision that is shipped.
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// Returns a matrix given by rows of outputs as one of inputs × outputs in row-major order.
fn columns(rows: &[Vec<f64>]) -> Vec<f32> {
    let inputs = rows.first().map_or(0, Vec::len);
    (0..inputs)
        .flat_map(|input| rows.iter().map(move |row| row[input] as f32))
        .collect()
}
