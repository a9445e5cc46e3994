//! Shapes, seeds, weights collected and restored, and refused configurations.

use burn::tensor::Device;
use heqis_train::nets::discriminator::DiscriminatorConfig;
use heqis_train::nets::generator::{GeneratorConfig, GeneratorKind};
use heqis_train::nets::weights::{collect, restore};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::common::{FEATURES, ROWS, elements, encoders, generators, random};

#[test]
fn every_generator_returns_a_value_and_three_logits_for_each_window() {
    let device = Device::flex();
    for config in generators() {
        let generator = config.init(&device, 1).unwrap();
        let answer = generator.forward(random(2, [3, ROWS, FEATURES], &device));
        assert_eq!(answer.value.dims(), [3, 1], "{config:?}");
        assert_eq!(answer.logits.dims(), [3, 3], "{config:?}");
        let values = elements(answer.value);
        assert!(values[0] != values[1], "{config:?} ignores its window");
    }
}

#[test]
fn every_encoder_returns_factors_and_reconstructions_of_the_shape_of_its_target() {
    let device = Device::flex();
    for config in encoders() {
        let encoder = config.init(&device, 1).unwrap();
        let x = random(2, [3, ROWS, FEATURES], &device);
        assert_eq!(encoder.encode(x.clone()).dims(), [3, config.latent()]);
        assert_eq!(
            encoder.reconstruct(x.clone()).dims(),
            encoder.target(x).dims()
        );
    }
}

#[test]
fn equal_seeds_give_equal_networks_and_different_seeds_different_ones() {
    let device = Device::flex();
    for config in generators() {
        let weights = |seed| collect(&config.init(&device, seed).unwrap()).unwrap();
        assert_eq!(weights(7), weights(7), "{config:?}");
        assert_ne!(weights(7), weights(8), "{config:?}");
    }
}

#[test]
fn weights_are_collected_by_name_and_restored_bit_for_bit() {
    let device = Device::flex();
    for config in generators() {
        let saved = collect(&config.init(&device, 1).unwrap()).unwrap();
        let mut names: Vec<&str> = saved.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), saved.len(), "names are unique in {config:?}");
        // Through JSON too.
        let text = serde_json::to_string(&saved).unwrap();
        let read: Vec<_> = serde_json::from_str(&text).unwrap();
        let other = restore(config.init(&device, 2).unwrap(), &read).unwrap();
        assert_eq!(collect(&other).unwrap(), saved);
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let device = Device::flex();
    let config = GeneratorConfig::new(GeneratorKind::Gru, ROWS, FEATURES);
    let generator = config.init(&device, 1).unwrap();
    let saved = collect(&generator).unwrap();
    let refusal = |tensors: &[_]| restore(generator.clone(), tensors).unwrap_err().to_string();
    assert_eq!(
        refusal(&saved[1..]),
        format!("weights: parameter {:?} is missing", saved[0].name)
    );
    let mut misshapen = saved.clone();
    misshapen[0].shape.reverse();
    assert!(refusal(&misshapen).contains("must have shape [5, 192], got [192, 5]"));
    let mut short = saved.clone();
    short[0].data.pop();
    assert!(refusal(&short).ends_with("got 959 elements"));
    let mut more = saved.clone();
    more.push(saved[0].clone());
    more[saved.len()].name = "spare".to_owned();
    assert_eq!(refusal(&more), "weights: no parameter is called \"spare\"");
}

#[test]
fn invalid_configurations_are_refused() {
    let refusal = |change: fn(&mut GeneratorConfig)| {
        let mut config = GeneratorConfig::new(GeneratorKind::Transformer, ROWS, FEATURES);
        change(&mut config);
        config.init(&Device::flex(), 1).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(|config| config.hidden = 0),
        "generator: hidden must be at least 1, got 0"
    );
    assert_eq!(
        refusal(|config| config.heads = 5),
        "generator: heads must divide hidden 64 into an even width, got 5"
    );
    assert_eq!(
        refusal(|config| config.bidirectional = true),
        "generator: bidirectional is not for kind Transformer"
    );
    assert_eq!(
        refusal(|config| config.dropout = 1.0),
        "generator: dropout must lie from 0 to below 1, got 1"
    );
    assert_eq!(
        refusal(|config| config.dropout = f64::NAN),
        "generator: dropout must lie from 0 to below 1, got NaN"
    );
    assert_eq!(
        refusal(|config| config.encoder = Some(config.encoder())),
        "generator: encoder is not for kind Transformer"
    );
    assert!(
        serde_json::from_str::<GeneratorConfig>(
            r#"{"kind": "gru", "window_rows": 8, "features": 5, "hiden": 4}"#
        )
        .is_err()
    );
    let read: GeneratorConfig =
        serde_json::from_str(r#"{"kind": "deep-transformer", "window_rows": 8, "features": 5}"#)
            .unwrap();
    assert_eq!(
        read,
        GeneratorConfig::new(GeneratorKind::DeepTransformer, 8, 5)
    );
    assert_eq!(read.layers(), 6);
}

#[test]
fn dropout_is_reproducible_by_seed_and_keeps_the_mean() {
    let device = Device::flex();
    let mut config = GeneratorConfig::new(GeneratorKind::Gru, ROWS, FEATURES);
    config.dropout = 0.5;
    let generator = config.init(&device, 1).unwrap();
    let x = random(2, [1, ROWS, FEATURES], &device);
    let draw = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mask = generator.dropout_mask(1, &mut rng);
        elements(generator.forward_train(x.clone(), mask).value)[0]
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let mean = (0..400).map(draw).sum::<f32>() / 400.0;
    let still = elements(generator.forward(x.clone()).value)[0];
    assert!((mean - still).abs() < 0.05, "{mean} {still}");
}

#[test]
fn the_discriminator_classifies_series_of_any_length() {
    let device = Device::flex();
    let discriminator = DiscriminatorConfig::default().init(&device, 1).unwrap();
    for rows in [1, 9, 33] {
        let series = random(1, [2, rows], &device);
        let classes = random(2, [2, rows, 3], &device);
        assert_eq!(discriminator.forward(series, classes).dims(), [2, 1]);
    }
}
