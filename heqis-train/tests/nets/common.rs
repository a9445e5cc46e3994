//! Small networks and numbers that the tests share.

use burn::tensor::{Device, Tensor, TensorData};
use heqis_train::nets::cae::CaeConfig;
use heqis_train::nets::encoder::EncoderConfig;
use heqis_train::nets::generator::{GeneratorConfig, GeneratorKind};
use heqis_train::nets::t3vae::T3VaeConfig;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

pub(crate) const ROWS: usize = 8;
pub(crate) const FEATURES: usize = 5;

/// Normal numbers.
pub(crate) fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// A tensor of normal numbers.
pub(crate) fn random<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let data = normal(seed, shape.iter().product());
    Tensor::from_data(TensorData::new(data, shape), device)
}

/// Elements in row-major order.
pub(crate) fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// Both encoders, small.
pub(crate) fn encoders() -> [EncoderConfig; 2] {
    let mut cae = CaeConfig::new(ROWS, FEATURES);
    (cae.channels, cae.latent) = (vec![4, 6], 3);
    let mut t3vae = T3VaeConfig::new(ROWS, FEATURES);
    (t3vae.hidden, t3vae.latent) = (6, 3);
    [EncoderConfig::Cae(cae), EncoderConfig::T3Vae(t3vae)]
}

/// Every kind of generator, small; recurrent ones with two layers, and in both directions.
pub(crate) fn generators() -> Vec<GeneratorConfig> {
    use GeneratorKind::{Dct, DeepTransformer, Gru, Lstm, Mpd, Rnn, Tcn, Transformer};
    let small = |kind, layers| {
        let mut config = GeneratorConfig::new(kind, ROWS, FEATURES);
        (config.hidden, config.heads, config.layers) = (8, 2, Some(layers));
        config
    };
    let mut all = Vec::new();
    for kind in [Rnn, Gru, Lstm] {
        all.push(small(kind, 1));
        let mut both = small(kind, 2);
        both.bidirectional = true;
        all.push(both);
    }
    for (kind, layers) in [(Tcn, 2), (Transformer, 1), (DeepTransformer, 3), (Dct, 2)] {
        all.push(small(kind, layers));
    }
    for encoder in encoders() {
        let mut mpd = small(Mpd, 1);
        mpd.encoder = Some(encoder);
        all.push(mpd);
    }
    all
}
