//! What a client prefers, by its `Prefer` headers.

use axum::http::{HeaderMap, HeaderName};
use chrono_tz::Tz;

use super::errors::ApiError;
use super::zones;
use crate::emulator::reply::Reply;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preferences of one request.
#[derive(Debug, Clone)]
pub(super) struct Preferences {
    /// `IdType="ImmutableId"` (B6).
    pub(super) immutable_ids: bool,
    /// `outlook.timezone`, under the name that the client gave it.
    pub(super) zone: Tz,
    pub(super) zone_name: String,
    /// `outlook.body-content-type="text"`.
    pub(super) text_bodies: bool,
    /// `odata.maxpagesize`.
    pub(super) page_size: Option<usize>,
    pub(super) applied: Vec<String>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            immutable_ids: false,
            zone: Tz::UTC,
            zone_name: "UTC".to_owned(),
            text_bodies: false,
            page_size: None,
            applied: Vec::new(),
        }
    }
}

impl Preferences {
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut preferences = Self::default();
        for header in headers.get_all(PREFER) {
            for preference in header.to_str().unwrap_or_default().split(',') {
                preferences.take(preference.trim())?;
            }
        }
        Ok(preferences)
    }

    /// What is not known is not applied, and no error.
    fn take(&mut self, preference: &str) -> Result<(), ApiError> {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("IdType") && value.eq_ignore_ascii_case("ImmutableId") {
            self.immutable_ids = true;
        } else if is("outlook.timezone") {
            self.zone = zones::find(value).ok_or_else(|| ApiError::zone(value))?;
            value.clone_into(&mut self.zone_name);
        } else if is("outlook.body-content-type") {
            self.text_bodies = value.eq_ignore_ascii_case("text");
        } else if is("odata.maxpagesize") {
            let size = value.parse().ok().filter(|size| *size > 0);
            self.page_size = Some(size.ok_or_else(|| {
                ApiError::bad_request("The preference odata.maxpagesize is no number.")
            })?);
        } else {
            return Ok(());
        }
        self.applied.push(preference.to_owned());
        Ok(())
    }

    /// An answer that says what was applied.
    pub(super) fn on(&self, mut reply: Reply) -> Reply {
        if !self.applied.is_empty() {
            reply.headers.push((PREFERENCE_APPLIED, self.applied.join(", ")));
        }
        reply
    }
}
