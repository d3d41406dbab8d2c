//! Where browsers go while hosts connect their calendars.

use url::Url;

use super::error::SettingError;
use super::reader::Reader;
use super::table::{Allowed, Key, key};

/// Where browsers go while hosts connect their calendars.
#[derive(Debug, Clone)]
pub struct ConnectSettings {
    /// Where they reach this service; `None`: nowhere, and there are no links.
    pub public_url: Option<Url>,
    /// Where they may be sent back to.
    pub return_origins: Vec<Url>,
}

impl ConnectSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let public_url = reader.optional_secure_url("connect.public_url");
        let return_origins = reader.origins("connect.return_origins");
        if public_url.is_none()
            && !return_origins.is_empty()
            && reader.sound(&["connect.public_url"])
        {
            let because = "connect.public_url is not set, and nobody is sent anywhere";
            reader.complain(SettingError::Idle { key: "connect.return_origins", because });
        }
        Self { public_url, return_origins }
    }
}

/// The settings.
pub(super) const CONNECT: &[Key] = &[
    key(
        "connect.public_url",
        Allowed::SecureUrl,
        None,
        "Where hosts' browsers reach this service. With it there are links by which they connect their \
         calendars; register `…/connect/google/callback` and `…/connect/microsoft/callback` with the \
         providers.",
    ),
    key(
        "connect.return_origins",
        Allowed::Origins,
        Some(""),
        "Where hosts may be sent back to from there, as `https://bookings.example.com`.",
    ),
];
