//! The implementation of `Payload`.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Ident, Path};

use crate::input::{Field, Input, Key, Role, Variant};
use crate::manifest;

/// Longest description of fields that is sent as it is; of a longer one the beginning and a hash are.
const MAX_FIELDS_CHARS: usize = 1000;

pub(crate) fn implementation(input: &Input) -> TokenStream {
    let krate = &input.krate.clone().unwrap_or_else(manifest::actors);
    let (ident, name, version) = (&input.ident, &input.name, input.version);
    let key = key(input, krate);
    let codec = (!input.local).then(|| {
        let fields = shortened(description(input, true));
        let former = shortened(description(input, false));
        let former = (former != fields)
            .then(|| quote!(const FIELDS_WITHOUT_EXTENSION: &'static str = #former;));
        let (encode, tensor, decode) = (
            encode(input, krate),
            tensor(input, krate),
            decode(input, krate),
        );
        quote! {
            const WIRE: bool = true;
            const VERSION: u32 = #version;
            const FIELDS: &'static str = #fields;
            #former
            #encode
            #tensor
            #decode
        }
    });
    // A type without fields reads nothing, and a conversion from the wire type may be an infallible one.
    quote! {
        #[automatically_derived]
        #[allow(unused_mut, clippy::unnecessary_fallible_conversions)]
        impl #krate::Payload for #ident {
            const NAME: &'static str = #name;
            #key
            #codec
        }
    }
}

impl Variant {
    /// The path of a value.
    fn path(&self) -> TokenStream {
        match &self.ident {
            Some(ident) => quote!(Self::#ident),
            None => quote!(Self),
        }
    }

    fn bound(&self) -> impl Iterator<Item = (Ident, &Field)> {
        let name = |at| format_ident!("field_{at}");
        (self.fields.iter().enumerate()).map(move |(at, field)| (name(at), field))
    }
}

fn key(input: &Input, krate: &Path) -> Option<TokenStream> {
    let arms: Vec<_> = (input.variants.iter())
        .filter_map(|variant| {
            let (path, field) = (
                variant.path(),
                variant.fields.iter().find(|field| field.key.is_some())?,
            );
            let member = &field.member;
            let key = match field.key.as_ref()? {
                Key::Value => quote_spanned!(field.ty.span()=> #krate::AsKey::as_key(field)),
                Key::By(function) => quote!(#function(field)),
            };
            Some(quote!(#path { #member: field, .. } => #key,))
        })
        .collect();
    let keyless = (arms.len() < input.variants.len()).then(|| quote!(_ => 0,));
    (!arms.is_empty()).then(|| {
        quote! {
            fn key(&self) -> #krate::Key {
                match self { #(#arms)* #keyless }
            }
        }
    })
}

fn encode(input: &Input, krate: &Path) -> TokenStream {
    let arms = input.variants.iter().zip(0u32..).map(|(variant, tag)| {
        let path = variant.path();
        let tag = input.is_enum.then(|| quote!(#krate::encode_meta(Self::NAME, &#tag, meta)?;));
        let bindings = variant.bound().map(|(binding, field)| {
            let member = &field.member;
            match field.role {
                Role::Tensor => quote!(#member: _),
                Role::Meta | Role::Extension(_) => quote!(#member: #binding),
            }
        });
        let writes = variant.bound().map(|(binding, field)| {
            let write = |value: TokenStream| {
                quote_spanned!(field.ty.span()=> #krate::encode_meta(Self::NAME, #value, meta)?;)
            };
            let value = match &field.wire {
                Some(wire) => quote_spanned!(wire.span()=> &<#wire as ::core::convert::From<_>>::from(#binding)),
                None => quote!(#binding),
            };
            match field.role {
                Role::Tensor => TokenStream::new(),
                Role::Meta => write(value),
                Role::Extension(_) => {
                    let write = write(value);
                    quote!(if let ::core::option::Option::Some(#binding) = #binding { #write })
                }
            }
        });
        quote!(#path { #(#bindings),* } => { #tag #(#writes)* })
    });
    quote! {
        fn encode(&self, meta: &mut ::std::vec::Vec<u8>) -> ::core::result::Result<(), #krate::PayloadError> {
            match self { #(#arms)* }
            ::core::result::Result::Ok(())
        }
    }
}

fn is_tensor(field: &Field) -> bool {
    matches!(field.role, Role::Tensor)
}

fn tensor(input: &Input, krate: &Path) -> Option<TokenStream> {
    let arms: Vec<_> = (input.variants.iter())
        .filter_map(|variant| {
            let (path, field) = (
                variant.path(),
                variant.fields.iter().find(|field| is_tensor(field))?,
            );
            let member = &field.member;
            let found = quote_spanned!(field.ty.span()=> ::core::option::Option::Some(tensor));
            Some(quote!(#path { #member: tensor, .. } => #found,))
        })
        .collect();
    let without =
        (arms.len() < input.variants.len()).then(|| quote!(_ => ::core::option::Option::None,));
    (!arms.is_empty()).then(|| {
        quote! {
            fn tensor(&self) -> ::core::option::Option<&#krate::Tensor> {
                match self { #(#arms)* #without }
            }
        }
    })
}

fn decode(input: &Input, krate: &Path) -> TokenStream {
    let values = input.variants.iter().map(|variant| {
        let path = variant.path();
        let reads = variant
            .bound()
            .map(|(binding, field)| read(&binding, field));
        let members = variant.bound().map(|(binding, field)| {
            let member = &field.member;
            quote!(#member: #binding)
        });
        let no_tensor =
            (!variant.fields.iter().any(is_tensor)).then(|| quote!(fields.no_tensor(&tensor)?;));
        quote!({ #no_tensor #(#reads)* #path { #(#members),* } })
    });
    let value = if input.is_enum {
        let tags = 0u32..;
        quote! {
            match fields.read::<u32>()? {
                #(#tags => #values)*
                unknown => return ::core::result::Result::Err(
                    fields.rule(::core::format_args!("there is no variant {}", unknown)),
                ),
            }
        }
    } else {
        quote!(#(#values)*)
    };
    let check = input.check.as_ref().map(|check| {
        quote_spanned!(check.span()=> #check(&mut value).map_err(|broken| fields.rule(broken))?;)
    });
    let binding = match check {
        Some(_) => quote!(let mut value),
        None => quote!(let value),
    };
    quote! {
        fn decode(meta: &[u8], tensor: #krate::Tensor) -> ::core::result::Result<Self, #krate::PayloadError> {
            let mut fields = #krate::FieldReader::new(Self::NAME, meta)?;
            #binding = #value;
            fields.finish()?;
            #check
            ::core::result::Result::Ok(value)
        }
    }
}

fn read(binding: &Ident, field: &Field) -> TokenStream {
    let ty = match &field.role {
        Role::Tensor => return quote!(let #binding = tensor;),
        Role::Extension(inner) => inner,
        Role::Meta => &field.ty,
    };
    let one = match &field.wire {
        Some(wire) => quote_spanned! {wire.span()=>
            <#ty as ::core::convert::TryFrom<#wire>>::try_from(fields.read::<#wire>()?)
                .map_err(|broken| fields.rule(broken))?
        },
        None => quote_spanned!(ty.span()=> fields.read::<#ty>()?),
    };
    match field.role {
        Role::Extension(_) => quote! {
            let #binding = if fields.is_empty() {
                ::core::option::Option::None
            } else {
                ::core::option::Option::Some(#one)
            };
        },
        _ => quote!(let #binding = #one;),
    }
}

/// The fields in their order with the types that go to the wire, such as `{ symbol: u64, price: f64 }`.
fn description(input: &Input, extended: bool) -> String {
    let variant = |variant: &Variant| {
        let is_named =
            (variant.fields.iter()).any(|field| matches!(field.member, syn::Member::Named(_)));
        let known = |field: &&Field| extended || !matches!(field.role, Role::Extension(_));
        let fields: Vec<String> = (variant.fields.iter().filter(known))
            .map(|field| {
                let option = matches!(field.role, Role::Extension(_)) && field.wire.is_some();
                let ty = plain(field.wire.as_ref().unwrap_or(&field.ty).to_token_stream());
                let ty = if option { format!("Option<{ty}>") } else { ty };
                match &field.member {
                    syn::Member::Named(name) => format!("{name}: {ty}"),
                    syn::Member::Unnamed(_) => ty,
                }
            })
            .collect();
        match is_named {
            true => format!("{{ {} }}", fields.join(", ")),
            false => format!("({})", fields.join(", ")),
        }
    };
    let variants: Vec<String> = (input.variants.iter())
        .map(|one| match &one.ident {
            Some(ident) if one.fields.is_empty() => ident.to_string(),
            Some(ident) => format!("{ident} {}", variant(one)),
            None => variant(one),
        })
        .collect();
    variants.join(" | ")
}

/// A type as text, without spaces and without the paths in front of its names: `std::vec::Vec<f64>` is `Vec<f64>`.
fn plain(ty: TokenStream) -> String {
    let mut text = String::new();
    for token in ty.to_string().split_whitespace().flat_map(pieces) {
        match token {
            "::" => {
                let name =
                    text.trim_end_matches(|char: char| char.is_alphanumeric() || char == '_');
                text.truncate(name.len());
            }
            token => text.push_str(token),
        }
    }
    text
}

/// `a::b` as `a`, `::`, `b`.
fn pieces(token: &str) -> impl Iterator<Item = &str> {
    (token.split("::").enumerate())
        .flat_map(|(at, piece)| [if at > 0 { "::" } else { "" }, piece])
        .filter(|piece| !piece.is_empty())
}

fn shortened(fields: String) -> String {
    match fields.char_indices().nth(MAX_FIELDS_CHARS) {
        None => fields,
        // FNV-1a, the same over builds and machines.
        Some(_) => {
            let hash = fields.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let begin: String = fields.chars().take(200).collect();
            format!("{begin}… (hash {hash:016x})")
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{plain, shortened};

    #[test]
    fn a_type_is_described_without_spaces_and_paths() {
        let text = plain(quote!(
            std::vec::Vec<(u8, ::core::option::Option<my_crate::Side>)>
        ));
        assert_eq!(text, "Vec<(u8,Option<Side>)>");
        assert_eq!(plain(quote!([f64; 3])), "[f64;3]");
    }

    #[test]
    fn a_long_description_differs_where_its_end_does() {
        let long = |last: &str| shortened("a: u64, ".repeat(200) + last);
        assert!(long("b: u8").len() < 300);
        assert_ne!(long("b: u8"), long("b: u9"));
        assert_eq!(shortened("a: u64".into()), "a: u64");
    }
}
