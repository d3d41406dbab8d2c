//! What only Microsoft 365 does: a search that looks through the whole mailbox, copies that carry our
//! properties, and titles that have an end.

use std::time::Duration;

use booking::Verb;
use calendar_sync::emulator::MicrosoftEmulator;
use calendar_sync::emulator::microsoft::Switches;

use super::answers::VERIFY_SOON;
use super::host::{Host, Trouble};
use super::story::{Story, hour, provider};
use super::world::{World, until};

fn graph(world: &World) -> &MicrosoftEmulator {
    let Host::Microsoft(graph) = &world.host else { unreachable!("a fact about Graph") };
    graph
}

fn switch(world: &World, change: impl FnOnce(&mut Switches)) {
    let mut switches = graph(world).switches();
    change(&mut switches);
    graph(world).set_switches(switches);
}

/// The copy carries our marker and our name, and is hers (rule R20).
///
/// Fails with: `calendar/microsoft.rs`, `search`: `is_named` for `is_posted_as`, a copy for ours.
pub(super) async fn a_copy_is_not_taken_for_the_event_that_she_has_deleted(world: &mut World) {
    let (host, mut story) = world.one_sent().await;
    let id = world.only(&host).await.id;
    let copy = world.host.copy_by_hand(&host.place, &id).await;
    world.host.delete_by_hand(&host.place, &id).await;
    world.tell([story.moved(11)]).await;
    world.drain().await;
    assert_eq!(world.starts(&host).await, [hour(9), hour(11)], "her copy, and the event made anew");
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert_eq!(world.only(&host).await.id, copy);
}

/// The same with the name of a generation of before, which a verification looks for.
///
/// Fails with: as above.
pub(super) async fn a_copy_of_an_earlier_generation_outlives_every_verification(world: &mut World) {
    world.emit.verify_after = VERIFY_SOON.to_vec();
    let (host, mut story) = world.one_sent().await;
    let copy = world.host.copy_by_hand(&host.place, &world.only(&host).await.id).await;
    let lost = world.host.order(1, Trouble::AnswerLost);
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert_eq!(lost.hits(), 1, "a delete whose answer is lost is verified");
    world.tell([story.rebooked(11)]).await;
    let worker = world.worker();
    let requests = world.host.requests();
    until("it is verified, and again", async || {
        world.pending().await == 0 && world.host.requests() > requests + 8
    })
    .await;
    worker.stop().await;
    let mut shown = world.shown(&host).await;
    shown.sort_by_key(|event| event.start);
    let names: Vec<_> = shown.iter().map(|event| (event.start, event.id == copy)).collect();
    assert_eq!(names, [(hour(9), true), (hour(11), false)]);
}

/// Where an id leads to an event in whichever calendar it is, the event is followed; else it has left
/// the one calendar that a connection names, and is as good as deleted by hand. Never is it written to
/// for ever.
///
/// Fails with: `calendar/microsoft.rs`, `find`: `found` without its second look.
pub(super) async fn an_event_moved_to_another_calendar_holds_up_nothing(world: &mut World) {
    for (number, are_found) in [(1, true), (2, false)] {
        switch(world, |switches| switches.strays_are_found = are_found);
        let host = world.connect(number).await;
        let other = graph(world).create_calendar(&host.place.subject, "Other");
        let name = |letter: &str| format!("{letter}-{number}");
        let mut stories = ["a", "b"].map(|it| Story::of(&name(it), provider(number)));
        let events = stories.each_mut().map(Story::created);
        world.tell(events).await;
        world.drain().await;
        for event in world.shown(&host).await {
            assert!(graph(world).move_to_calendar_by_hand(&event.id, &other));
        }
        let [moved, cancelled] = &mut stories;
        world.tell([moved.moved(11), cancelled.cancelled()]).await;
        world.drain().await;
        let elsewhere: Vec<_> = graph(world).events(&other).iter().map(|it| it.start).collect();
        if are_found {
            assert_eq!((world.starts(&host).await, elsewhere), (vec![], vec![hour(11)]));
        } else {
            let left = vec![hour(9), hour(9)];
            assert_eq!((world.starts(&host).await, elsewhere), (vec![hour(11)], left));
        }
        assert_eq!(world.dead_letters().await.len(), 0);
    }
}

/// Exchange keeps 255 characters of a title, and says nothing good of more.
///
/// Fails with: `calendar/microsoft/event.rs`, `insert_of`: `content.summary` for the subject.
pub(super) async fn a_title_that_is_too_long_for_exchange_is_cut(world: &mut World) {
    let host = world.connect(1).await;
    let mut story = Story::of("a", provider(1));
    story.details.service_name = ["Massage"; 60].join(" ");
    world.tell([story.created()]).await;
    world.drain().await;
    let shown = world.only(&host).await;
    assert_eq!(shown.summary.encode_utf16().count(), 255);
    assert!(shown.summary.starts_with("Booking: Massage Massage "), "{}", shown.summary);
    assert!(shown.summary.ends_with('…'), "{}", shown.summary);
    world.tell([story.moved(11)]).await;
    world.drain().await;
    assert_eq!(world.host.verbs(), [Verb::Create, Verb::Update]);
}

/// Exchange changes an event some times more after it was written, and tells of a conflict that is none
/// (PROVIDERS B7): each costs a reading, and no effect.
///
/// Fails with: `emit/outcome.rs`: 412 for a rejection; `emit/decide.rs`, `settle`: `Settled::Superseded`
/// for `SendAgain` of an update.
pub(super) async fn an_etag_that_changes_by_itself_costs_a_reading_and_no_effect(
    world: &mut World,
) {
    switch(world, |switches| {
        switches.change_key_bumps = vec![Duration::from_millis(1), Duration::from_millis(5)];
        switches.conflicts_for = Duration::from_millis(50);
    });
    let (host, mut story) = world.one_sent().await;
    for start in 10..14 {
        world.tell([story.moved(start)]).await;
        world.drain().await;
        assert_eq!(world.starts(&host).await, [hour(start)]);
    }
    world.tell([story.cancelled()]).await;
    world.drain().await;
    assert!(world.shown(&host).await.is_empty());
    let updates = [Verb::Update; 4];
    assert_eq!(world.host.verbs(), [&[Verb::Create], &updates[..], &[Verb::Delete]].concat());
    let refused = world.host.attempts().iter().filter(|write| !write.effective).count();
    assert!(refused >= 4, "its conflicts were met: {refused}");
}
