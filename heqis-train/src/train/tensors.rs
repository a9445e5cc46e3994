//! Named tensors in one file: safetensors, an open format that other frameworks read. All numbers are `f32`. The same tensors
//! and texts give the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::TrainError;
use crate::nets::weights::{self, NamedTensor};

/// A shape and its numbers, row-major.
pub type Numbers = (Vec<usize>, Vec<f32>);

/// Named tensors and named texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors {
    tensors: BTreeMap<String, Numbers>,
    notes: BTreeMap<String, String>,
}

impl Tensors {
    /// Adds a tensor, or replaces the one of this name.
    pub fn put(&mut self, name: &str, numbers: Numbers) {
        self.tensors.insert(name.to_owned(), numbers);
    }

    /// Adds a text.
    pub fn note(&mut self, name: &str, text: String) {
        self.notes.insert(name.to_owned(), text);
    }

    /// Returns a tensor.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when there is none of this name.
    pub fn get(&self, name: &str) -> Result<&Numbers, TrainError> {
        self.tensors
            .get(name)
            .ok_or_else(|| TrainError::training(name, "no such tensor in the file".to_owned()))
    }

    /// Returns a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.notes.get(name).map(String::as_str)
    }

    /// Returns the names of the tensors in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Adds the parameters of a network below `prefix`, each under its path: `g1/value.weight`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a parameter cannot be read.
    pub(crate) fn put_network<M: Module>(
        &mut self,
        prefix: &str,
        network: &M,
    ) -> Result<(), TrainError> {
        for tensor in weights::collect(network)? {
            self.put(
                &format!("{prefix}/{}", tensor.name),
                (tensor.shape, tensor.data),
            );
        }
        Ok(())
    }

    /// Returns the network with the parameters below `prefix`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when one is missing, left over, or has another shape.
    pub(crate) fn fill_network<M: Module>(
        &self,
        prefix: &str,
        network: M,
    ) -> Result<M, TrainError> {
        let folder = format!("{prefix}/");
        let tensors: Vec<NamedTensor> = self
            .tensors
            .iter()
            .filter_map(|(name, (shape, data))| {
                Some(NamedTensor {
                    name: name.strip_prefix(&folder)?.to_owned(),
                    shape: shape.clone(),
                    data: data.clone(),
                })
            })
            .collect();
        weights::restore(network, &tensors)
    }

    /// Returns the bytes of the file.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a shape does not hold its numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let cells: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|(_, values)| {
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            })
            .collect();
        let views = self.tensors.iter().zip(&cells);
        let views = views
            .map(|((name, (shape, _)), cells)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), cells)
                    .map_err(|error| TrainError::training(name, error.to_string()))?;
                Ok((name, view))
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        let notes = (!self.notes.is_empty()).then(|| self.notes.clone().into_iter().collect());
        let fault = |error: String| TrainError::training("tensors", error);
        let mut bytes =
            safetensors::serialize(views, notes).map_err(|error| fault(error.to_string()))?;
        sort_header(&mut bytes).map_err(|error| fault(error.to_string()))?;
        Ok(bytes)
    }

    /// Reads the bytes of a file; `path` is named by errors.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the layout is another, or the file is cut short.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, TrainError> {
        let fault = |rule: String| TrainError::training(path.display(), rule);
        let broken = |error: safetensors::SafeTensorError| fault(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let mut tensors = Self::default();
        tensors
            .notes
            .extend(header.metadata().clone().into_iter().flatten());
        for (name, view) in SafeTensors::deserialize(bytes).map_err(broken)?.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(fault(format!("{name} must be F32, got {:?}", view.dtype())));
            }
            let values = view.data().as_chunks::<4>().0.iter();
            let values = values.map(|cell| f32::from_le_bytes(*cell)).collect();
            tensors.put(name, (view.shape().to_vec(), values));
        }
        Ok(tensors)
    }
}

/// Sorts the keys of a file's header. The crate writes them in its own order; shipped bundles hold digests of files with sorted
/// keys, and a training must give these again.
fn sort_header(bytes: &mut [u8]) -> Result<(), serde_json::Error> {
    if let Some((length, rest)) = bytes.split_first_chunk_mut() {
        let header = &mut rest[..u64::from_le_bytes(*length) as usize];
        let keys: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
            serde_json::from_slice(header)?;
        // The same keys and values take the same room; spaces fill the rest.
        serde_json::to_writer(header, &keys)?;
    }
    Ok(())
}

/// Returns the shape and the numbers of a tensor.
///
/// # Errors
///
/// [`TrainError::Rule`] when the device cannot give them.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Numbers, TrainError> {
    let shape = tensor.dims().to_vec();
    let values = tensor
        .try_into_vec_as::<f32>()
        .map_err(|source| TrainError::training("tensor", source.to_string()))?;
    Ok((shape, values))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    #[test]
    fn bytes_are_read_back_and_a_truncated_file_is_refused() {
        let mut tensors = Tensors::default();
        tensors.put("b", (vec![2, 1], vec![1.5, f32::MIN_POSITIVE]));
        tensors.put("a", (vec![1], vec![-0.0]));
        tensors.note("state", "{\"epoch\":3}".to_owned());
        let bytes = tensors.to_bytes().unwrap();
        let path = Path::new("x.safetensors");
        let back = Tensors::from_bytes(path, &bytes).unwrap();
        assert_eq!(back, tensors);
        assert!(back.get("a").unwrap().1[0].is_sign_negative());
        assert_eq!(back.text("state"), Some("{\"epoch\":3}"));
        for cut in [0, 7, 30, bytes.len() - 1] {
            assert!(Tensors::from_bytes(path, &bytes[..cut]).is_err(), "{cut}");
        }
        tensors.put("c", (vec![3], vec![0.0]));
        assert!(tensors.to_bytes().is_err());
    }

    #[test]
    fn the_layout_is_that_of_the_published_example() {
        // The example of the format's own description, one tensor of two numbers.
        let mut tensors = Tensors::default();
        tensors.put("test", (vec![2], vec![1.0, 2.0]));
        let bytes = tensors.to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        assert_eq!(
            header,
            serde_json::json!({"test": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
        );
        let sorted = br#"{"test":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}}"#;
        assert!(bytes[8..].starts_with(sorted));
        assert_eq!(bytes[8 + length..], [0, 0, 128, 63, 0, 0, 0, 64]);
    }

    #[test]
    fn a_network_is_restored_only_into_one_of_its_shape() {
        let device = Device::flex().autodiff();
        let linear = |a, b| -> Linear { LinearConfig::new(a, b).init(&device) };
        let (one, two) = (linear(3, 2), linear(3, 2));
        let mut tensors = Tensors::default();
        tensors.put_network("g1", &one).unwrap();
        assert_eq!(
            tensors.names().collect::<Vec<_>>(),
            ["g1/bias", "g1/weight"]
        );
        let two = tensors.fill_network("g1", two).unwrap();
        let weights = |l: &Linear| l.weight.val().try_to_vec_as::<f32>().unwrap();
        assert_eq!(weights(&one), weights(&two));
        assert!(two.weight.val().is_require_grad());
        assert!(tensors.fill_network("g1", linear(3, 1)).is_err());
        assert!(tensors.fill_network("g2", linear(3, 2)).is_err());
    }
}
