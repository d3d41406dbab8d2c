//! A calendar whose owner has granted access to it, and what its provider's token endpoint is asked.

use std::sync::Arc;

use calendar_sync::calendar::Credentials;
use calendar_sync::config::OauthClient;
use calendar_sync::connection::kept::{Access, Lifetime, Tenant};
use calendar_sync::connection::{Grant, Issuer, Kept};
use calendar_sync::emulator::{
    self, CallRecord, Fault, Moment, OauthSwitches, Refusal, Rule, Verb,
};
use calendar_sync::ops::metrics::{Metrics, Seen};
use calendar_sync::store::{ConnectionRow, NewConnection};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;

use crate::end_to_end::host::Host;
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::world::{Connected, World, sealer};

/// As whom we are known.
pub(super) const CLIENT: &str = "client-of-ours";
/// What proves that.
pub(super) const SECRET: &str = "s3cret-of-our-client";
/// What access is renewed by at first.
pub(super) const REFRESH_TOKEN: &str = "refresh-token-of-the-host";

/// How long access is good from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Good {
    /// There is none.
    None,
    /// Nobody has told.
    Untold,
    /// It is renewed after the first, and ends after the second; both may be over.
    For(i64, i64),
}

/// Provider 1's new, empty calendar, opened by a grant. Its access token is known to the emulator, for
/// as long as it is said to be good.
pub(crate) async fn granted(world: &mut World, good: Good) -> Connected {
    set_up(world);
    let mut host = world.prepare(1).await;
    grant(world, &host, REFRESH_TOKEN);
    host.new.sealed = sealed(world, &host, REFRESH_TOKEN, good);
    if let Good::For(_, ends) = good {
        let at = after(world, ends);
        let known = match &world.host {
            Host::Google(google) => google.expire_token_at(&access_token(&host), at),
            Host::Microsoft(graph) => graph.expire_token_at(&access_token(&host), at),
            Host::Caldav(_) => unreachable!("nobody grants anything there"),
        };
        assert!(known, "the token was added with the calendar");
    }
    world.put(&host).await;
    host
}

