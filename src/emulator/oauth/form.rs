//! What is sent to an authorisation server: a form or a query (RFC 6749 §§3.1 and 3.2, appendix B).

use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use data_encoding::BASE64;

use super::words::Refused;

/// The parameters; empty ones count as left out.
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a form. `None`: the body was too large.
    pub(super) fn read(headers: &HeaderMap, body: Option<&Bytes>) -> Result<Self, Refused> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let body = body.and_then(|body| std::str::from_utf8(body).ok());
        let Some(body) = body.filter(|_| kind == "application/x-www-form-urlencoded") else {
            return Err(Refused::NoForm);
        };
        Self::parse(body)
    }

    /// Reads a query.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Refused::Twice { name: name.into_owned() });
            }
        }
        parameters.retain(|_, value| !value.is_empty());
        Ok(Self(parameters))
    }

    /// One parameter.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A client's id and secret in an `Authorization` header (RFC 6749 §2.3.1).
pub(super) fn basic(header: &HeaderValue) -> Result<(String, String), Refused> {
    let read = || {
        let encoded = header.to_str().ok()?.strip_prefix("Basic ")?;
        let pair = String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()?;
        let (id, secret) = pair.split_once(':')?;
        let decoded = |text: &str| {
            let text = format!("x={text}");
            let mut pairs = url::form_urlencoded::parse(text.as_bytes());
            pairs.next().map(|(_, value)| value.into_owned())
        };
        Some((decoded(id)?, decoded(secret)?))
    };
    read().ok_or(Refused::WrongSecret)
}
