//! Which fields an event has, and of which types (`microsoft.graph.event` of v1.0).

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::errors::ApiError;

/// The type of a field.
enum Kind {
    Text,
    Flag,
    /// `Edm.Int32`.
    Whole,
    /// `Edm.Double`.
    Number,
    /// `Edm.DateTimeOffset`.
    Moment,
    OneOf(&'static [&'static str]),
    Texts,
    Object(&'static Type),
    Objects(&'static Type),
    /// Taken as it is: the emulator knows no more of it.
    Anything,
}

/// A type: its name, and its fields.
struct Type {
    name: &'static str,
    fields: &'static [(&'static str, Kind)],
}

static DATE_TIME_TIME_ZONE: Type = Type {
    name: "dateTimeTimeZone",
    fields: &[("dateTime", Kind::Text), ("timeZone", Kind::Text)],
};
static ITEM_BODY: Type = Type {
    name: "itemBody",
    fields: &[("contentType", Kind::OneOf(&["text", "html"])), ("content", Kind::Text)],
};
static EMAIL_ADDRESS: Type =
    Type { name: "emailAddress", fields: &[("name", Kind::Text), ("address", Kind::Text)] };
static RECIPIENT: Type =
    Type { name: "recipient", fields: &[("emailAddress", Kind::Object(&EMAIL_ADDRESS))] };
static RESPONSE_STATUS: Type = Type {
    name: "responseStatus",
    fields: &[
        (
            "response",
            Kind::OneOf(&[
                "none",
                "organizer",
                "tentativelyAccepted",
                "accepted",
                "declined",
                "notResponded",
            ]),
        ),
        ("time", Kind::Moment),
    ],
};
static ATTENDEE: Type = Type {
    name: "attendee",
    fields: &[
        ("emailAddress", Kind::Object(&EMAIL_ADDRESS)),
        ("type", Kind::OneOf(&["required", "optional", "resource"])),
        ("status", Kind::Object(&RESPONSE_STATUS)),
        ("proposedNewTime", Kind::Anything),
    ],
};
static PHYSICAL_ADDRESS: Type = Type {
    name: "physicalAddress",
    fields: &[
        ("street", Kind::Text),
        ("city", Kind::Text),
        ("state", Kind::Text),
        ("countryOrRegion", Kind::Text),
        ("postalCode", Kind::Text),
    ],
};
static COORDINATES: Type = Type {
    name: "outlookGeoCoordinates",
    fields: &[
        ("accuracy", Kind::Number),
        ("altitude", Kind::Number),
        ("altitudeAccuracy", Kind::Number),
        ("latitude", Kind::Number),
        ("longitude", Kind::Number),
    ],
};
static LOCATION: Type = Type {
    name: "location",
    fields: &[
        ("displayName", Kind::Text),
        ("locationEmailAddress", Kind::Text),
        ("locationUri", Kind::Text),
        (
            "locationType",
            Kind::OneOf(&[
                "default",
                "conferenceRoom",
                "homeAddress",
                "businessAddress",
                "geoCoordinates",
                "streetAddress",
                "hotel",
                "restaurant",
                "localBusiness",
                "postalAddress",
            ]),
        ),
        ("uniqueId", Kind::Text),
        (
            "uniqueIdType",
            Kind::OneOf(&["unknown", "locationStore", "directory", "private", "bing"]),
        ),
        ("address", Kind::Object(&PHYSICAL_ADDRESS)),
        ("coordinates", Kind::Object(&COORDINATES)),
    ],
};
static EXTENDED_PROPERTY: Type = Type {
    name: "singleValueLegacyExtendedProperty",
    fields: &[("id", Kind::Text), ("value", Kind::Text)],
};
static EVENT: Type = Type {
    name: "event",
    fields: &[
        ("allowNewTimeProposals", Kind::Flag),
        ("attendees", Kind::Objects(&ATTENDEE)),
        ("body", Kind::Object(&ITEM_BODY)),
        ("bodyPreview", Kind::Text),
        ("cancelledOccurrences", Kind::Texts),
        ("categories", Kind::Texts),
        ("changeKey", Kind::Text),
        ("createdDateTime", Kind::Moment),
        ("end", Kind::Object(&DATE_TIME_TIME_ZONE)),
        ("hasAttachments", Kind::Flag),
        ("hideAttendees", Kind::Flag),
        ("iCalUId", Kind::Text),
        ("id", Kind::Text),
        ("importance", Kind::OneOf(&["low", "normal", "high"])),
        ("isAllDay", Kind::Flag),
        ("isCancelled", Kind::Flag),
        ("isDraft", Kind::Flag),
        ("isOnlineMeeting", Kind::Flag),
        ("isOrganizer", Kind::Flag),
        ("isReminderOn", Kind::Flag),
        ("lastModifiedDateTime", Kind::Moment),
        ("location", Kind::Object(&LOCATION)),
        ("locations", Kind::Objects(&LOCATION)),
        ("onlineMeeting", Kind::Anything),
        (
            "onlineMeetingProvider",
            Kind::OneOf(&["unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"]),
        ),
        ("onlineMeetingUrl", Kind::Text),
        ("organizer", Kind::Object(&RECIPIENT)),
        ("originalEndTimeZone", Kind::Text),
        ("originalStart", Kind::Moment),
        ("originalStartTimeZone", Kind::Text),
        ("recurrence", Kind::Anything),
        ("reminderMinutesBeforeStart", Kind::Whole),
        ("responseRequested", Kind::Flag),
        ("responseStatus", Kind::Object(&RESPONSE_STATUS)),
        ("sensitivity", Kind::OneOf(&["normal", "personal", "private", "confidential"])),
        ("seriesMasterId", Kind::Text),
        (
            "showAs",
            Kind::OneOf(&["unknown", "free", "tentative", "busy", "oof", "workingElsewhere"]),
        ),
        ("singleValueExtendedProperties", Kind::Objects(&EXTENDED_PROPERTY)),
        ("start", Kind::Object(&DATE_TIME_TIME_ZONE)),
        ("subject", Kind::Text),
        ("transactionId", Kind::Text),
        ("type", Kind::OneOf(&["singleInstance", "occurrence", "exception", "seriesMaster"])),
        ("webLink", Kind::Text),
    ],
};

