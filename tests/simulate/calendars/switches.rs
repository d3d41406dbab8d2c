//! What the documents leave open, contradict each other on, or servers differ in: one switch for
//! each (the facts A1 to A13, B1 to B10 and C of PROVIDERS.md, and what is "not established").

use std::time::Duration;

use super::Kind;

/// What a drawn number is below: see [`Switches::draw`].
pub type Dice<'a> = &'a mut dyn FnMut(u64) -> u64;

/// The switches of one calendar. Only those of its kind mean anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// Google's.
    pub google: Google,
    /// Microsoft Graph's.
    pub microsoft: Microsoft,
    /// A CalDAV server's.
    pub caldav: Caldav,
    /// How it lists its events, whatever its kind.
    pub listing: Listing,
}

/// How a calendar lists its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Whether an adapter can ask for it.
    pub is_supported: bool,
    /// Whether it tells what has changed (Google; CalDAV where the server knows `sync-collection`).
    pub tells_changes: bool,
    /// How many entries a page has at most.
    pub page_len: usize,
    /// It shows what stood so long ago.
    pub lags: Duration,
    /// How long a token is good for; `None`: for ever.
    pub tokens_kept_for: Option<Duration>,
}

impl Listing {
    fn strict(kind: Option<Kind>) -> Self {
        Self {
            is_supported: true,
            tells_changes: kind != Some(Kind::Microsoft),
            page_len: 100,
            lags: Duration::ZERO,
            tokens_kept_for: None,
        }
    }

    /// Some behaviour that is possible.
    pub fn draw(kind: Kind, dice: Dice<'_>) -> Self {
        let tells = match kind {
            Kind::Google => true,
            // A delta tells of no extended property.
            Kind::Microsoft => false,
            Kind::Caldav => pick(dice, &[true, true, false]),
        };
        let lags = [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(10)];
        Self {
            is_supported: dice(20) > 0,
            tells_changes: tells,
            page_len: pick(dice, &[1, 2, 100]),
            lags: pick(dice, &lags),
            tokens_kept_for: pick(dice, &[None, None, Some(Duration::from_mins(9))]),
        }
    }
}

/// Google Calendar v3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Google {
    /// Whether two inserts of one id are told apart (A1).
    pub collisions: Collisions,
    /// How long deleted events are remembered (A3: they "will eventually disappear"); `None`: for
    /// ever.
    pub tombstones_kept_for: Option<Duration>,
    /// What an update of a deleted event does (A4).
    pub tombstone_update: TombstoneUpdate,
    /// How long after its insert an event is not found by its id: a 404 "may be transient just
    /// after insert".
    pub missing_after_insert: Duration,
    /// By which requests it is not found.
    pub missing_for: MissingFor,
    /// Reading shows what stood there so long ago.
    pub reads_lag: Duration,
}

/// What becomes of a second insert of an id (A1): the guide says that it is refused, the reference
/// that "we cannot guarantee that ID collisions will be detected". What is not detected is a race
/// of two inserts: a deleted event is no racer, and an insert of its id is always refused (A2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collisions {
    /// 409, always.
    Refused,
    /// So long after the first one it succeeds, and takes the first one's place.
    Overwritten(Duration),
    /// So long after the first one it succeeds, and the first one stands.
    Same(Duration),
    /// So long after the first one it succeeds, and both stand under one id, of which every other
    /// method finds the older. Never drawn: no id would lead to the younger, and nothing but a
    /// sweep of the calendar (rule R20) would find it.
    Twins(Duration),
}

/// Which requests do not find an event that was just inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingFor {
    /// Those that read it.
    Reads,
    /// Those that update or delete it too.
    All,
}

/// What an update of a deleted Google event does (A4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TombstoneUpdate {
    /// 403 `forbidden`.
    Forbidden,
    /// It revives the event, if the status that it brings is not `cancelled`.
    Revives,
}

/// Microsoft Graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Microsoft {
    /// How long after a POST its `transactionId` is remembered (B2: no duration is documented);
    /// `None`: for ever.
    pub remembers_for: Option<Duration>,
    /// What a remembered `transactionId` does once its event is deleted (not established).
    pub after_delete: AfterDelete,
    /// The status of `ErrorDuplicateTransactionId`: a POST of other content (B3).
    pub duplicate: Duplicate,
    /// How long after its POST an event is not found by its marker (B5; not established).
    pub lookup_lags: Duration,
    /// So long after a write, the next one is told 412, once, whatever its `If-Match` says (B7).
    pub conflicts_for: Duration,
    /// So long after each write the server changes the ETag of its own accord (B7).
    pub etag_bumps: Vec<Duration>,
    /// What deleting a deleted event says (B8; not established).
    pub second_delete: SecondDelete,
    /// Whether the adapter takes a copy that carries a name for the event of that name. Never drawn: it
    /// is the adapter broken on purpose.
    pub takes_copies: bool,
}

/// What a remembered `transactionId` does once its event is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterDelete {
    /// The POST makes a new event.
    MakesNew,
    /// 201 with the event that is no more: nothing is made.
    AnswersWithDeleted,
}