/// We are a client of the emulators, and count what is done.
pub(super) fn set_up(world: &mut World) {
    set_secret(&world.host, SECRET);
    let client = OauthClient { id: CLIENT.to_owned(), secret: Some(SECRET.into()) };
    let (oauth, url) = (&mut world.oauth, |text: &str| text.parse().expect("it is a URL"));
    match &world.host {
        Host::Google(google) => {
            (oauth.google, oauth.google_token_url) = (Some(client), url(&google.token_url()));
        }
        Host::Microsoft(graph) => {
            (oauth.microsoft, oauth.microsoft_authority) = (Some(client), url(&graph.authority()));
        }
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
    world.meter = Some(Arc::new(Metrics::default()));
}

/// What proves who we are, as the provider knows it.
pub(super) fn set_secret(host: &Host, secret: &str) {
    match host {
        Host::Google(google) => google.set_client(CLIENT, Some(secret)),
        Host::Microsoft(graph) => graph.set_client(CLIENT, Some(secret)),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// The host grants us her calendar.
pub(super) fn grant(world: &World, host: &Connected, refresh_token: &str) {
    match &world.host {
        Host::Google(google) => google.grant(refresh_token, &host.place.subject, CLIENT),
        Host::Microsoft(graph) => graph.grant(refresh_token, &host.place.subject, CLIENT),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// Its owner takes back all that was granted to her account.
pub(super) fn revoke(world: &World, host: &Connected) {
    match &world.host {
        Host::Google(google) => google.revoke_account(&host.place.subject),
        Host::Microsoft(graph) => graph.revoke_account(&host.place.subject),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// The token that opens the calendar, as it was made.
pub(super) fn access_token(host: &Connected) -> String {
    match &host.place.credentials {
        Credentials::Bearer { token } => token.expose_secret().to_owned(),
        Credentials::Basic { .. } => unreachable!("these calendars take tokens"),
    }
}

fn after(world: &World, seconds: i64) -> DateTime<Utc> {
    world.surroundings.clock.now() + chrono::TimeDelta::seconds(seconds)
}

/// A grant, as it is stored.
pub(super) fn sealed(world: &World, host: &Connected, refresh_token: &str, good: Good) -> Vec<u8> {
    let lifetime = match good {
        Good::None | Good::Untold => None,
        Good::For(renewed, ends) => {
            Some(Lifetime { refresh_at: after(world, renewed), expires_at: after(world, ends) })
        }
    };
    let access = match good {
        Good::None => None,
        Good::Untold | Good::For(..) => Some(Access { token: access_token(host).into(), lifetime }),
    };
    let issuer = match &world.host {
        Host::Google(_) => Issuer::Google,
        Host::Microsoft(_) => Issuer::Microsoft(Tenant::parse("common").expect("a tenant")),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    };
    let refresh_token = refresh_token.into();
    let kept = Kept::Grant(Grant { issuer, client: None, refresh_token, access, scopes: None });
    let dice = world.surroundings.dice.as_ref();
    sealer().seal(host.id, &kept, dice).expect("it is sealed")
}

/// The same account is connected again, with another refresh token.
pub(super) async fn connect_again(world: &World, host: &Connected, refresh_token: &str) {
    grant(world, host, refresh_token);
    let sealed = sealed(world, host, refresh_token, Good::None);
    let again = NewConnection { sealed, ..host.new.clone() };
    let put = world.store.put_connection(&again).await.expect("the store answers");
    assert!(!put.created, "it is the same connection");
}

/// The connection as it is stored.
pub(super) async fn row(world: &World, host: &Connected) -> ConnectionRow {
    let row = world.store.connection(host.id).await.expect("the store answers");
    row.expect("it was connected")
}

/// The grant as it is stored.
pub(super) async fn stored(world: &World, host: &Connected) -> Grant {
    let row = row(world, host).await;
    match sealer().open(row.id, &row.sealed).expect("it opens") {
        Kept::Grant(grant) => grant,
        Kept::Fixed(_) | Kept::Delegated(_) => panic!("it was a grant"),
    }
}

/// The hour has come at which access is renewed; it is good for a while still.
pub(super) async fn make_due(world: &World, host: &Connected) {
    let former = row(world, host).await.sealed;
    let mut grant = stored(world, host).await;
    let access = grant.access.as_mut().expect("there is access");
    let lifetime = Lifetime { refresh_at: after(world, -1), expires_at: after(world, 600) };
    access.lifetime = Some(lifetime);
    let dice = world.surroundings.dice.as_ref();
    let due = sealer().seal(host.id, &Kept::Grant(grant), dice).expect("it is sealed");
    let swapped = world.store.swap_credentials(host.id, &former, &due).await;
    assert!(swapped.expect("the store answers"), "nobody else changes them");
}

/// All that came to the emulator.
pub(super) fn calls(world: &World) -> Vec<CallRecord> {
    match &world.host {
        Host::Google(google) => google.calls().list,
        Host::Microsoft(graph) => graph.calls().list,
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// What came to its token endpoint.
pub(super) fn renewals(world: &World) -> Vec<CallRecord> {
    let mut calls = calls(world);
    calls.retain(|call| call.verb == Verb::Token);
    calls
}

/// How many calls to the calendar were told that their token is no good.
pub(super) fn refused(world: &World) -> usize {
    let is_refused = |call: &&CallRecord| {
        matches!(call.answered, emulator::Answered::Status { status: 401, .. })
            && call.verb != Verb::Token
    };
    calls(world).iter().filter(is_refused).count()
}

/// Which refresh token a renewal came with.
pub(super) fn renewed_by(call: &CallRecord) -> String {
    let mut pairs = url::form_urlencoded::parse(&call.body);
    let found = pairs.find(|(name, _)| name == "refresh_token");
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Orders a fault.
pub(super) fn order(world: &World, rule: Rule) -> emulator::Ordered {
    match &world.host {
        Host::Google(google) => google.order(rule),
        Host::Microsoft(graph) => graph.order(rule),
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// Every renewal is refused so.
pub(super) fn renewals_say(world: &World, refusal: Refusal) -> emulator::Ordered {
    let refuse = Fault::Refuse(Moment::BeforeApplying, refusal);
    order(world, Rule::always(refuse).verb(Verb::Token))
}

/// Changes how the token endpoint behaves.
pub(super) fn switch(world: &World, change: impl FnOnce(&mut OauthSwitches)) {
    match &world.host {
        Host::Google(google) => {
            let mut switches = google.oauth_switches();
            change(&mut switches);
            google.set_oauth_switches(switches);
        }
        Host::Microsoft(graph) => {
            let mut switches = graph.oauth_switches();
            change(&mut switches);
            graph.set_oauth_switches(switches);
        }
        Host::Caldav(_) => unreachable!("nobody grants anything there"),
    }
}

/// A counter of the metrics, by its line.
pub(super) fn counted(world: &World, line: &str) -> u64 {
    let text = world.meter.as_ref().expect("it was set up").openmetrics(&Seen::default());
    let counted = text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok());
    counted.unwrap_or_default()
}

/// So many bookings of provider 1.
pub(crate) fn stories(count: usize) -> Vec<Story> {
    (0..count).map(|number| Story::of(&format!("b{number}"), provider(1))).collect()
}

/// Tells that all of them were made.
pub(crate) async fn tell_created(world: &mut World, stories: &mut [Story]) {
    let created: Vec<_> = stories.iter_mut().map(Story::created).collect();
    world.tell(created).await;
}
