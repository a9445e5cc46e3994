//! Frames: whether the largest frame of an edge fits through its transport.

use heqis_actors::{Encoding, Prepared, Property};

use super::{DEFAULT_MAX_FRAME_BYTES, Resolved, terms};
use crate::topology::fault::{Code, Fault};

/// Bytes of every frame apart from features: the header, the head with its stamps, and the payload's fixed part.
const ENVELOPE_BYTES: usize = heqis_actors::wire::HEADER_BYTES + 4096;

/// Bytes of a feature in the meta part of a frame without a tensor, where it lies as f64.
const META_VALUE_BYTES: usize = 8;

/// A frame above the limit ends the connection, and is sent again for ever on an edge that promised not to lose one.
pub(super) fn check(
    resolved: &Resolved<'_>,
    prepared: &[Option<Prepared>],
    faults: &mut Vec<Fault>,
) {
    for &link in &resolved.edges {
        let edge = resolved.edge(link);
        let transport = edge.spec.as_ref().and_then(|spec| spec.transport.as_ref());
        let Some(transport) = transport.filter(|_| resolved.crossing(link).is_some()) else {
            continue;
        };
        let max_frame = transport.max_frame.unwrap_or(DEFAULT_MAX_FRAME_BYTES);
        let makers = terms::makers(resolved, link.from);
        let largest = makers
            .into_iter()
            .map(|maker| (needed(prepared[maker].as_ref(), transport.encoding), maker))
            .max();
        let Some((needed, maker)) = largest.filter(|(needed, _)| *needed > max_frame) else {
            continue;
        };
        let message = format!(
            "frames of `{}` need up to {needed} bytes on the edge `{}`, whose max_frame is {max_frame}",
            resolved.stage_name(maker),
            edge.name
        );
        let place = edge.at(&["transport", "max_frame"]);
        let help = format!("set max_frame = {needed} or more");
        faults.push(Fault::new(Code::FrameTooSmall, place, message).help(help));
    }
}

/// Bytes of the largest frame of a stage, as far as it says how many rows of how many features it makes.
fn needed(maker: Option<&Prepared>, encoding: Encoding) -> usize {
    let makes = maker.map(|maker| &maker.contract().provides);
    let fact = |subject: &str| makes.and_then(|makes| makes.get(subject));
    let width = match fact("feature") {
        Some(Property::Names(names)) => names.len(),
        _ => 0,
    };
    let rows = match fact("rows") {
        Some(Property::Number(rows)) => usize::try_from(*rows).ok(),
        _ => None,
    };
    let values = match rows {
        Some(rows) => tensor_bytes(encoding, rows.saturating_mul(width)),
        None => width.saturating_mul(META_VALUE_BYTES),
    };
    ENVELOPE_BYTES.saturating_add(values)
}

/// Bytes of a tensor; `int8` has its scale and zero point in front.
fn tensor_bytes(encoding: Encoding, elements: usize) -> usize {
    match encoding {
        Encoding::F32 => elements.saturating_mul(4),
        Encoding::F16 => elements.saturating_mul(2),
        Encoding::Int8 => elements.saturating_add(8),
    }
}
