//! `adopt`: takes over the events that the booking application has put into calendars itself.
//!
//! Each is looked for in its calendar and mapped as it stands there, before anything is sent: the
//! log that is read afterwards finds it applied where it shows what the booking does, and changes
//! it, under its own name, where it does not. Nothing is written to any calendar.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use booking::{BookingId, ConnectionId, IcalUid, ProviderId, Verb};
use clap::Args;
use futures::StreamExt as _;
use serde_json::json;
use uuid::Uuid;

use super::open::open_installation;
use super::out::Out;
use super::redrive::http;
use super::work::sealer;
use crate::calendar::{Calendar, Name, Reading};
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::connection::accounts::SealedAccounts;
use crate::emit::backoff::Backoff;
use crate::emit::decide::UNREAD;
use crate::emit::outcome::{Outcome, Unread, outcome, unread};
use crate::emit::{Accounts as _, Opened, Unopened, Unrenewed};
use crate::store::{
    ADOPTED_REVISION, Adopted, AdoptedEvent, ConnectionRow, ConnectionState, LegacyEvent, Store,
};

/// Rows that are looked up and written at once.
const PAGE: u32 = 200;
/// How often one event is asked for before the command gives up.
const TRIES_MAX: u32 = 6;
/// The longest pause that a calendar may ask for; a longer one ends the command.
const PAUSE_MAX: Duration = Duration::from_mins(2);
/// The name of an event that the booking application never made.
const NEVER_MADE: &str = "local-";

/// Takes over the events that the booking application has put into calendars itself.
///
/// Run it once, after `migrate` and `connections add` and before the first `run`: until all rows of
/// a connected calendar are adopted, nothing is sent to it. Running it again goes on.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Counts {
    /// Events that stand in a calendar, and are mapped.
    adopted: u64,
    /// Rows without an event (never made, gone, or cancelled): mapped, and made once the log asks.
    without_event: u64,
    /// Rows of which another one is the booking's already.
    duplicates: u64,
    /// Rows whose UID is not what the service derives from the booking's id.
    other_uid: u64,
    /// What could not be adopted, and why.
    failures: Vec<String>,
}

/// Adopts what is there to adopt.
///
/// # Errors
/// Where a calendar does not answer, or a connection cannot be opened. What was adopted stays.
pub async fn run(
    args: AdoptArgs,
    settings: &Settings,
    surroundings: &Surroundings,
    out: &mut Out<impl Write + Send>,
) -> anyhow::Result<()> {
    let (store, _) = open_installation(settings, surroundings).await?;
    let accounts = SealedAccounts::new(
        sealer(&settings.secrets)?,
        http(settings, surroundings)?,
        settings.oauth.clone(),
        surroundings.clone(),
    );
    let mut groups: BTreeMap<(ProviderId, &str), Vec<ConnectionRow>> = BTreeMap::new();
    for counted in store.connections().await? {
        let one = counted.connection;
        if one.state == ConnectionState::Active {
            groups.entry((one.provider, one.kind.name())).or_default().push(one);
        }
    }
    let mut counts = Counts::default();
    for connections in groups.into_values() {
        let adopting =
            Adopting { settings, surroundings, store: Arc::clone(&store), calendars: Vec::new() };
        // One host's trouble is no other's wait.
        if let Err(error) = adopting.all_of(&accounts, connections, &mut counts).await {
            counts.failures.push(format!("{error:#}"));
        }
    }
    report(&args, &counts, out)?;
    match counts.failures.len() {
        0 => Ok(()),
        failures => bail!("{failures} calendars or rows were left out; run this again, it goes on"),
    }
}

fn report(args: &AdoptArgs, counts: &Counts, out: &mut Out<impl Write>) -> anyhow::Result<()> {
    let Counts { adopted, without_event, duplicates, other_uid, failures } = counts;
    if args.json {
        out.json(&json!({
            "adopted": adopted, "without_event": without_event, "duplicates": duplicates,
            "other_uid": other_uid, "failures": failures,
        }))?;
        return Ok(());
    }
    writeln!(out, "{adopted} events were adopted")?;
    writeln!(out, "{without_event} rows have no event: one is made once the log asks for it")?;
    if *duplicates > 0 {
        writeln!(
            out,
            "{duplicates} rows are a booking's second or third: they are FAILED now, and their events are not kept in step; remove those by hand"
        )?;
    }
    if *other_uid > 0 {
        writeln!(
            out,
            "{other_uid} rows have another UID than the service derives from their booking's id: the events on the topic must carry that UID (ical_uid), or content.uid_domain must be its domain; else these bookings get a second event"
        )?;
    }
    for failure in failures {
        writeln!(out, "not adopted: {failure}")?;
    }
    Ok(())
}

