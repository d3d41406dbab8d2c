//! Extended properties: their ids, and what is kept under them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::errors::ApiError;

/// How many of them an event may have.
const PROPERTIES_MAX: usize = 256;

const TYPES: [&str; 12] = [
    "ApplicationTime",
    "Binary",
    "Boolean",
    "CLSID",
    "Currency",
    "Double",
    "Float",
    "Integer",
    "Long",
    "Short",
    "String",
    "SystemTime",
];

/// `String {GUID} Name own`, `Integer {GUID} Id 0x8233` or `String 0x3001`. The name is
/// case-sensitive (B5), the rest is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PropertyId {
    kind: &'static str,
    set: Option<Uuid>,
    own: Own,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Own {
    Name(String),
    Number(u32),
}

impl PropertyId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        let kind = TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(kind))?;
        let Some(rest) = rest.strip_prefix('{') else {
            return Some(Self { kind, set: None, own: Own::Number(hexadecimal(rest)?) });
        };
        let (guid, rest) = rest.split_once("} ")?;
        let set = Some(Uuid::try_parse(guid).ok().filter(|_| guid.len() == 36)?);
        let (sort, own) = rest.split_once(' ')?;
        let own = match sort {
            _ if sort.eq_ignore_ascii_case("name") && !own.is_empty() => Own::Name(own.to_owned()),
            _ if sort.eq_ignore_ascii_case("id") => Own::Number(hexadecimal(own)?),
            _ => return None,
        };
        Some(Self { kind, set, own })
    }

    /// As [`Self::parse`], where it is an error to be none.
    pub(super) fn expect(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::invalid(&format!("The property id '{text}' is invalid."));
        Self::parse(text).ok_or_else(wrong)
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(set) = self.set {
            write!(f, " {{{set}}}")?;
        }
        match (&self.own, self.set) {
            (Own::Name(name), _) => write!(f, " Name {name}"),
            (Own::Number(number), Some(_)) => write!(f, " Id 0x{number:x}"),
            (Own::Number(number), None) => write!(f, " 0x{number:x}"),
        }
    }
}

fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u32::from_str_radix(digits, 16).ok()
}

/// The extended properties of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Properties(BTreeMap<PropertyId, String>);

impl Properties {
    /// Takes over those that a client wrote; the others stay.
    pub(super) fn merge(&mut self, given: &[Value]) -> Result<(), ApiError> {
        for property in given {
            let text = |name: &str| property.get(name).and_then(Value::as_str);
            let id = PropertyId::expect(text("id").unwrap_or_default())?;
            let value = text("value")
                .ok_or_else(|| ApiError::invalid(&format!("The property '{id}' has no value.")))?;
            self.0.insert(id, value.to_owned());
        }
        if self.0.len() > PROPERTIES_MAX {
            return Err(ApiError::invalid("An event has too many extended properties."));
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn get(&self, id: &PropertyId) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// Those that `$expand` asks for.
    pub(super) fn chosen(&self, ids: &[PropertyId]) -> Vec<Value> {
        let mut chosen = Vec::new();
        for (id, value) in self.0.iter().filter(|(id, _)| ids.contains(id)) {
            let fields = [("id", id.to_string()), ("value", value.clone())];
            let fields = fields.into_iter().map(|(name, text)| (name.to_owned(), json!(text)));
            chosen.push(Value::Object(fields.collect::<Map<_, _>>()));
        }
        chosen
    }

    /// All, as texts.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(id, value)| (id.to_string(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Colour of it";

    #[test]
    fn an_id_is_one_in_other_letters_but_for_its_name() {
        assert_eq!(PropertyId::parse(ID).unwrap().to_string(), ID);
        let shouted = ID.replace("String", "STRING").replace("66f5a359", "66F5A359");
        assert_eq!(PropertyId::parse(&shouted), PropertyId::parse(ID));
        assert_ne!(PropertyId::parse(&ID.replace("Colour", "colour")), PropertyId::parse(ID));
        for id in ["Integer 0x3001", "Boolean {66f5a359-4659-4830-9070-00047ec6ac6e} Id 0x8233"] {
            assert_eq!(PropertyId::parse(id).unwrap().to_string(), id);
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        for wrong in [
            "",
            "String",
            "String Name own",
            "Text {66f5a359-4659-4830-9070-00047ec6ac6e} Name own",
            "String {66f5a359} Name own",
            "String {66f5a359465948309070-00047ec6ac6e} Name own",
            "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name ",
            "String {66f5a359-4659-4830-9070-00047ec6ac6e} Id own",
            "String 66f5a359-4659-4830-9070-00047ec6ac6e Name own",
        ] {
            assert_eq!(PropertyId::parse(wrong), None, "{wrong}");
        }
    }
}