/// What the server alone writes: taken from a client that sends back what it read, and ignored.
pub(super) const READ_ONLY: [&str; 21] = [
    "bodyPreview",
    "cancelledOccurrences",
    "changeKey",
    "createdDateTime",
    "hasAttachments",
    "iCalUId",
    "id",
    "isCancelled",
    "isDraft",
    "isOrganizer",
    "lastModifiedDateTime",
    "onlineMeeting",
    "onlineMeetingUrl",
    "organizer",
    "originalEndTimeZone",
    "originalStart",
    "originalStartTimeZone",
    "responseStatus",
    "seriesMasterId",
    "type",
    "webLink",
];

/// Whether an event has a field of this name, so that `$select` may name it.
pub(super) fn is_field(name: &str) -> bool {
    EVENT.fields.iter().any(|(known, _)| *known == name)
}

/// The fields of a body, each of its type, enumerations in their own letters and without
/// annotations.
pub(super) fn check(
    body: &Map<String, Value>,
    ignore_unknown: bool,
) -> Result<Map<String, Value>, ApiError> {
    object(body, &EVENT, ignore_unknown)
}

fn object(
    given: &Map<String, Value>,
    kind: &Type,
    ignore_unknown: bool,
) -> Result<Map<String, Value>, ApiError> {
    let mut kept = Map::new();
    for (name, value) in given {
        // Annotations; `@odata.type` is what Microsoft's own client sends.
        if name.contains("@odata.") {
            continue;
        }
        let known = kind.fields.iter().find(|(known, _)| known == name);
        let Some((_, field)) = known else {
            if ignore_unknown {
                continue;
            }
            let message = format!(
                "The property '{name}' does not exist on type 'microsoft.graph.{}'. Make sure to \
                 only use property names that are defined by the type.",
                kind.name
            );
            return Err(ApiError::body(&message));
        };
        let checked = if value.is_null() {
            Value::Null
        } else {
            of_kind(value, field, name, ignore_unknown)?
        };
        kept.insert(name.clone(), checked);
    }
    Ok(kept)
}

fn of_kind(value: &Value, kind: &Kind, name: &str, ignore: bool) -> Result<Value, ApiError> {
    let wrong =
        || ApiError::body(&format!("Cannot convert the value of '{name}' to its expected type."));
    let is_one = match kind {
        Kind::Text => value.is_string(),
        Kind::Flag => value.is_boolean(),
        Kind::Whole => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Kind::Number => value.is_number(),
        Kind::Moment => {
            value.as_str().is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok())
        }
        Kind::Texts => value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string)),
        Kind::Anything => true,
        Kind::OneOf(names) => {
            let given = value.as_str().ok_or_else(wrong)?;
            let known = names.iter().find(|known| known.eq_ignore_ascii_case(given));
            let known = known.ok_or_else(|| {
                ApiError::body(&format!("Requested value '{given}' was not found."))
            })?;
            return Ok(json!(known));
        }
        Kind::Object(kind) => {
            let fields = value.as_object().ok_or_else(wrong)?;
            return object(fields, kind, ignore).map(Value::Object);
        }
        Kind::Objects(kind) => {
            let checked = value.as_array().ok_or_else(wrong)?.iter().map(|item| {
                let fields = item.as_object().ok_or_else(wrong)?;
                object(fields, kind, ignore).map(Value::Object)
            });
            return checked.collect::<Result<Vec<_>, _>>().map(Value::Array);
        }
    };
    if is_one { Ok(value.clone()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: &Value) -> Result<Map<String, Value>, ApiError> {
        check(body.as_object().unwrap(), false)
    }

    #[test]
    fn a_name_of_an_enumeration_may_be_written_in_other_letters() {
        let body = json!({"body": {"contentType": "HTML", "content": "x"}, "showAs": "Tentative"});
        let kept = Value::Object(checked(&body).unwrap());
        assert_eq!(
            (&kept["body"]["contentType"], &kept["showAs"]),
            (&json!("html"), &json!("tentative"))
        );
    }

    #[test]
    fn annotations_are_taken_anywhere_and_ignored() {
        let kind = "#microsoft.graph.event";
        let body =
            json!({"@odata.type": kind, "start": {"@odata.type": kind}, "start@odata.type": 1});
        assert_eq!(Value::Object(checked(&body).unwrap()), json!({"start": {}}));
    }

    #[test]
    fn what_is_not_of_its_type_is_refused() {
        for wrong in [
            json!({"subject": 7}),
            json!({"isAllDay": "true"}),
            json!({"reminderMinutesBeforeStart": 1.5}),
            json!({"reminderMinutesBeforeStart": 5_000_000_000_i64}),
            json!({"categories": "red"}),
            json!({"categories": [1]}),
            json!({"start": "2026-11-23T09:00:00"}),
            json!({"start": {"datetime": "2026-11-23T09:00:00"}}),
            json!({"attendees": [{"emailAddress": {"mail": "x"}}]}),
            json!({"attendees": {"emailAddress": {}}}),
            json!({"attendees": [null]}),
            json!({"showAs": "booked"}),
            json!({"createdDateTime": "yesterday"}),
            json!({"title": "x"}),
        ] {
            assert!(checked(&wrong).is_err(), "{wrong}");
        }
    }
}