/// What keeps a row from being adopted.
enum Missed {
    /// This row alone.
    Row(String),
    /// Its calendar: so are all others of it.
    Calendar(String),
}

/// Whether there should be an event.
fn was_made(row: &LegacyEvent) -> bool {
    !row.is_cancelled && !row.external_id.starts_with(NEVER_MADE)
}

/// The connections of one provider and kind, open.
struct Adopting<'a> {
    settings: &'a Settings,
    surroundings: &'a Surroundings,
    store: Arc<dyn Store>,
    calendars: Vec<(ConnectionRow, Arc<dyn Calendar>)>,
}

impl Adopting<'_> {
    async fn all_of(
        mut self,
        accounts: &SealedAccounts,
        connections: Vec<ConnectionRow>,
        counts: &mut Counts,
    ) -> anyhow::Result<()> {
        for connection in connections {
            let opened = self.open(accounts, &connection).await;
            let opened =
                opened.with_context(|| format!("connection {} cannot be opened", connection.id))?;
            self.calendars.push((connection, opened));
        }
        // First what stands in a calendar: of a booking's rows, that one is kept.
        self.pass(true, counts).await?;
        self.pass(false, counts).await
    }

    /// Opens a connection, with new access where that is needed. Nothing is sent on what is to be
    /// adopted: no lane is held that could renew it meanwhile.
    async fn open(
        &self,
        accounts: &SealedAccounts,
        connection: &ConnectionRow,
    ) -> anyhow::Result<Arc<dyn Calendar>> {
        match accounts.open(connection).await {
            Ok(Opened { calendar, lifetime })
                if lifetime.is_none_or(|it| it.refresh_at > self.surroundings.clock.now()) =>
            {
                return Ok(calendar);
            }
            Ok(_) | Err(Unopened::Stale) => {}
            Err(Unopened::Credentials(reason) | Unopened::Process(reason)) => bail!(reason),
        }
        let sealed = accounts.renew(connection).await.map_err(|error| match error {
            Unrenewed::Person(reason)
            | Unrenewed::Process(reason)
            | Unrenewed::Later { reason, .. } => anyhow::anyhow!(reason),
            Unrenewed::Lasting => anyhow::anyhow!("its access cannot be renewed"),
        })?;
        let from = &connection.sealed;
        if !self.store.swap_credentials(connection.id, from, &sealed).await? {
            bail!("it was connected again meanwhile");
        }
        let renewed = ConnectionRow { sealed, ..connection.clone() };
        match accounts.open(&renewed).await {
            Ok(opened) => Ok(opened.calendar),
            Err(error) => bail!("{error:?}"),
        }
    }

    async fn pass(&self, only_events: bool, counts: &mut Counts) -> anyhow::Result<()> {
        let Some((first, _)) = self.calendars.first() else {
            return Ok(());
        };
        let mut after = Uuid::nil();
        loop {
            let page = self.store.legacy_events(first.provider, first.kind, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.row;
            self.page(page, only_events, counts).await?;
        }
    }

    async fn page(
        &self,
        page: Vec<LegacyEvent>,
        only_events: bool,
        counts: &mut Counts,
    ) -> anyhow::Result<()> {
        let looked = page.into_iter().filter(|row| !only_events || was_made(row));
        let found: Vec<_> = futures::stream::iter(looked)
            .map(|row| self.look(row))
            .buffered(self.settings.emit.lane_concurrency)
            .collect()
            .await;
        let mut by_connection: BTreeMap<ConnectionId, Vec<Adopted>> = BTreeMap::new();
        for one in found {
            let (connection, adopted, is_derived) = match one {
                Ok(one) => one,
                Err(Missed::Row(why)) => {
                    if !only_events {
                        counts.failures.push(why);
                    }
                    continue;
                }
                Err(Missed::Calendar(why)) => bail!(why),
            };
            if only_events && adopted.event.is_none() {
                continue;
            }
            counts.other_uid += u64::from(!is_derived);
            match adopted.event {
                Some(_) => counts.adopted += 1,
                None => counts.without_event += 1,
            }
            by_connection.entry(connection).or_default().push(adopted);
        }
        for (connection, adopted) in by_connection {
            let refused = self.store.adopt(connection, &adopted).await?;
            for one in adopted.iter().filter(|one| refused.contains(&one.row)) {
                counts.duplicates += 1;
                match one.event {
                    Some(_) => counts.adopted -= 1,
                    None => counts.without_event -= 1,
                }
            }
        }
        Ok(())
    }

    /// Finds a row's event. Also tells whether its UID is the one that we derive.
    async fn look(&self, row: LegacyEvent) -> Result<(ConnectionId, Adopted, bool), Missed> {
        let domain = &self.settings.content.uid_domain;
        let derived = |booking: &BookingId| IcalUid::of_booking(booking, domain);
        let derived = row.booking.as_ref().map(derived).transpose();
        let derived =
            derived.map_err(|error| Missed::Row(format!("row {}: no UID: {error}", row.row)))?;
        let Some(uid) = row.uid.clone().or_else(|| derived.clone()) else {
            let why = "has neither ical_uid nor booking_id";
            return Err(Missed::Row(format!("row {} {why}", row.row)));
        };
        let is_derived = derived.is_none_or(|derived| derived == uid);
        if was_made(&row) {
            for (connection, calendar) in &self.calendars {
                if let Some(event) = self.find(connection, calendar.as_ref(), &row, &uid).await? {
                    let adopted = Adopted { row: row.row, uid, event: Some(event) };
                    return Ok((connection.id, adopted, is_derived));
                }
            }
        }
        let home = self.calendars.iter().find(|(connection, _)| connection.destination);
        let home = home.or(self.calendars.first()).map(|(connection, _)| connection.id);
        let Some(home) = home else {
            return Err(Missed::Calendar("the provider has no connection".to_owned()));
        };
        Ok((home, Adopted { row: row.row, uid, event: None }, is_derived))
    }

    async fn find(
        &self,
        connection: &ConnectionRow,
        calendar: &dyn Calendar,
        row: &LegacyEvent,
        uid: &IcalUid,
    ) -> Result<Option<AdoptedEvent>, Missed> {
        let emit = &self.settings.emit;
        let backoff = Backoff { delay_min: emit.backoff_min, delay_max: emit.backoff_max };
        for tries in 1..=TRIES_MAX {
            let inspected = calendar.inspect(Name::given(&row.external_id)).await;
            let answer = match inspected.reading {
                Reading::Live { marker, etag, provider_uid, .. } => {
                    let ours = marker
                        .filter(|marker| marker.uid == *uid && marker.connection == connection.id);
                    let shown = inspected.content.map(|content| content.digest());
                    let (revision, digest) = match ours {
                        Some(marker) => (marker.revision, marker.digest),
                        // What no booking can show is another content than any booking's.
                        None => (ADOPTED_REVISION, shown.unwrap_or(UNREAD)),
                    };
                    let external_id = row.external_id.clone();
                    // What is the host's in it is to be read before it is written over.
                    let etag = etag.filter(|_| inspected.hers.is_none());
                    let event = AdoptedEvent { external_id, etag, provider_uid, digest, revision };
                    return Ok(Some(event));
                }
                Reading::Absent | Reading::Tombstone => return Ok(None),
                Reading::CalendarGone { message } => {
                    let id = connection.id;
                    let why = format!("the calendar of connection {id} is not there: {message}");
                    return Err(Missed::Calendar(why));
                }
                Reading::Failed(answer) => answer,
            };
            let id = connection.id;
            // About this event alone: asking again does not mend it.
            if let Outcome::Rejected { reason, .. } =
                outcome(connection.kind, Verb::Update, &answer)
            {
                return Err(Missed::Row(format!("row {} on {id}: {reason}", row.row)));
            }
            match unread(connection.kind, &answer) {
                Unread::Unauthorised { reason } => {
                    return Err(Missed::Calendar(format!(
                        "connection {id} does not open: {reason}"
                    )));
                }
                Unread::Retry { after, reason, .. } => {
                    let jitter = self.surroundings.dice.unit();
                    let pause = backoff.delay(tries, jitter).max(after.unwrap_or_default());
                    if tries == TRIES_MAX || pause > PAUSE_MAX {
                        let why =
                            format!("the calendar of connection {id} does not answer: {reason}");
                        return Err(Missed::Calendar(why));
                    }
                    tracing::info!(connection_id = %id, "asked again in a while: {reason}");
                    tokio::time::sleep(pause).await;
                }
            }
        }
        unreachable!("the last try returns")
    }
}
