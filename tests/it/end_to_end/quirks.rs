//! What CalDAV servers are known to do each in their own way, and what becomes of a booking there.

use std::time::Duration;

use booking::Verb;
use calendar_sync::calendar::Credentials;
use calendar_sync::pipeline::redrive::Redriven;
use simulate::calendars::switches::{self, EtagForm, Overwrite, Trash, UidConflict};

use super::host::{EVERY, Trouble};
use super::recovery::{is_ahead_then_caught_up, lose_and_notice};
use super::story::{Story, hour, provider};
use super::wire::WireCall;
use super::world::{Connected, World, switched};
use crate::dav_server::DavServer;

const HOUR: Duration = Duration::from_hours(1);

async fn on(fact: &'static str, set: impl FnOnce(&mut switches::Caldav)) -> (World, DavServer) {
    let server = DavServer::with(set).await;
    (switched(fact, server.clone()).await, server)
}

/// Books, moves, cancels, books again and moves: each is in the calendar, once, and nobody is needed.
async fn a_whole_life(world: &mut World) -> (Connected, Story) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    for (event, shown) in [
        (story.created(), Some(9)),
        (story.moved(11), Some(11)),
        (story.cancelled(), None),
        (story.rebooked(12), Some(12)),
        (story.moved(13), Some(13)),
    ] {
        world.tell([event]).await;
        world.drain().await;
        let expected: Vec<_> = shown.into_iter().map(hour).collect();
        assert_eq!(world.starts(&host).await, expected);
    }
    assert!(world.dead_letters().await.is_empty());
    (host, story)
}

/// The same, and again with every answer to a write lost.
async fn a_whole_life_and_one_of_lost_answers(
    fact: &'static str,
    set: impl Fn(&mut switches::Caldav),
) -> Vec<WireCall> {
    let mut calls = Vec::new();
    for is_lossy in [false, true] {
        let (mut world, _server) = on(fact, &set).await;
        let lost = is_lossy.then(|| world.host.order(EVERY, Trouble::AnswerLost));
        a_whole_life(&mut world).await;
        assert!(lost.is_none_or(|lost| lost.hits() > 4), "answers were lost");
        calls.append(&mut world.host.wire_calls());
        world.end().await;
    }
    calls
}

fn puts(calls: &[WireCall]) -> impl Iterator<Item = &WireCall> {
    calls.iter().filter(|call| call.method == "PUT")
}

/// Rule R11: a cancelled one is revived in place.
pub(super) async fn a_booking_made_again_comes_back_under_its_one_href(world: &mut World) {
    let (host, story) = a_whole_life(world).await;
    let there = world.only(&host).await;
    let writes = world.attempts_on(&host);
    assert!(writes.iter().all(|write| write.id == there.id), "one name: {writes:?}");
    let verbs = [Verb::Create, Verb::Update, Verb::Delete, Verb::Create, Verb::Update];
    assert_eq!(world.host.verbs(), verbs);
    assert_eq!((there.provider_uid, there.revision), (story.uid().to_string(), there.sequence));
}

/// iCloud refuses an event without an end, and inverts `If-Match: *`; others compare it literally.
pub(super) async fn every_event_says_when_it_ends_and_no_condition_is_a_star(world: &mut World) {
    a_whole_life(world).await;
    let calls = world.host.wire_calls();
    assert!(puts(&calls).count() >= 4);
    assert!(puts(&calls).all(|call| call.body.contains("\r\nDTEND")));
    let mut conditions = calls.iter().filter_map(|call| call.if_match.as_deref());
    assert!(conditions.all(|etag| etag.starts_with('"')), "strong ETags alone");
}

/// Rules R7 and R18: a database that fell back and has noticed it does not overwrite what it cannot
/// know of, also where no condition hinders it.
pub(super) async fn what_a_lost_database_knew_is_read_before_it_is_overwritten(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    world.tell([story.moved(11)]).await;
    world.drain().await;
    let writes = world.host.attempts().len();
    lose_and_notice(world, &[&host]).await;
    world.read_to(1, 1).await;
    is_ahead_then_caught_up(world).await;
    assert_eq!(world.starts(&host).await, [hour(11)]);
    let later = &world.host.writes()[writes..];
    assert!(later.iter().all(|write| !write.body.contains("REVISION:0")), "{later:?}");
}

