//! Removing an event that stands under a name which its booking has left, or beside its booking's own
//! under the same name (rule R20): a late create, as a proxy may deliver it once nobody looks for it any
//! more.
//!
//! Nothing is removed because a listing says so: first the booking's own event is read by its name, so
//! that this is not the only one that it has; then the one to be removed, and only as it was read.

use booking::Verb;

use super::Notice;
use super::lane::Drain;
use super::limits::{PRICE_OF_READING, price};
use super::outcome::Outcome;
use crate::calendar::{Call, Condition, ListedEvent, Name, Reading};
use crate::store::{DriftKind, Result, SweptRow};

/// So many times a page is put off for a removal that is not known to have been made; then the sweep goes
/// on without it.
const TRIES_MAX: i32 = 3;

/// What became of an event that should not be there.
pub(super) enum Removal {
    /// It was removed.
    Done,
    /// It was gone already.
    Vanished,
    /// It is no more what was listed, or cannot be removed, or its booking's event is still to be made.
    Left,
    /// It is left: its booking's own event is not as it should be, and is to be read.
    Alone,
    /// The calendar does not answer: the page is read again, later.
    Later,
}

impl Drain<'_> {
    /// Removes the event of a former generation. `failures`: so many times its page was put off.
    pub(super) async fn remove_extra(
        &self,
        event: &ListedEvent,
        generation: i32,
        row: &SweptRow,
        failures: i32,
    ) -> Result<Removal> {
        match (row.applied, row.is_wanted) {
            // None is wanted, and none stands under the booking's own name.
            (None, false) => {}
            (None, true) => return Ok(Removal::Left),
            (Some(_), _) => match self.read_own(event, row).await? {
                Own::Stands => {}
                Own::Otherwise => return Ok(Removal::Alone),
                Own::Later => return Ok(Removal::Later),
            },
        }
        let given = event.given.as_deref().unwrap_or(&event.id);
        let name = Name { given, server_id: Some(&event.id) };
        if !self.may_call(PRICE_OF_READING).await? {
            return Ok(Removal::Later);
        }
        let etag = match self.calendar().read(name).await {
            Reading::Absent | Reading::Tombstone => return Ok(Removal::Vanished),
            // Not found by its id, and another by its name.
            Reading::Live { server_id: Some(id), .. } if id != event.id => {
                return Ok(Removal::Vanished);
            }
            Reading::Live { marker: Some(marker), etag: Some(etag), .. }
                if marker.uid == event.marker.uid
                    && marker.connection == event.marker.connection =>
            {
                etag
            }
            Reading::Live { .. } => return Ok(Removal::Left),
            Reading::CalendarGone { message } => {
                self.calendar_gone(message).await?;
                return Ok(Removal::Later);
            }
            Reading::Failed(answer) => {
                self.failed(&answer).await?;
                return Ok(Removal::Later);
            }
        };
        if !self.may_call(price(self.kind(), Verb::Delete)).await? {
            return Ok(Removal::Later);
        }
        tracing::warn!(
            booking.uid = %event.marker.uid,
            error_code = "extra_event",
            generation,
            "removing an event that stands beside its booking's own"
        );
        let (verb, condition) = (Verb::Delete, Condition::Match(etag));
        crate::crash::point!("r20.removing");
        let (answer, outcome) = self.attempt(&Call { verb, name, condition, body: &[] }).await;
        crate::crash::point!("r20.removed");
        match outcome {
            Outcome::Applied { .. } | Outcome::AlreadyApplied => {
                self.emitter.notice(Notice::Repair(DriftKind::Extra));
                Ok(Removal::Done)
            }
            Outcome::Rejected { .. } => Ok(Removal::Left),
            Outcome::Unknown { .. } if failures >= TRIES_MAX => Ok(Removal::Left),
            // What has changed is all that the next sweep is told, and this has not: it is tried again,
            // from what is read then.
            Outcome::Unknown { .. } | Outcome::Retry { .. } | Outcome::Unauthorised { .. } => {
                self.failed(&answer).await?;
                Ok(Removal::Later)
            }
        }
    }

    /// Whether the booking has its own event, beside this one.
    async fn read_own(&self, event: &ListedEvent, row: &SweptRow) -> Result<Own> {
        if !self.may_call(PRICE_OF_READING).await? {
            return Ok(Own::Later);
        }
        let given = match &row.adopted_id {
            Some(adopted) if row.stood_before_us() => adopted.clone(),
            Some(_) | None => self.calendar().external_id(&row.uid, row.generation),
        };
        let name = Name { given: &given, server_id: row.server_id.as_deref() };
        Ok(match self.calendar().read(name).await {
            // It is this one: its id is another than the row knows.
            Reading::Live { server_id, .. }
                if server_id.as_ref().unwrap_or(&given) == &event.id =>
            {
                Own::Otherwise
            }
            Reading::Live { marker: Some(marker), .. }
                if marker.uid == row.uid && marker.connection == self.hold.lease.connection =>
            {
                Own::Stands
            }
            // It carries no marker until the first update.
            Reading::Live { marker: None, .. } if row.stood_before_us() => Own::Stands,
            Reading::Live { .. } | Reading::Absent | Reading::Tombstone => Own::Otherwise,
            Reading::CalendarGone { message } => {
                self.calendar_gone(message).await?;
                Own::Later
            }
            Reading::Failed(answer) => {
                self.failed(&answer).await?;
                Own::Later
            }
        })
    }
}

/// What stands under a booking's own name.
enum Own {
    /// Its event.
    Stands,
    /// Nothing, or not its event.
    Otherwise,
    /// It could not be read.
    Later,
}
