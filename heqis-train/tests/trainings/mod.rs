//! Settings of short trainings, shared by tests.

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
