//! What each call does.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, LOCATION};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::delta;
use super::errors::{ApiError, Names, resource};
use super::event::{Origin, Stored};
use super::ids::is_id;
use super::list::{self, context};
use super::prefer::Preferences;
use super::query::Query;
use super::render::{self, View, id};
use super::routes::{ApiRequest, Place};
use super::state::{Mailbox, Posted, State, Switches};
use super::switches::{AfterDelete, DuplicateStatus, SecondDelete};
use crate::emulator::call_log::{Effect, Verb};
use crate::emulator::life::{Api as _, Applied, Turn};
use crate::emulator::reply::Reply;
use crate::emulator::tokens::Power;

/// A call that may do what it asks for.
struct Granted<'a> {
    request: &'a ApiRequest,
    account: String,
    preferences: Preferences,
    switches: Switches,
    body: &'a [u8],
    turn: Turn,
}

impl Granted<'_> {
    /// The calendar that the path names, if there is one.
    fn calendar<'m>(&self, mailbox: &'m Mailbox) -> Result<&'m str, ApiError> {
        let id = match &self.request.route.place {
            Place::Mailbox | Place::DefaultCalendar => &mailbox.default_calendar,
            Place::Calendar(id) => id,
            Place::Authority { .. } => return Err(ApiError::not_found()),
        };
        match mailbox.calendars.get(id) {
            Some(calendar) => Ok(&calendar.id),
            None if is_id(id) => Err(ApiError::not_found()),
            None => Err(ApiError::malformed_id()),
        }
    }

    /// Whether an id of an event is one that this call may use.
    fn understands(&self, event: &Stored, named: &str) -> bool {
        named == event.ids.mutable
            || self.preferences.immutable_ids
            || self.switches.immutable_ids_always_understood
    }

    /// The event that the path names.
    fn event<'m>(&self, mailbox: &'m Mailbox) -> Result<&'m Stored, ApiError> {
        let named = self.request.route.event.as_deref().unwrap_or_default();
        let calendar = self.calendar(mailbox)?;
        let anywhere = self.request.route.place == Place::Mailbox || self.switches.strays_are_found;
        let found = mailbox.find(named).filter(|event| {
            self.understands(event, named) && (anywhere || event.calendar == calendar)
        });
        match found {
            Some(event) => Ok(event),
            None if is_id(named) => Err(ApiError::not_found()),
            None => Err(ApiError::malformed_id()),
        }
    }

    fn view(&self) -> View<'_> {
        let now = self.turn.now;
        View {
            preferences: &self.preferences,
            expand: &[],
            select: None,
            switches: &self.switches,
            now,
        }
    }

    /// The answer to a write, which shows no extended property.
    fn written(&self, status: u16, event: &Stored, mailbox: &Mailbox) -> Reply {
        let mut shown = self.view().event(event, mailbox);
        shown["@odata.context"] = json!(context(self.request, "events/$entity"));
        let mut reply = resource(status, shown);
        if status == 201 {
            let (origin, path) = (self.request.origin(), &self.request.route.path);
            let id = id(&event.ids, &self.preferences);
            reply.headers.push((LOCATION, format!("{origin}{path}('{id}')")));
        }
        reply
    }
}

impl State {
    /// Does what a request asks for, all of it or nothing.
    pub(super) fn apply_at(&mut self, request: &ApiRequest, turn: Turn) -> Applied {
        let names = Names::of(request, turn);
        match self.try_apply(request, turn) {
            Ok(mut applied) => {
                applied.reply = names.on(applied.reply);
                applied
            }
            Err(error) => Applied::nothing(error.reply(names)),
        }
    }

