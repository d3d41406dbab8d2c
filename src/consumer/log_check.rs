//! Rule R2: is this still the log that we read? Pure decisions; the facts for them come from
//! [`super::asking`]. Nothing here knows who owns a partition.

use crate::store::{Cursor, Stop, Witness};

/// Who the log says it is. What a broker does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The topic's id.
    pub topic_id: Option<String>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
}

/// What a broker says of a partition's log, asked *after* the cursor was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The offset of the oldest record that is still there.
    pub low: i64,
    /// The offset that the next record will have.
    pub high: i64,
    /// Whose log it is.
    pub identity: Identity,
}

/// What to do about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its cursor has no offset yet: store this one, then judge again.
    Begin(i64),
    /// Read it.
    Read(Reading),
    /// It is stopped, or has to be: wait for an operator.
    Stop {
        /// Why.
        stop: Stop,
        /// Whether the store knows already.
        is_stored: bool,
    },
}

/// How to read a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Where librdkafka is to begin.
    pub from: i64,
    /// The cursor: records below it are not handed over.
    pub cursor: i64,
    /// What the record below the cursor must be.
    pub expected: Option<Expected>,
}

/// What the first record must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// What was seen there.
    pub witness: Witness,
    /// It may be gone (compaction, retention), because the topic's id says that the log is the
    /// same.
    pub may_be_gone: bool,
}

/// What the first record turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// The one that was read before.
    Known,
    /// The next one: what was read before is gone, and may be.
    New,
    /// Another log.
    Stop(Stop),
}

fn stop(kind: &str, found: String) -> Stop {
    Stop { kind: kind.to_owned(), found }
}

/// Whether the cursor was written for another topic or cluster than this one.
pub fn recreated(cursor: &Cursor, identity: &Identity) -> Option<Stop> {
    for (what, stored, found) in [
        ("topic", &cursor.topic_id, &identity.topic_id),
        ("cluster", &cursor.cluster_id, &identity.cluster_id),
    ] {
        if let (Some(stored), Some(found)) = (stored, found)
            && stored != found
        {
            let found = format!(
                "the {what}'s id was {stored} when the cursor was written, and is {found} now: \
                 this is not the log that was read up to {}",
                position(cursor)
            );
            return Some(stop("recreated", found));
        }
    }
    None
}

fn position(cursor: &Cursor) -> String {
    cursor.next_offset.map_or_else(|| "its start".to_owned(), |next| format!("offset {next}"))
}

/// Judges a partition by its cursor and its log.
pub fn judge(cursor: &Cursor, log: &Log) -> Verdict {
    if let Some(stored) = &cursor.stop {
        return Verdict::Stop { stop: stored.clone(), is_stored: true };
    }
    if let Some(stop) = recreated(cursor, &log.identity) {
        return Verdict::Stop { stop, is_stored: false };
    }
    let Some(next) = cursor.next_offset else {
        return Verdict::Begin(log.low.max(0));
    };
    // Between the two nothing is ever delivered: no record is lost with it.
    let passed = cursor.position().unwrap_or(next);
    if log.high < passed {
        let found = format!(
            "the log ends at offset {}, and was read up to offset {passed}: {} records that were \
             read are not in it any more",
            log.high,
            passed - log.high
        );
        return Verdict::Stop { stop: stop("truncated", found), is_stored: false };
    }
    if log.low > passed {
        let found = format!(
            "the log begins at offset {}, and was read up to offset {passed}: {} offsets were \
             deleted before they were read",
            log.low,
            log.low - passed
        );
        return Verdict::Stop { stop: stop("lost_range", found), is_stored: false };
    }
    let is_there = next > 0 && log.low < next;
    let may_be_gone = cursor.topic_id.is_some() && cursor.topic_id == log.identity.topic_id;
    Verdict::Read(match cursor.witness.filter(|_| is_there) {
        Some(witness) => Reading {
            from: next - 1,
            cursor: next,
            expected: Some(Expected { witness, may_be_gone }),
        },
        None => Reading { from: next.max(log.low), cursor: next, expected: None },
    })
}

