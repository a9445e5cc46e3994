//! The type that a payload is derived for: its attributes, and what is refused.

use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::parse::Parse;
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Fields, GenericArgument, Ident, LitInt, LitStr, Member, Path};
use syn::{PathArguments, Result, Type};

/// Names that mean something else on ports.
const RESERVED: [&str; 2] = ["any", "nothing"];

pub(crate) struct Input {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) version: u32,
    /// Without a codec.
    pub(crate) local: bool,
    /// Called with a decoded value.
    pub(crate) check: Option<Path>,
    /// Path of `heqis_actors`, where it is given.
    pub(crate) krate: Option<Path>,
    pub(crate) is_enum: bool,
    /// The variants of an enum; of a struct the one that it is.
    pub(crate) variants: Vec<Variant>,
}

pub(crate) struct Variant {
    /// Absent for a struct.
    pub(crate) ident: Option<Ident>,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) ty: Type,
    pub(crate) key: Option<Key>,
    pub(crate) role: Role,
    /// The type that goes to the wire in place of the field's.
    pub(crate) wire: Option<Type>,
}

pub(crate) enum Key {
    /// By `AsKey`.
    Value,
    /// By a function of the field.
    By(Path),
}

pub(crate) enum Role {
    /// In the meta part.
    Meta,
    /// The tensor part.
    Tensor,
    /// At the end of the meta part where it is present, with the type in the `Option`.
    Extension(Box<Type>),
}

impl Input {
    pub(crate) fn new(item: DeriveInput) -> Result<Self> {
        if !item.generics.params.is_empty() {
            return Err(Error::new(
                item.generics.span(),
                "a payload has no generic parameters, because its name stands for one layout on every node: derive it for \
                 a type of its own, such as `struct Prices(Series<f64>);`",
            ));
        }
        let mut input = Self {
            name: kebab_case(&item.ident.unraw().to_string()),
            ident: item.ident,
            version: 1,
            local: false,
            check: None,
            krate: None,
            is_enum: matches!(item.data, Data::Enum(_)),
            variants: Vec::new(),
        };
        let mut versioned = None;
        let mut given = Vec::new();
        for attribute in item
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("payload"))
        {
            attribute.parse_nested_meta(|meta| {
                if let Some(name) = meta.path.get_ident() {
                    if given.contains(name) {
                        return Err(meta.error("given twice"));
                    }
                    given.push(name.clone());
                }
                if meta.path.is_ident("name") {
                    input.name = name(&meta)?;
                } else if meta.path.is_ident("version") {
                    let number: LitInt = value(&meta)?;
                    input.version = number.base10_parse()?;
                    if input.version == 0 {
                        return Err(Error::new(number.span(), "versions are counted from 1"));
                    }
                    versioned = Some(meta.path.span());
                } else if meta.path.is_ident("local") {
                    input.local = true;
                } else if meta.path.is_ident("check") {
                    input.check = Some(value(&meta)?);
                } else if meta.path.is_ident("crate") {
                    input.krate = Some(value_or_text(&meta)?);
                } else {
                    return Err(meta.error(
                        "unknown, the type takes `name`, `version`, `local`, `check` and `crate`",
                    ));
                }
                Ok(())
            })?;
        }
        if RESERVED.contains(&input.name.as_str()) {
            return Err(Error::new(
                input.ident.span(),
                format!(
                    "`{}` is a port's type of its own: give the payload another `name`",
                    input.name
                ),
            ));
        }
        input.variants = match item.data {
            Data::Struct(data) => vec![Variant {
                ident: None,
                fields: fields(data.fields)?,
            }],
            Data::Enum(data) => {
                let variants = data.variants.into_iter().map(|variant| {
                    let mut attributes = variant.attrs.iter();
                    if let Some(unused) =
                        attributes.find(|attribute| attribute.path().is_ident("payload"))
                    {
                        return Err(Error::new(
                            unused.span(),
                            "a variant takes no attributes: write them at its fields, as in `Trade(#[payload(key)] u64)`",
                        ));
                    }
                    Ok(Variant {
                        ident: Some(variant.ident),
                        fields: fields(variant.fields)?,
                    })
                });
                variants.collect::<Result<_>>()?
            }
            Data::Union(data) => {
                return Err(Error::new(
                    data.union_token.span(),
                    "a union has no layout on the wire",
                ));
            }
        };
        if input.variants.is_empty() {
            return Err(Error::new(
                input.ident.span(),
                "an enum without variants has no values to send",
            ));
        }
        let encoded = (input.variants.iter().flat_map(|variant| &variant.fields))
            .find(|field| field.wire.is_some() || !matches!(field.role, Role::Meta));
        if let (true, Some(span)) = (
            input.local,
            versioned
                .or(encoded.map(|field| field.ty.span()))
                .or(input.check.as_ref().map(|check| check.span())),
        ) {
            return Err(Error::new(
                span,
                "a `local` payload is not encoded: it takes `name` and `key` only",
            ));
        }
        Ok(input)
    }
}

