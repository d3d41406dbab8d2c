//! Resources, as a client reads them.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::event::Stored;
use super::html;
use super::ids::Ids;
use super::prefer::Preferences;
use super::property::PropertyId;
use super::state::{Calendar, Mailbox, Switches};
use super::times::{Point, render_instant};
use crate::emulator::local_time::resolve;

/// How events are shown to one client.
pub(super) struct View<'a> {
    pub(super) preferences: &'a Preferences,
    pub(super) expand: &'a [PropertyId],
    pub(super) select: Option<&'a [String]>,
    pub(super) switches: &'a Switches,
    pub(super) now: DateTime<Utc>,
}

/// The id that a client prefers.
pub(super) fn id<'a>(ids: &'a Ids, preferences: &Preferences) -> &'a str {
    if preferences.immutable_ids { &ids.immutable } else { &ids.mutable }
}

impl View<'_> {
    /// An event.
    pub(super) fn event(&self, event: &Stored, mailbox: &Mailbox) -> Value {
        let mut resource = defaults();
        let id = id(&event.ids, self.preferences);
        let known = json!({
            "id": id,
            "changeKey": event.change_key(self.switches, self.now),
            "createdDateTime": render_instant(event.created),
            "lastModifiedDateTime": render_instant(event.modified),
            "iCalUId": event.ical_uid,
            "webLink": format!("https://outlook.office365.com/owa/?itemid={id}&exvsurl=1&path=/calendar/item"),
            "bodyPreview": html::preview(&event.body),
            "body": self.body(event),
            "isAllDay": event.all_day,
            "start": self.time(event, event.start),
            "end": self.time(event, event.end),
            "originalStartTimeZone": event.original_zones.0,
            "originalEndTimeZone": event.original_zones.1,
            "organizer": {"emailAddress": {"name": mailbox.account, "address": mailbox.account}},
        });
        for fields in [known, Value::Object(event.fields.clone())] {
            if let Value::Object(fields) = fields {
                resource.extend(fields);
            }
        }
        if let Some(transaction_id) = &event.transaction_id {
            resource.insert("transactionId".to_owned(), json!(transaction_id));
        }
        if let Some(select) = self.select {
            resource.retain(|name, _| name == "id" || select.contains(name));
        }
        let etag = event.etag(self.switches, self.now);
        resource.insert("@odata.etag".to_owned(), json!(etag));
        let expanded = event.properties.chosen(self.expand);
        if !expanded.is_empty() {
            resource.insert("singleValueExtendedProperties".to_owned(), json!(expanded));
        }
        Value::Object(resource)
    }

    fn body(&self, event: &Stored) -> Value {
        if self.preferences.text_bodies {
            return json!({"contentType": "text", "content": html::to_text(&event.body)});
        }
        json!({"contentType": "html", "content": event.body})
    }

    /// A whole day is one whatever the zone.
    fn time(&self, event: &Stored, point: Point) -> Value {
        let Preferences { zone, zone_name, .. } = self.preferences;
        if event.all_day {
            let midnight = point.at.with_timezone(&point.zone).naive_local();
            let utc = Point { at: resolve(midnight, Tz::UTC), zone: Tz::UTC };
            return utc.render(Tz::UTC, zone_name);
        }
        point.render(*zone, zone_name)
    }
}

/// What an event shows where nobody has said otherwise.
fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "allowNewTimeProposals": true,
        "attendees": [],
        "categories": [],
        "hasAttachments": false,
        "hideAttendees": false,
        "importance": "normal",
        "isCancelled": false,
        "isDraft": false,
        "isOnlineMeeting": false,
        "isOrganizer": true,
        "isReminderOn": true,
        "location": {"displayName": "", "locationType": "default", "uniqueIdType": "unknown"},
        "locations": [],
        "onlineMeeting": null,
        "onlineMeetingProvider": "unknown",
        "onlineMeetingUrl": null,
        "recurrence": null,
        "reminderMinutesBeforeStart": 15,
        "responseRequested": true,
        "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
        "sensitivity": "normal",
        "seriesMasterId": null,
        "showAs": "busy",
        "subject": "",
        "type": "singleInstance",
    });
    let Value::Object(defaults) = defaults else {
        unreachable!("they are written down as an object");
    };
    defaults
}

/// The fields of a calendar.
const CALENDAR_FIELDS: [&str; 14] = [
    "allowedOnlineMeetingProviders",
    "canEdit",
    "canShare",
    "canViewPrivateItems",
    "changeKey",
    "color",
    "defaultOnlineMeetingProvider",
    "hexColor",
    "id",
    "isDefaultCalendar",
    "isRemovable",
    "isTallyingResponses",
    "name",
    "owner",
];

/// Whether a calendar has a field of this name.
pub(super) fn is_calendar_field(name: &str) -> bool {
    CALENDAR_FIELDS.contains(&name)
}

/// A calendar.
pub(super) fn calendar(calendar: &Calendar, mailbox: &Mailbox, select: Option<&[String]>) -> Value {
    let is_default = calendar.id == mailbox.default_calendar;
    let mut resource = json!({
        "id": calendar.id,
        "name": calendar.name,
        "color": "auto",
        "hexColor": "",
        "isDefaultCalendar": is_default,
        "changeKey": super::ids::change_key(calendar.epoch),
        "canShare": true,
        "canViewPrivateItems": true,
        "canEdit": calendar.can_edit,
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": true,
        "isRemovable": !is_default,
        "owner": {"name": mailbox.account, "address": mailbox.account},
    });
    if let (Some(fields), Some(select)) = (resource.as_object_mut(), select) {
        fields.retain(|name, _| name == "id" || select.contains(name));
    }
    resource
}

/// The fields of a user.
const USER_FIELDS: [&str; 5] = ["displayName", "id", "mail", "businessPhones", "userPrincipalName"];

pub(super) fn is_user_field(name: &str) -> bool {
    USER_FIELDS.contains(&name)
}

/// Whose a mailbox is.
pub(super) fn user(mailbox: &Mailbox, select: Option<&[String]>) -> Value {
    let mut resource = json!({
        "businessPhones": [],
        "displayName": mailbox.account,
        "id": mailbox.user_id,
        "mail": mailbox.account,
        "userPrincipalName": mailbox.account,
    });
    if let (Some(fields), Some(select)) = (resource.as_object_mut(), select) {
        fields.retain(|name, _| select.contains(name));
    }
    resource
}