    fn try_apply(&mut self, request: &ApiRequest, turn: Turn) -> Result<Applied, ApiError> {
        let verb = request.route.verb;
        let account = self.allow(request, turn.now)?;
        if matches!(verb, Verb::Insert | Verb::Patch | Verb::Delete) {
            self.check_edit(request, &account, turn.now)?;
        }
        let Some(body) = &request.body else {
            return Err(ApiError::body_too_large());
        };
        let granted = Granted {
            request,
            account,
            preferences: Preferences::parse(&request.headers)?,
            switches: self.switches.clone(),
            body,
            turn,
        };
        let mut applied = match verb {
            Verb::Insert => self.insert(&granted)?,
            Verb::Patch => self.patch(&granted)?,
            Verb::Delete => self.delete(&granted)?,
            Verb::Get
            | Verb::List
            | Verb::Changes
            | Verb::CalendarGet
            | Verb::CalendarList
            | Verb::Account => Applied::nothing(self.read(&granted)?),
            // No route leads to a replacement.
            Verb::Other | Verb::Update | Verb::Token | Verb::Authorize | Verb::DeviceCode => {
                return Err(ApiError::bad_request("Resource not found for the segment."));
            }
        };
        applied.reply = granted.preferences.on(applied.reply);
        Ok(applied)
    }

    /// The account of the mailbox that the path names, if the token opens it for this verb.
    fn allow(&self, request: &ApiRequest, now: DateTime<Utc>) -> Result<String, ApiError> {
        let token = self.tokens.authenticate(request.header(AUTHORIZATION), now)?;
        let needed = match request.route.verb {
            Verb::Insert | Verb::Update | Verb::Patch | Verb::Delete => Power::WriteEvents,
            Verb::Get | Verb::List | Verb::Changes => Power::ReadEvents,
            Verb::CalendarGet => Power::ReadCalendar,
            Verb::CalendarList => Power::ListCalendars,
            Verb::Account => Power::KnowUser,
            Verb::Authorize | Verb::DeviceCode | Verb::Token | Verb::Other => {
                return Err(ApiError::bad_request("Resource not found for the segment."));
            }
        };
        let is_allowed = token.access.opens(needed);
        if !is_allowed {
            return Err(ApiError::access_denied());
        }
        match &request.route.user {
            Some(user) if self.account_of(user)? != token.account => Err(ApiError::access_denied()),
            Some(_) | None => Ok(token.account.clone()),
        }
    }

    /// A calendar that was shared to be read takes no writes.
    fn check_edit(
        &self,
        request: &ApiRequest,
        account: &str,
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        let calendar = self.asked(request, now).calendar;
        let found = calendar.and_then(|id| self.mailboxes.get(account)?.calendars.get(&id));
        let may_edit = found.is_none_or(|calendar| calendar.can_edit);
        if may_edit { Ok(()) } else { Err(ApiError::access_denied()) }
    }

    fn mailbox(&mut self, account: &str) -> Result<&mut Mailbox, ApiError> {
        self.mailboxes.get_mut(account).ok_or_else(|| ApiError::invalid_user(account))
    }

    fn read(&mut self, granted: &Granted<'_>) -> Result<Reply, ApiError> {
        let Granted { request, preferences, switches, turn, .. } = granted;
        let mailbox = &*self.mailbox(&granted.account)?;
        match request.route.verb {
            Verb::Account => {
                let query = Query::parse(&request.query, &["$select"])?;
                let select = query.select(render::is_user_field)?;
                let mut user = render::user(mailbox, select.as_deref());
                user["@odata.context"] = json!(context(request, "$entity"));
                Ok(resource(200, user))
            }
            Verb::CalendarList => list_calendars(mailbox, request),
            Verb::CalendarGet => {
                let query = Query::parse(&request.query, &["$select"])?;
                let select = query.select(render::is_calendar_field)?;
                let calendar = &mailbox.calendars[granted.calendar(mailbox)?];
                let mut calendar = render::calendar(calendar, mailbox, select.as_deref());
                calendar["@odata.context"] = json!(context(request, "calendars/$entity"));
                Ok(resource(200, calendar))
            }
            Verb::Changes => {
                let calendar = &mailbox.calendars[granted.calendar(mailbox)?];
                delta::delta(mailbox, calendar, request, preferences, switches, *turn)
            }
            Verb::List => {
                let calendar = granted.calendar(mailbox)?;
                list::list(mailbox, calendar, request, preferences, switches, *turn)
            }
            Verb::Get => get(mailbox, granted),
            Verb::Insert
            | Verb::Update
            | Verb::Patch
            | Verb::Delete
            | Verb::Token
            | Verb::Authorize
            | Verb::DeviceCode
            | Verb::Other => {
                unreachable!("the caller reads by these verbs alone")
            }
        }
    }