/// `SOGo` and Zimbra overwrite: the one href makes it one event all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ignores_if_none_match_holds_one_event() {
    let fact = "a_server_that_ignores_if_none_match_holds_one_event";
    let calls =
        a_whole_life_and_one_of_lost_answers(fact, |it| it.obeys_if_none_match = false).await;
    assert!(puts(&calls).any(|call| call.is_new), "it is asked for all the same");
}

/// GMX gives none, Cyrus weak ones: without a strong ETag an event is read before it is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_without_a_strong_etag_is_read_before_it_is_changed() {
    let fact = "an_event_without_a_strong_etag_is_read_before_it_is_changed";
    for (etags, etag_on_put) in [
        (EtagForm::Strong, false),
        (EtagForm::Weak, true),
        (EtagForm::Weak, false),
        (EtagForm::None, false),
    ] {
        let set = |it: &mut switches::Caldav| (it.etags, it.etag_on_put) = (etags, etag_on_put);
        let (mut world, _server) = on(fact, set).await;
        let (host, mut story) = world.one_sent().await;
        let etag = world.only(&host).await.etag;
        world.tell([story.moved(11)]).await;
        world.drain().await;
        let calls = world.host.wire_calls();
        let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
        assert_eq!(methods, ["PUT", "GET", "PUT"], "{etags:?}");
        let known = (etags == EtagForm::Strong).then_some(etag);
        assert_eq!(calls[2].if_match, known, "{etags:?}");
        world.end().await;
        a_whole_life_and_one_of_lost_answers(fact, set).await;
    }
}

/// The same, where a later revision stands there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_revision_is_not_overwritten_for_want_of_an_etag() {
    let fact = "a_later_revision_is_not_overwritten_for_want_of_an_etag";
    for etags in [EtagForm::Weak, EtagForm::None] {
        for obeys_if_none_match in [true, false] {
            let set = |it: &mut switches::Caldav| {
                (it.etags, it.obeys_if_none_match) = (etags, obeys_if_none_match);
            };
            let (mut world, _server) = on(fact, set).await;
            what_a_lost_database_knew_is_read_before_it_is_overwritten(&mut world).await;
            world.end().await;
        }
    }
}

/// Open-Xchange answers 409 to a change without a condition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_an_if_match_gets_one() {
    let fact = "a_server_that_wants_an_if_match_gets_one";
    for etag_on_put in [true, false] {
        let calls = a_whole_life_and_one_of_lost_answers(fact, |it| {
            (it.overwrite, it.etag_on_put) = (Overwrite::Refused, etag_on_put);
        });
        let calls = calls.await;
        assert!(puts(&calls).all(|call| call.is_new || call.if_match.is_some()));
        assert!(puts(&calls).all(|call| call.status != Some(409)));
    }
}

/// Somebody else's event with a booking's UID.
fn foreign(uid: &str) -> String {
    let lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//another//EN",
        "BEGIN:VEVENT",
        &format!("UID:{uid}"),
        "DTSTAMP:20300101T000000Z",
        "DTSTART:20300603T200000Z",
        "DTEND:20300603T210000Z",
        "SUMMARY:Another's",
        "END:VEVENT",
        "END:VCALENDAR",
    ];
    lines.map(|line| format!("{line}\r\n")).concat()
}

/// 409 (Radicale, new Nextcloud), 412 (Xandikos), 403 (Cyrus), 400 (older Nextcloud): a refusal each,
/// told by its word, and never a reason to change what is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uid_that_another_holds_is_refused_and_the_other_left_alone() {
    let fact = "a_uid_that_another_holds_is_refused_and_the_other_left_alone";
    for (uid_conflict, word) in [
        (UidConflict::Status409, "409 Conflict (no-uid-conflict)"),
        (UidConflict::Status412, "412 Precondition Failed (no-uid-conflict)"),
        (UidConflict::Status403, "403 Forbidden (unique-scheduling-object-resource)"),
        (UidConflict::Status400, "400 Bad Request"),
    ] {
        let (mut world, _server) = on(fact, |it| it.uid_conflict = uid_conflict).await;
        let host = world.connect(1).await;
        let mut story = Story::of("a", provider(1));
        world.host.put_by_hand(&host.place, "theirs.ics", &foreign(story.uid().as_str())).await;
        world.tell([story.created()]).await;
        world.drain().await;
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), 1, "{uid_conflict:?}: {letters:?}");
        assert!(letters[0].reason.contains(word), "{word}: {}", letters[0].reason);
        assert_eq!(world.starts(&host).await, [hour(20)]);
        assert!(world.host.writes().is_empty());

        world.host.delete_by_hand(&host.place, "theirs.ics").await;
        world.tell([story.moved(11)]).await;
        world.drain().await;
        assert_eq!(world.starts(&host).await, [hour(11)]);
        world.end().await;
    }
}

