//! Servers that answer anything but what a calendar answers. Each gets a clear error on the
//! connection, a bounded wait, and no effect lost: once the server is mended, everything drains.
//!
//! Other bad input is held elsewhere: a revoked token and a locked account, a refused connection, an
//! outage of days, a refused event by `refusals`; answers lost, late, cut and held by `answers`; a
//! deleted calendar, statuses and bodies of each API by `conformance` and `calendars`.

use std::time::Duration;

use booking::Verb;
use calendar_sync::calendar::http::{Guard, Networks, Reach};
use calendar_sync::store::ConnectionState;

use super::front::{Front, Manner};
use super::host::{Host, Place};
use super::story::{Story, hour, provider};
use super::world::{Connected, PATIENCE, World, client_with, until};
use crate::calendars::on_this_machine;

/// The longest call of these facts.
const CALL_MAX: Duration = Duration::from_secs(2);

impl World {
    /// Where the calendars are: scheme, host and port.
    pub(super) fn origin(&self) -> String {
        match &self.host {
            Host::Google(google) => origin_of(&google.base_url()),
            Host::Microsoft(graph) => origin_of(&graph.base_url()),
            Host::Caldav(caldav) => caldav.wire.url.clone(),
        }
    }

    /// Provider 1's new calendar, at another origin than its own.
    pub(super) async fn connect_at(&self, origin: &str) -> Connected {
        let own = self.origin();
        let there = |address: &str| address.replacen(&own, origin, 1);
        let place = self.host.new_calendar().await;
        let (calendar, base_url) = (there(&place.calendar), there(&place.base_url));
        let elsewhere = self.prepare_at(1, Place { calendar, base_url, ..place.clone() });
        self.put(&elsewhere).await;
        // It is looked into where it is.
        Connected { place, ..elsewhere }
    }

    /// What is to be told of the connection is, and told again; nothing is given up meanwhile.
    pub(super) async fn is_told(&self, host: &Connected, front: &Front, told: &str) {
        let worker = self.worker();
        let mut last = None;
        let found = crate::wait::found(PATIENCE, async || {
            last = self.trouble(host).await;
            last.as_ref().filter(|last| last.contains(told)).map(drop)
        });
        assert!(found.await.is_some(), "`{told}` is not told, but {last:?}");
        let before = front.connections();
        until("it is tried again", async || front.connections() > before).await;
        worker.stop().await;
        assert_eq!(self.state(host).await, ConnectionState::Active);
        assert_eq!(self.pending().await, 1);
        assert!(self.dead_letters().await.is_empty());
    }

    /// All that was owed is there, once.
    pub(super) async fn all_drains(&self, host: &Connected) {
        self.drain().await;
        assert_eq!(self.only(host).await.start, hour(9));
        assert_eq!(self.host.verbs(), [Verb::Create]);
        assert_eq!(self.trouble(host).await, None);
    }
}

fn origin_of(url: &str) -> String {
    url::Url::parse(url).expect("a URL").origin().ascii_serialization()
}

/// A booking for a calendar whose server is out of order in this manner, until it is mended.
async fn told_and_waited_out(world: &mut World, manner: Manner, told: &str) {
    world.http = Some(client_with(&world.surroundings, CALL_MAX, on_this_machine()));
    world.emit.call_timeout = CALL_MAX;
    let front = Front::before(&world.origin(), manner, None).await;
    let host = world.connect_at(&front.origin("http")).await;
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.is_told(&host, &front, told).await;
    front.mend(None);
    world.all_drains(&host).await;
}

/// What each kind of calendar says of a success that is not its own.
fn not_its_own(world: &World) -> &'static str {
    match &world.host {
        Host::Google(_) | Host::Microsoft(_) => "a success, but the answer is not ",
        Host::Caldav(_) => "200 OK, but the answer is ",
    }
}

pub(super) async fn a_page_instead_of_an_answer_is_told_and_waited_out(world: &mut World) {
    let told = not_its_own(world);
    told_and_waited_out(world, Manner::Page, told).await;
}

pub(super) async fn a_connection_that_ends_at_once_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, Manner::Hangup, "connection closed before message completed").await;
}

pub(super) async fn silence_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, Manner::Silence, "the call took longer than allowed").await;
}

pub(super) async fn an_answer_that_drips_for_ever_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, Manner::Drip, "the call took longer than allowed").await;
}

pub(super) async fn an_answer_of_50_megabytes_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, Manner::Long, "the answer is longer than ").await;
}

pub(super) async fn an_answer_of_50_megabytes_that_does_not_say_so_is_told_and_waited_out(
    world: &mut World,
) {
    told_and_waited_out(world, Manner::LongInChunks, "the answer is longer than ").await;
}

pub(super) async fn a_head_without_end_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, Manner::LongHead, "message head is too large").await;
}

/// It is taken as it comes: nothing is asked to be compressed, and nothing is unpacked.
pub(super) async fn a_compressed_bomb_is_not_unpacked(world: &mut World) {
    let told = not_its_own(world);
    told_and_waited_out(world, Manner::Bomb, told).await;
}

/// Where a setting does not let workers go; mended by the setting.
pub(super) async fn an_address_that_is_not_open_is_told_and_waited_out(world: &mut World) {
    let closed = Reach::Guarded(Guard::of(Networks::default()));
    world.http = Some(client_with(&world.surroundings, CALL_MAX, closed));
    let host = world.connect_at(&world.origin()).await;
    let before = world.host.requests();
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    let worker = world.worker();
    let told = "is this machine's own (loopback, RFC 1122, RFC 4291); if it is meant, add it to \
        http.allow_networks (HTTP_ALLOW_NETWORKS)";
    until("it is told", async || world.trouble(&host).await.is_some_and(|it| it.contains(told)))
        .await;
    worker.stop().await;
    assert_eq!(world.host.requests(), before, "nobody has come");
    assert_eq!(world.state(&host).await, ConnectionState::Active);
    assert!(world.dead_letters().await.is_empty());
    world.http = None;
    world.all_drains(&host).await;
}
