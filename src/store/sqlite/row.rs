//! Reading our own values back: a row, the table it is of, and what is said when a stored value is
//! not one that we write. Also the times, which SQLite keeps as microseconds.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};
use uuid::Uuid;

use crate::store::{Result, StoreError};

/// A row being read.
pub(super) struct Values<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    key: &'static str,
}

impl<'r> Values<'r> {
    /// A row of `table`, which people know by its column `key`.
    pub(super) fn of(row: &'r SqliteRow, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    /// The value of a column.
    pub(super) fn get<T>(&self, column: &'static str) -> Result<T>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        self.row.try_get(column).map_err(|error| self.inconsistent(column, error.to_string()))
    }

    /// The value of a column, read from its text.
    pub(super) fn parsed<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        self.parsed_maybe(column, parse)?
            .ok_or_else(|| self.inconsistent(column, "it is NULL".to_owned()))
    }

    /// The value of a column that may be NULL, read from its text.
    pub(super) fn parsed_maybe<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.get::<Option<&str>>(column)? else {
            return Ok(None);
        };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.inconsistent(column, format!("`{text}` does not parse"))),
        }
    }

    /// A column that holds an id.
    pub(super) fn uuid(&self, column: &'static str) -> Result<Uuid> {
        self.parsed(column, |text| Uuid::parse_str(text).ok())
    }

    /// A column that holds an id, or NULL.
    pub(super) fn uuid_maybe(&self, column: &'static str) -> Result<Option<Uuid>> {
        self.parsed_maybe(column, |text| Uuid::parse_str(text).ok())
    }

    /// A column that holds a time.
    pub(super) fn time(&self, column: &'static str) -> Result<DateTime<Utc>> {
        let micros = self.get::<i64>(column)?;
        DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| self.inconsistent(column, format!("{micros} is no time")))
    }

    /// A column that holds a time, or NULL.
    pub(super) fn time_maybe(&self, column: &'static str) -> Result<Option<DateTime<Utc>>> {
        match self.get::<Option<i64>>(column)? {
            Some(_) => self.time(column).map(Some),
            None => Ok(None),
        }
    }

    /// Says that a column holds something that we do not write.
    pub(super) fn inconsistent(&self, column: &'static str, detail: String) -> StoreError {
        let key = self.row.try_get::<String, _>(self.key);
        StoreError::Inconsistent {
            table: self.table,
            column,
            key: key.unwrap_or_else(|_| "a row without a key".to_owned()),
            detail,
        }
    }
}

/// A list as the JSON text that `json_each` reads.
pub(super) fn list(ids: impl IntoIterator<Item = impl ToString>) -> String {
    let texts: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    serde_json::to_string(&texts).expect("a list of texts always has a JSON form")
}
