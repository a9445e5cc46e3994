//! `Inputs` and `Outputs`: the ports of a stage as the variants of an enum.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Path, Result, Type};

use crate::input::{kebab_case, value_or_text};
use crate::manifest;

/// Which side of a stage the ports are on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Inputs,
    Outputs,
}

struct Port {
    variant: Ident,
    name: String,
    /// What the variant holds.
    ty: Type,
    optional: bool,
}

pub(crate) fn implementation(item: DeriveInput, side: Side) -> Result<TokenStream> {
    let (ports, krate) = read(&item, side)?;
    let krate = &krate.unwrap_or_else(manifest::actors);
    let ident = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let held = match side {
        Side::Inputs => quote!(#krate::Arriving),
        Side::Outputs => quote!(#krate::Outgoing),
    };
    let (variants, types): (Vec<_>, Vec<_>) =
        ports.iter().map(|port| (&port.variant, &port.ty)).unzip();
    let described = ports.iter().map(|port| {
        let (name, ty) = (&port.name, &port.ty);
        let optional = port.optional.then(|| quote!(.optional()));
        quote!(#krate::Port::of::<<#ty as #held>::Payload>(#name) #optional)
    });
    let constant = quote! {
        const PORTS: &'static [#krate::Port] = &[#(#described),*];

        fn payload_types() -> ::std::vec::Vec<#krate::PayloadType> {
            ::std::vec![#(<#types as #held>::payload_type()),*]
        }
    };
    Ok(match side {
        Side::Inputs => {
            let indices = 0usize..;
            quote! {
                #[automatically_derived]
                impl #generics #krate::Inputs for #ident #arguments #bounds {
                    type Frame = Self;
                    #constant

                    fn arrive(
                        port: usize,
                        frame: #krate::AnyFrame,
                    ) -> ::core::result::Result<Self, #krate::AnyFrame> {
                        match port {
                            #(#indices => <#types as #held>::arrive(frame).map(Self::#variants),)*
                            _ => ::core::result::Result::Err(frame),
                        }
                    }

                    fn into_any(frame: Self) -> #krate::AnyFrame {
                        match frame {
                            #(Self::#variants(frame) => <#types as #held>::into_any(frame),)*
                        }
                    }
                }
            }
        }
        Side::Outputs => {
            let indices = 0u16..;
            quote! {
                #[automatically_derived]
                impl #generics #krate::Outputs for #ident #arguments #bounds {
                    #constant

                    fn leave(self) -> #krate::Leaving {
                        match self {
                            #(Self::#variants(payload) => <#types as #held>::leave_by(payload, #indices),)*
                        }
                    }
                }
            }
        }
    })
}

fn read(item: &DeriveInput, side: Side) -> Result<(Vec<Port>, Option<Path>)> {
    let mut krate = None;
    for attribute in &item.attrs {
        if attribute.path().is_ident("port") {
            attribute.parse_nested_meta(|meta| match meta.path.is_ident("crate") {
                true => {
                    krate = Some(value_or_text(&meta)?);
                    Ok(())
                }
                false => Err(meta.error("unknown, the enum takes `crate`")),
            })?;
        }
    }
    let Data::Enum(data) = &item.data else {
        let reason =
            "ports are the variants of an enum; one port needs none, its payload is enough";
        return Err(Error::new(item.ident.span(), reason));
    };
    let mut ports: Vec<Port> = Vec::new();
    for variant in &data.variants {
        let mut name = kebab_case(&variant.ident.unraw().to_string());
        let mut optional = false;
        for attribute in &variant.attrs {
            if attribute.path().is_ident("port") {
                attribute.parse_nested_meta(|meta| {
                    if meta.path.is_ident("name") {
                        name = port_name(&meta.value()?.parse()?)?;
                    } else if meta.path.is_ident("optional") {
                        optional = true;
                    } else {
                        return Err(meta.error("unknown, a port takes `name` and `optional`"));
                    }
                    Ok(())
                })?;
            }
        }
        if ports.iter().any(|port| port.name == name) {
            let reason = format!("a second port called `{name}`");
            return Err(Error::new(variant.ident.span(), reason));
        }
        let ty = match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => fields.unnamed[0].ty.clone(),
            _ => {
                let holds = match side {
                    Side::Inputs => "one `Frame`, as in `Prices(Frame<Price>)`",
                    Side::Outputs => "one payload or `Frame`, as in `Up(Price)`",
                };
                return Err(Error::new(variant.span(), format!("a port holds {holds}")));
            }
        };
        ports.push(Port {
            variant: variant.ident.clone(),
            name,
            ty,
            optional,
        });
    }
    match ports.len() {
        0 => Err(Error::new(
            item.ident.span(),
            "an enum without variants has no port: use `Nothing`",
        )),
        count if count > usize::from(u16::MAX) => Err(Error::new(
            item.ident.span(),
            "a stage has at most 65,535 ports",
        )),
        _ => Ok((ports, krate)),
    }
}

fn port_name(text: &LitStr) -> Result<String> {
    let name = text.value();
    let is_kebab = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    match name.starts_with(|char: char| char.is_ascii_lowercase()) && name.chars().all(is_kebab) {
        true => Ok(name),
        false => Err(Error::new(
            text.span(),
            "the name of a port is a letter a-z, then a-z, 0-9 and `-`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use syn::{DeriveInput, parse_quote};

    use super::{Side, read};

    #[test]
    fn what_is_no_enum_of_ports_is_refused_with_the_reason() {
        let cases: [(DeriveInput, &str); 8] = [
            (
                parse_quote!(
                    struct In(Frame<Price>);
                ),
                "variants of an enum",
            ),
            (
                parse_quote!(
                    enum In {}
                ),
                "without variants",
            ),
            (
                parse_quote!(
                    enum In {
                        Prices,
                    }
                ),
                "as in `Prices(Frame<Price>)`",
            ),
            (
                parse_quote!(
                    enum In {
                        Prices(Frame<Price>, u8),
                    }
                ),
                "a port holds one",
            ),
            (
                parse_quote!(
                    enum In {
                        Prices { frame: Frame<Price> },
                    }
                ),
                "a port holds one",
            ),
            (
                parse_quote!(
                    enum In {
                        Up(Frame<Price>),
                        #[port(name = "up")]
                        Down(Frame<Price>),
                    }
                ),
                "a second port called `up`",
            ),
            (
                parse_quote!(
                    enum In {
                        #[port(name = "a.b")]
                        Up(Frame<Price>),
                    }
                ),
                "a-z, 0-9",
            ),
            (
                parse_quote!(
                    enum In {
                        #[port(default)]
                        Up(Frame<Price>),
                    }
                ),
                "`name` and `optional`",
            ),
        ];
        for (item, reason) in cases {
            let error = read(&item, Side::Inputs)
                .err()
                .map(|error| error.to_string());
            let found = error.as_deref().is_some_and(|error| error.contains(reason));
            assert!(found, "{error:?}, not {reason}");
        }
        let sound = parse_quote!(
            enum Out {
                LastPrice(Price),
                #[port(name = "rest", optional)]
                Other(Frame<Order>),
            }
        );
        let ports = read(&sound, Side::Outputs).ok().map(|(ports, _)| {
            ports
                .into_iter()
                .map(|port| (port.name, port.optional))
                .collect::<Vec<_>>()
        });
        let expected = [("last-price".to_owned(), false), ("rest".to_owned(), true)];
        assert_eq!(ports.as_deref(), Some(&expected[..]));
    }
}
