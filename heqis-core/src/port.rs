//! Ports: where edges meet a stage.
//!
//! A stage of one payload in and one out has one port on each side, which has no name: an edge names the stage alone. Where a
//! stage has several on one side, each has a name and a payload of its own, and an edge names it as in `split.up`.

use std::any::TypeId;

use crate::contract::ANY;
use crate::payload::{Nothing, Payload};

/// One port of a stage kind.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Port {
    /// Its name, kebab-case; empty for the only port of its side.
    pub name: &'static str,
    /// Name of its payload; [`ANY`] for the ports of a ring buffer.
    pub payload: &'static str,
    /// Whether its payload can be sent to another node, and recorded.
    pub on_wire: bool,
    /// Whether it may be without an edge.
    pub optional: bool,
    /// Type of its payload; `None` where any is taken.
    pub type_id: Option<fn() -> TypeId>,
}

impl Port {
    /// The port of a ring buffer.
    pub const ANY: Self = Self {
        name: "",
        payload: ANY,
        on_wire: true,
        optional: false,
        type_id: None,
    };

    /// A port called `name` of frames of `P`.
    #[must_use]
    pub const fn of<P: Payload>(name: &'static str) -> Self {
        Self {
            name,
            payload: P::NAME,
            on_wire: P::WIRE,
            optional: false,
            type_id: Some(TypeId::of::<P>),
        }
    }

    /// The same port, which may be without an edge.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The ports of a side with frames of `P` alone; [`Nothing`] has none.
    ///
    /// ```
    /// use heqis_actors::{Nothing, Port};
    ///
    /// assert!(Port::only::<Nothing>().is_empty());
    /// ```
    #[must_use]
    pub const fn only<P: Payload>() -> &'static [Self] {
        match P::NAME.as_bytes() {
            b"nothing" => &[],
            _ => const { &[Self::of::<P>("")] },
        }
    }

    /// Index of the port called `name`. A side with one port also has it under the stage's own name, which is empty here.
    #[must_use]
    pub fn find(ports: &[Self], name: &str) -> Option<usize> {
        match (name, ports) {
            ("", [_]) => Some(0),
            _ => ports.iter().position(|port| port.name == name),
        }
    }
}

/// The stage in the end of an edge, such as `split` in `split.up`.
///
/// ```
/// use heqis_actors::{port_of, stage_of};
///
/// assert_eq!((stage_of("split.up"), port_of("split.up")), ("split", "up"));
/// assert_eq!((stage_of("cleaner"), port_of("cleaner")), ("cleaner", ""));
/// ```
#[must_use]
pub fn stage_of(end: &str) -> &str {
    end.split_once('.').map_or(end, |(stage, _)| stage)
}

/// The port in the end of an edge, such as `up` in `split.up`; empty where it names a stage alone.
#[must_use]
pub fn port_of(end: &str) -> &str {
    end.split_once('.').map_or("", |(_, port)| port)
}

// `only` compares with its text, because names cannot be compared while the program is compiled.
const _: () = assert!(matches!(Nothing::NAME.as_bytes(), b"nothing"));
