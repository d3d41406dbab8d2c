//! PURE: a Graph event as it is written and read (the `event` resource type of Microsoft Graph v1.0).

use booking::{ConnectionId, Content, Digest, IcalUid, Marker};
use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::calendar::notes::{Form, Notes, Parts, Run};
use crate::calendar::{ical, zone};

/// The event's name, in a property by which it can be searched for: the same through all revisions
/// of one generation. The property set is ours, and never changes.
pub(super) const NAME: &str = "String {6cfc4fd6-6c3a-4e0b-9b0e-8e1c0f3c8a57} Name bookingName";
/// The marker, as JSON. Graph compares such values without regard to case, so it is read, and not
/// searched for.
pub(super) const MARKER: &str = "String {6cfc4fd6-6c3a-4e0b-9b0e-8e1c0f3c8a57} Name bookingMarker";
/// Through which connection: the same of all that we put into a calendar, by which all of it is found.
pub(super) const CONNECTION: &str =
    "String {6cfc4fd6-6c3a-4e0b-9b0e-8e1c0f3c8a57} Name bookingConnection";
/// The longest `ETag` that is kept, in bytes.
const ETAG_LEN_MAX: usize = 512;
/// The longest id that is kept, in bytes; immutable ids have some 150.
const ID_LEN_MAX: usize = 1024;

/// The marker's text, and what tells beside it whether the event still shows what we wrote.
#[derive(Serialize, Deserialize)]
struct MarkerText {
    uid: String,
    connection: Uuid,
    revision: i64,
    digest: String,
    /// Which words of the body are ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The digest of the rest that Graph shows, as it shows it: in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shows: Option<String>,
}

/// The event as it is made; it is frozen as these bytes.
pub(super) fn insert_of(name: &str, marker: &Marker, content: &Content) -> Value {
    let (start, end) = ical::whole_seconds(content);
    // One zone for both, as Outlook shows it: where it cannot say either time, UTC (L19).
    let zone = Some(content.zone).filter(|zone| says(*zone, start) && says(*zone, end));
    let text = MarkerText {
        uid: marker.uid.to_string(),
        connection: marker.connection.0,
        revision: marker.revision,
        digest: marker.digest.to_string(),
        text: Some(Run::of(content.description.as_deref()).to_string()),
        shows: Some(digest_shown(content).to_string()),
    };
    json!({
        "transactionId": name,
        "subject": cut(&content.summary),
        "body": { "contentType": "text", "content": content.description.as_deref().unwrap_or("") },
        "location": { "displayName": cut(content.location.as_deref().unwrap_or("")) },
        "start": moment(zone, start),
        "end": moment(zone, end),
        "isAllDay": false,
        "showAs": if content.tentative { "tentative" } else { "busy" },
        "singleValueExtendedProperties": [
            { "id": NAME, "value": name },
            { "id": MARKER, "value": json!(text).to_string() },
            { "id": CONNECTION, "value": marker.connection.to_string() },
        ],
    })
}

/// The longest subject and the longest place, in UTF-16 units (Exchange Web Services, `Subject`: "limited
/// to 255 characters"; [MS-OXCICAL] 2.1.3.1.1.20.14, LOCATION: "truncated to a length of 255 WCHARs").
const LINE_LEN_MAX: usize = 255;

/// A title or a place, as far as Exchange keeps one.
fn cut(text: &str) -> String {
    const CUT: char = '…';
    if text.encode_utf16().count() <= LINE_LEN_MAX {
        return text.to_owned();
    }
    let mut left = LINE_LEN_MAX - CUT.len_utf16();
    let kept = text.chars().take_while(|letter| {
        let fits = letter.len_utf16() <= left;
        left -= letter.len_utf16() * usize::from(fits);
        fits
    });
    kept.chain([CUT]).collect()
}

/// The same event as a PATCH: the same frozen bytes give the same patch. A `transactionId` cannot be
/// changed, and a patch that names one is refused. What it does not name stays the host's: her
/// reminder, categories and attendees.
pub(super) fn patch_of(body: &[u8]) -> Option<Vec<u8>> {
    let mut event: Map<String, Value> = serde_json::from_slice(body).ok()?;
    event.remove("transactionId")?;
    Some(Value::Object(event).to_string().into_bytes())
}

