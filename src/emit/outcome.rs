//! PURE: what an answer means (rule R13), as one total table of verb and answer.
//!
//! Only what is listed here as *not applied* counts as that; whatever else comes back may have
//! taken effect, and is read back before anything is sent again. The table knows no row, no lease
//! and no clock.

use std::time::Duration;

use booking::{CalendarKind, Verb};

use crate::calendar::Answer;
use crate::calendar::http::MOVED;
use crate::calendar::microsoft::DUPLICATE;

/// The pause after a provider's alarm about abuse (Google's `quotaExceeded`): it lifts within
/// hours, and knocking sooner prolongs it.
pub const QUOTA_DELAY: Duration = Duration::from_hours(1);

/// What became of a call. `reason` is for people; it holds no content and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, and the calendar said so.
    Applied {
        /// The event's strong ETag, if the answer gave one; else it must be read before the next
        /// update. Always `None` for a delete.
        etag: Option<String>,
        /// The UID that the calendar itself gives the event (L3).
        provider_uid: Option<String>,
        /// The event's id, where the calendar makes its ids itself (L14).
        server_id: Option<String>,
    },
    /// The calendar is as we want it, by an earlier call.
    AlreadyApplied,
    /// We cannot tell: read it back before anything is sent.
    Unknown {
        /// What happened.
        reason: String,
        /// Whether the call may still take effect later: no answer of its own closed it (rule
        /// R14), and the event is read again at `verify_at`.
        open: bool,
        /// How long the calendar asks to be left alone first.
        after: Option<Duration>,
    },
    /// It certainly did not take effect, and can be sent again. Does not count towards a dead
    /// letter.
    Retry {
        /// How long the calendar asks to be left alone; `None` leaves it to the backoff.
        after: Option<Duration>,
        /// Whether the whole lane waits: it is not about this event.
        lane_wide: bool,
        /// What happened.
        reason: String,
    },
    /// The calendar does not accept it. Counts towards a dead letter.
    Rejected {
        /// What it says.
        reason: String,
        /// Whether it has to be read back before the next try all the same.
        unknown: bool,
    },
    /// The credentials do not open the calendar; it certainly did not take effect. Nothing is
    /// wrong with the effect: renew the token, then park the connection (L7).
    Unauthorised {
        /// What it says.
        reason: String,
    },
}

/// What to do about an event that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Read it again later.
    Retry {
        /// How long the calendar asks to be left alone; `None` leaves it to the backoff.
        after: Option<Duration>,
        /// Whether the whole lane waits.
        lane_wide: bool,
        /// What happened.
        reason: String,
    },
    /// The credentials do not open the calendar.
    Unauthorised {
        /// What it says.
        reason: String,
    },
}

/// What an answer to a write means.
pub fn outcome(kind: CalendarKind, verb: Verb, answer: &Answer) -> Outcome {
    match answer {
        Answer::Lost { sent: false, message } => {
            Outcome::Retry { after: None, lane_wide: true, reason: message.clone() }
        }
        Answer::Lost { sent: true, message } => {
            Outcome::Unknown { reason: message.clone(), open: true, after: None }
        }
        Answer::Status { status, reason, retry_after, etag, provider_uid, server_id, message } => {
            let word = reason.as_deref();
            let told = Told { kind, word, after: *retry_after, message };
            match status {
                200..=299 => {
                    let (etag, provider_uid) = (etag.clone(), provider_uid.clone());
                    let server_id = server_id.clone();
                    told.success(verb, *status, Outcome::Applied { etag, provider_uid, server_id })
                }
                300..=499 => told.client_error(verb, *status),
                // Beyond are 5xx, and numbers that are no HTTP status.
                _ => told.unknown(true),
            }
        }
    }
}

/// What to do about a read that failed with this answer ([`crate::calendar::Reading::Failed`]).
/// No failure to read says anything about the event (L24).
pub fn unread(kind: CalendarKind, answer: &Answer) -> Unread {
    // Reading and updating name the same event; who may not come in is told alike.
    match outcome(kind, Verb::Update, answer) {
        Outcome::Unauthorised { reason } => Unread::Unauthorised { reason },
        Outcome::Retry { after, lane_wide, reason } => Unread::Retry { after, lane_wide, reason },
        Outcome::Unknown { reason, open: _, after } => {
            Unread::Retry { after, lane_wide: false, reason }
        }
        Outcome::Rejected { reason, unknown: _ } => {
            Unread::Retry { after: None, lane_wide: false, reason }
        }
        Outcome::Applied { .. } | Outcome::AlreadyApplied => Unread::Retry {
            after: None,
            lane_wide: false,
            reason: "the answer could not be read".to_owned(),
        },
    }
}

/// Whether this says that the access token is no good, so that another one may be (RFC 6750 §3.1; L17:
/// a 403 is about what the token may do, which a new one may not either).
pub fn is_unauthenticated(answer: &Answer) -> bool {
    matches!(answer, Answer::Status { status: 401, .. })
}

/// An answer, without its status.
#[derive(Clone, Copy)]
struct Told<'a> {
    kind: CalendarKind,
    word: Option<&'a str>,
    after: Option<Duration>,
    message: &'a str,
}

