//! Named tensors in one file: safetensors, an open format that other frameworks read.
//!
//! Eight bytes with the length of a JSON header (little-endian), the header with shapes and places, then all numbers
//! as little-endian `f32` in the order of names. The same tensors give the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

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

/// One entry of the header.
#[derive(Serialize, Deserialize)]
struct HeaderEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
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
        let mut header = serde_json::Map::new();
        if !self.notes.is_empty() {
            header.insert("__metadata__".to_owned(), serde_json::json!(self.notes));
        }
        let mut at = 0;
        for (name, (shape, values)) in &self.tensors {
            if shape.iter().product::<usize>() != values.len() {
                let rule = format!("{shape:?} does not hold {} numbers", values.len());
                return Err(TrainError::training(name, rule));
            }
            let end = at + values.len() * 4;
            let entry = serde_json::json!({
                "dtype": "F32", "shape": shape, "data_offsets": [at, end],
            });
            header.insert(name.clone(), entry);
            at = end;
        }
        let mut text = serde_json::Value::Object(header).to_string();
        // The numbers start at a multiple of eight bytes.
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        let mut bytes = Vec::with_capacity(8 + text.len() + at);
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
        for (_, values) in self.tensors.values() {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Ok(bytes)
    }

    /// Reads the bytes of a file; `path` is named by errors.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the layout is another, or the file is cut short.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, TrainError> {
        let fault = |rule: &str| TrainError::training(path.display(), rule.to_owned());
        let (length, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| fault("must start with the length of its header"))?;
        let length = usize::try_from(u64::from_le_bytes(*length))
            .ok()
            .filter(|length| *length <= rest.len())
            .ok_or_else(|| fault("its header is cut short"))?;
        let (header, data) = rest.split_at(length);
        let json = |source| TrainError::json(path, source);
        let header: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(header).map_err(json)?;
        let mut tensors = Self::default();
        for (name, entry) in header {
            if name == "__metadata__" {
                tensors.notes = serde_json::from_value(entry).map_err(json)?;
                continue;
            }
            let entry: HeaderEntry = serde_json::from_value(entry).map_err(json)?;
            let [from, to] = entry.data_offsets;
            let count = entry
                .shape
                .iter()
                .try_fold(4usize, |n, d| n.checked_mul(*d));
            let cells = data
                .get(from..to)
                .filter(|cells| entry.dtype == "F32" && count == Some(cells.len()))
                .ok_or_else(|| fault("every tensor must be F32 and lie in the file"))?;
            let values = cells.as_chunks::<4>().0.iter();
            let values = values.map(|cell| f32::from_le_bytes(*cell)).collect();
            tensors.tensors.insert(name, (entry.shape, values));
        }
        Ok(tensors)
    }
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
