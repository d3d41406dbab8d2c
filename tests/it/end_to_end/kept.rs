//! Rule R20: what a host has put into an event of ours, her notes, colour, reminder and guests, survives
//! every update of ours; and what she has changed of ours is told from it.

use calendar_sync::emit::drift::Policy;
use calendar_sync::emulator::microsoft::ByHand;
use calendar_sync::store::DriftKind;

use super::host::{Host, Trouble};
use super::repair::{counted, drift, sweep, sweeping, swept};
use super::story::{Story, hour, provider};
use super::world::{Connected, World, until};

/// Two lines, as a booking says them.
const OURS: &str = "Please come\nfive minutes early, with a towel.";
const HERS: &str = "Bob brings the oil,\nand I the music.";
const GUEST: &str = "bob@example.com";

/// Provider 1's new calendar, which holds a booking with a text, and the event's name. Where calendars
/// are swept, this one was.
async fn described(world: &mut World, text: Option<&str>) -> (Connected, Story, String) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    story.details.description = text.map(str::to_owned);
    world.tell([story.created()]).await;
    let worker = world.worker();
    let is_swept = world.emit.repair.interval.is_some();
    until("it is sent, and was swept", async || {
        world.pending().await == 0 && (!is_swept || swept(world, &host).await.is_some())
    })
    .await;
    worker.stop().await;
    let id = world.only(&host).await.id;
    (host, story, id)
}

/// She writes beneath our text, gives the event a colour, wants to be reminded, and invites somebody.
/// Answers all of it but the text.
async fn made_her_own(world: &World, host: &Connected, id: &str) -> Vec<String> {
    let (calendar, place) = (&world.host, &host.place);
    let before = calendar.kept(place, id).await.1;
    calendar.decorate_by_hand(place, id).await;
    calendar.invite_by_hand(place, id, GUEST).await;
    let text = calendar.kept(place, id).await.0;
    calendar.describe_by_hand(place, id, &format!("{text}\n\n{HERS}")).await;
    let (text, hers) = calendar.kept(place, id).await;
    assert_eq!(text, format!("{OURS}\n\n{HERS}"));
    assert!(hers.len() == 3 && before.len() == 2 && hers[2].contains(GUEST), "{hers:?}");
    assert!(before.iter().zip(&hers).all(|(before, hers)| before != hers), "{before:?} {hers:?}");
    hers
}

/// Words, line by line: calendars change the rest.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

async fn is_kept(world: &World, host: &Connected, id: &str, text: &str, hers: &[String]) {
    let (shown, kept) = world.host.kept(&host.place, id).await;
    assert_eq!(words(&shown), words(text));
    assert_eq!(kept, hers);
}

/// Several in a row, one of which finds her change by its condition alone, one whose answer is lost,
/// one that changes our text and one that takes it away.
///
/// Fails with: `emit/call.rs`, `send`: `let kept: Option<Vec<u8>> = None;` (all of it is written over),
/// or without `let etag = etag.filter(|_| hers.is_none());` (by the second update).
pub(super) async fn what_a_host_has_put_in_survives_every_update(world: &mut World) {
    let (host, mut story, id) = described(world, Some(OURS)).await;
    let hers = made_her_own(world, &host, &id).await;
    for at in [11, 12, 13] {
        world.tell([story.moved(at)]).await;
        world.drain().await;
        assert_eq!(world.starts(&host).await, [hour(at)]);
        is_kept(world, &host, &id, &format!("{OURS}\n\n{HERS}"), &hers).await;
    }
    let lost = world.host.order(1, Trouble::AnswerLost);
    world.tell([story.moved(14)]).await;
    world.drain().await;
    assert_eq!(lost.hits(), 1);
    assert_eq!(world.starts(&host).await, [hour(14)]);
    is_kept(world, &host, &id, &format!("{OURS}\n\n{HERS}"), &hers).await;
    story.details.description = Some("Come & bring\nnothing <at all>.".to_owned());
    for at in [15, 16] {
        world.tell([story.moved(at)]).await;
        world.drain().await;
        let text = format!("Come & bring\nnothing <at all>.\n\n{HERS}");
        is_kept(world, &host, &id, &text, &hers).await;
    }
    story.details.description = None;
    world.tell([story.moved(17)]).await;
    world.drain().await;
    let (text, kept) = world.host.kept(&host.place, &id).await;
    assert_eq!((words(text.trim()), kept), (words(HERS), hers));
    assert_eq!(world.only(&host).await.id, id, "it is the same event");
    assert!(world.dead_letters().await.is_empty());
}

/// It is deleted all the same, as it was read.
pub(super) async fn what_a_host_has_put_in_does_not_hold_up_a_cancellation(world: &mut World) {
    let (host, mut story, id) = described(world, Some(OURS)).await;
    made_her_own(world, &host, &id).await;
    world.tell([story.moved(11)]).await;
    world.drain().await;
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert_eq!(world.shown(&host).await.len(), 0);
}

/// Fails with: `calendar/notes.rs`, `of_plain`, and `calendar/notes/page.rs`, `parts`: `hers: None`
/// where `run.count == 0`.
pub(super) async fn notes_without_a_text_of_ours_stay_when_we_write_one(world: &mut World) {
    let (host, mut story, id) = described(world, None).await;
    world.host.describe_by_hand(&host.place, &id, HERS).await;
    let hers = world.host.kept(&host.place, &id).await.1;
    world.tell([story.moved(11)]).await;
    world.drain().await;
    is_kept(world, &host, &id, HERS, &hers).await;
    story.details.description = Some(OURS.to_owned());
    for at in [12, 13] {
        world.tell([story.moved(at)]).await;
        world.drain().await;
        is_kept(world, &host, &id, &format!("{OURS}\n\n{HERS}"), &hers).await;
    }
}

