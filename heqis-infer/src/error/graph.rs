//! The rules of a graph under construction, each with the value that breaks it.

/// The rule that a graph under construction breaks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphFault {
    /// A name is empty or defined twice.
    #[error("name {0:?} must be non-empty and defined once")]
    Name(String),
    /// A node uses a value before anything defines it.
    #[error("node {node} uses {value:?}, which nothing before it defines")]
    Undefined {
        /// The node, by the name of its output.
        node: String,
        /// The undefined value.
        value: String,
    },
    /// An initialiser's elements do not fill its shape.
    #[error("initialiser {name} of shape {shape:?} got {got} elements")]
    Length {
        /// The initialiser.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Number of elements given.
        got: usize,
    },
    /// An initialiser holds NaN or infinity.
    #[error("initialiser {name}[{index}] is {value}; every weight must be finite")]
    NotFinite {
        /// The initialiser.
        name: String,
        /// Index of the element.
        index: usize,
        /// The value, printed.
        value: String,
    },
    /// An input or output has an empty dimension or one that does not fit the format.
    #[error("{name} has shape {shape:?}; every dimension must lie between 1 and 2^63 - 1")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The graph has no node or no output.
    #[error("must have at least one node and one output")]
    Empty,
}