/// The status of `ErrorDuplicateTransactionId` (B3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// As in code that looks derived from production.
    Status400,
    /// As in several fakes.
    Status409,
}

/// What deleting a deleted Graph event says (B8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondDelete {
    /// 404 `ErrorItemNotFound`.
    NotFound,
    /// 403 `ErrorCannotDeleteObject`.
    CannotDelete,
}

/// A CalDAV server (C, and the table of quirks below it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caldav {
    /// Whether `If-None-Match: *` is obeyed; `SOGo` and Zimbra overwrite.
    pub obeys_if_none_match: bool,
    /// What ETags it gives.
    pub etags: EtagForm,
    /// Whether the answer to a PUT gives the ETag too.
    pub etag_on_put: bool,
    /// What ETags are made from. Radicale and Xandikos derive them from the content, so that A, B
    /// and A again have only two.
    pub etags_from: EtagSource,
    /// What a PUT without a condition does to an event that is there.
    pub overwrite: Overwrite,
    /// The status of a deletion.
    pub deletion: Deletion,
    /// What deleting what is not there says, if the request has an `If-Match`.
    pub missing: Missing,
    /// What a deleted event leaves behind.
    pub trash: Trash,
    /// What a PUT says whose UID stands at another href.
    pub uid_conflict: UidConflict,
    /// Which UID a copy gets that the host makes.
    pub copies: CopyUid,
    /// What a PUT of something else than an event says.
    pub invalid: Invalid,
    /// Every so manieth PUT is stored and answered by 500 (Xandikos); `None`: none.
    pub fails_after_storing: Option<u64>,
}

/// What ETags a CalDAV server gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagForm {
    /// Strong ones.
    Strong,
    /// Weak ones, which no `If-Match` ever matches (RFC 9110 §13.1.1).
    Weak,
    /// None at all.
    None,
}

/// What a CalDAV server makes its ETags from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagSource {
    /// Another one at each write.
    Count,
    /// The same for the same content.
    Content,
}

/// What a PUT without a condition does to an event that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It replaces it.
    Accepted,
    /// 409 (Open-Xchange).
    Refused,
}

/// The status of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// 204 (Xandikos).
    NoContent,
    /// 200 and a multistatus (Radicale).
    MultiStatus,
}

/// What deleting with an `If-Match` says where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// 404.
    NotFound,
    /// 412: a condition on something is not met by nothing.
    ConditionFailed,
}

/// What a deleted event leaves behind on a CalDAV server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trash {
    /// Nothing: deleting and making anew may repeat for ever.
    None,
    /// For so long an event of its name is refused (Nextcloud, server#30096).
    RefusesPut {
        /// How long it lies in the bin.
        for_time: Duration,
        /// 400 or 403.
        status: u16,
    },
    /// For so long an event of its name can be made and not be deleted: 403 (Nextcloud,
    /// server#42582).
    RefusesDelete {
        /// How long it lies in the bin.
        for_time: Duration,
    },
}

impl Trash {
    /// How long a deleted event lies in the bin.
    pub(super) fn kept_for(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::RefusesPut { for_time, .. } | Self::RefusesDelete { for_time } => for_time,
        }
    }
}

/// What a PUT says whose UID stands at another href.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UidConflict {
    /// 409 `no-uid-conflict` (Radicale, new Nextcloud).
    Status409,
    /// 412 `no-uid-conflict` (Xandikos).
    Status412,
    /// 403 `unique-scheduling-object-resource` (Cyrus).
    Status403,
    /// 400 (older Nextcloud).
    Status400,
    /// 201: both stand (Baikal, `DAViCal`, Davis, posteo, Infomaniak, Synology).
    Accepted,
}

/// Which UID a copy gets that a host makes in a CalDAV calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyUid {
    /// One of its own.
    Another,
    /// The same.
    Same,
}

/// What a PUT of something else than an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// 400 (Radicale).
    Status400,
    /// 412 `valid-calendar-data` (Xandikos).
    Status412,
}

impl Switches {
    /// The best behaviour that is documented.
    pub fn strict() -> Self {
        Self {
            google: Google::strict(),
            microsoft: Microsoft::strict(),
            caldav: Caldav::strict(),
            listing: Listing::strict(None),
        }
    }

    /// Some behaviour that is possible: `dice` draws a number below the one that it is given.
    pub fn draw(kind: Kind, dice: Dice<'_>) -> Self {
        let mut switches = Self { listing: Listing::strict(Some(kind)), ..Self::strict() };
        match kind {
            Kind::Google => switches.google = Google::draw(dice),
            Kind::Microsoft => switches.microsoft = Microsoft::draw(dice),
            Kind::Caldav => switches.caldav = Caldav::draw(dice),
        }
        switches
    }
}

fn pick<T: Clone>(dice: Dice<'_>, of: &[T]) -> T {
    let at = usize::try_from(dice(of.len() as u64)).unwrap_or_default();
    of[at].clone()
}

impl Google {
    fn strict() -> Self {
        Self {
            collisions: Collisions::Refused,
            tombstones_kept_for: None,
            tombstone_update: TombstoneUpdate::Forbidden,
            missing_after_insert: Duration::ZERO,
            missing_for: MissingFor::Reads,
            reads_lag: Duration::ZERO,
        }
    }

