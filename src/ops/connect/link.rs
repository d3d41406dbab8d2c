//! Where the booking application asks for a link.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use booking::{ConnectionId, ProviderId};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Connect;
use crate::connection::Issuer;
use crate::connection::kept::Tenant;
use crate::connection::pass::{self, Link};
use crate::ops::Ops;
use crate::ops::answer::{self, Refusal, bearer};
use crate::store::ConnectionState;

/// A link for a host, to be shown by the booking application.
pub(super) async fn link(
    State(ops): State<Ops>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    bearer(&headers, ops.admin_token.as_deref())?;
    let connect = ops.connect.as_deref().ok_or_else(|| {
        Refusal::conflict(
            "connect.public_url is not set: there is no address for browsers to go to",
        )
    })?;
    let link = asked(&answer::object(&body)?, connect)?;
    connect
        .connecting
        .check(&link.issuer())
        .map_err(|error| Refusal::conflict(&error.to_string()))?;
    if let Some(id) = link.reconnect() {
        let found = ops.store.connection(id).await;
        let row = found.map_err(|error| Refusal::unavailable("the database", &error))?;
        let row = row.filter(|row| row.provider == link.provider() && row.kind == link.kind());
        let row = row.ok_or_else(|| {
            Refusal::not_found(&format!("this provider has no such connection {id}"))
        })?;
        if !is_open_to_its_owner(row.state) {
            return Err(Refusal::conflict(&format!("{id} was removed: connect it anew")));
        }
    }
    let (sealer, dice) = (&connect.sealer, &*connect.surroundings.dice);
    let (pass, until) = pass::issue(&link, sealer, connect.now(), dice);
    let mut url = connect.url(&[link.kind().name()]);
    url.query_pairs_mut().append_pair("link", &pass);
    let body = json!({ "url": url.as_str(), "expires_at": until });
    Ok((StatusCode::CREATED, axum::Json(body)).into_response())
}

/// Whoever removed a connection meant it: a link from before does not bring it back.
pub(super) fn is_open_to_its_owner(state: ConnectionState) -> bool {
    match state {
        ConnectionState::Active | ConnectionState::Parked => true,
        ConnectionState::Removing | ConnectionState::Removed => false,
    }
}

fn asked(body: &Map<String, Value>, connect: &Connect) -> Result<Link, Refusal> {
    let text = |field: &'static str| match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Refusal::field(field, "is no text")),
    };
    let uuid = |field: &'static str| match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let id = value.as_str().and_then(|text| Uuid::try_parse(text).ok());
            id.map(Some).ok_or_else(|| Refusal::field(field, "is no UUID"))
        }
    };
    let provider =
        uuid("provider_id")?.ok_or_else(|| Refusal::field("provider_id", "is missing"))?;
    let issuer = match (text("calendar_provider")?, text("tenant")?) {
        (Some("google"), None) => Issuer::Google,
        (Some("google"), Some(_)) => {
            return Err(Refusal::field("tenant", "is of Microsoft alone"));
        }
        (Some("microsoft"), None) => Issuer::Microsoft(Tenant::any()),
        (Some("microsoft"), Some(tenant)) => Issuer::Microsoft(
            Tenant::parse(tenant).map_err(|error| Refusal::field("tenant", &error.to_string()))?,
        ),
        _ => {
            return Err(Refusal::field("calendar_provider", "is neither google nor microsoft"));
        }
    };
    let mut link =
        Link::new(&issuer, ProviderId(provider), uuid("connection_id")?.map(ConnectionId));
    match body.get("make_destination") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(given)) => link.make_destination = *given,
        Some(_) => return Err(Refusal::field("make_destination", "is neither true nor false")),
    }
    if let Some(url) = text("return_url")? {
        let url = connect.return_url(url);
        link.return_url = Some(url.map_err(|problem| Refusal::field("return_url", problem))?);
    }
    Ok(link)
}