    fn insert(&mut self, granted: &Granted<'_>) -> Result<Applied, ApiError> {
        let Granted { request, switches, account, turn, .. } = granted;
        Query::parse(&request.query, &[])?;
        let body = parse_body(request, granted.body)?;
        let mailbox = self.mailbox(account)?;
        let calendar = granted.calendar(mailbox)?.to_owned();
        let transaction_id = body.get("transactionId").and_then(Value::as_str);
        if let Some(transaction_id) = transaction_id
            && let Some(reply) = repeated(mailbox, granted, &calendar, transaction_id)?
        {
            return Ok(Applied::nothing(reply));
        }
        if mailbox.is_full() {
            return Err(ApiError::mailbox_full());
        }
        let number = self.make_number();
        let stamp = self.stamp(account, turn.now);
        let origin = Origin { mailbox: account, calendar: &calendar, number, stamp };
        let event = Stored::make(&origin, &body, switches.unknown_fields_ignored)?;
        let mailbox = self.mailbox(account)?;
        if let Some(transaction_id) = transaction_id {
            mailbox.remember(transaction_id, Posted::new(turn.now, granted.body, &event));
        }
        let applied = Applied {
            reply: granted.written(201, &event, mailbox),
            effect: Effect::Created,
            event: Some(event.ids.immutable.clone()),
            before: None,
            after: Some(event.logged()),
        };
        mailbox.add(event);
        Ok(applied)
    }

    fn patch(&mut self, granted: &Granted<'_>) -> Result<Applied, ApiError> {
        let Granted { request, switches, account, turn, .. } = granted;
        Query::parse(&request.query, &[])?;
        let body = parse_body(request, granted.body)?;
        let event = granted.event(self.mailbox(account)?)?;
        let mut next = event.patched(&body, switches.unknown_fields_ignored)?;
        let number = event.number;
        let before = event.logged();
        let is_same = next.looks_like(event);
        self.check_conflict(granted, number)?;
        next.touch(self.stamp(account, turn.now));
        let mailbox = self.mailbox(account)?;
        let applied = Applied {
            reply: granted.written(200, &next, mailbox),
            effect: if is_same { Effect::Rewritten } else { Effect::Updated },
            event: Some(next.ids.immutable.clone()),
            before: Some(before),
            after: Some(next.logged()),
        };
        mailbox.events.insert(number, next);
        Ok(applied)
    }

    fn delete(&mut self, granted: &Granted<'_>) -> Result<Applied, ApiError> {
        let Granted { request, switches, account, turn, .. } = granted;
        Query::parse(&request.query, &[])?;
        let mailbox = self.mailbox(account)?;
        let event = match granted.event(mailbox) {
            Ok(event) => event,
            Err(absent) => {
                let named = request.route.event.as_deref().unwrap_or_default();
                let number = mailbox.number(named).unwrap_or_default();
                let was_there = granted.preferences.immutable_ids
                    && mailbox.deleted.get(&number).is_some_and(|it| it.ids.immutable == named);
                return Err(match switches.second_delete {
                    SecondDelete::CannotDelete if was_there => ApiError::cannot_delete(),
                    SecondDelete::CannotDelete | SecondDelete::NotFound => absent,
                });
            }
        };
        let (number, id, before) = (event.number, event.ids.immutable.clone(), event.logged());
        self.check_conflict(granted, number)?;
        let stamp = self.stamp(account, turn.now);
        self.mailbox(account)?.delete(number, stamp);
        Ok(Applied {
            reply: Reply::no_content(),
            effect: Effect::Deleted,
            event: Some(id),
            before: Some(before),
            after: None,
        })
    }

