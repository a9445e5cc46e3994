//! `#[derive(Payload)]`, `#[derive(Inputs)]` and `#[derive(Outputs)]` for `heqis-actors`, which re-exports them and documents
//! them with the traits.
//!
//! `input` reads the type and its attributes and refuses what has no meaning, `expand` writes the implementation, `manifest`
//! finds the crate that the implementation names. `ports` reads and expands the ports of a stage.
//!
//! Not here: the bytes of a field, which `heqis_actors::encode_meta` and `FieldReader` define.

mod expand;
mod input;
mod manifest;
mod ports;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Payload`: the name, the key and the codec of a message. `heqis_actors::Payload` describes the attributes.
#[proc_macro_derive(Payload, attributes(payload))]
pub fn derive_payload(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    match input::Input::new(item) {
        Ok(input) => expand::implementation(&input),
        Err(error) => error.into_compile_error(),
    }
    .into()
}

/// Implements `Inputs`: the input ports of a stage. `heqis_actors::Inputs` describes the attributes.
#[proc_macro_derive(Inputs, attributes(port))]
pub fn derive_inputs(item: TokenStream) -> TokenStream {
    ports(item, ports::Side::Inputs)
}

/// Implements `Outputs`: the output ports of a stage. `heqis_actors::Outputs` describes the attributes.
#[proc_macro_derive(Outputs, attributes(port))]
pub fn derive_outputs(item: TokenStream) -> TokenStream {
    ports(item, ports::Side::Outputs)
}

fn ports(item: TokenStream, side: ports::Side) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    match ports::implementation(item, side) {
        Ok(implementation) => implementation,
        Err(error) => error.into_compile_error(),
    }
    .into()
}
