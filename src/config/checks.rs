//! What must hold between settings: each rule names the keys at fault.

use std::time::Duration;

use super::error::SettingError;
use super::reader::Reader;
use super::settings::Settings;
use super::table;
use crate::telemetry::export::END_MAX;
use secrecy::ExposeSecret as _;

/// The rules that only the whole can show.
pub(super) fn across(reader: &mut Reader<'_>, settings: &Settings) {
    let emit = &settings.emit;
    if reader.sound(&["emit.lease_s", "emit.call_timeout_s"])
        && emit.lease <= emit.call_timeout.saturating_mul(2)
    {
        reader.complain(SettingError::LeaseTooShort {
            lease_s: emit.lease.as_secs(),
            call_timeout_s: emit.call_timeout.as_secs(),
        });
    }
    if reader.sound(&["emit.connect_timeout_s", "emit.call_timeout_s"])
        && emit.connect_timeout > emit.call_timeout
    {
        reader.complain(SettingError::ConnectTooLong {
            connect_timeout_s: emit.connect_timeout.as_secs(),
            call_timeout_s: emit.call_timeout.as_secs(),
        });
    }
    if reader.sound(&["emit.backoff_min_ms", "emit.backoff_max_s"])
        && emit.backoff_min > emit.backoff_max
    {
        reader.complain(SettingError::BackoffUpsideDown {
            backoff_min_ms: u64::try_from(emit.backoff_min.as_millis()).unwrap_or(u64::MAX),
            backoff_max_s: emit.backoff_max.as_secs(),
        });
    }
    if reader.sound(&["shutdown.deadline_s", "emit.call_timeout_s"])
        && settings.shutdown_deadline <= emit.call_timeout
    {
        reader.complain(SettingError::DeadlineTooShort {
            deadline_s: settings.shutdown_deadline.as_secs(),
            call_timeout_s: emit.call_timeout.as_secs(),
        });
    } else if reader.sound(&["shutdown.deadline_s", "emit.call_timeout_s", "telemetry.endpoint"])
        && settings.telemetry.endpoint.is_some()
        && settings.shutdown_deadline <= emit.call_timeout + END_MAX
    {
        reader.complain(SettingError::NoTimeForTraces {
            deadline_s: settings.shutdown_deadline.as_secs(),
            call_timeout_s: emit.call_timeout.as_secs(),
        });
    }
    if emit.gate.enabled
        && settings.secrets.key.is_none()
        && reader.sound(&["secrets.key", "secrets.key_file"])
    {
        let because = "emit.enabled (CALENDAR_SYNC_ENABLED) is on, and the calendars' credentials \
                       are sealed; or give secrets.key_file";
        reader.complain(SettingError::Needed { key: "secrets.key", because });
    } else if settings.connect.public_url.is_some()
        && settings.secrets.key.is_none()
        && reader.sound(&["secrets.key", "secrets.key_file"])
    {
        let because = "connect.public_url is set, and what hosts connect is sealed; or give \
                       secrets.key_file";
        reader.complain(SettingError::Needed { key: "secrets.key", because });
    }
}

/// Authentication at the registry is whole or absent.
pub(super) fn registry(reader: &mut Reader<'_>, url: bool, username: bool, password: bool) {
    if !reader.sound(&["registry.url", "registry.username", "registry.password"]) {
        return;
    }
    if !url {
        let because = "registry.url is not set";
        let given = [("registry.username", username), ("registry.password", password)];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            reader.complain(SettingError::Idle { key, because });
        }
        return;
    }
    match (username, password) {
        (true, false) => reader.complain(SettingError::Needed {
            key: "registry.password",
            because: "registry.username is set",
        }),
        (false, true) => reader.complain(SettingError::Needed {
            key: "registry.username",
            because: "registry.password is set",
        }),
        (true, true) | (false, false) => {}
    }
}

/// A secret stands in its setting or in the file that another one names. `given`: which of them are.
pub(super) fn one_place(reader: &mut Reader<'_>, file_name: &'static str, given: [bool; 2]) {
    if given == [true, true] {
        let because = "what it would hold is set already, and comes from one place";
        reader.complain(SettingError::Idle { key: file_name, because });
    }
}

/// The least time that a verification should wait after a call, not to meet it under way.
const VERIFY_AFTER_MIN: Duration = Duration::from_mins(1);

/// What is allowed and yet probably not meant.
pub(super) fn warnings(reader: &Reader<'_>, settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let enabled = table::find("emit.enabled").expect("it is a setting");
    let given = reader.given().value(enabled);
    if let Some(given) = given
        && !matches!(given.text.expose_secret(), "true" | "false" | "")
    {
        let origin = given.source;
        warnings.push(format!(
            "emit.enabled ({origin}) is neither `true` nor `false`: only the literal `true` \
             enables, so nothing is sent"
        ));
    }
    if settings.emit.verify_after.first().is_some_and(|first| *first < VERIFY_AFTER_MIN) {
        warnings.push(
            "emit.verify_after_s begins below 60 s: a late call may land after it is verified"
                .to_owned(),
        );
    }
    // An open attempt never puts off the verification that an earlier one has asked for.
    if settings.emit.verify_after.len() == 1 {
        warnings.push(
            "emit.verify_after_s has one wait: a call that is made while an earlier one waits to \
             be verified may land after that"
                .to_owned(),
        );
    }
    warnings
}
