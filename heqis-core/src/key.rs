//! Keys: by what frames are conflated and partitioned.

/// Identity by which frames are conflated and partitioned, such as an instrument packed into 16 bytes.
///
/// Two frames of one key keep their order on every path; frames of different keys need not.
pub type Key = u128;

/// A value that is a key, for `#[payload(key)]`: two values have the same key if and only if they are equal.
///
/// | type | key |
/// |---|---|
/// | unsigned integers, `bool`, `char` | the number |
/// | signed integers | the bits of the two's complement, without sign extension |
/// | `(A, B)` of at most 128 bits together | the bits of `A` in front of those of `B` |
///
/// ```
/// use heqis_actors::{AsKey, Key};
///
/// /// A stock exchange and the number of an instrument there.
/// struct Instrument(u16, u32);
///
/// impl AsKey for Instrument {
///     const BITS: u32 = 48;
///
///     fn as_key(&self) -> Key {
///         (self.0, self.1).as_key()
///     }
/// }
///
/// assert_eq!(Instrument(2, 5).as_key(), 2 << 32 | 5);
/// assert_eq!((-1i8).as_key(), 255);
/// ```
///
/// Text is no key, since it may be longer than 16 bytes: a payload with names holds a number or packed bytes for each.
///
/// ```compile_fail
/// # use heqis_actors::Payload;
/// #[derive(Payload)]
/// #[payload(local)]
/// struct Quote(#[payload(key)] String);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key of a payload",
    note = "a key is an integer, a `bool`, a `char`, a pair of these, or a type that implements `AsKey`",
    note = "`#[payload(key = function)]` takes the key from the field with a function"
)]
pub trait AsKey {
    /// Bits that the key occupies at most, from the lowest.
    const BITS: u32;

    /// The key.
    fn as_key(&self) -> Key;
}

macro_rules! keys {
    ($($type:ty as $unsigned:ty),*) => {
        $(impl AsKey for $type {
            const BITS: u32 = <$unsigned>::BITS;

            fn as_key(&self) -> Key {
                *self as $unsigned as Key
            }
        })*
    };
}

keys! {
    u8 as u8, u16 as u16, u32 as u32, u64 as u64, usize as u64, u128 as u128,
    i8 as u8, i16 as u16, i32 as u32, i64 as u64, isize as u64, i128 as u128,
    bool as u8, char as u32
}

impl<A: AsKey, B: AsKey> AsKey for (A, B) {
    const BITS: u32 = {
        assert!(
            A::BITS + B::BITS <= Key::BITS,
            "the two keys of a pair have at most 128 bits together"
        );
        A::BITS + B::BITS
    };

    fn as_key(&self) -> Key {
        // Computed here, so that a pair that is too wide does not compile.
        let _ = Self::BITS;
        self.0.as_key() << B::BITS | self.1.as_key()
    }
}

/// The partition of `key` among `lanes`, the same on every machine and in every run.
#[must_use]
pub fn partition(key: Key, lanes: usize) -> usize {
    // Fibonacci hashing over the folded key: cheap, and stable unlike the standard library's seeded hasher.
    let folded = (key as u64) ^ ((key >> 64) as u64);
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) as usize) % lanes.max(1)
}

#[cfg(test)]
mod tests {
    use super::AsKey;

    #[test]
    fn equal_values_alone_have_equal_keys() {
        assert_eq!(i64::MIN.as_key(), 1 << 63);
        assert_eq!((-1i128).as_key(), u128::MAX);
        assert_eq!('ä'.as_key(), 0xe4);
        assert_eq!(((-1i32, 2u8), true).as_key(), 0xffff_ffff_0201);
        assert_ne!((1u64, 0u64).as_key(), (0u64, 1u64).as_key());
    }
}
