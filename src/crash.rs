//! The steps of the protocol at which a test can end the process, as a power cut would: between
//! what was stored and what follows from it.
//!
//! Built only with the Cargo feature `crash-points`. Without it [`point`] is nothing at all: no
//! code, no text, no branch. The crash matrix (`tests/it/crash`) ends a worker at every point of
//! [`POINTS`], and has another one recover.

/// Ends the process here, if a test has named this point; the second form only where the condition
/// holds, which is not evaluated in a build without points. That the name is in
/// [`POINTS`] is held by the crash matrix.
#[cfg(feature = "crash-points")]
macro_rules! point {
    ($name:literal) => {
        $crate::crash::reached($name)
    };
    ($name:literal, if $holds:expr) => {
        if $holds {
            $crate::crash::point!($name);
        }
    };
}

#[cfg(not(feature = "crash-points"))]
macro_rules! point {
    ($name:literal $(, if $holds:expr)?) => {{}};
}

pub(crate) use point;

/// A point, and where the protocol stands there.
#[cfg(feature = "crash-points")]
pub struct Point {
    /// The rule, a dot, and what has just been done, or (`…ing`) is just about to be.
    pub name: &'static str,
    /// What holds there.
    pub meaning: &'static str,
}

/// The points, in the order in which a record and its effects come by.
#[cfg(feature = "crash-points")]
pub const POINTS: &[Point] = &[
    // ---- R1: fence, then read ----
    at("r1.assigned", "Kafka has assigned partitions; nothing is fenced"),
    at("r1.fenced", "the fence is stored, and with it, in one statement, the cursor is read"),
    at("r1.identified", "the broker has said who the log is"),
    at("r1.judged", "the log is the one that was read; nothing of that is stored"),
    at("r1.note_written", "in the transaction: the log's identity and end are written"),
    at("r1.noted", "the log's identity and end are stored"),
    at("r1.reading", "the first record is about to be asked for"),
    // ---- R3: one transaction for one batch ----
    at("r3.gathered", "a batch is gathered, and not understood yet"),
    at("r3.folded", "a batch is folded and planned; nothing of it is stored"),
    at("r3.cursor_written", "in the transaction: the cursor is moved, nothing else is written"),
    at("r3.all_written", "in the transaction: all is written, nothing is committed"),
    at("r3.committed", "the database has committed, and nobody has seen its answer"),
    at("r3.trailing", "Kafka's trailing copy is about to be committed"),
    at("r3.trailed", "Kafka has acknowledged its trailing copy"),
    // ---- R10: lanes ----
    at("r10.leased", "a lane is leased; nothing else is done on it"),
    at("r10.restamped", "in the transaction: what was in flight carries our token"),
    at("r10.taken_over", "what an earlier holder left in flight is ours"),
    at("r10.due", "what is due is read"),
    at("r10.renewed", "the lease is renewed amid a drain"),
    at("r10.stamp_written", "in the transaction: what will be sent is stamped"),
    at("r10.stamped", "what will be sent is stored"),
    at("r10.calling", "the call is about to be made"),
    // ---- the call ----
    at("call.answered", "the calendar has answered; its answer is not understood yet"),
    // ---- R12: generations ----
    at("r12.burned", "a delete is stamped: its generation is burned"),
    at("r12.opened", "the create of a further generation is stamped"),
    at("r12.gone", "a generation is found settled absent, though not by us"),
    // ---- R13: settling ----
    at("r13.reading", "what is in flight is about to be read back"),
    at("r13.read", "it is read back; nothing has come of that yet"),
    at("r13.sending_again", "it was not applied, and is about to be sent again"),
    at("r13.given_way", "it was not applied, and gives way to what is wanted by now"),
    // ---- R14: verification ----
    at("r14.reading", "the hour of an open attempt has come; its event is about to be read"),
    at("r14.read", "the event is read; the verification is not recorded"),
    at("r14.removing", "another generation's event stands, and is about to be removed"),
    at("r14.removed", "it is removed; the verification is not recorded"),
    // ---- R15: recording ----
    at("r15.recording", "what became of an attempt is known, and not recorded"),
    at("r15.record_written", "in the transaction: it is written, and not committed"),
    at("r15.recorded", "it is recorded"),
    at("r15.releasing", "a drain is over, and its lane is held"),
    at("r15.released", "the lane is given back"),
    // ---- R20: sweeps ----
    at("r20.begun", "a sweep is begun; nothing of it is read"),
    at("r20.listed", "a page is read; nothing has come of that yet"),
    at("r20.removing", "another event than its booking's own is about to be removed"),
    at("r20.removed", "it is removed; nothing of its page is stored"),
    at("r20.page_written", "in the transaction: what a page says is written, and not committed"),
    at("r20.noted", "what a page says is stored"),
    at("r20.end_written", "in the transaction: the end of a sweep is written, and not committed"),
    at("r20.ended", "what the sweep did not find, or found otherwise, is to be read"),
];

/// The environment variable that names the point to end at.
#[cfg(feature = "crash-points")]
pub const VARIABLE: &str = "CRASH_AT";

/// What the process says last, before the point's name: that it ended there and nowhere else.
#[cfg(feature = "crash-points")]
pub const LAST_WORDS: &str = "crashed at ";

#[cfg(feature = "crash-points")]
const fn at(name: &'static str, meaning: &'static str) -> Point {
    Point { name, meaning }
}

/// Ends the process if this is the point that was named.
#[cfg(feature = "crash-points")]
pub fn reached(name: &str) {
    use std::io::Write as _;
    use std::sync::LazyLock;

    use rustix::process::{Resource, Rlimit, setrlimit};

    #[expect(clippy::disallowed_methods, reason = "it is an order of a test, and no setting")]
    static NAMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());

    if NAMED.as_deref() == Some(name) {
        let mut stderr = std::io::stderr();
        if setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).is_err() {
            drop(writeln!(stderr, "there may be a core, which nobody needs"));
        }
        // In one piece, and whether it can be said or not: this is the end.
        drop(stderr.write_all(format!("{LAST_WORDS}{name}\n").as_bytes()));
        std::process::abort();
    }
}
