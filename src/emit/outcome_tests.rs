//! The table, row by row, and what holds of every row.

use booking::{CalendarKind, Verb};
use proptest::prelude::*;

use super::*;

use CalendarKind::{Caldav, Google, Microsoft};
use Verb::{Create, Delete, Update};

const VERBS: [Verb; 3] = [Create, Update, Delete];
const KINDS: [CalendarKind; 3] = [Google, Microsoft, Caldav];
const WRITES: [Verb; 2] = [Create, Update];

fn answer(status: u16, word: &str) -> Answer {
    Answer::Status {
        status,
        reason: (!word.is_empty()).then(|| word.to_owned()),
        retry_after: None,
        etag: Some("\"1\"".to_owned()),
        provider_uid: Some("uid@google.com".to_owned()),
        server_id: Some("AAMk".to_owned()),
        message: "said".to_owned(),
    }
}

fn asking_for(status: u16, word: &str, pause: Duration) -> Answer {
    match answer(status, word) {
        Answer::Status { status, reason, etag, provider_uid, server_id, message, .. } => {
            let retry_after = Some(pause);
            Answer::Status { status, reason, retry_after, etag, provider_uid, server_id, message }
        }
        lost @ Answer::Lost { .. } => lost,
    }
}

fn said() -> String {
    "said".to_owned()
}

fn applied() -> Outcome {
    Outcome::Applied {
        etag: Some("\"1\"".to_owned()),
        provider_uid: Some("uid@google.com".to_owned()),
        server_id: Some("AAMk".to_owned()),
    }
}

const GONE: Outcome = Outcome::Applied { etag: None, provider_uid: None, server_id: None };

fn unknown(open: bool) -> Outcome {
    Outcome::Unknown { reason: said(), open, after: None }
}

fn rejected(unknown: bool) -> Outcome {
    Outcome::Rejected { reason: said(), unknown }
}

fn limited(after: Option<Duration>) -> Outcome {
    Outcome::Retry { after, lane_wide: true, reason: said() }
}

fn unauthorised() -> Outcome {
    Outcome::Unauthorised { reason: said() }
}

type Row<'a> = (&'a [CalendarKind], &'a [Verb], &'a [u16], &'a [&'a str], Outcome);