/// The same event with the host's notes around our text, in the page that they are written in.
pub(super) fn with_notes(body: &[u8], notes: &Notes) -> Option<Vec<u8>> {
    let mut event: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let ours = event.get("body")?.get("content")?.as_str()?;
    let (kind, content) = (if notes.is_page() { "html" } else { "text" }, notes.around(Some(ours)));
    event.insert("body".to_owned(), json!({ "contentType": kind, "content": content }));
    Some(Value::Object(event).to_string().into_bytes())
}

/// Of what is shown beside the text: of lines without what calendars do to white space, and of times
/// in whole seconds, since their zone comes back under another name.
fn digest_shown(content: &Content) -> Digest {
    let (start, end) = ical::whole_seconds(content);
    let line = |text: &str| cut(text).split_whitespace().collect::<Vec<_>>().join(" ");
    Digest::of([
        line(&content.summary).as_bytes(),
        line(content.location.as_deref().unwrap_or_default()).as_bytes(),
        &start.timestamp().to_be_bytes(),
        &end.timestamp().to_be_bytes(),
        &[u8::from(content.tentative)],
    ])
}

/// `dateTimeTimeZone`: a local time without an offset, and its zone.
fn moment(zone: Option<Tz>, at: DateTime<Utc>) -> Value {
    let (local, name) = match zone {
        Some(zone) => (at.with_timezone(&zone).naive_local(), zone.name()),
        None => (at.naive_utc(), "UTC"),
    };
    json!({ "dateTime": local.format("%Y-%m-%dT%H:%M:%S").to_string(), "timeZone": name })
}

/// Whether Graph knows a zone, and its local time says this instant. A local time has no offset, so
/// neither pass of the hour that is lived twice is left to Graph's guess.
fn says(zone: Tz, at: DateTime<Utc>) -> bool {
    use chrono::TimeZone as _;
    let local = at.with_timezone(&zone).naive_local();
    ZONES.contains(&zone)
        && zone::reaches(at)
        && zone.from_local_datetime(&local).single().is_some()
}

/// The IANA names that Graph documents beside Windows's own ("Additional time zones" of the
/// `dateTimeTimeZone` resource type). Any other zone is written in UTC: the instant is the same.
const ZONES: [Tz; 86] = [
    Tz::Pacific__Honolulu,
    Tz::America__Anchorage,
    Tz::America__Los_Angeles,
    Tz::America__Phoenix,
    Tz::America__Chihuahua,
    Tz::America__Denver,
    Tz::America__Guatemala,
    Tz::America__Chicago,
    Tz::America__Mexico_City,
    Tz::America__Regina,
    Tz::America__Bogota,
    Tz::America__New_York,
    Tz::America__Indiana__Indianapolis,
    Tz::America__Caracas,
    Tz::America__Asuncion,
    Tz::America__Halifax,
    Tz::America__Cuiaba,
    Tz::America__La_Paz,
    Tz::America__Santiago,
    Tz::America__St_Johns,
    Tz::America__Sao_Paulo,
    Tz::America__Argentina__Buenos_Aires,
    Tz::America__Cayenne,
    Tz::America__Montevideo,
    Tz::America__Bahia,
    Tz::Atlantic__Azores,
    Tz::Atlantic__Cape_Verde,
    Tz::Africa__Casablanca,
    Tz::Europe__London,
    Tz::Atlantic__Reykjavik,
    Tz::Europe__Berlin,
    Tz::Europe__Budapest,
    Tz::Europe__Paris,
    Tz::Europe__Warsaw,
    Tz::Africa__Lagos,
    Tz::Africa__Windhoek,
    Tz::Europe__Bucharest,
    Tz::Asia__Beirut,
    Tz::Africa__Cairo,
    Tz::Asia__Damascus,
    Tz::Africa__Johannesburg,
    Tz::Europe__Istanbul,
    Tz::Asia__Jerusalem,
    Tz::Asia__Amman,
    Tz::Asia__Baghdad,
    Tz::Europe__Kaliningrad,
    Tz::Asia__Riyadh,
    Tz::Africa__Nairobi,
    Tz::Asia__Tehran,
    Tz::Asia__Dubai,
    Tz::Asia__Baku,
    Tz::Europe__Moscow,
    Tz::Indian__Mauritius,
    Tz::Asia__Tbilisi,
    Tz::Asia__Yerevan,
    Tz::Asia__Kabul,
    Tz::Asia__Karachi,
    Tz::Asia__Tashkent,
    Tz::Asia__Kolkata,
    Tz::Asia__Colombo,
    Tz::Asia__Kathmandu,
    Tz::Asia__Dhaka,
    Tz::Asia__Yekaterinburg,
    Tz::Asia__Bangkok,
    Tz::Asia__Novosibirsk,
    Tz::Asia__Shanghai,
    Tz::Asia__Krasnoyarsk,
    Tz::Asia__Singapore,
    Tz::Australia__Perth,
    Tz::Asia__Taipei,
    Tz::Asia__Ulaanbaatar,
    Tz::Asia__Irkutsk,
    Tz::Asia__Tokyo,
    Tz::Asia__Seoul,
    Tz::Australia__Adelaide,
    Tz::Australia__Darwin,
    Tz::Australia__Brisbane,
    Tz::Australia__Sydney,
    Tz::Pacific__Port_Moresby,
    Tz::Australia__Hobart,
    Tz::Asia__Yakutsk,
    Tz::Pacific__Guadalcanal,
    Tz::Asia__Vladivostok,
    Tz::Pacific__Auckland,
    Tz::Pacific__Fiji,
    Tz::Pacific__Tongatapu,
];

