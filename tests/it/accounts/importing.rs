//! `connections add google|microsoft`: what an application was granted is taken over from it.

use std::process::Output;

use booking::CalendarKind;
use calendar_sync::calendar::Credentials;
use calendar_sync::connection::kept::{Access, Lifetime};
use calendar_sync::connection::{Issuer, Kept, Sealer};
use secrecy::{ExposeSecret as _, SecretBox};

use crate::end_to_end::world::{KEY, Parts, World};
use crate::settings::{PROVIDER, program, text};

const GOOGLE: [&str; 5] = ["google", "--calendar-id", "primary", "--subject", "1137622"];
const MICROSOFT: [&str; 5] = ["microsoft", "--calendar-id", "AAMkAGI2", "--subject", "48d31887"];
const CLIENTS: [(&str, &str); 2] =
    [("OAUTH_GOOGLE_CLIENT_ID", "us"), ("OAUTH_MICROSOFT_CLIENT_ID", "us")];

/// A database, and what is added to it.
pub(super) struct Place(pub(super) World);

impl Place {
    pub(super) async fn new(fact: &'static str) -> Self {
        let world = World::for_processes(Parts::Embedded, CalendarKind::Google, fact).await;
        Self(world.expect("it needs no service"))
    }

    fn add(&self, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
        let url = self.0.url.as_deref().expect("others find it");
        let given = [("DATABASE_URL", url), ("SECRETS_KEY", KEY), ("LOG_LEVEL", "warn,sqlx=error")];
        let environment: Vec<_> = given.into_iter().chain(variables.iter().copied()).collect();
        let all = [&["connections", "add"], arguments, &["--provider-id", PROVIDER]].concat();
        program(&all, &environment, input)
    }

    /// What is kept of the one connection, once that was added.
    async fn added(&self, said: &Output) -> Kept {
        assert!(said.status.success(), "{}", text(&said.stderr));
        let rows = self.0.store.connections().await.expect("the store answers");
        let row = &rows.first().expect("it was added").connection;
        let sealer = Sealer::new("1", &SecretBox::new(Box::new([7; 32])));
        sealer.open(row.id, &row.sealed).expect("it opens")
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], variables: &[(&str, &str)], why: &str) {
        let said = self.add(arguments, variables, "");
        assert_eq!(said.status.code(), Some(2), "{}", text(&said.stderr));
        assert!(text(&said.stderr).contains(why), "{}", text(&said.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_alone_is_a_grant_without_access() {
    let place = Place::new("a_refresh_token_alone_is_a_grant_without_access").await;
    let scopes = ["--scopes", "Calendars.ReadWrite User.Read", "--tenant", "Contoso.example"];
    let add = [&MICROSOFT[..], &scopes, &["--refresh-token-stdin"]].concat();
    let Kept::Grant(grant) = place.added(&place.add(&add, &CLIENTS, "0.AAA-token\n")).await else {
        panic!("it is a grant");
    };
    assert!(matches!(&grant.issuer, Issuer::Microsoft(it) if it.as_str() == "contoso.example"));
    assert_eq!(grant.refresh_token.expose_secret(), "0.AAA-token");
    assert!(grant.access.is_none());
    assert_eq!(grant.scopes.as_deref(), Some("Calendars.ReadWrite User.Read"));
    place.0.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_tokens_are_taken_with_the_hour_at_which_one_expires() {
    let place = Place::new("both_tokens_are_taken_with_the_hour_at_which_one_expires").await;
    let add = [&GOOGLE[..], &["--token-stdin", "--token-expires-at", "2030-01-01T10:00:00Z"]];
    let refresh = [("CALENDAR_SYNC_REFRESH_TOKEN", "1//token")];
    let variables = [&CLIENTS[..], &refresh].concat();
    let said = place.add(&add.concat(), &variables, "ya29.token\n");
    let Kept::Grant(grant) = place.added(&said).await else { panic!("it is a grant") };
    assert_eq!(grant.issuer, Issuer::Google);
    let Some(Access { token, lifetime: Some(lifetime) }) = grant.access else {
        panic!("it has access, and it is told until when");
    };
    let Lifetime { refresh_at, expires_at } = lifetime;
    assert_eq!(token.expose_secret(), "ya29.token");
    assert_eq!(expires_at.to_rfc3339(), "2030-01-01T10:00:00+00:00");
    assert_eq!(refresh_at.to_rfc3339(), "2030-01-01T09:55:00+00:00");
    place.0.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_alone_is_used_as_it_is() {
    let place = Place::new("an_access_token_alone_is_used_as_it_is").await;
    let said = place.add(&GOOGLE, &[("CALENDAR_SYNC_TOKEN", "ya29.token")], "");
    let kept = place.added(&said).await;
    let Kept::Fixed(Credentials::Bearer { token }) = kept else { panic!("it is no grant") };
    assert_eq!(token.expose_secret(), "ya29.token");
    place.0.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_renewed_is_refused_before_it_is_stored() {
    let place = Place::new("what_cannot_be_renewed_is_refused_before_it_is_stored").await;
    let refresh = [("CALENDAR_SYNC_REFRESH_TOKEN", "1//token")];
    place.refused(&GOOGLE, &refresh, "oauth.google.client_id is not set");
    place.refused(&MICROSOFT, &refresh, "oauth.microsoft.client_id is not set");
    let given = [&CLIENTS[..], &refresh].concat();
    place.refused(&[&MICROSOFT[..], &["--tenant", "a/b"]].concat(), &given, "--tenant");
    place.refused(&[&GOOGLE[..], &["--scopes", "a\"b"]].concat(), &given, "--scopes");
    let read_only = "https://www.googleapis.com/auth/calendar.readonly";
    let reads = [&GOOGLE[..], &["--scopes", read_only]].concat();
    place.refused(&reads, &given, "(calendar.readonly) lets us read the calendar and not write");
    let reads = [&MICROSOFT[..], &["--scopes", "openid Calendars.Read"]].concat();
    place.refused(&reads, &given, "Calendars.ReadWrite is needed");
    let expires = ["--token-expires-at", "2030-01-01T10:00:00Z"];
    let token = [("CALENDAR_SYNC_TOKEN", "ya29.token")];
    place.refused(&[&GOOGLE[..], &expires].concat(), &token, "belong to a refresh token");
    place.refused(&GOOGLE, &CLIENTS, "the token is missing");
    let twice = ["--token-stdin", "--refresh-token-stdin"];
    place.refused(&[&GOOGLE[..], &twice].concat(), &given, "cannot be used with");
    assert!(place.0.store.connections().await.expect("the store answers").is_empty());
    place.0.end().await;
}
