//! TOML becomes a recipe: serde's derived code, fed from a parsed document that still knows where everything stands.
//!
//! An enumeration is written as a table whose `type` names the variant, `{ type = "dense", units = 64 }`, or as the bare
//! name where the other keys have defaults, `"adam"`. Serde's own attribute for that loses all places on the way; here
//! the table is taken apart first, so every error knows its key and its line.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// What is wrong in a document, and where.
#[derive(Debug)]
pub(super) struct Problem {
    message: String,
    /// Innermost first.
    path: Vec<String>,
    /// Bytes of the document.
    at: Option<Range<usize>>,
}

impl Problem {
    /// The line, from 1, and the message with the path of the key.
    pub(super) fn describe(&self, text: &str) -> (usize, String) {
        let mut path = String::new();
        for part in self.path.iter().rev() {
            if !path.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        let start = self.at.as_ref().map_or(0, |at| at.start);
        let message = if path.is_empty() {
            self.message.clone()
        } else {
            format!("{path}: {}", self.message)
        };
        (line(text, start), message)
    }

    fn new(message: String) -> Self {
        Self {
            message,
            path: Vec::new(),
            at: None,
        }
    }

    fn at(mut self, span: Range<usize>) -> Self {
        self.at.get_or_insert(span);
        self
    }

    fn under(mut self, part: String) -> Self {
        self.path.push(part);
        self
    }
}

/// The line, from 1, of the byte `at`.
pub(super) fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(given: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, but {given} came"))
    }

    fn invalid_value(given: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(given, expected)
    }

    fn unknown_field(given: &str, expected: &'static [&'static str]) -> Self {
        Self::new(unknown("key", given, expected))
    }

    fn unknown_variant(given: &str, expected: &'static [&'static str]) -> Self {
        Self::new(unknown("name", given, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("expected a key \"{field}\", but none came"))
    }
}

/// Says that a name is none of those that are known, and which one was perhaps meant.
pub(crate) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, given), name))
        .min();
    let list = known
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ");
    match nearest {
        // Half of the letters may be wrong, so that an abbreviation finds its word.
        Some((distance, name)) if distance * 2 <= name.len().max(given.len()) => {
            format!("unknown {what} \"{given}\": did you mean \"{name}\"? Expected one of {list}")
        }
        _ => format!("unknown {what} \"{given}\": expected one of {list}"),
    }
}

/// Reads a parsed document.
pub(super) fn from_table<T: de::DeserializeOwned>(
    document: &Spanned<DeTable<'_>>,
) -> Result<T, Problem> {
    T::deserialize(Table {
        table: document.get_ref(),
        skip: None,
        span: document.span(),
    })
}

/// A value of the document.
struct Node<'a, 'i>(&'a Spanned<DeValue<'i>>);

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let span = self.0.span();
        let visited = match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(value) => visitor.visit_i64(value),
                    Err(_) => Err(Problem::new(format!(
                        "expected an integer of 64 bits, but {number} came"
                    ))),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(value) => visitor.visit_f64(value),
                Err(_) => Err(Problem::new(format!(
                    "expected a number, but {number} came"
                ))),
            },
            DeValue::Datetime(date) => Err(de::Error::invalid_type(
                de::Unexpected::Other(&format!("the date {date}")),
                &visitor,
            )),
            DeValue::Array(items) => {
                let mut items = Items {
                    items: items.iter(),
                    index: 0,
                };
                let value = visitor.visit_seq(&mut items);
                match items.items.len() {
                    0 => value,
                    _ if value.is_err() => value,
                    more => Err(Problem::new(format!(
                        "expected {} elements, but {} came",
                        items.index,
                        items.index + more
                    ))),
                }
            }
            DeValue::Table(table) => Table {
                table,
                skip: None,
                span: span.clone(),
            }
            .deserialize_any(visitor),
        };
        visited.map_err(|problem| problem.at(span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let span = self.0.span();
        let empty = DeTable::new();
        let variant = match self.0.get_ref() {
            DeValue::String(text) => Variant {
                name: text.clone(),
                at: span.clone(),
                table: &empty,
                span: span.clone(),
            },
            DeValue::Table(table) => {
                let Some(name) = table.get("type") else {
                    return Err(<Problem as de::Error>::missing_field("type").at(span));
                };
                let DeValue::String(text) = name.get_ref() else {
                    return Err(Problem::new("expected a name in quotes".into())
                        .at(name.span())
                        .under("type".into()));
                };
                Variant {
                    name: text.clone(),
                    at: name.span(),
                    table,
                    span: span.clone(),
                }
            }
            other => {
                let message = format!(
                    "expected a name, or a table with the key \"type\", but {} came",
                    other.type_str()
                );
                return Err(Problem::new(message).at(span));
            }
        };
        visitor
            .visit_enum(variant)
            .map_err(|problem| problem.at(span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a, 'i> {
    items: std::slice::Iter<'a, Spanned<DeValue<'i>>>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let part = format!("[{}]", self.index);
        self.index += 1;
        seed.deserialize(Node(item))
            .map(Some)
            .map_err(|problem| problem.at(item.span()).under(part))
    }
}

/// A table without the key `skip`.
struct Table<'a, 'i> {
    table: &'a DeTable<'i>,
    skip: Option<&'static str>,
    span: Range<usize>,
}

impl<'de> Deserializer<'de> for Table<'_, '_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let skip = self.skip;
        let mut entries: Vec<_> = self
            .table
            .iter()
            .filter(|(key, _)| Some(key.get_ref().as_ref()) != skip)
            .collect();
        // In the order of the document, so that its first error is the one that is told.
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter();
        visitor
            .visit_map(Entries {
                entries,
                current: None,
            })
            .map_err(|problem| problem.at(self.span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

type Entry<'a, 'i> = (&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>);

struct Entries<'a, 'i> {
    entries: std::vec::IntoIter<Entry<'a, 'i>>,
    current: Option<Entry<'a, 'i>>,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Problem> = key.get_ref().as_ref().into_deserializer();
        seed.deserialize(name)
            .map(Some)
            .map_err(|problem| problem.at(key.span()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some((key, value)) = self.current.take() else {
            return Err(Problem::new("a value was asked for before its key".into()));
        };
        seed.deserialize(Node(value))
            .map_err(|problem| problem.at(value.span()).under(key.get_ref().to_string()))
    }
}

struct Variant<'a, 'i> {
    name: Cow<'i, str>,
    at: Range<usize>,
    table: &'a DeTable<'i>,
    span: Range<usize>,
}

impl<'de, 'a, 'i> EnumAccess<'de> for Variant<'a, 'i> {
    type Error = Problem;
    type Variant = Table<'a, 'i>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Problem> {
        let name: StrDeserializer<'_, Problem> = self.name.as_ref().into_deserializer();
        let variant = seed
            .deserialize(name)
            .map_err(|problem| problem.at(self.at))?;
        Ok((
            variant,
            Table {
                table: self.table,
                skip: Some("type"),
                span: self.span,
            },
        ))
    }
}

impl<'de> VariantAccess<'de> for Table<'_, '_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        match self
            .table
            .keys()
            .find(|key| Some(key.get_ref().as_ref()) != self.skip)
        {
            Some(key) => Err(Problem::new(unknown("key", key.get_ref(), &["type"])).at(key.span())),
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_any(visitor)
    }
}
