//! `#[derive(Payload)]` for `heqis-actors`, which re-exports it and documents it with the trait.
//!
//! `input` reads the type and its attributes and refuses what has no meaning, `expand` writes the implementation, `manifest`
//! finds the crate that the implementation names.
//!
//! Not here: the bytes of a field, which `heqis_actors::encode_meta` and `FieldReader` define.

mod expand;
mod input;
mod manifest;

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