/// Judges the first record that was read: `cursor` is the next offset, `offset` and `found` are
/// that record's.
pub fn first_record(cursor: i64, expected: &Expected, offset: i64, found: Witness) -> First {
    let Expected { witness, may_be_gone } = expected;
    if offset < cursor {
        if found == *witness {
            return First::Known;
        }
        let text = format!(
            "the record at offset {offset} has timestamp {} and checksum {:08x}, and had \
             timestamp {} and checksum {:08x} when it was read",
            found.timestamp_ms, found.checksum, witness.timestamp_ms, witness.checksum
        );
        return First::Stop(stop("replaced", text));
    }
    if *may_be_gone {
        return First::New;
    }
    let text = format!(
        "the record at offset {} is gone, the next one is at offset {offset}, and without the \
         topic's id nothing shows that this is the log that was read",
        cursor - 1
    );
    First::Stop(stop("replaced", text))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::store::Fence;

    const SEEN: Witness = Witness { timestamp_ms: 7, checksum: 0xabc };

    fn cursor(next_offset: Option<i64>) -> Cursor {
        let fence = Fence { topic: "t".to_owned(), partition: 0, epoch: 1, token: Uuid::nil() };
        Cursor {
            fence,
            next_offset,
            passed_to: None,
            witness: next_offset.map(|_| SEEN),
            topic_id: Some("A".to_owned()),
            cluster_id: Some("C".to_owned()),
            log_end: None,
            incarnation: 0,
            recover_until: None,
            stop: None,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn log(low: i64, high: i64) -> Log {
        let identity =
            Identity { topic_id: Some("A".to_owned()), cluster_id: Some("C".to_owned()) };
        Log { low, high, identity }
    }

    fn stopped(verdict: Verdict) -> (String, String) {
        match verdict {
            Verdict::Stop { stop, is_stored: false } => (stop.kind, stop.found),
            other @ (Verdict::Begin(_) | Verdict::Read(_) | Verdict::Stop { .. }) => {
                panic!("not a new stop: {other:?}")
            }
        }
    }

    #[test]
    fn reading_starts_at_the_record_below_the_cursor_and_expects_to_know_it() {
        let expected = Some(Expected { witness: SEEN, may_be_gone: true });
        let reading = Reading { from: 9, cursor: 10, expected };
        assert_eq!(judge(&cursor(Some(10)), &log(0, 12)), Verdict::Read(reading));
    }

    #[test]
    fn what_retention_took_is_not_asked_for() {
        let reading = Reading { from: 10, cursor: 10, expected: None };
        assert_eq!(judge(&cursor(Some(10)), &log(10, 12)), Verdict::Read(reading));
    }

    #[test]
    fn what_retention_took_of_a_transactions_end_is_no_lost_range() {
        let mut after_markers = cursor(Some(10));
        after_markers.passed_to = Some(12);
        let from = |low| Reading { from: low, cursor: 10, expected: None };
        assert_eq!(judge(&after_markers, &log(11, 12)), Verdict::Read(from(11)));
        assert_eq!(judge(&after_markers, &log(12, 20)), Verdict::Read(from(12)));
        // Reading goes on below what was passed: the witness is still asked for.
        let expected = Some(Expected { witness: SEEN, may_be_gone: true });
        let reading = Reading { from: 9, cursor: 10, expected };
        assert_eq!(judge(&after_markers, &log(0, 12)), Verdict::Read(reading));
        assert_eq!(stopped(judge(&after_markers, &log(13, 20))).0, "lost_range");
        assert_eq!(stopped(judge(&after_markers, &log(0, 11))).0, "truncated");
    }

    #[test]
    fn a_cursor_without_an_offset_begins_at_the_low_watermark() {
        assert_eq!(judge(&cursor(None), &log(3, 12)), Verdict::Begin(3));
    }

    #[test]
    fn a_log_that_ends_below_the_cursor_is_truncated() {
        let (kind, found) = stopped(judge(&cursor(Some(10)), &log(0, 9)));
        assert_eq!(kind, "truncated");
        assert_eq!(
            found,
            "the log ends at offset 9, and was read up to offset 10: 1 records that were read \
             are not in it any more"
        );
    }

    #[test]
    fn a_log_that_begins_above_the_cursor_has_lost_a_range() {
        let (kind, found) = stopped(judge(&cursor(Some(10)), &log(12, 20)));
        assert_eq!(kind, "lost_range");
        assert_eq!(
            found,
            "the log begins at offset 12, and was read up to offset 10: 2 offsets were deleted \
             before they were read"
        );
    }

    #[test]
    fn another_topic_id_means_recreated_whatever_the_offsets() {
        let mut other = log(0, 12);
        other.identity.topic_id = Some("B".to_owned());
        let (kind, found) = stopped(judge(&cursor(Some(10)), &other));
        assert_eq!(kind, "recreated");
        assert_eq!(
            found,
            "the topic's id was A when the cursor was written, and is B now: this is not the log \
             that was read up to offset 10"
        );
    }

    #[test]
    fn another_cluster_id_means_recreated() {
        let mut other = log(0, 12);
        other.identity.cluster_id = Some("D".to_owned());
        assert_eq!(stopped(judge(&cursor(Some(10)), &other)).0, "recreated");
    }

    #[test]
    fn what_a_broker_does_not_tell_stops_nothing() {
        let mut silent = log(0, 12);
        silent.identity = Identity::default();
        let expected = Some(Expected { witness: SEEN, may_be_gone: false });
        let reading = Reading { from: 9, cursor: 10, expected };
        assert_eq!(judge(&cursor(Some(10)), &silent), Verdict::Read(reading));
    }

    #[test]
    fn a_stored_stop_stays_as_it_was_found() {
        let mut stopped = cursor(Some(10));
        let stored = stop("lost_range", "as found then".to_owned());
        stopped.stop = Some(stored.clone());
        let verdict = judge(&stopped, &log(0, 12));
        assert_eq!(verdict, Verdict::Stop { stop: stored, is_stored: true });
    }

    #[test]
    fn after_an_operators_answer_there_is_nothing_to_recognise() {
        let mut accepted = cursor(Some(10));
        accepted.witness = None;
        accepted.topic_id = None;
        let mut other = log(0, 12);
        other.identity.topic_id = Some("B".to_owned());
        let reading = Reading { from: 10, cursor: 10, expected: None };
        assert_eq!(judge(&accepted, &other), Verdict::Read(reading));
    }

    #[test]
    fn the_first_record_is_known_by_timestamp_and_checksum() {
        let expected = Expected { witness: SEEN, may_be_gone: true };
        assert_eq!(first_record(10, &expected, 9, SEEN), First::Known);
        let other = Witness { checksum: 0xabd, ..SEEN };
        let First::Stop(stop) = first_record(10, &expected, 9, other) else { panic!("read on") };
        assert_eq!(stop.kind, "replaced");
        assert_eq!(
            stop.found,
            "the record at offset 9 has timestamp 7 and checksum 00000abd, and had timestamp 7 \
             and checksum 00000abc when it was read"
        );
    }

    #[test]
    fn a_compacted_record_may_be_gone_only_while_the_topic_id_matches() {
        let mut expected = Expected { witness: SEEN, may_be_gone: true };
        assert_eq!(first_record(10, &expected, 11, SEEN), First::New);
        expected.may_be_gone = false;
        let First::Stop(stop) = first_record(10, &expected, 11, SEEN) else { panic!("read on") };
        assert_eq!(stop.kind, "replaced");
    }
}
