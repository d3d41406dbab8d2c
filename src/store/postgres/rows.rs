//! Rows to domain types. What cannot be read back is an inconsistency that names its row.

use booking::{ConnectionId, Content, Digest, IcalUid};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::store::{Result, StoreError, StoredBooking};

pub(super) fn bytes(digest: Digest) -> Vec<u8> {
    digest.0.to_vec()
}

/// An error for a value that this version does not write.
pub(super) fn inconsistent(
    table: &'static str,
    column: &'static str,
    key: impl std::fmt::Display,
    detail: impl std::fmt::Display,
) -> StoreError {
    StoreError::Inconsistent { table, column, key: key.to_string(), detail: detail.to_string() }
}

pub(super) fn stored_booking(row: &PgRow) -> Result<StoredBooking> {
    let uid: &str = row.get("ical_uid");
    let state: &str = row.get("state");
    let booking = serde_json::from_str(state)
        .map_err(|error| inconsistent("bookings", "state", uid, error))?;
    Ok(StoredBooking {
        booking,
        placed: row.get::<Option<_>, _>("placed").map(ConnectionId),
        version: row.get("version"),
    })
}

/// A digest column; `column` also names it in an error.
pub(super) fn digest(row: &PgRow, column: &'static str) -> Result<Option<Digest>> {
    let Some(stored) = row.get::<Option<Vec<u8>>, _>(column) else {
        return Ok(None);
    };
    let found: [u8; 16] = stored.try_into().map_err(|stored: Vec<u8>| {
        let uid: &str = row.get("ical_uid");
        inconsistent("effects", column, uid, format!("{} bytes", stored.len()))
    })?;
    Ok(Some(Digest(found)))
}

pub(super) fn uid(row: &PgRow) -> Result<IcalUid> {
    let text: &str = row.get("ical_uid");
    IcalUid::parse(text).map_err(|error| inconsistent("effects", "ical_uid", text, error))
}

/// The content that a row asks for: the booking's, which must be the one that the digest names.
pub(super) fn wanted(row: &PgRow, uid: &IcalUid) -> Result<Option<Content>> {
    let Some(wanted) = digest(row, "desired_digest")? else {
        return Ok(None);
    };
    let stored = stored_booking(row)?;
    let content = stored.booking.shown().filter(|content| content.digest() == wanted).cloned();
    let detail = "the booking does not show what this row asks for";
    content.map(Some).ok_or_else(|| inconsistent("effects", "desired_digest", uid, detail))
}
