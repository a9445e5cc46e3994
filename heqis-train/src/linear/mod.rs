//! Linear models: [`pca`], [`ridge`] and [`logistic`] over [`linalg`]; `penalty` chooses their settings.

pub mod linalg;
pub mod logistic;
pub mod pca;
pub(crate) mod penalty;
pub mod ridge;
mod standardiser;