fn check(rows: &[Row<'_>]) {
    for (kinds, verbs, statuses, words, expected) in rows {
        for &kind in *kinds {
            for &verb in *verbs {
                for &status in *statuses {
                    for word in *words {
                        let is = outcome(kind, verb, &answer(status, word));
                        assert_eq!(&is, expected, "{kind} {} {status} {word}", verb.name());
                    }
                }
            }
        }
    }
}

#[test]
fn a_success_is_applied_and_nothing_else_is() {
    check(&[
        (&KINDS, &WRITES, &[200, 201, 204], &[""], applied()),
        (&KINDS, &[Delete], &[200, 204], &[""], GONE),
        (&KINDS, &VERBS, &[202], &[""], unknown(true)),
        (&KINDS, &VERBS, &[207], &[""], unknown(false)),
    ]);
}

#[test]
fn what_is_not_valid_is_rejected_without_a_look() {
    check(&[
        (&[Google, Caldav], &VERBS, &[400], &["", "timeRangeEmpty"], rejected(false)),
        (&[Microsoft], &VERBS, &[400], &INVALID, rejected(false)),
        (&[Microsoft], &VERBS, &[400], &["ErrorDuplicateTransactionId"], unknown(false)),
        (&KINDS, &VERBS, &[413, 415, 422], &[""], rejected(false)),
        (&KINDS, &VERBS, &[405, 411, 414, 431], &[""], rejected(true)),
    ]);
}

/// Graph has answered "Account suspended", and kept what it was sent.
#[test]
fn what_graph_refuses_for_another_reason_is_read_back() {
    let words = ["", "ErrorAccountSuspend", "ErrorInternalServerError"];
    check(&[(&[Microsoft], &VERBS, &[400, 403], &words, rejected(true))]);
}

/// L17, L28.
#[test]
fn a_403_is_classified_by_its_reason() {
    let rate = ["rateLimitExceeded", "userRateLimitExceeded"];
    let other = ["", "forbidden", "forbiddenForNonOrganizer"];
    let scope = ["insufficientPermissions", "requiredAccessLevel"];
    check(&[
        (&[Google], &VERBS, &[403], &rate, limited(None)),
        (&[Google], &VERBS, &[403], &["quotaExceeded"], limited(Some(QUOTA_DELAY))),
        (&[Google], &VERBS, &[403], &scope, unauthorised()),
        (&[Caldav], &VERBS, &[403], &["need-privileges"], unauthorised()),
        (&KINDS, &VERBS, &[403], &other, rejected(true)),
        (&[Caldav, Microsoft], &VERBS, &[403], &rate, rejected(true)),
        (&[Caldav], &VERBS, &[403], &["no-uid-conflict"], rejected(true)),
        (&[Microsoft], &VERBS, &[403], &["ErrorAccessDenied", "accessDenied"], unauthorised()),
        (&[Microsoft], &[Delete], &[403], &["ErrorCannotDeleteObject"], unknown(false)),
        (&[Microsoft], &[Update], &[403], &["ErrorCannotDeleteObject"], rejected(true)),
    ]);
}

/// L7.
#[test]
fn a_401_parks_and_never_rejects() {
    check(&[(&KINDS, &VERBS, &[401], &["", "authError"], unauthorised())]);
}

#[test]
fn an_address_that_has_moved_parks_and_another_redirect_passes() {
    check(&[
        (&KINDS, &VERBS, &[301, 302, 307, 308], &[MOVED], unauthorised()),
        (&KINDS, &VERBS, &[301, 302, 303, 304, 307, 308], &["", "found"], unknown(true)),
        (&KINDS, &VERBS, &[303], &[MOVED], unknown(true)),
    ]);
}

/// L18.
#[test]
fn a_condition_that_did_not_hold_is_read_back_and_closed() {
    let words = ["", "duplicate", "conditionNotMet"];
    check(&[(&KINDS, &VERBS, &[409, 412], &words, unknown(false))]);
}

#[test]
fn a_uid_at_another_href_is_rejected_and_read_back() {
    check(&[
        (&[Caldav], &VERBS, &[403, 409, 412], &REFUSALS, rejected(true)),
        (&[Google], &VERBS, &[409, 412], &["no-uid-conflict"], unknown(false)),
    ]);
}

/// L15, L24.
#[test]
fn a_missing_event_is_looked_for_before_it_is_believed() {
    check(&[
        (&KINDS, &WRITES, &[404, 410], &["", "notFound"], unknown(false)),
        (&KINDS, &[Delete], &[404], &["", "notFound"], unknown(false)),
        (&[Caldav, Microsoft], &[Delete], &[410], &[""], unknown(false)),
        (&[Google], &[Delete], &[410], &["", "deleted"], Outcome::AlreadyApplied),
    ]);
}

/// L16.
#[test]
fn a_pause_that_is_asked_for_is_kept() {
    let minute = Duration::from_mins(1);
    for kind in KINDS {
        for verb in VERBS {
            assert_eq!(outcome(kind, verb, &asking_for(429, "", minute)), limited(Some(minute)));
            assert_eq!(
                outcome(kind, verb, &asking_for(503, "", minute)),
                Outcome::Unknown { reason: said(), open: true, after: Some(minute) }
            );
        }
    }
    check(&[(&KINDS, &VERBS, &[429], &[""], limited(None))]);
    let quota = |pause| outcome(Google, Create, &asking_for(403, "quotaExceeded", pause));
    assert_eq!(quota(minute), limited(Some(QUOTA_DELAY)));
    assert_eq!(quota(QUOTA_DELAY * 3), limited(Some(QUOTA_DELAY * 3)));
}

#[test]
fn what_nobody_can_tell_stays_open() {
    let statuses = [0, 100, 301, 307, 408, 423, 425, 500, 502, 503, 504, 507, 599, 999];
    check(&[(&KINDS, &VERBS, &statuses, &["", "backendError"], unknown(true))]);
}

#[test]
fn a_lost_call_is_sent_again_only_if_nothing_reached_the_calendar() {
    for kind in KINDS {
        for verb in VERBS {
            let refused = Answer::Lost { sent: false, message: said() };
            assert_eq!(outcome(kind, verb, &refused), limited(None));
            let silent = Answer::Lost { sent: true, message: said() };
            assert_eq!(outcome(kind, verb, &silent), unknown(true));
        }
    }
}

/// L24.
#[test]
fn a_failed_read_says_nothing_about_the_event() {
    let later = Unread::Retry { after: None, lane_wide: false, reason: said() };
    for kind in KINDS {
        for status in [301, 400, 403, 405, 408, 409, 500, 502, 503, 504] {
            assert_eq!(unread(kind, &answer(status, "")), later, "{kind} {status}");
        }
        let refused = Answer::Lost { sent: false, message: said() };
        let lane = Unread::Retry { after: None, lane_wide: true, reason: said() };
        assert_eq!(unread(kind, &refused), lane);
        assert_eq!(unread(kind, &answer(429, "")), lane);
        let no = Unread::Unauthorised { reason: said() };
        assert_eq!(unread(kind, &answer(401, "")), no);
    }
}

proptest! {
    /// R13: a call is sent again without a look only on the answers that are listed.
    #[test]
    fn only_listed_answers_mean_not_applied(
        kind in 0_usize..3, verb in 0_usize..3, status: u16, word in "[a-zA-Z-]{0,12}",
    ) {
        let (kind, verb) = (KINDS[kind], VERBS[verb]);
        let listed = [400, 401, 413, 415, 422, 429].contains(&status);
        let success = (200..=299).contains(&status) && ![202, 207].contains(&status);
        match outcome(kind, verb, &answer(status, &word)) {
            Outcome::Retry { .. }
            | Outcome::Unauthorised { .. }
            | Outcome::Rejected { unknown: false, .. } => prop_assert!(listed),
            Outcome::Applied { .. } => prop_assert!(success),
            Outcome::AlreadyApplied => {
                prop_assert_eq!((kind, verb, status), (Google, Delete, 410));
            }
            Outcome::Unknown { .. } | Outcome::Rejected { unknown: true, .. } => {
                prop_assert!(!listed && !success);
            }
        }
    }

    /// R14: an outage is never taken for an answer, and makes no dead letter.
    #[test]
    fn an_outage_never_counts_towards_a_dead_letter(
        kind in 0_usize..3, verb in 0_usize..3, status in 500_u16..=599, word in "[a-zA-Z-]{0,12}",
    ) {
        let is = outcome(KINDS[kind], VERBS[verb], &answer(status, &word));
        prop_assert_eq!(is, unknown(true));
    }
}