    fn draw(dice: Dice<'_>) -> Self {
        let undetected = pick(
            dice,
            &[Duration::from_millis(500), Duration::from_secs(5), Duration::from_mins(1)],
        );
        let collisions = [
            Collisions::Refused,
            Collisions::Refused,
            Collisions::Overwritten(undetected),
            Collisions::Same(undetected),
        ];
        Self {
            collisions: pick(dice, &collisions),
            tombstones_kept_for: pick(
                dice,
                &[None, None, Some(Duration::from_mins(10)), Some(Duration::from_hours(24))],
            ),
            tombstone_update: pick(dice, &[TombstoneUpdate::Forbidden, TombstoneUpdate::Revives]),
            missing_after_insert: pick(
                dice,
                &[Duration::ZERO, Duration::from_millis(300), Duration::from_secs(5)],
            ),
            missing_for: pick(dice, &[MissingFor::Reads, MissingFor::All]),
            reads_lag: pick(
                dice,
                &[
                    Duration::ZERO,
                    Duration::ZERO,
                    Duration::from_millis(300),
                    Duration::from_secs(5),
                ],
            ),
        }
    }
}

impl Microsoft {
    fn strict() -> Self {
        Self {
            remembers_for: None,
            after_delete: AfterDelete::MakesNew,
            duplicate: Duplicate::Status400,
            lookup_lags: Duration::ZERO,
            conflicts_for: Duration::ZERO,
            etag_bumps: Vec::new(),
            second_delete: SecondDelete::NotFound,
            takes_copies: false,
        }
    }

    fn draw(dice: Dice<'_>) -> Self {
        let bumps = [
            vec![],
            vec![Duration::from_millis(200)],
            vec![Duration::from_millis(50), Duration::from_secs(3)],
        ];
        Self {
            remembers_for: pick(
                dice,
                &[None, Some(Duration::from_secs(20)), Some(Duration::from_hours(4))],
            ),
            after_delete: pick(dice, &[AfterDelete::MakesNew, AfterDelete::AnswersWithDeleted]),
            duplicate: pick(dice, &[Duplicate::Status400, Duplicate::Status409]),
            lookup_lags: pick(
                dice,
                &[Duration::ZERO, Duration::from_millis(300), Duration::from_secs(10)],
            ),
            conflicts_for: pick(
                dice,
                &[Duration::ZERO, Duration::from_millis(300), Duration::from_secs(5)],
            ),
            etag_bumps: pick(dice, &bumps),
            second_delete: pick(dice, &[SecondDelete::NotFound, SecondDelete::CannotDelete]),
            takes_copies: false,
        }
    }
}

impl Caldav {
    fn strict() -> Self {
        Self {
            obeys_if_none_match: true,
            etags: EtagForm::Strong,
            etag_on_put: true,
            etags_from: EtagSource::Count,
            overwrite: Overwrite::Accepted,
            deletion: Deletion::NoContent,
            missing: Missing::NotFound,
            trash: Trash::None,
            uid_conflict: UidConflict::Status409,
            copies: CopyUid::Another,
            invalid: Invalid::Status400,
            fails_after_storing: None,
        }
    }

    fn draw(dice: Dice<'_>) -> Self {
        let (strong, weak, none) = (EtagForm::Strong, EtagForm::Weak, EtagForm::None);
        let etags = pick(dice, &[strong, strong, strong, weak, none]);
        // A server that wants an `If-Match` gives something to say there.
        let overwrite = match etags {
            EtagForm::Strong => pick(dice, &[Overwrite::Accepted, Overwrite::Refused]),
            EtagForm::Weak | EtagForm::None => Overwrite::Accepted,
        };
        let for_time = pick(
            dice,
            &[Duration::from_secs(30), Duration::from_mins(10), Duration::from_hours(2)],
        );
        let trash = [
            Trash::None,
            Trash::None,
            Trash::RefusesPut { for_time, status: pick(dice, &[400, 403]) },
            Trash::RefusesDelete { for_time },
        ];
        let conflicts = [
            UidConflict::Status409,
            UidConflict::Status412,
            UidConflict::Status403,
            UidConflict::Status400,
            UidConflict::Accepted,
        ];
        Self {
            obeys_if_none_match: pick(dice, &[true, true, false]),
            etags,
            etag_on_put: pick(dice, &[true, false]),
            etags_from: pick(dice, &[EtagSource::Count, EtagSource::Content]),
            overwrite,
            deletion: pick(dice, &[Deletion::NoContent, Deletion::MultiStatus]),
            missing: pick(dice, &[Missing::NotFound, Missing::ConditionFailed]),
            trash: pick(dice, &trash),
            uid_conflict: pick(dice, &conflicts),
            copies: pick(dice, &[CopyUid::Another, CopyUid::Same]),
            invalid: pick(dice, &[Invalid::Status400, Invalid::Status412]),
            fails_after_storing: pick(dice, &[None, None, Some(3), Some(7)]),
        }
    }
}
