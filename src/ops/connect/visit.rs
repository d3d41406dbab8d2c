//! A host's way through the pages.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use booking::ConnectionId;
use secrecy::SecretString;

use super::ended::Ended;
use super::link::is_open_to_its_owner;
use super::{Connect, cookie, page, see_other, sent_back};
use crate::calendar::discovery::ListedCalendar;
use crate::connection::connect_error::ConnectError;
use crate::connection::connecting::{Connected, judge_reconnecting};
use crate::connection::kept::Tenant;
use crate::connection::known::{is_name_of, known_name};
use crate::connection::pass::{self, Browser, Choice, Link, PassError, Visit};
use crate::connection::returned::{Returned, returned};
use crate::connection::{Grant, Issuer, Kept, calendar_name, connection_id};
use crate::ops::Ops;
use crate::store::{ConnectionRow, NewConnection, StoreError};

type Pairs = Query<HashMap<String, String>>;

/// The link: from here the browser is sent to the provider.
pub(super) async fn visit(
    State(ops): State<Ops>,
    Path(kind): Path<String>,
    Query(query): Pairs,
    headers: HeaderMap,
) -> Response {
    let given = query.get("link").map_or("", String::as_str);
    begin(&ops, &kind, given, &headers).unwrap_or_else(Ended::answer)
}

fn begin(ops: &Ops, kind: &str, given: &str, headers: &HeaderMap) -> Result<Response, Ended> {
    let connect = ops.connect.as_deref().ok_or(Ended::Absent)?;
    let link: Link = pass::read(given, &connect.sealer, connect.now())?;
    if link.kind().name() != kind {
        return Err(Ended::Pass(PassError::Foreign));
    }
    let dice = &*connect.surroundings.dice;
    let browser =
        cookie::browser(headers, &connect.public_url).unwrap_or_else(|| Browser::fresh(dice));
    let redirect = connect.callback(link.kind());
    let (issuer, sent) = (link.issuer(), link.clone());
    let state = |verifier: &SecretString, nonce: &str| {
        let visit = Visit::new(sent, &browser, verifier, nonce.to_owned());
        pass::issue(&visit, &connect.sealer, connect.now(), dice).0
    };
    let begun = connect.connecting.begin_with(&issuer, &redirect, state);
    let url = begun.map_err(|error| Ended::failed(Some(link), error))?.url;
    let mut response = see_other(&url);
    response.headers_mut().insert(SET_COOKIE, cookie::set(&browser, &connect.public_url));
    Ok(response)
}

/// What the provider has sent the browser back with.
pub(super) async fn callback(
    State(ops): State<Ops>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    come_back(&ops, &kind, query.as_deref(), &headers).await.unwrap_or_else(Ended::answer)
}