    /// Whether `If-Match` fails; or the server, busy with the write before, says that it does.
    fn check_conflict(&mut self, granted: &Granted<'_>, number: u64) -> Result<(), ApiError> {
        let Granted { request, switches, account, turn, .. } = granted;
        let event = self.mailbox(account)?.events.get_mut(&number);
        let event = event.ok_or_else(ApiError::not_found)?;
        if event.age(turn.now) < switches.conflicts_for && !event.has_conflicted {
            event.has_conflicted = true;
            return Err(ApiError::conflict());
        }
        let own = event.etag(switches, turn.now);
        let matches = request.header(IF_MATCH).is_none_or(|wanted| {
            wanted.trim() == "*" || wanted.split(',').any(|tag| tag.trim() == own)
        });
        if matches { Ok(()) } else { Err(ApiError::conflict()) }
    }
}

fn get(mailbox: &Mailbox, granted: &Granted<'_>) -> Result<Reply, ApiError> {
    let query = Query::parse(&granted.request.query, &["$select", "$expand"])?;
    let (select, expand) = (query.select_of_event()?, query.expand()?);
    let event = granted.event(mailbox)?;
    let view = View { expand: &expand, select: select.as_deref(), ..granted.view() };
    let mut shown = view.event(event, mailbox);
    shown["@odata.context"] = json!(context(granted.request, "events/$entity"));
    Ok(resource(200, shown))
}

fn list_calendars(mailbox: &Mailbox, request: &ApiRequest) -> Result<Reply, ApiError> {
    let query = Query::parse(&request.query, &["$select", "$top", "$skip"])?;
    let select = query.select(render::is_calendar_field)?;
    let (top, skip) = (query.top()?.unwrap_or(super::query::PAGE_DEFAULT), query.skip()?);
    let page = mailbox.calendars.values().skip(skip).take(top);
    let value: Vec<Value> =
        page.map(|calendar| render::calendar(calendar, mailbox, select.as_deref())).collect();
    let mut answer = json!({"@odata.context": context(request, "calendars"), "value": value});
    let next = skip.saturating_add(top);
    if next < mailbox.calendars.len() {
        answer["@odata.nextLink"] = json!(list::next_link(request, next));
    }
    Ok(resource(200, answer))
}

/// What a POST is told whose `transactionId` is remembered.
fn repeated(
    mailbox: &Mailbox,
    granted: &Granted<'_>,
    calendar: &str,
    transaction_id: &str,
) -> Result<Option<Reply>, ApiError> {
    let switches = &granted.switches;
    let Some(posted) = mailbox.transactions.get(transaction_id) else {
        return Ok(None);
    };
    let age = (granted.turn.now - posted.at).to_std().unwrap_or_default();
    if switches.transactions_kept.is_some_and(|kept| age >= kept) {
        return Ok(None);
    }
    let live = mailbox.events.get(&posted.number);
    match (live, switches.after_delete) {
        (None, AfterDelete::MakesNew) => Ok(None),
        _ if !posted.is_of(granted.body, calendar) => {
            let status = match switches.duplicate_status {
                DuplicateStatus::Status400 => 400,
                DuplicateStatus::Status409 => 409,
            };
            let named = live.filter(|_| switches.duplicate_names_event);
            let existing = named.map(|event| id(&event.ids, &granted.preferences).to_owned());
            Err(ApiError::duplicate(status, existing))
        }
        (Some(event), _) => Ok(Some(granted.written(201, event, mailbox))),
        (None, AfterDelete::AnswersWithDeleted) => {
            Ok(Some(granted.written(201, &posted.event, mailbox)))
        }
    }
}

fn parse_body(request: &ApiRequest, body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let kind = request.header(CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    if !kind.unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = "A supported MIME type could not be found that matches the content type.";
        return Err(ApiError::body(message));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) | Err(_) => Err(ApiError::bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and \
             payload is of valid JSON format.",
        )),
    }
}