fn fields(fields: Fields) -> Result<Vec<Field>> {
    let mut all = Vec::new();
    for (index, field) in fields.into_iter().enumerate() {
        let member = field.ident.map_or(Member::from(index), Member::Named);
        let mut read = Field {
            member,
            ty: field.ty,
            key: None,
            role: Role::Meta,
            wire: None,
        };
        for attribute in field
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("payload"))
        {
            attribute.parse_nested_meta(|meta| attribute_of(&mut read, &meta))?;
        }
        if let (Role::Tensor, Some(wire)) = (&read.role, &read.wire) {
            return Err(Error::new(
                wire.span(),
                "a tensor goes to the wire as it is",
            ));
        }
        all.push(read);
    }
    only_one(&all, "key", |field| field.key.is_some())?;
    only_one(&all, "tensor", |field| matches!(field.role, Role::Tensor))?;
    let in_meta = || {
        all.iter()
            .filter(|field| !matches!(field.role, Role::Tensor))
    };
    let last = in_meta().count().saturating_sub(1);
    match in_meta().position(|field| matches!(field.role, Role::Extension(_))) {
        Some(at) if at < last => Err(Error::new(
            all[at].ty.span(),
            "an `extension` is the last field: what an older peer leaves out can only be at the end",
        )),
        _ => Ok(all),
    }
}

fn attribute_of(field: &mut Field, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.path.is_ident("key") {
        field.key = Some(match meta.input.peek(syn::Token![=]) {
            true => Key::By(value(meta)?),
            false => Key::Value,
        });
    } else if meta.path.is_ident("tensor") {
        field.role = Role::Tensor;
    } else if meta.path.is_ident("extension") {
        let inner = in_option(&field.ty).ok_or_else(|| {
            Error::new(
                field.ty.span(),
                "an `extension` is an `Option`, which is `None` where the peer left it out",
            )
        })?;
        field.role = Role::Extension(Box::new(inner.clone()));
    } else if meta.path.is_ident("as") {
        field.wire = Some(value(meta)?);
    } else {
        return Err(meta.error("unknown, a field takes `key`, `tensor`, `extension` and `as`"));
    }
    Ok(())
}

fn only_one(fields: &[Field], what: &str, has: impl Fn(&Field) -> bool) -> Result<()> {
    match fields.iter().filter(|field| has(field)).nth(1) {
        Some(second) => Err(Error::new(
            second.member.span(),
            format!("a second field with `{what}`: a payload has one {what} at most"),
        )),
        None => Ok(()),
    }
}

fn value<T: Parse>(meta: &ParseNestedMeta<'_>) -> Result<T> {
    meta.value()?.parse()
}

/// `crate = heqis::actors`, or in quotes as other derives take it.
pub(crate) fn value_or_text(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let input = meta.value()?;
    match input.peek(LitStr) {
        true => input.parse::<LitStr>()?.parse_with(Path::parse_mod_style),
        false => input.call(Path::parse_mod_style),
    }
}

fn name(meta: &ParseNestedMeta<'_>) -> Result<String> {
    let text: LitStr = value(meta)?;
    let name = text.value();
    let is_kebab = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    if name.is_empty() || !name.chars().all(is_kebab) {
        return Err(Error::new(
            text.span(),
            "a name consists of a-z, 0-9 and `-`",
        ));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(Error::new(
            text.span(),
            format!("`{name}` is a port's type of its own"),
        ));
    }
    Ok(name)
}

/// The `T` of an `Option<T>`.
fn in_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

