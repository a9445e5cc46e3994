//! Linear models: [`pca`], [`ridge`] and [`logistic`] over [`linalg`].

pub mod linalg;
pub mod logistic;
pub mod pca;
pub mod ridge;
mod standardiser;
