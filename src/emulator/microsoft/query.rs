//! Query options: what a call may ask beside its path.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::errors::ApiError;
use super::fields;
use super::filter::Filter;
use super::property::PropertyId;
use super::times::parse_parameter;

/// How many events a page has, unless the client says.
pub(super) const PAGE_DEFAULT: usize = 10;
/// How many it may ask for.
const PAGE_MAX: usize = 1_000;
/// How many extended properties `$expand` may name.
const EXPANDED_MAX: usize = 64;

/// The options of a query, none twice and none unknown.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// `allowed`: the options that the call understands.
    pub(super) fn parse(text: &str, allowed: &[&str]) -> Result<Self, ApiError> {
        let mut options = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let known = allowed.iter().find(|known| {
                // Options of OData are written so; Graph takes its own in any letters.
                **known == name || (!known.starts_with('$') && known.eq_ignore_ascii_case(&name))
            });
            let Some(known) = known else {
                let message = format!("The query parameter '{name}' is not supported.");
                return Err(ApiError::bad_request(&message));
            };
            if options.insert((*known).to_owned(), value.into_owned()).is_some() {
                let message = format!("The query parameter '{name}' is given twice.");
                return Err(ApiError::bad_request(&message));
            }
        }
        Ok(Self(options))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str, least: usize) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| *number >= least);
        let wrong = || {
            ApiError::bad_request(&format!("Invalid value '{text}' for {name} query option found."))
        };
        number.map(Some).ok_or_else(wrong)
    }

    pub(super) fn top(&self) -> Result<Option<usize>, ApiError> {
        Ok(self.number("$top", 1)?.map(|top| top.min(PAGE_MAX)))
    }

    pub(super) fn skip(&self) -> Result<usize, ApiError> {
        Ok(self.number("$skip", 0)?.unwrap_or_default())
    }

    pub(super) fn counts(&self) -> Result<bool, ApiError> {
        match self.get("$count") {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::bad_request("Invalid value for $count query option found.")),
        }
    }

    pub(super) fn filter(&self) -> Result<Option<Filter>, ApiError> {
        self.get("$filter").map(Filter::parse).transpose()
    }

    /// The fields that are asked for; `None`: all. `is_field`: whether there is one of a name.
    pub(super) fn select(
        &self,
        is_field: impl Fn(&str) -> bool,
    ) -> Result<Option<Vec<String>>, ApiError> {
        let Some(text) = self.get("$select") else {
            return Ok(None);
        };
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| !is_field(name)) {
            None => Ok(Some(names)),
            Some(name) => {
                let message = format!("Could not find a property named '{name}'.");
                Err(ApiError::bad_request(&message))
            }
        }
    }

    pub(super) fn select_of_event(&self) -> Result<Option<Vec<String>>, ApiError> {
        self.select(|name| fields::is_field(name) && name != "singleValueExtendedProperties")
    }

    /// `$expand`: the extended properties that are asked for.
    pub(super) fn expand(&self) -> Result<Vec<PropertyId>, ApiError> {
        let Some(text) = self.get("$expand") else {
            return Ok(Vec::new());
        };
        let wrong = |why: &str| ApiError::bad_request(&format!("Invalid expand clause: {why}."));
        let inner = text.trim().strip_prefix("singleValueExtendedProperties");
        let inner = inner.ok_or_else(|| wrong("only singleValueExtendedProperties is known"))?;
        let inner = inner.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
        let inner = inner.and_then(|inner| inner.trim().strip_prefix("$filter="));
        let mut rest = inner.ok_or_else(|| wrong("it has no filter of its own"))?.trim();
        let mut ids = Vec::new();
        loop {
            let quoted = rest.strip_prefix("id").and_then(|it| it.trim_start().strip_prefix("eq"));
            let quoted = quoted.and_then(|it| it.trim_start().strip_prefix('\''));
            let quoted = quoted.ok_or_else(|| wrong("expected id eq"))?;
            let (id, after) = closed(quoted).ok_or_else(|| wrong("a text has no closing quote"))?;
            if ids.len() == EXPANDED_MAX {
                return Err(wrong("it is too long"));
            }
            ids.push(PropertyId::expect(&id)?);
            rest = after.trim_start();
            if rest.is_empty() {
                return Ok(ids);
            }
            let next = rest.strip_prefix("or ").ok_or_else(|| wrong("expected or"))?;
            rest = next.trim_start();
        }
    }

    /// `startDateTime` and `endDateTime`.
    pub(super) fn window(&self) -> Result<(DateTime<Utc>, DateTime<Utc>), ApiError> {
        let time = |name: &str| self.get(name).and_then(parse_parameter);
        match (time("startDateTime"), time("endDateTime")) {
            (Some(start), Some(end)) if start < end => Ok((start, end)),
            _ => Err(ApiError::window()),
        }
    }
}

/// A text up to its closing quote, doubled ones undone, and what follows.
fn closed(text: &str) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        inner.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                inner.push('\'');
                rest = after;
            }
            None => return Some((inner, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name it''s";

    fn expanded(text: &str) -> Result<Vec<PropertyId>, ApiError> {
        Query(BTreeMap::from([("$expand".to_owned(), text.to_owned())])).expand()
    }

    #[test]
    fn extended_properties_are_asked_for_by_their_ids() {
        let one = format!("singleValueExtendedProperties($filter=id eq '{ID}')");
        assert_eq!(expanded(&one).unwrap()[0].to_string(), ID.replace("''", "'"));
        let two = format!("singleValueExtendedProperties($filter=id eq '{ID}' or id eq '{ID}')");
        assert_eq!(expanded(&two).unwrap().len(), 2);
    }

    #[test]
    fn an_expansion_without_a_filter_is_refused() {
        for wrong in [
            String::new(),
            "attachments".to_owned(),
            "singleValueExtendedProperties".to_owned(),
            "singleValueExtendedProperties()".to_owned(),
            "singleValueExtendedProperties($filter=id eq 'x')".to_owned(),
            format!("singleValueExtendedProperties($filter=id eq '{ID}"),
            format!("singleValueExtendedProperties($filter=id ne '{ID}')"),
            format!("singleValueExtendedProperties($filter=id eq '{ID}' or)"),
            format!("singleValueExtendedProperties($filter=id eq '{ID}' and id eq '{ID}')"),
        ] {
            assert!(expanded(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_option_is_known_and_given_once() {
        assert!(Query::parse("$top=1&top=1", &["$top"]).is_err());
        assert!(Query::parse("$top=1&$top=1", &["$top"]).is_err());
        assert!(Query::parse("$TOP=1", &["$top"]).is_err());
        assert!(Query::parse("startdatetime=x", &["startDateTime"]).is_ok());
        let query = Query::parse("%24top=5000&$skip=x", &["$top", "$skip"]).unwrap();
        assert_eq!(query.top().unwrap(), Some(PAGE_MAX));
        assert!(query.skip().is_err());
    }
}
