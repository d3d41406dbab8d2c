//! What a calendar shows of a booking, and the digest by which we know it again.
//!
//! Content is rendered when an event is folded, by templates from the settings: what no template
//! asks for (a customer's name, an address, notes) is not in it, and so reaches neither a calendar
//! nor our database.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::event::{Details, Status};
use crate::vocabulary::{ConnectionId, IcalUid};

/// What a calendar shows of a booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The title line.
    pub summary: String,
    /// Longer text, if any.
    pub description: Option<String>,
    /// Where it takes place, if known.
    pub location: Option<String>,
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after it; always after `start`.
    pub end: DateTime<Utc>,
    /// The zone in which the calendar says the times.
    pub zone: Tz,
    /// Whether it is shown as not yet confirmed.
    pub tentative: bool,
}

/// The first 16 bytes of a SHA-256 over a canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Over parts, each led by its length, so that no two lists of parts look alike.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        Self(first)
    }

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a digest is 32 hex digits")
    }
}

impl Content {
    /// The name of exactly this content; any visible difference gives another.
    pub fn digest(&self) -> Digest {
        let start = self.start.timestamp_micros().to_be_bytes();
        let end = self.end.timestamp_micros().to_be_bytes();
        let optional = |text: &Option<String>| match text {
            None => vec![0],
            Some(text) => [&[1], text.as_bytes()].concat(),
        };
        Digest::of([
            self.summary.as_bytes(),
            &optional(&self.description),
            &optional(&self.location),
            &start,
            &end,
            self.zone.name().as_bytes(),
            &[u8::from(self.tentative)],
        ])
    }
}

/// What we write into an external event to know it again (rule R7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Whose booking it is.
    pub uid: IcalUid,
    /// Through which connection we put it there.
    pub connection: ConnectionId,
    /// The booking's revision.
    pub revision: i64,
    /// The digest of its content.
    pub digest: Digest,
}

/// The settings that decide what is visible. A replay under the same rules folds the same.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The domain of UIDs that we derive ourselves.
    pub uid_domain: String,
    /// The title.
    pub summary: Template,
    /// The longer text; an empty outcome shows none.
    pub description: Template,
    /// The place; an empty outcome shows none.
    pub location: Template,
    /// Whether a PENDING booking is shown as tentative (else it is not shown).
    pub pending_is_tentative: bool,
    /// Bookings that ended before this are folded, but never put in a calendar (rule R21).
    pub horizon: DateTime<Utc>,
}

/// The longest title and place that we show, in characters; longer ones end in `…`.
pub const LINE_LEN_MAX: usize = 1_000;
/// The longest description that we show, in characters (Google accepts 8192).
pub const TEXT_LEN_MAX: usize = 8_000;

impl Rules {
    /// What a calendar shows of this booking while it is live; `None` while it is hidden.
    pub fn render(&self, details: &Details) -> Option<Content> {
        let tentative = match details.status {
            Status::Pending if !self.pending_is_tentative => return None,
            Status::Pending => true,
            Status::Confirmed | Status::Completed | Status::NoShow => false,
        };
        let some = |text: String| (!text.is_empty()).then_some(text);
        Some(Content {
            summary: shorten(&self.summary.fill(details), LINE_LEN_MAX),
            description: some(shorten(&self.description.fill(details), TEXT_LEN_MAX)),
            location: some(shorten(&self.location.fill(details), LINE_LEN_MAX)),
            start: details.start,
            end: details.end,
            zone: details.zone,
            tentative,
        })
    }
}

/// Trims, drops control characters that no calendar format can carry, and bounds the length.
fn shorten(text: &str, len_max: usize) -> String {
    let unified = text.replace("\r\n", "\n");
    let kept = unified.trim().chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    let mut short: String = kept.clone().take(len_max).collect();
    if kept.count() > len_max {
        short.pop();
        short.push('…');
    }
    short
}

/// A text with fields in braces, such as `Booking: {service_name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    ServiceName,
    Title,
    Description,
    Location,
    Notes,
    CustomerName,
    CustomerEmail,
    Status,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error("a brace is not closed (write {{{{ for a brace itself)")]
    Unclosed,
    /// A field that a booking does not have.
    #[error("there is no field {{{field}}}; there are {}", Template::FIELDS.join(", "))]
    UnknownField {
        /// As it was written.
        field: String,
    },
}

impl Template {
    /// The fields that a template may name.
    pub const FIELDS: [&'static str; 8] = [
        "service_name",
        "title",
        "description",
        "location",
        "notes",
        "customer_name",
        "customer_email",
        "status",
    ];

    /// Reads a template. `{{` stands for a brace.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                literal.push('{');
                rest = after;
                continue;
            }
            let (name, after) = rest.split_once('}').ok_or(TemplateError::Unclosed)?;
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Field(field(name.trim())?));
            rest = after;
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Ok(Self(parts))
    }

    fn fill(&self, details: &Details) -> String {
        let mut text = String::new();
        for part in &self.0 {
            let piece = match part {
                Part::Text(literal) => literal.as_str(),
                Part::Field(Field::ServiceName) => &details.service_name,
                Part::Field(Field::Title) => details.title.as_deref().unwrap_or_default(),
                Part::Field(Field::Description) => {
                    details.description.as_deref().unwrap_or_default()
                }
                Part::Field(Field::Location) => details.location.as_deref().unwrap_or_default(),
                Part::Field(Field::Notes) => details.notes.as_deref().unwrap_or_default(),
                Part::Field(Field::CustomerName) => {
                    details.customer_name.as_deref().unwrap_or_default()
                }
                Part::Field(Field::CustomerEmail) => {
                    details.customer_email.as_deref().unwrap_or_default()
                }
                Part::Field(Field::Status) => details.status.name(),
            };
            text.write_str(piece).expect("a String takes any text");
        }
        text
    }
}

fn field(name: &str) -> Result<Field, TemplateError> {
    match name {
        "service_name" => Ok(Field::ServiceName),
        "title" => Ok(Field::Title),
        "description" => Ok(Field::Description),
        "location" => Ok(Field::Location),
        "notes" => Ok(Field::Notes),
        "customer_name" => Ok(Field::CustomerName),
        "customer_email" => Ok(Field::CustomerEmail),
        "status" => Ok(Field::Status),
        _ => Err(TemplateError::UnknownField { field: name.to_owned() }),
    }
}