/// What was refused once it was looked at was not sent by anybody: it is tried again, and not taken
/// for done because the marker was right all along.
///
/// Fails with: `emit/call.rs`, `put_through`: `matches!(next, Next::Send(..))` for `fresh`.
pub(super) async fn a_repair_that_is_refused_is_made_all_the_same(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, _, id) = described(world, Some(OURS)).await;
    made_her_own(world, &host, &id).await;
    let busy = Trouble::Refused { status: 429, reason: "rateLimitExceeded", retry_after_s: None };
    let refused = world.host.order(1, busy);
    world.host.retitle_by_hand(&host.place, &id, "Mine").await;
    let is_mended = async || world.only(&host).await.summary == "Booking: Massage";
    sweeping(world, "the title is back", is_mended).await;
    assert_eq!(refused.hits(), 1);
    assert_eq!(counted(world, "calendar_sync_repairs_total", "edited"), 1, "at one go");
}

/// What nobody has touched since we wrote it is updated by one request each time: nothing of hers can
/// be in it.
///
/// Fails with: `calendar/notes.rs`, `of_plain` and `calendar/notes/page.rs`, `parts`: `hers: Some(notes)`.
pub(super) async fn an_event_that_its_host_left_alone_is_updated_unread(world: &mut World) {
    let (host, mut story, _) = described(world, Some(OURS)).await;
    // Once, one was read.
    let lost = world.host.order(1, Trouble::AnswerLost);
    world.tell([story.moved(11)]).await;
    world.drain().await;
    assert_eq!(lost.hits(), 1);
    let before = world.host.requests();
    for at in [12, 13, 14] {
        world.tell([story.moved(at)]).await;
        world.drain().await;
    }
    assert_eq!(world.host.requests() - before, 3);
    assert_eq!(world.starts(&host).await, [hour(14)]);
}

// ---- where edits are found ----

/// Fails with: `emit/call.rs`, `send`: `let kept: Option<Vec<u8>> = None;`; `calendar/notes.rs`,
/// `of_plain` and `calendar/notes/page.rs`, `parts`: `ours` of all that is shown.
pub(super) async fn notes_beside_our_text_are_no_drift_and_survive_a_repair(world: &mut World) {
    sweep(world, Policy::Repair);
    let (host, _, id) = described(world, Some(OURS)).await;
    let hers = made_her_own(world, &host, &id).await;
    let etag = world.only(&host).await.etag;
    assert_eq!(
        sweeping(world, "some sweeps", async || true).await,
        0,
        "nothing of ours has changed"
    );
    assert_eq!(drift(world, &host).await, []);
    assert_eq!(counted(world, "calendar_sync_repairs_total", "edited"), 0);
    assert_eq!(world.only(&host).await.etag, etag);
    // Of what she has changed, ours alone is put right.
    world.host.retitle_by_hand(&host.place, &id, "Mine").await;
    let is_mended = async || world.only(&host).await.summary == "Booking: Massage";
    assert_eq!(sweeping(world, "the title is back", is_mended).await, 1);
    is_kept(world, &host, &id, &format!("{OURS}\n\n{HERS}"), &hers).await;
    assert_eq!(drift(world, &host).await, []);
}

/// Fails with: `calendar/notes.rs`, `Parts::of`: `hers: Some(…)`, `ours: None` where our words are not
/// found.
pub(super) async fn an_edit_of_our_text_is_found_and_written_over(world: &mut World) {
    sweep(world, Policy::Report);
    let (host, mut story, id) = described(world, Some(OURS)).await;
    let hers = world.host.kept(&host.place, &id).await.1;
    world.host.describe_by_hand(&host.place, &id, &OURS.replace("five", "ten")).await;
    let expected = [(DriftKind::Edited, id.clone())];
    let is_known = async || drift(world, &host).await == expected;
    assert_eq!(sweeping(world, "it is known", is_known).await, 0);
    world.tell([story.moved(11)]).await;
    sweeping(world, "it is settled", async || drift(world, &host).await.is_empty()).await;
    is_kept(world, &host, &id, OURS, &hers).await;
}

// ---- Microsoft alone ----

/// A body there is a page, whatever was sent: hers stays as she laid it out, and our words are replaced
/// in it.
pub(super) async fn her_formatting_stays_around_our_words(world: &mut World) {
    let (host, mut story, id) = described(world, Some(OURS)).await;
    let Host::Microsoft(graph) = &world.host else { unreachable!("the fact is about Microsoft") };
    let ours = OURS.replace('\n', "<br>");
    let page = format!(
        "<html><head><style>p {{ color: red }}</style></head><body><p>{ours}</p><p><b>Bob</b> and \
         I &amp; <a href=\"https://x.example/?a=1&amp;b=2\">this</a></p></body></html>"
    );
    assert!(graph.change_by_hand(&id, ByHand::Lay(page.clone())));
    let graph = graph.clone();
    let body = || {
        let event = graph.events(&host.place.calendar).remove(0);
        event.resource["body"]["content"].as_str().expect("a page").to_owned()
    };
    for (at, text) in [(11, OURS), (12, "Less <b> of it."), (13, OURS)] {
        story.details.description = Some(text.to_owned());
        world.tell([story.moved(at)]).await;
        world.drain().await;
        let said = text.replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>\r\n");
        assert_eq!(body(), page.replace(&ours, &said));
    }
}