/// `FeatureRow` as `feature-row`, `HTTPReply2` as `http-reply2`.
pub(crate) fn kebab_case(ident: &str) -> String {
    let chars: Vec<char> = ident.chars().collect();
    let mut name = String::new();
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let starts_word = match before {
            _ if !char.is_uppercase() => false,
            None | Some('_') => false,
            Some(before) if before.is_uppercase() => {
                chars.get(at + 1).is_some_and(|next| next.is_lowercase())
            }
            Some(_) => true,
        };
        if starts_word {
            name.push('-');
        }
        match char {
            '_' => name.push('-'),
            char => name.extend(char.to_lowercase()),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use syn::{DeriveInput, parse_quote};

    use super::{Input, kebab_case};

    #[test]
    fn a_type_is_named_in_kebab_case() {
        for (ident, name) in [
            ("Tick", "tick"),
            ("FeatureRow", "feature-row"),
            ("HTTPReply2", "http-reply2"),
            ("L2Book", "l2-book"),
            ("Raw_Tick", "raw-tick"),
        ] {
            assert_eq!(kebab_case(ident), name);
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_the_reason() {
        let cases: [(DeriveInput, &str); 21] = [
            (
                parse_quote!(
                    struct Any(u8);
                ),
                "another `name`",
            ),
            (
                parse_quote!(
                    enum Tick {
                        #[payload(key)]
                        Trade(u8),
                    }
                ),
                "a variant takes no attributes",
            ),
            (
                parse_quote!(
                    #[payload(local, check = Self::check)]
                    struct Tick(u8);
                ),
                "is not encoded",
            ),
            (
                parse_quote!(
                    #[payload(name = "x", name = "y")]
                    struct Tick(u8);
                ),
                "given twice",
            ),
            (
                parse_quote!(
                    struct Tick<T>(T);
                ),
                "no generic parameters",
            ),
            (
                parse_quote!(
                    struct Tick<'a>(&'a str);
                ),
                "no generic parameters",
            ),
            (parse_quote!(union Tick { a: u8, b: i8 }), "a union"),
            (
                parse_quote!(
                    enum Tick {}
                ),
                "without variants",
            ),
            (
                parse_quote!(
                    struct Tick(#[payload(key)] u8, #[payload(key)] u8);
                ),
                "a second field with `key`",
            ),
            (
                parse_quote!(
                    enum Tick {
                        A,
                        B {
                            #[payload(key)]
                            a: u8,
                            #[payload(key = low)]
                            b: u8,
                        },
                    }
                ),
                "a second field with `key`",
            ),
            (
                parse_quote!(
                    struct Tick(#[payload(tensor)] Tensor, #[payload(tensor)] Tensor);
                ),
                "a second field with `tensor`",
            ),
            (
                parse_quote!(
                    struct Tick(#[payload(tensor, as = Vec<f32>)] Tensor);
                ),
                "as it is",
            ),
            (
                parse_quote!(
                    struct Tick(#[payload(extension)] Option<u8>, u8);
                ),
                "is the last field",
            ),
            (
                parse_quote!(
                    struct Tick(#[payload(extension)] u8);
                ),
                "is an `Option`",
            ),
            (
                parse_quote!(
                    #[payload(local, version = 2)]
                    struct Tick(u8);
                ),
                "is not encoded",
            ),
            (
                parse_quote!(
                    #[payload(local)]
                    struct Tick(#[payload(as = u8)] Side);
                ),
                "is not encoded",
            ),
            (
                parse_quote!(
                    #[payload(version = 0)]
                    struct Tick(u8);
                ),
                "from 1",
            ),
            (
                parse_quote!(
                    #[payload(name = "Tick")]
                    struct Tick(u8);
                ),
                "a-z, 0-9",
            ),
            (
                parse_quote!(
                    #[payload(name = "any")]
                    struct Tick(u8);
                ),
                "`any`",
            ),
            (
                parse_quote!(
                    #[payload(named = "tick")]
                    struct Tick(u8);
                ),
                "the type takes `name`",
            ),
            (
                parse_quote!(
                    struct Tick(#[payload(keys)] u8);
                ),
                "a field takes `key`",
            ),
        ];
        for (item, reason) in cases {
            let error = Input::new(item).err().map(|error| error.to_string());
            assert!(
                error.as_deref().is_some_and(|error| error.contains(reason)),
                "{error:?}, not {reason}"
            );
        }
        let sound = parse_quote! {
            #[payload(name = "tick", version = 2, check = Self::check, crate = "heqis::actors")]
            struct Tick {
                #[payload(key, as = u64)]
                symbol: Symbol,
                #[payload(extension)]
                note: Option<String>,
                #[payload(tensor)]
                window: Tensor,
            }
        };
        assert_eq!(Input::new(sound).ok().map(|input| input.version), Some(2));
    }
}
