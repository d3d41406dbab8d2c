//! Settings: read once, checked once, secrets wrapped.
//!
//! [`table`] is the one list of keys. Out of it come the reading of the file and of the
//! environment ([`given`]), the typed [`Settings`] ([`settings`]), every error by its key
//! ([`error`]), and the table in the README ([`table_markdown`]). Nothing else in the tree reads
//! the environment, and this module knows neither Kafka's client nor a database's.
//!
//! The environment beats the file, and the file beats the default; [`Given::effective`] remembers
//! where each value came from.

pub mod table;

pub mod value;

pub mod error;

pub mod given;

pub mod reader;

pub mod kafka;

pub mod secrets;

pub mod http;

pub mod limits;

pub mod oauth;

pub mod connect;

pub mod telemetry;

pub mod settings;

mod checks;

mod markdown;

#[cfg(test)]
mod tests;

pub use connect::ConnectSettings;
pub use error::{SettingError, SettingErrors};
pub use given::{CONFIG_VARIABLE, Effective, Given, Source, environment, variable};
pub use http::HttpSettings;
pub use kafka::{GroupProtocol, KafkaSettings, SecurityProtocol, StartFrom};
pub use limits::{LimitSettings, PerMinute};
pub use markdown::{MARKER_BEGIN, MARKER_END, table_markdown};
pub use oauth::{OauthClient, OauthSettings};
pub use secrets::SecretSettings;
pub use settings::{
    Backend, ContentSettings, EmitSettings, IngestSettings, LogFormat, LogSettings, OpsSettings,
    RegistrySettings, RepairPolicy, RepairSettings, Settings, StoreSettings,
};
pub use telemetry::{OtlpProtocol, TelemetrySettings, TraceSampler};