async fn come_back(
    ops: &Ops,
    kind: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Ended> {
    let connect = ops.connect.as_deref().ok_or(Ended::Absent)?;
    let foreign = Ended::Pass(PassError::Foreign);
    let Some(Returned { state, code }) = returned_to(kind, query) else {
        return Err(foreign);
    };
    let visit: Visit = pass::read(&state, &connect.sealer, connect.now())?;
    if visit.link.kind().name() != kind {
        return Err(foreign);
    }
    let browser = cookie::browser(headers, &connect.public_url);
    if !browser.is_some_and(|browser| visit.is_of(&browser)) {
        return Err(Ended::OtherBrowser(Box::new(visit.link)));
    }
    let link = visit.link.clone();
    let failed = |error| {
        if matches!(error, ConnectError::Declined { .. }) {
            return Ended::Declined(Box::new(link.clone()));
        }
        Ended::failed(Some(link.clone()), error)
    };
    let code = code.map_err(failed)?;
    let _permit = connect.visits.try_acquire().map_err(|_| Ended::Busy(Box::new(link.clone())))?;
    let redirect = connect.callback(link.kind());
    let connected = connect
        .connecting
        .finish(&link.issuer(), &redirect, &code, &visit.verifier(), &visit.nonce)
        .await
        .map_err(failed)?;
    match link.reconnect() {
        Some(id) => reopen(ops, connect, id, &link, connected).await,
        None => offer(connect, &visit, connected).await,
    }
}

/// The query of a callback, by whose callback it is.
fn returned_to(kind: &str, query: Option<&str>) -> Option<Returned> {
    let issuer = match kind {
        "google" => Issuer::Google,
        "microsoft" => Issuer::Microsoft(Tenant::any()),
        _ => return None,
    };
    returned(&issuer, query?)
}

/// Shows the calendars that can be written to, the account's own first.
async fn offer(connect: &Connect, visit: &Visit, connected: Connected) -> Result<Response, Ended> {
    let link = &visit.link;
    let Connected { issuer, subject, name, grant } = connected;
    let base_url = connect.connecting.api_url(issuer.kind());
    let mut calendars = writable(connect, link, &grant, &base_url).await?;
    calendars.sort_by_key(|calendar| !calendar.is_primary);
    if calendars.is_empty() {
        return Err(Ended::NoCalendar(Box::new(link.clone())));
    }
    let (sealer, dice) = (&connect.sealer, &*connect.surroundings.dice);
    let kind = issuer.kind();
    let choice = Choice::new(visit, subject, &Kept::Grant(grant), sealer, dice);
    let choice = choice.map_err(|error| not_kept(link, &error))?;
    let (pass, _) = pass::issue(&choice, sealer, connect.now(), dice);
    let action = connect.url(&[kind.name(), "calendar"]);
    Ok(page::choose(&page::Offered {
        action: action.as_str(),
        pass: &pass,
        account: name.as_deref(),
        calendars: &calendars,
        return_url: link.return_url.as_ref(),
    }))
}

async fn writable(
    connect: &Connect,
    link: &Link,
    grant: &Grant,
    base_url: &str,
) -> Result<Vec<ListedCalendar>, Ended> {
    let listed = connect.connecting.calendars_of(grant, base_url).await;
    let mut listed = listed.map_err(|error| Ended::failed(Some(link.clone()), error))?;
    listed.retain(|calendar| calendar.is_writable);
    Ok(listed)
}

/// A calendar was chosen.
pub(super) async fn chosen(
    State(ops): State<Ops>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    choose(&ops, &kind, &headers, &body).await.unwrap_or_else(Ended::answer)
}

async fn choose(
    ops: &Ops,
    kind: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Ended> {
    let connect = ops.connect.as_deref().ok_or(Ended::Absent)?;
    let field = |name| {
        let mut given = url::form_urlencoded::parse(body);
        given.find(|(it, _)| it == name).map_or(Cow::Borrowed(""), |(_, text)| text)
    };
    let (text, calendar) = (field("pass"), field("calendar"));
    let choice: Choice = pass::read(&text, &connect.sealer, connect.now())?;
    if choice.link.kind().name() != kind {
        return Err(Ended::Pass(PassError::Foreign));
    }
    let browser = cookie::browser(headers, &connect.public_url);
    if !browser.is_some_and(|browser| choice.is_of(&browser)) {
        return Err(Ended::OtherBrowser(Box::new(choice.link)));
    }
    let Kept::Grant(grant) = choice.kept(&connect.sealer)? else {
        return Err(Ended::Pass(PassError::Foreign));
    };
    let link = &choice.link;
    let _permit = connect.visits.try_acquire().map_err(|_| Ended::Busy(Box::new(link.clone())))?;
    let base_url = connect.connecting.api_url(link.kind());
    let offered = writable(connect, link, &grant, &base_url).await?;
    let Some(chosen) = offered.into_iter().find(|it| it.id == calendar) else {
        return Err(Ended::NotOffered(Box::new(choice.link)));
    };
    let whose = (connect.installation.id, link.provider(), link.kind());
    let name =
        known_name(&*ops.store, whose, &choice.subject, (chosen.id, chosen.is_primary)).await;
    let name = name.map_err(|error| unavailable(link, &error))?;
    let place = Place { subject: choice.subject, calendar: name, base_url };
    put(ops, connect, link, place, grant).await
}

/// A connection is opened again, by the same account (rule R17).
async fn reopen(
    ops: &Ops,
    connect: &Connect,
    id: ConnectionId,
    link: &Link,
    connected: Connected,
) -> Result<Response, Ended> {
    let failed = |error| Ended::failed(Some(link.clone()), error);
    let row = ops.store.connection(id).await.map_err(|error| unavailable(link, &error))?;
    let Some(row) = row.filter(|row| is_open_to_its_owner(row.state)) else {
        return Err(Ended::Removed(Box::new(link.clone())));
    };
    let ConnectionRow { kind, subject, calendar, base_url, .. } = row;
    let given = (connected.issuer.kind(), connected.subject.as_str());
    judge_reconnecting((kind, &subject), given).map_err(failed)?;
    let offered = writable(connect, link, &connected.grant, &base_url).await?;
    let is_it = |it: &ListedCalendar| is_name_of(&calendar, &it.id, it.is_primary);
    if !offered.iter().any(is_it) {
        return Err(Ended::NotOffered(Box::new(link.clone())));
    }
    put(ops, connect, link, Place { subject, calendar, base_url }, connected.grant).await
}

/// What cannot be sealed.
fn not_kept(link: &Link, error: &dyn std::error::Error) -> Ended {
    Ended::failed(Some(link.clone()), ConnectError::NotUnderstood { reason: error.to_string() })
}

fn unavailable(link: &Link, error: &StoreError) -> Ended {
    tracing::warn!(
        error_code = "ops_unavailable",
        error = error as &dyn std::error::Error,
        "a connection could not be stored"
    );
    Ended::Unavailable(Box::new(link.clone()))
}

/// The calendar that a connection is to.
struct Place {
    subject: String,
    /// As it is stored.
    calendar: String,
    /// The API's address.
    base_url: String,
}

/// Stores the connection, and sends the browser back.
async fn put(
    ops: &Ops,
    connect: &Connect,
    link: &Link,
    place: Place,
    grant: Grant,
) -> Result<Response, Ended> {
    let (kind, provider) = (link.kind(), link.provider());
    let Place { subject, calendar, base_url } = place;
    let calendar = calendar_name(kind, &calendar).map_err(|error| not_kept(link, &error))?;
    let id = connection_id(connect.installation.id, provider, kind, &subject, &calendar);
    let sealed = connect.sealer.seal(id, &Kept::Grant(grant), &*connect.surroundings.dice);
    let connection = NewConnection {
        id,
        provider,
        kind,
        subject,
        calendar,
        base_url,
        sealed: sealed.map_err(|error| not_kept(link, &error))?,
        make_destination: link.make_destination,
        // Whoever removed it meanwhile meant it.
        revives: link.reconnect().is_none(),
        horizon: connect.horizon,
    };
    let put = ops.store.put_connection(&connection).await;
    let put = put.map_err(|error| unavailable(link, &error))?;
    if put.removed {
        return Err(Ended::Removed(Box::new(link.clone())));
    }
    tracing::info!(
        connection_id = %id,
        provider_id = %provider,
        calendar_provider = kind.name(),
        created = put.created,
        bookings_due = put.bookings_due,
        "a host has connected a calendar"
    );
    ops.wake.notify_waiters();
    if let Some(url) = &link.return_url {
        return Ok(sent_back(url, "connected", Some(id)));
    }
    let line = "Your bookings will be put into it. You can close this page.";
    Ok(page::says(StatusCode::OK, "Your calendar is connected", &[line], None))
}
