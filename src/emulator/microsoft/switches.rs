//! The points that are not established about Microsoft Graph: one switch for each.

use std::time::Duration;

/// The status of `ErrorDuplicateTransactionId`: a POST of other content (B3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DuplicateStatus {
    /// As in code that looks derived from production.
    #[default]
    Status400,
    /// As in several fakes.
    Status409,
}

/// What a remembered `transactionId` does once its event is deleted (not established).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterDelete {
    /// The POST makes a new event.
    #[default]
    MakesNew,
    /// 201 with the event that is no more: nothing is made. Other content is a duplicate.
    AnswersWithDeleted,
}

/// What deleting a deleted event says (B8; not established).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecondDelete {
    /// 404 `ErrorItemNotFound`.
    #[default]
    NotFound,
    /// 403 `ErrorCannotDeleteObject`, under an immutable id, as is reported of messages.
    CannotDelete,
}

/// Where a search by an extended property under one calendar looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SearchScope {
    /// In the whole mailbox (B5).
    #[default]
    Mailbox,
    /// In that calendar.
    Calendar,
}

/// The code with which a dead delta token is refused, always with 410.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiredDelta {
    /// `SyncStateNotFound`, as logs show it (microsoft-graph-docs#2350).
    #[default]
    SyncStateNotFound,
    /// `resyncRequired`, as the documents call it.
    ResyncRequired,
}

/// Where Graph's documents and the reports about it disagree, or say nothing. The default is the
/// documented behaviour, or the one that is harder on a client; tests run both.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Switches {
    /// Of other content under a `transactionId`.
    pub duplicate_status: DuplicateStatus,
    /// That refusal names the event, as `@event.existingEventId` (B3).
    pub duplicate_names_event: bool,
    /// How long after its POST a `transactionId` is remembered (B2); `None`: for ever.
    pub transactions_kept: Option<Duration>,
    /// Of a `transactionId` whose event is deleted.
    pub after_delete: AfterDelete,
    /// Of deleting twice.
    pub second_delete: SecondDelete,
    /// Of a search by an extended property.
    pub search_scope: SearchScope,
    /// So long after its POST an event is not found by `$filter`; by its id it is.
    pub search_lags: Duration,
    /// And so long after each later change.
    pub search_lags_after_change: Duration,
    /// So long after a write, the next one is told 412, once, whatever its `If-Match` says (B7).
    pub conflicts_for: Duration,
    /// So long after each write the server changes the change key of its own accord (B7). At most
    /// the first 15 count.
    pub change_key_bumps: Vec<Duration>,
    /// Of dead delta tokens.
    pub expired_delta: ExpiredDelta,
    /// Only the default calendar has a delta, for which alone it is documented; else all have.
    pub delta_of_default_calendar_alone: bool,
    /// An event is found by its id under another calendar than its own, too.
    pub strays_are_found: bool,
    /// An immutable id is understood even if the request does not prefer it (B6 asks for it on
    /// every request).
    pub immutable_ids_always_understood: bool,
    /// The first page of a list or a delta holds nothing, and a link to the next.
    pub empty_first_page: bool,
    /// Fields that the API does not know are ignored; else 400.
    pub unknown_fields_ignored: bool,
}
