//! Whose token opens what, and which id names what.

use calendar_sync::emulator::microsoft::Switches;
use reqwest::Method;

use super::{ACCOUNT, Graph, SECOND, TOKEN, at, body};

#[tokio::test]
async fn a_token_is_needed_and_can_be_revoked() {
    let mut graph = Graph::start().await;
    graph.token = None;
    let nobody = graph.post(&body(0)).await;
    assert_eq!(nobody.said(), (401, "InvalidAuthenticationToken"));
    assert!(nobody.headers.contains_key("www-authenticate"));
    graph.token = Some("token-of-nobody");
    assert_eq!(graph.post(&body(0)).await.status, 401);
    graph.token = Some(TOKEN);
    assert_eq!(graph.post(&body(0)).await.status, 201);
    assert!(graph.emulator.revoke_token(TOKEN));
    assert_eq!(graph.post(&body(0)).await.said(), (401, "InvalidAuthenticationToken"));
    graph.emulator.add_account("second-token", ACCOUNT);
    graph.token = Some("second-token");
    assert_eq!(graph.post(&body(0)).await.status, 201);
    graph.emulator.revoke_account(ACCOUNT);
    assert_eq!(graph.post(&body(0)).await.status, 401);
}

#[tokio::test]
async fn a_token_expires_at_its_time() {
    let graph = Graph::start().await;
    assert!(graph.emulator.expire_token_at(TOKEN, at(8) + SECOND));
    assert_eq!(graph.post(&body(0)).await.status, 201);
    graph.clock.advance(SECOND);
    assert_eq!(graph.post(&body(0)).await.said(), (401, "InvalidAuthenticationToken"));
    assert!(!graph.emulator.expire_token_at("token-of-nobody", at(9)));
}

/// L28.
#[tokio::test]
async fn scopes_are_told_apart() {
    let mut graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    graph.emulator.add_read_only_token("reader", ACCOUNT);
    graph.token = Some("reader");
    assert_eq!(graph.get(&id).await.status, 200);
    assert_eq!(graph.call(Method::GET, "/me/calendars", None).await.status, 200);
    assert_eq!(graph.post(&body(0)).await.said(), (403, "ErrorAccessDenied"));
    assert_eq!(graph.patch(&id, &body(1)).await.said(), (403, "ErrorAccessDenied"));
    assert_eq!(graph.delete(&id).await.said(), (403, "ErrorAccessDenied"));
    graph.emulator.add_user_token("user", ACCOUNT);
    graph.token = Some("user");
    assert_eq!(graph.call(Method::GET, "/me", None).await.status, 200);
    assert_eq!(graph.get(&id).await.said(), (403, "ErrorAccessDenied"));
    assert_eq!(graph.call(Method::GET, "/me/calendar", None).await.status, 403);
}

#[tokio::test]
async fn a_mailbox_is_opened_by_its_owner_alone() {
    let mut graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    graph.emulator.add_account("token-of-eve", "eve@example.com");
    graph.token = Some("token-of-eve");
    let path = format!("/users/{ACCOUNT}/events/{id}");
    assert_eq!(graph.call(Method::GET, &path, None).await.said(), (403, "ErrorAccessDenied"));
    let path = "/users/nobody@example.com/events";
    assert_eq!(graph.call(Method::GET, path, None).await.said(), (404, "ErrorInvalidUser"));
    assert_eq!(graph.get(&id).await.said(), (404, "ErrorItemNotFound"));
    assert_eq!(graph.post(&body(0)).await.said(), (404, "ErrorItemNotFound"), "her calendar");
}

#[tokio::test]
async fn ids_are_of_two_kinds_and_case_sensitive() {
    let mut graph = Graph::start().await;
    let immutable = graph.post(&body(0)).await.id();
    graph.prefer.clear();
    let mutable = graph.list(&[]).await.values()[0]["id"].as_str().unwrap().to_owned();
    assert_ne!(immutable, mutable);
    assert_eq!(graph.get(&mutable).await.id(), mutable);
    assert_eq!(graph.get(&immutable).await.said(), (404, "ErrorItemNotFound"));
    let switches = Switches { immutable_ids_always_understood: true, ..Switches::default() };
    graph.emulator.set_switches(switches);
    assert_eq!(graph.get(&immutable).await.id(), mutable);
    graph.prefer = vec!["outlook.timezone=\"UTC\", IdType=\"ImmutableId\""];
    let read = graph.get(&mutable).await;
    assert_eq!(read.id(), immutable);
    let applied = read.headers["preference-applied"].to_str().unwrap();
    assert!(applied.contains("ImmutableId") && applied.contains("outlook.timezone"));
    let calls = graph.emulator.calls();
    assert_eq!(calls.list[2].prefer, None);
    assert_eq!(calls.list.last().unwrap().prefer.as_deref(), Some(graph.prefer[0]));
    let swapped: String = immutable
        .chars()
        .map(|it| if it.is_lowercase() { it.to_ascii_uppercase() } else { it })
        .collect();
    assert_eq!(graph.get(&swapped).await.said(), (404, "ErrorItemNotFound"));
}

#[tokio::test]
async fn an_event_is_found_under_its_own_calendar_alone_or_under_any() {
    let graph = Graph::start().await;
    let id = graph.post(&body(0)).await.id();
    let own = format!("{}/{id}", graph.events_path());
    let other = format!("/me/calendar/events/{id}");
    assert_eq!(graph.call(Method::GET, &own, None).await.status, 200);
    assert_eq!(graph.call(Method::GET, &other, None).await.said(), (404, "ErrorItemNotFound"));
    graph.emulator.set_switches(Switches { strays_are_found: true, ..Switches::default() });
    assert_eq!(graph.call(Method::GET, &other, None).await.status, 200);
}