/// What is asked for of an event: beside its `ETag`, which always comes.
pub(super) const SELECTED: &str = "id,iCalUId,transactionId,subject,body,location,start,end,isAllDay,isCancelled,showAs,type,\
     createdDateTime,lastModifiedDateTime";

/// What is read of an event.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event {
    id: String,
    #[serde(rename = "@odata.etag")]
    etag: Option<String>,
    #[serde(rename = "iCalUId")]
    ical_uid: Option<String>,
    transaction_id: Option<String>,
    subject: Option<String>,
    body: Option<Body>,
    location: Option<Location>,
    start: Option<Moment>,
    end: Option<Moment>,
    is_all_day: bool,
    show_as: Option<String>,
    /// `singleInstance`, or something of a series.
    #[serde(rename = "type")]
    kind: Option<String>,
    created_date_time: Option<DateTime<Utc>>,
    last_modified_date_time: Option<DateTime<Utc>>,
    single_value_extended_properties: Vec<Property>,
}

/// `itemBody`: HTML, unless text was asked for.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    content_type: String,
    content: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Location {
    display_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Moment {
    date_time: String,
    time_zone: String,
}

#[derive(Deserialize)]
struct Property {
    id: String,
    value: Option<String>,
}

/// A list of events.
#[derive(Deserialize)]
pub(super) struct Events {
    pub(super) value: Vec<Event>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next: Option<String>,
}

impl Event {
    /// Reads one. `None`: it is no event of Graph's.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok()?.usable()
    }

    /// The same, if it has what Graph gives every event.
    pub(super) fn usable(self) -> Option<Self> {
        let is_id = (1..=ID_LEN_MAX).contains(&self.id.len())
            && self.id.bytes().all(|byte| byte.is_ascii_graphic());
        (is_id && self.etag().is_some()).then_some(self)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Its `ETag`: weak by its looks (`W/"…"`), and what Graph compares.
    pub(super) fn etag(&self) -> Option<String> {
        let etag = self.etag.as_deref()?.trim();
        let inner = etag.strip_prefix("W/").unwrap_or(etag).strip_prefix('"')?.strip_suffix('"')?;
        let fits = etag.len() <= ETAG_LEN_MAX
            && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        fits.then(|| etag.to_owned())
    }

    pub(super) fn ical_uid(&self) -> Option<String> {
        self.ical_uid.clone()
    }

    pub(super) fn made_at(&self) -> Option<DateTime<Utc>> {
        self.created_date_time
    }

    /// Property names come back as they were sent, but for the case of the set's GUID.
    fn property(&self, id: &str) -> Option<&str> {
        let mut all = self.single_value_extended_properties.iter();
        all.find(|property| property.id.eq_ignore_ascii_case(id))?.value.as_deref()
    }

    /// The name that we gave it. A copy that the host made carries it too, and has no `transactionId`.
    pub(super) fn given(&self) -> Option<String> {
        let name = self.property(NAME)?;
        (self.transaction_id.as_deref() == Some(name)).then(|| name.to_owned())
    }

    /// Whether it is the event that we posted under this name, to the letter, which Graph's search does
    /// not look at. One that stood before us was posted by nobody here, and its name is an id of Graph's.
    pub(super) fn is_posted_as(&self, name: &str) -> bool {
        self.given().as_deref() == Some(name)
    }

    fn marker_text(&self) -> Option<MarkerText> {
        serde_json::from_str(self.property(MARKER)?).ok()
    }

    pub(super) fn marker(&self) -> Option<Marker> {
        let text = self.marker_text()?;
        Some(Marker {
            uid: IcalUid::parse(&text.uid).ok()?,
            connection: ConnectionId(text.connection),
            revision: text.revision,
            digest: Digest::parse(&text.digest)?,
        })
    }

    /// Whether this answer to a POST shows another content than was posted, or an event that was
    /// changed since: one that an earlier POST of the same `transactionId` has made, as it is now.
    pub(super) fn is_former(&self, name: &str, posted: &[u8]) -> bool {
        let Ok(posted) = serde_json::from_slice::<Self>(posted) else {
            return true;
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let place = |event: &Self| {
            event.location.as_ref().map(|location| text(&location.display_name)).unwrap_or_default()
        };
        // A host can be quicker than Exchange is expected to settle: her words are not ours.
        let shown = self.parts(Some(posted.run()));
        let is_noted = shown.hers.is_some() || Run::of(shown.ours.as_deref()) != posted.run();
        let is_younger = self.transaction_id.as_deref().is_some_and(|own| own != name);
        let was_changed = match (self.created_date_time, self.last_modified_date_time) {
            (Some(made), Some(changed)) => changed - made > SETTLES_WITHIN,
            (_, _) => false,
        };
        is_younger
            || was_changed
            || is_noted
            || text(&self.subject) != text(&posted.subject)
            || place(self) != place(&posted)
            || self.show_as != posted.show_as
            || self.is_all_day
            || at(self.start.as_ref()) != at(posted.start.as_ref())
            || at(self.end.as_ref()) != at(posted.end.as_ref())
    }

    /// The text, and the host's notes in it.
    fn text(&self) -> Parts {
        self.parts(self.marker_text().and_then(|marker| Run::parse(&marker.text?)))
    }

    /// What tells the words of a body that is posted.
    fn run(&self) -> Run {
        Run::of(self.body.as_ref().map(|body| body.content.as_str()))
    }

    fn parts(&self, run: Option<Run>) -> Parts {
        let (shown, form) = match &self.body {
            Some(body) if body.content_type == "text" => (body.content.as_str(), Form::Plain),
            Some(body) => (body.content.as_str(), Form::Page),
            None => ("", Form::Plain),
        };
        Parts::of(shown, form, run)
    }

    /// What the host has written beside our text.
    pub(super) fn notes(&self) -> Option<Notes> {
        self.text().hers
    }

    /// Whether it shows something else than we wrote; `None`: an event of an earlier version, of which
    /// that cannot be told.
    pub(super) fn differs(&self) -> Option<bool> {
        let marker = self.marker_text()?;
        let (run, shows) = (Run::parse(&marker.text?)?, marker.shows?);
        Some(self.content().is_none_or(|content| {
            Run::of(content.description.as_deref()) != run
                || digest_shown(&content).to_string() != shows
        }))
    }

    /// What it shows, if it is one that we could have written: once, at times of a day; without the
    /// host's notes.
    pub(super) fn content(&self) -> Option<Content> {
        let is_once = self.kind.as_deref().is_none_or(|kind| kind == "singleInstance");
        // Whatever else she shows as, the time is hers no more: but then she could be booked again.
        let is_free = matches!(self.show_as.as_deref(), Some("free" | "workingElsewhere"));
        if self.is_all_day || !is_once || is_free {
            return None;
        }
        let location = self.location.as_ref().and_then(|location| location.display_name.clone());
        Some(Content {
            summary: self.subject.clone().unwrap_or_default(),
            description: self.text().ours,
            location: location.filter(|text| !text.is_empty()),
            start: at(self.start.as_ref())?,
            end: at(self.end.as_ref())?,
            zone: Tz::UTC,
            tentative: self.show_as.as_deref() == Some("tentative"),
        })
    }
}

/// Exchange may touch an event some times more after it was made, within moments.
const SETTLES_WITHIN: chrono::TimeDelta = chrono::TimeDelta::seconds(30);

/// The instant: answers are in UTC unless another zone is asked for, with seven digits of a second.
fn at(moment: Option<&Moment>) -> Option<DateTime<Utc>> {
    use chrono::TimeZone as _;
    let moment = moment?;
    let local = NaiveDateTime::parse_from_str(&moment.date_time, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    let zone: Tz = moment.time_zone.parse().ok()?;
    zone.from_local_datetime(&local).earliest().map(|at| at.to_utc())
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
