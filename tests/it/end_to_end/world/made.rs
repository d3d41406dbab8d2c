//! Worlds by name: on which store, with whose calendars.

use std::sync::Arc;
use std::time::Duration;

use calendar_sync::clock::Surroundings;
use calendar_sync::emulator::google::Options;
use calendar_sync::emulator::{self, GoogleEmulator, MicrosoftEmulator};
use simulate::calendars::switches::{EtagSource, Overwrite};

use super::{Parts, World, client};
use crate::dav_server::DavServer;
use crate::end_to_end::host::{CaldavHost, Host};
use crate::end_to_end::wire::Wire;
use crate::services::{self, CaldavServer};

pub(super) async fn google(surroundings: &Surroundings) -> Host {
    let options = Options::strict(Arc::clone(&surroundings.clock));
    Host::Google(GoogleEmulator::start(options).await.expect("the emulator starts"))
}

pub(super) async fn microsoft(surroundings: &Surroundings) -> Host {
    let options = emulator::microsoft::Options::strict(Arc::clone(&surroundings.clock));
    Host::Microsoft(MicrosoftEmulator::start(options).await.expect("the emulator starts"))
}

pub(super) async fn caldav(server: CaldavServer, surroundings: &Surroundings) -> Host {
    let wire = Wire::to(&server.url).await;
    Host::Caldav(Box::new(CaldavHost::new(server, wire, client(surroundings))))
}

/// SQLite and the Google emulator.
pub(crate) async fn embedded(fact: &'static str) -> Option<World> {
    let surroundings = Surroundings::real();
    let host = google(&surroundings).await;
    World::on(Parts::Embedded, host, surroundings, fact, false).await
}

/// PostgreSQL and the Google emulator. `None`: there is none, and that has been written down.
pub(crate) async fn real(fact: &'static str) -> Option<World> {
    let surroundings = Surroundings::real();
    let host = google(&surroundings).await;
    World::on(Parts::Real, host, surroundings, fact, false).await
}

/// SQLite and the emulator of Microsoft Graph.
pub(crate) async fn graph(fact: &'static str) -> Option<World> {
    let surroundings = Surroundings::real();
    let host = microsoft(&surroundings).await;
    World::on(Parts::Embedded, host, surroundings, fact, false).await
}

/// The same, which does otherwise wherever it is not established what Graph does.
pub(crate) async fn contrary_graph(fact: &'static str) -> Option<World> {
    use emulator::microsoft::{AfterDelete, DuplicateStatus, SearchScope, SecondDelete, Switches};

    let world = graph(fact).await?;
    let Host::Microsoft(graph) = &world.host else { unreachable!("it was made so") };
    graph.set_switches(Switches {
        duplicate_status: DuplicateStatus::Status409,
        duplicate_names_event: true,
        after_delete: AfterDelete::AnswersWithDeleted,
        second_delete: SecondDelete::CannotDelete,
        search_scope: SearchScope::Calendar,
        search_lags: Duration::from_millis(20),
        strays_are_found: true,
        immutable_ids_always_understood: true,
        empty_first_page: true,
        ..Switches::default()
    });
    Some(world)
}

/// SQLite and the Google emulator, which does otherwise wherever Google's documents disagree.
pub(crate) async fn contrary_google(fact: &'static str) -> Option<World> {
    use emulator::google::{LowerSequence, Switches, TombstoneUpdate};

    let world = embedded(fact).await?;
    let Host::Google(google) = &world.host else { unreachable!("it was made so") };
    google.set_switches(Switches {
        tombstone_update: TombstoneUpdate::Revives,
        lower_sequence: LowerSequence::Ignored,
        bare_tombstones: true,
        empty_first_page: true,
        ..Switches::default()
    });
    Some(world)
}

/// PostgreSQL and the emulator of Microsoft Graph.
pub(crate) async fn graph_on_postgres(fact: &'static str) -> Option<World> {
    let surroundings = Surroundings::real();
    let host = microsoft(&surroundings).await;
    World::on(Parts::Real, host, surroundings, fact, false).await
}

/// PostgreSQL and Radicale.
pub(crate) async fn radicale(fact: &'static str) -> Option<World> {
    on_real_caldav(services::radicale(fact)?, fact).await
}

/// PostgreSQL and Xandikos.
pub(crate) async fn xandikos(fact: &'static str) -> Option<World> {
    on_real_caldav(services::xandikos(fact)?, fact).await
}

async fn on_real_caldav(server: CaldavServer, fact: &'static str) -> Option<World> {
    let surroundings = Surroundings::real();
    let host = caldav(server, &surroundings).await;
    World::on(Parts::Real, host, surroundings, fact, false).await
}

/// SQLite, and a CalDAV server with these habits.
pub(crate) async fn switched(fact: &'static str, server: DavServer) -> World {
    let surroundings = Surroundings::real();
    let host = caldav(server.account(), &surroundings).await;
    let made = World::on(Parts::Embedded, host, surroundings, fact, false).await;
    let mut world = made.expect("SQLite needs no service");
    world.endings.push(Box::pin(async move { drop(server) }));
    world
}

/// SQLite, and a CalDAV server without habits of its own.
pub(crate) async fn plain_caldav(fact: &'static str) -> Option<World> {
    Some(switched(fact, DavServer::with(|_| {}).await).await)
}

/// SQLite, and a CalDAV server that ignores `If-None-Match` (`SOGo`, Zimbra). The same bytes put twice
/// are the same event: its ETags come from the content.
pub(crate) async fn ignorant(fact: &'static str) -> Option<World> {
    let server = DavServer::with(|it| {
        (it.obeys_if_none_match, it.etags_from) = (false, EtagSource::Content);
    });
    Some(switched(fact, server.await).await)
}

/// SQLite, and a CalDAV server that wants an `If-Match` with each change (Open-Xchange).
pub(crate) async fn demanding(fact: &'static str) -> Option<World> {
    let server = DavServer::with(|it| it.overwrite = Overwrite::Refused).await;
    Some(switched(fact, server).await)
}
