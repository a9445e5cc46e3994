//! Features that another crate computes, such as expressions: the border between it and a feature state.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bar::Bar;
use crate::error::QuantError;

/// A set of features that is computed elsewhere.
pub trait FeatureProgram: fmt::Debug + Send + Sync {
    /// Returns the names in the order of a row; a name also identifies the formula.
    fn names(&self) -> &[String];

    /// Returns the number of bars of a series before its first row.
    fn warmup_bars(&self) -> usize;

    /// Makes the empty state of one series.
    ///
    /// # Errors
    /// Returns [`QuantError`] when the program cannot compute one series by itself.
    fn start(&self) -> Result<Box<dyn ProgramState>, QuantError>;

    /// Continues from the bytes of [`ProgramState::save`].
    ///
    /// # Errors
    /// Returns [`QuantError`] when the bytes are no state of this program.
    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn ProgramState>, QuantError>;
}

/// The state of one series of a [`FeatureProgram`].
pub trait ProgramState: fmt::Debug + Send + Sync {
    /// Returns the number of features in a row.
    fn width(&self) -> usize;

    /// Takes the next bar, whose numbers are usable, and writes the row `[width]`. Returns whether all of it has values.
    fn update(&mut self, bar: &Bar, out: &mut [f64]) -> bool;

    /// Moves the state to another price level, before the first bar on it; see
    /// [`Indicator::rescale`](crate::indicators::Indicator::rescale).
    fn rescale(&mut self, factor: f64);

    /// Returns the state as bytes, from which it continues with identical bits.
    fn save(&self) -> Vec<u8>;

    /// Returns a copy.
    fn copy(&self) -> Box<dyn ProgramState>;
}

/// A program's state in a feature state. One that was read has only bytes until its set is attached.
#[derive(Debug)]
pub(super) enum Held {
    Running(Box<dyn ProgramState>),
    Saved(Vec<u8>),
}

impl Held {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Running(state) => state.save(),
            Self::Saved(bytes) => bytes.clone(),
        }
    }

    pub(super) fn attach(&mut self, program: &dyn FeatureProgram) -> Result<(), QuantError> {
        if let Self::Saved(bytes) = self {
            *self = Self::Running(program.restore(bytes)?);
        }
        Ok(())
    }

    pub(super) fn rescale(&mut self, factor: f64) {
        if let Self::Running(state) = self {
            state.rescale(factor);
        }
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        match self {
            Self::Running(state) => Self::Running(state.copy()),
            Self::Saved(bytes) => Self::Saved(bytes.clone()),
        }
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::Saved)
    }
}
