//! Initial weights, drawn on the host so that a seed gives the same network on every device.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws the parameters of one network, in the order in which its layers are built.
pub(crate) struct Init<'a> {
    device: &'a Device,
    values: ChaCha8Rng,
    ids: ChaCha8Rng,
}

impl<'a> Init<'a> {
    /// Starts the random stream of the network named `model`; networks with different names have different streams.
    pub(crate) fn new(device: &'a Device, seed: u64, model: &str) -> Self {
        let stream = model.bytes().fold(0_u64, |hash, byte| {
            hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        let generator = |stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            rng
        };
        Init {
            device,
            values: generator(stream.wrapping_mul(2)),
            ids: generator(stream.wrapping_mul(2).wrapping_add(1)),
        }
    }

    /// Returns a parameter with elements uniform in ±`bound`.
    pub(crate) fn uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        bound: f64,
    ) -> Param<Tensor<D>> {
        let len = shape.iter().product();
        // 24 random bits fill the mantissa of an f32, so that every draw is exact.
        let unit = |bits: u32| f64::from(bits >> 8) / f64::from(1_u32 << 24);
        let values = (0..len)
            .map(|_| (bound * (2.0 * unit(self.values.next_u32()) - 1.0)) as f32)
            .collect();
        self.param(shape, values)
    }

    /// Returns a parameter with equal elements.
    pub(crate) fn constant<const D: usize>(
        &mut self,
        shape: [usize; D],
        value: f32,
    ) -> Param<Tensor<D>> {
        self.param(shape, vec![value; shape.iter().product()])
    }

    fn param<const D: usize>(&mut self, shape: [usize; D], values: Vec<f32>) -> Param<Tensor<D>> {
        let value = Tensor::from_data(TensorData::new(values, shape), self.device);
        let (_, value, mapper) = Param::from_tensor(value).consume();
        // The parameter id also follows from the seed, since optimiser states are keyed by it.
        Param::from_mapped_value(ParamId::from(self.ids.next_u64()), value, mapper)
    }
}
