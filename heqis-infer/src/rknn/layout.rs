//! The place and encoding of each element of a row-major tensor in the NPU's memory.

use half::f16;

use super::library::{ElementType, Format, TensorAttr};

/// How one element is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    F32,
    F16,
    /// `value = (stored − zero_point) · scale`; a value outside the range of eight bits saturates.
    I8 {
        scale: f32,
        zero_point: i32,
    },
    U8 {
        scale: f32,
        zero_point: i32,
    },
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 { .. } | Self::U8 { .. } => 1,
        }
    }
}

/// A tensor's place in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    element: Element,
    /// For each element in row-major order, the offset of its first byte; checked against the memory's size.
    offsets: Vec<u32>,
}

impl Layout {
    /// Computes the layout of a tensor from the runtime's description.
    ///
    /// # Errors
    ///
    /// The broken rule, when the tensor uses an unsupported format or element type, or when its elements would not lie inside
    /// its memory.
    pub(super) fn of(attr: &TensorAttr) -> Result<Layout, String> {
        let element = match attr.element {
            ElementType::F32 => Element::F32,
            ElementType::F16 => Element::F16,
            ElementType::I8 | ElementType::U8 => {
                let (scale, zero_point) = (attr.scale, attr.zero_point);
                if !(scale.is_finite() && scale > 0.0) {
                    return Err(format!("scale must be positive, got {scale}"));
                }
                match attr.element {
                    ElementType::I8 => Element::I8 { scale, zero_point },
                    _ => Element::U8 { scale, zero_point },
                }
            }
            ElementType::Other(code) => {
                return Err(format!(
                    "element type {code} is none of f32, f16, int8 and uint8"
                ));
            }
        };
        let positions = positions(attr)?;
        let offsets = positions
            .into_iter()
            .map(|position| {
                let start = position.checked_mul(element.bytes())?;
                let end = start.checked_add(element.bytes())?;
                (end <= attr.bytes as usize)
                    .then(|| u32::try_from(start).ok())
                    .flatten()
            })
            .collect::<Option<Vec<u32>>>()
            .ok_or_else(|| {
                format!(
                    "elements of {:?} do not fit its memory of {} bytes",
                    attr.native_dims, attr.bytes
                )
            })?;
        Ok(Layout { element, offsets })
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Writes row-major values into the memory. Bytes between the elements stay zero, since the memory was cleared when it was
    /// allocated.
    pub(super) fn write(&self, values: &[f32], memory: &mut [u8]) {
        for (&value, &offset) in values.iter().zip(&self.offsets) {
            let at = offset as usize;
            match self.element {
                Element::F32 => memory[at..at + 4].copy_from_slice(&value.to_ne_bytes()),
                Element::F16 => {
                    memory[at..at + 2].copy_from_slice(&f16::from_f32(value).to_ne_bytes());
                }
                // A float-to-integer cast saturates, so the sum is within i64 before it is clamped.
                Element::I8 { scale, zero_point } => {
                    let stored = (value / scale).round() as i64 + i64::from(zero_point);
                    memory[at] = (stored.clamp(-128, 127) as i8).to_ne_bytes()[0];
                }
                Element::U8 { scale, zero_point } => {
                    let stored = (value / scale).round() as i64 + i64::from(zero_point);
                    memory[at] = stored.clamp(0, 255) as u8;
                }
            }
        }
    }

    /// Appends the row-major values that lie in the memory.
    pub(super) fn read(&self, memory: &[u8], values: &mut Vec<f32>) {
        values.extend(self.offsets.iter().map(|&offset| {
            let at = offset as usize;
            match self.element {
                Element::F32 => {
                    f32::from_ne_bytes([memory[at], memory[at + 1], memory[at + 2], memory[at + 3]])
                }
                Element::F16 => f16::from_ne_bytes([memory[at], memory[at + 1]]).to_f32(),
                Element::I8 { scale, zero_point } => {
                    (i32::from(i8::from_ne_bytes([memory[at]])) - zero_point) as f32 * scale
                }
                Element::U8 { scale, zero_point } => {
                    (i32::from(memory[at]) - zero_point) as f32 * scale
                }
            }
        }));
    }
}

/// For each element in row-major order of the model's own shape, its position in the memory, counted in elements.
fn positions(attr: &TensorAttr) -> Result<Vec<usize>, String> {
    // Dimensions as the model has them: N, C, H, W, the missing ones being 1.
    let dims = |dims: &[u32]| -> Vec<usize> { dims.iter().map(|&dim| dim as usize).collect() };
    let (model, native) = (dims(&attr.dims), dims(&attr.native_dims));
    let count = |dims: &[usize]| {
        dims.iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
            .filter(|&product| product > 0 && product <= attr.bytes as usize)
            .ok_or_else(|| {
                format!(
                    "shape {dims:?} does not fit its memory of {} bytes",
                    attr.bytes
                )
            })
    };
    let [n, c, h, w] = match (attr.format, &model[..]) {
        (Format::Nhwc, &[n, h, w, c]) => [n, c, h, w],
        (Format::Nhwc, _) => return Err(format!("shape {model:?} is not N, H, W, C")),
        (_, &[n, c, h, w]) => [n, c, h, w],
        (_, &[n, c, w]) => [n, c, 1, w],
        (_, &[n, c]) => [n, c, 1, 1],
        (_, &[n]) => [n, 1, 1, 1],
        _ => return Err(format!("shape {model:?} has more than four dimensions")),
    };
    let elements = count(&[n, c, h, w])?;
    let each = |place: &dyn Fn(usize, usize, usize, usize) -> usize| {
        let mut positions = Vec::with_capacity(elements);
        for (n, c) in (0..n).flat_map(|n| (0..c).map(move |c| (n, c))) {
            for (h, w) in (0..h).flat_map(|h| (0..w).map(move |w| (h, w))) {
                positions.push(place(n, c, h, w));
            }
        }
        positions
    };
    let stride = match attr.w_stride as usize {
        0 => w,
        stride if stride >= w => stride,
        stride => return Err(format!("width stride {stride} is less than the width {w}")),
    };
    match attr.native_format {
        Format::Undefined | Format::Nchw => {
            if count(&native)? != elements {
                return Err(format!(
                    "native shape {native:?} has not the {elements} elements of {model:?}"
                ));
            }
            Ok((0..elements).collect())
        }
        Format::Nhwc => {
            if native != [n, h, w, c] {
                return Err(format!(
                    "native shape {native:?} is not N, H, W, C of {:?}",
                    [n, c, h, w]
                ));
            }
            // The vendor pads the width; a product that overflowed could not have passed `count`, padded ones are
            // compared with the memory in bytes by the caller.
            Ok(each(&|ni, ci, hi, wi| {
                ((ni * h + hi) * stride + wi) * c + ci
            }))
        }
        Format::Nc1hwc2 => match native[..] {
            [nn, c1, nh, nw, c2]
                if nn == n && nh == h && nw == w && c2 > 0 && c1 == c.div_ceil(c2) =>
            {
                count(&native)?;
                Ok(each(&|ni, ci, hi, wi| {
                    (((ni * c1 + ci / c2) * h + hi) * stride + wi) * c2 + ci % c2
                }))
            }
            _ => Err(format!(
                "native shape {native:?} is not N, C1, H, W, C2 of {:?}",
                [n, c, h, w]
            )),
        },
        Format::Other(code) => Err(format!("native format {code} is not known")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn attr(model: &[u32], native: &[u32], format: Format, bytes: u32) -> TensorAttr {
        TensorAttr {
            name: "x".into(),
            dims: model.to_vec(),
            format: Format::Nchw,
            native_dims: native.to_vec(),
            native_format: format,
            element: ElementType::F32,
            scale: 1.0,
            zero_point: 0,
            w_stride: 0,
            bytes,
        }
    }

    #[test]
    fn channels_are_packed_in_groups_and_the_rest_of_a_group_stays_free() {
        // 3 channels of 1 × 2 in groups of 2: memory is [c0 c1][c0 c1] then [c2 -][c2 -].
        let attr = attr(&[1, 3, 1, 2], &[1, 2, 1, 2, 2], Format::Nc1hwc2, 32);
        let layout = Layout::of(&attr).unwrap();
        let mut memory = vec![0; 32];
        layout.write(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut memory);
        let stored: Vec<f32> = memory
            .chunks_exact(4)
            .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(stored, [1.0, 3.0, 2.0, 4.0, 5.0, 0.0, 6.0, 0.0]);
        let mut back = Vec::new();
        layout.read(&memory, &mut back);
        assert_eq!(back, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn a_padded_width_leaves_room_after_each_line() {
        let mut attr = attr(&[1, 1, 2, 3], &[1, 2, 3, 1], Format::Nhwc, 32);
        attr.w_stride = 4;
        let layout = Layout::of(&attr).unwrap();
        assert_eq!(layout.offsets, [0, 4, 8, 16, 20, 24]);
        attr.bytes = 27;
        let rule = Layout::of(&attr).unwrap_err();
        assert!(rule.contains("do not fit its memory of 27 bytes"), "{rule}");
        attr.w_stride = 2;
        assert_eq!(
            Layout::of(&attr).unwrap_err(),
            "width stride 2 is less than the width 3"
        );
    }

    #[test]
    fn eight_bits_hold_the_nearest_value_that_they_can() {
        let mut attr = attr(&[1, 5], &[1, 5], Format::Undefined, 5);
        (attr.element, attr.scale, attr.zero_point) = (ElementType::I8, 0.5, -3);
        let layout = Layout::of(&attr).unwrap();
        let mut memory = vec![0; 5];
        layout.write(&[0.0, 0.74, -0.76, 1e9, -1e9], &mut memory);
        let stored: Vec<i8> = memory.iter().map(|&byte| byte as i8).collect();
        assert_eq!(stored, [-3, -2, -5, 127, -128]);
        let mut back = Vec::new();
        layout.read(&memory, &mut back);
        assert_eq!(back, [0.0, 0.5, -1.0, 65.0, -62.5]);
        attr.scale = 0.0;
        assert_eq!(
            Layout::of(&attr).unwrap_err(),
            "scale must be positive, got 0"
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_number() {
        let good = attr(&[1, 2], &[1, 2], Format::Undefined, 8);
        let refuse = |change: &dyn Fn(&mut TensorAttr)| {
            let mut attr = good.clone();
            change(&mut attr);
            Layout::of(&attr).unwrap_err()
        };
        assert!(refuse(&|a| a.element = ElementType::Other(8)).contains("element type 8"));
        assert!(refuse(&|a| a.native_format = Format::Other(7)).contains("native format 7"));
        assert!(refuse(&|a| a.dims = vec![1; 5]).contains("more than four dimensions"));
        assert!(refuse(&|a| a.native_dims = vec![1, 3]).contains("has not the 2 elements"));
        assert!(refuse(&|a| a.dims = vec![u32::MAX; 4]).contains("does not fit its memory"));
        assert!(refuse(&|a| a.dims = vec![0, 2]).contains("does not fit its memory"));
    }

    proptest! {
        #[test]
        fn every_layout_gives_back_what_was_written(
            (n, c, h, w) in (1u32..3, 1u32..20, 1u32..5, 1u32..7),
            c2 in prop::sample::select(vec![4u32, 8, 16]),
            pad in 0u32..4,
            which in 0..3,
            half in any::<bool>(),
        ) {
            let c1 = c.div_ceil(c2);
            let (format, native, room) = match which {
                0 => (Format::Nchw, vec![n, c, h, w], n * c * h * w),
                1 => (Format::Nhwc, vec![n, h, w, c], n * h * (w + pad) * c),
                _ => (Format::Nc1hwc2, vec![n, c1, h, w, c2], n * c1 * h * (w + pad) * c2),
            };
            let mut attr = attr(&[n, c, h, w], &native, format, room * if half { 2 } else { 4 });
            attr.w_stride = w + pad;
            if half {
                attr.element = ElementType::F16;
            }
            let layout = Layout::of(&attr).unwrap();
            // Small integers are exact in both types.
            let values: Vec<f32> = (0..n * c * h * w).map(|i| i as f32).collect();
            let mut memory = vec![0; attr.bytes as usize];
            layout.write(&values, &mut memory);
            let mut back = Vec::new();
            layout.read(&memory, &mut back);
            prop_assert_eq!(back, values);
        }
    }
}
