//! Settings of short trainings, shared by tests.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::Path;

use heqis_train::train::TrainConfig;

/// Returns settings with an encoder and three small generators of different kinds and windows, one of which contains the encoder;
/// each phase has one epoch.
pub(crate) fn small(set: &Path) -> TrainConfig {
    let text = format!(
        r#"
        seed = 11
        [data]
        set = {set:?}
        [schedule]
        encoder_epochs = 1
        pretraining_epochs = 1
        adversarial_epochs = 1
        identity_epochs = 1
        fine_tune_epochs = 0
        [discriminator]
        branch_channels = 4
        channels = 8
        hidden = 8
        [encoder]
        kind = "cae"
        window_bars = 6
        factors = 2
        channels = [4, 8]
        [[generators]]
        name = "g1"
        kind = "gru"
        window_bars = 5
        hidden = 8
        [[generators]]
        name = "g2"
        kind = "transformer"
        window_bars = 8
        hidden = 8
        heads = 2
        layers = 1
        [[generators]]
        name = "g3"
        kind = "mpd"
        window_bars = 6
        hidden = 8
        heads = 2
        layers = 1
        "#
    );
    TrainConfig::parse(Path::new("small.toml"), &text).unwrap()
}

/// Returns the settings of a training that takes seconds.
pub(crate) fn tiny(set: &Path, more: &str) -> TrainConfig {
    let text = format!(
        r#"
        seed = 11
        {more}
        [data]
        set = {set:?}
        [schedule]
        pretraining_epochs = 2
        adversarial_epochs = 6
        identity_epochs = 2
        distil_every = 3
        fine_tune_epochs = 2
        [discriminator]
        branch_channels = 4
        channels = 8
        hidden = 8
        [[generators]]
        name = "g1"
        kind = "gru"
        window_bars = 6
        hidden = 8
        dropout = 0.1
        [[generators]]
        name = "g2"
        kind = "transformer"
        window_bars = 8
        hidden = 8
        heads = 2
        layers = 1
        [encoder]
        kind = "t3vae"
        window_bars = 4
        factors = 2
        "#
    );
    TrainConfig::parse(Path::new("test.toml"), &text).unwrap()
}