impl Told<'_> {
    /// `written`: what a put that was applied comes to.
    fn success(self, verb: Verb, status: u16, written: Outcome) -> Outcome {
        match (status, verb) {
            // Accepted, to be done later, or not (RFC 9110 §15.3.3).
            (202, _) => self.unknown(true),
            // Several statuses, any of which can be a failure (RFC 4918 §13).
            (207, _) => self.unknown(false),
            (_, Verb::Create | Verb::Update) => written,
            (_, Verb::Delete) => {
                Outcome::Applied { etag: None, provider_uid: None, server_id: None }
            }
        }
    }

    fn client_error(self, verb: Verb, status: u16) -> Outcome {
        match status {
            // The address will not do: every event would fare alike, until a person corrects it.
            301 | 302 | 307 | 308 if self.word == Some(MOVED) => {
                Outcome::Unauthorised { reason: self.message.to_owned() }
            }
            400 => self.invalid(),
            401 => Outcome::Unauthorised { reason: self.message.to_owned() },
            403 => self.forbidden(verb),
            404 | 410 => self.gone(verb, status),
            409 | 412 => self.conflict(),
            // Too large, of a wrong type, not to be processed: about the body alone.
            413 | 415 | 422 => self.rejected(false),
            429 => self.limited(self.after),
            // Refused for good, yet in no list of answers that mean "not applied".
            402 | 405 | 406 | 411 | 414 | 417 | 426 | 428 | 431 | 451 => self.rejected(true),
            // No redirect is followed; 408, 423, 425 and the rest pass, or were said by
            // somebody in between.
            _ => self.unknown(true),
        }
    }

    /// 400: the body is not valid.
    fn invalid(self) -> Outcome {
        match (self.kind, self.word) {
            // The event is there already, with other content.
            (CalendarKind::Microsoft, Some(DUPLICATE)) => self.unknown(false),
            // Graph says much by a 400, and has carried out what it refused (an account that was
            // suspended): only what is plainly about the body was not applied.
            (CalendarKind::Microsoft, word) => {
                self.rejected(!word.is_some_and(|word| INVALID.contains(&word)))
            }
            (CalendarKind::Google | CalendarKind::Caldav, _) => self.rejected(false),
        }
    }

    /// 403 is classified by its reason (L17).
    fn forbidden(self, verb: Verb) -> Outcome {
        match (self.kind, self.word) {
            (CalendarKind::Google, Some("rateLimitExceeded" | "userRateLimitExceeded")) => {
                self.limited(self.after)
            }
            (CalendarKind::Google, Some("quotaExceeded" | "dailyLimitExceeded")) => {
                self.limited(Some(self.after.unwrap_or_default().max(QUOTA_DELAY)))
            }
            // The token lacks the scope, or the calendar can only be read (L28; RFC 3744 §7.1.1): every
            // event would fail alike, until a person has seen to it.
            (CalendarKind::Google, Some("insufficientPermissions" | "requiredAccessLevel"))
            | (CalendarKind::Caldav, Some("need-privileges"))
            | (CalendarKind::Microsoft, Some("ErrorAccessDenied" | "accessDenied")) => {
                Outcome::Unauthorised { reason: self.message.to_owned() }
            }
            // What is deleted once more is refused by a word of its own (reported of messages).
            (CalendarKind::Microsoft, Some("ErrorCannotDeleteObject")) if verb == Verb::Delete => {
                self.unknown(false)
            }
            (CalendarKind::Google | CalendarKind::Caldav | CalendarKind::Microsoft, _) => {
                self.rejected(true)
            }
        }
    }

    /// 404 and 410. A bare one can be transient, or mean that the calendar itself is gone (L24):
    /// the read-back looks. Only Google's 410 to a delete says that the event was deleted.
    fn gone(self, verb: Verb, status: u16) -> Outcome {
        match (self.kind, verb, status) {
            (CalendarKind::Google, Verb::Delete, 410) => Outcome::AlreadyApplied,
            (
                CalendarKind::Google | CalendarKind::Caldav | CalendarKind::Microsoft,
                Verb::Create | Verb::Update | Verb::Delete,
                _,
            ) => self.unknown(false),
        }
    }

    /// 409 and 412: the condition did not hold, so that this call did nothing; an earlier one
    /// may have (L18). CalDAV servers say the same where the event as such is refused.
    fn conflict(self) -> Outcome {
        match (self.kind, self.word) {
            (CalendarKind::Caldav, Some(word)) if REFUSALS.contains(&word) => self.rejected(true),
            (CalendarKind::Google | CalendarKind::Caldav | CalendarKind::Microsoft, _) => {
                self.unknown(false)
            }
        }
    }

    fn unknown(self, open: bool) -> Outcome {
        Outcome::Unknown { reason: self.message.to_owned(), open, after: self.after }
    }

    fn rejected(self, unknown: bool) -> Outcome {
        Outcome::Rejected { reason: self.message.to_owned(), unknown }
    }

    fn limited(self, after: Option<Duration>) -> Outcome {
        Outcome::Retry { after, lane_wide: true, reason: self.message.to_owned() }
    }
}

/// Graph's words for a body that is not valid.
const INVALID: [&str; 8] = [
    "BadRequest",
    "ErrorCalendarEndDateIsEarlierThanStartDate",
    "ErrorInvalidPropertySet",
    "ErrorInvalidRequest",
    "ErrorPropertyValidationFailure",
    "ErrorSchemaValidation",
    "RequestBodyRead",
    "invalidRequest",
];

/// The preconditions of RFC 4791 §5.3.2.1 that no change of ETag mends: the event as such is
/// refused, or another resource holds its UID. The last one is Cyrus's word for that.
const REFUSALS: [&str; 12] = [
    "no-uid-conflict",
    "supported-calendar-data",
    "valid-calendar-data",
    "valid-calendar-object-resource",
    "supported-calendar-component",
    "calendar-collection-location-ok",
    "max-resource-size",
    "min-date-time",
    "max-date-time",
    "max-instances",
    "max-attendees-per-instance",
    "unique-scheduling-object-resource",
];

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
