//! What the driver's errors ask of us, and what a count of changed rows says.

use crate::store::{Fenced, StoreError};

/// The primary result code of an error, if SQLite gave one (<https://sqlite.org/rescode.html>).
pub(super) fn result_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

/// Whether trying again may mend it.
fn is_passing(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const IO: i32 = 10;
    const FULL: i32 = 13;
    match result_code(error) {
        Some(code) => [BUSY, LOCKED, IO, FULL].contains(&code),
        None => matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        ),
    }
}

/// Names the operation in which the driver failed.
pub(super) fn fault(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| {
        if is_passing(&source) {
            StoreError::Unavailable { operation, source }
        } else {
            StoreError::Failed { operation, source }
        }
    }
}

/// What a count of changed rows says of a fence.
pub(super) fn fenced(rows: u64) -> Fenced {
    match rows {
        0 => Fenced::Refused,
        1 => Fenced::Written,
        more => unreachable!("the statement names one row by its key, yet {more} changed"),
    }
}