/// Baikal, `DAViCal`, Davis, posteo, Infomaniak, Synology.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uid_may_stand_twice_and_ours_is_known_by_its_href() {
    let fact = "a_uid_may_stand_twice_and_ours_is_known_by_its_href";
    let (mut world, _server) = on(fact, |it| it.uid_conflict = UidConflict::Accepted).await;
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    world.host.put_by_hand(&host.place, "theirs.ics", &foreign(story.uid().as_str())).await;
    for (event, expected) in [
        (story.created(), vec![hour(9), hour(20)]),
        (story.moved(11), vec![hour(11), hour(20)]),
        (story.cancelled(), vec![hour(20)]),
    ] {
        world.tell([event]).await;
        world.drain().await;
        assert_eq!(world.starts(&host).await, expected);
    }
    world.end().await;
}

/// Nextcloud, server#30096: what lies in the bin keeps its UID. It is a refusal, told once it was
/// tried often enough, and the next revision comes through when the bin is empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bin_that_refuses_a_new_event_is_told_and_outlasted() {
    let fact = "a_bin_that_refuses_a_new_event_is_told_and_outlasted";
    for status in [400, 403] {
        let trash = Trash::RefusesPut { for_time: HOUR, status };
        let (mut world, server) = on(fact, |it| it.trash = trash).await;
        let (host, mut story) = world.one_sent().await;
        world.tell([story.cancelled()]).await;
        world.drain().await;
        world.tell([story.rebooked(11)]).await;
        world.drain().await;
        assert!(world.shown(&host).await.is_empty());
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), 1, "{status}: {letters:?}");
        assert!(letters[0].reason.contains(&status.to_string()), "{}", letters[0].reason);
        server.wait(HOUR);
        world.tell([story.moved(12)]).await;
        world.drain().await;
        assert_eq!(world.starts(&host).await, [hour(12)]);
        world.end().await;
    }
}

/// Nextcloud, server#42582: while its predecessor lies in the bin, an event cannot be deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bin_that_refuses_a_deletion_is_told_and_outlasted() {
    let fact = "a_bin_that_refuses_a_deletion_is_told_and_outlasted";
    let (mut world, server) =
        on(fact, |it| it.trash = Trash::RefusesDelete { for_time: HOUR }).await;
    let (host, mut story) = world.one_sent().await;
    for event in [story.cancelled(), story.rebooked(11), story.cancelled()] {
        world.tell([event]).await;
        world.drain().await;
    }
    assert_eq!(world.starts(&host).await, [hour(11)], "it could not be deleted");
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].reason.contains("403 Forbidden"), "{}", letters[0].reason);
    server.wait(HOUR);
    let redriven = world.pipeline().redrive(letters[0].id).await.expect("it is redriven");
    assert_eq!(redriven, Redriven::Due);
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
    world.end().await;
}

/// Xandikos answers 500 and has stored the event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_has_stored_the_event_is_read_back() {
    let fact = "a_failure_that_has_stored_the_event_is_read_back";
    for every in [1, 2] {
        let set = |it: &mut switches::Caldav| it.fails_after_storing = Some(every);
        let calls = a_whole_life_and_one_of_lost_answers(fact, set).await;
        assert!(puts(&calls).any(|call| call.status == Some(500)));
    }
}

/// Fastmail and Google give access by tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_a_caldav_calendar_as_a_password_does() {
    let fact = "a_token_opens_a_caldav_calendar_as_a_password_does";
    let (mut world, _server) = on(fact, |it| it.etag_on_put = false).await;
    let mut host = world.prepare(1).await;
    host.new.sealed = world.seal(host.id, &Credentials::Bearer { token: "t0ken".into() });
    world.put(&host).await;
    let mut story = Story::of("a", provider(1));
    for event in [story.created(), story.moved(11), story.cancelled()] {
        world.tell([event]).await;
        world.drain().await;
    }
    let calls = world.host.wire_calls();
    let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["PUT", "GET", "PUT", "GET", "DELETE"]);
    assert!(calls.iter().all(|call| call.authorization.as_deref() == Some("Bearer t0ken")));
    world.end().await;
}
