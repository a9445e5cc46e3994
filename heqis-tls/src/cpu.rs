//! What the processor must have: graviola has no code for one without.

/// Returns the features that the cryptography needs and this processor lacks; empty where TLS works.
#[must_use]
pub fn missing_features() -> Vec<&'static str> {
    let mut missing = Vec::new();
    for (name, there) in features() {
        if !there {
            missing.push(name);
        }
    }
    missing
}

#[cfg(target_arch = "x86_64")]
fn features() -> [(&'static str, bool); 6] {
    [
        ("adx", std::is_x86_feature_detected!("adx")),
        ("aes", std::is_x86_feature_detected!("aes")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("bmi1", std::is_x86_feature_detected!("bmi1")),
        ("pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> [(&'static str, bool); 4] {
    [
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list is graviola's: with nothing missing, graviola agrees that it works.
    #[test]
    fn the_list_agrees_with_the_library() {
        assert_eq!(
            missing_features().is_empty(),
            graviola::util::is_cpu_supported()
        );
    }
}
