//! Servers with a certificate that will not do: a clear error on the connection, nothing sent, nothing
//! lost, and everything drains once there is one that will.

use std::time::Duration;

use super::front::{Front, Manner};
use super::story::{Story, provider};
use super::world::{World, client_with};
use crate::authority::{Authority, Flaw, trusting};

const CALL_MAX: Duration = Duration::from_secs(10);

async fn told_and_waited_out(world: &mut World, flaw: Option<Flaw>, told: &str) {
    let authority = Authority::new();
    let good = authority.server(Flaw::None, &["http/1.1"]);
    let bad = flaw.map(|flaw| authority.server(flaw, &["http/1.1"]));
    let trusting = trusting(&authority.pem());
    world.http = Some(client_with(&world.surroundings, CALL_MAX, trusting));
    let front = Front::before(&world.origin(), Manner::Page, bad).await;
    let host = world.connect_at(&front.origin("https")).await;
    let before = world.host.requests();
    let mut story = Story::of("a", provider(1));
    world.tell([story.created()]).await;
    world.is_told(&host, &front, told).await;
    assert_eq!(world.host.requests(), before, "nothing was sent");
    front.mend(Some(good));
    world.all_drains(&host).await;
}

pub(super) async fn a_certificate_for_another_host_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(
        world,
        Some(Flaw::OtherHost),
        "the server's certificate is for another host",
    )
    .await;
}

pub(super) async fn a_certificate_of_nobody_is_told_and_waited_out(world: &mut World) {
    let told = "the server's certificate is from no authority that is trusted here; if it is one of \
        your own, add its certificate to http.ca_file (HTTP_CA_FILE)";
    told_and_waited_out(world, Some(Flaw::SelfSigned), told).await;
}

pub(super) async fn a_certificate_that_has_expired_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, Some(Flaw::Expired), "the server's certificate has expired").await;
}

/// It answers, and not in TLS.
pub(super) async fn a_server_without_tls_is_told_and_waited_out(world: &mut World) {
    told_and_waited_out(world, None, "the server does not speak TLS").await;
}
