//! The sweep of a connection (rule R20): its calendar's events are listed, a page at a time and only
//! while nothing is due, and held against the rows.
//!
//! Nothing is mended here but one thing: an event under a name that its booking has left is removed
//! ([`super::extra`]). Whatever else is found has its row read by its own name, as a verification.

use std::collections::BTreeMap;
use std::time::Duration;

use booking::IcalUid;
use tokio_util::sync::CancellationToken;

use super::Notice;
use super::access::ShutOut;
use super::drift::{Policy, Sight, guard, is_own, removal_guard, sight};
use super::extra::Removal;
use super::lane::Drain;
use super::limits::PRICE_OF_READING;
use super::meter::Withheld;
use super::outcome::{Unread, unread};
use super::traced::{LIST, listed_name};
use crate::calendar::{Answer, Listed, ListedEvent, Listing, Next, Page};
use crate::store::{
    DriftKind, Fenced, FoundDrift, Missing, Result, Sweep, SweepProgress, SweepStep, SweptPage,
    SweptRow,
};
use crate::telemetry::scope::came_to;

/// So many sweeps in a row read changes alone, then one reads all: what has vanished without a trace is
/// in no list of changes. With the default interval that is once a week.
const PARTIAL_MAX: i32 = 27;
/// So many times in a row a page cannot be read, and the sweep begins anew: where to read on may be what
/// is wrong.
const FAILURES_MAX: i32 = 8;
/// How often it is looked at a connection while no calendar is swept: so much later at most it is swept
/// once they are.
const OFF_DELAY: Duration = Duration::from_hours(24);
/// So many pages, and a sweep is given up: nobody's calendar is that long.
const PAGES_MAX: i32 = 10_000;

impl Drain<'_> {
    /// Has the first sweep planned, one interval from now, and all of them spread. Before anything is sent:
    /// a connection with nothing due is not leased to have it done later.
    pub(super) async fn plan_first_sweep(&self) -> Result<()> {
        let Some(interval) = self.emitter.options.repair.interval else {
            return Ok(());
        };
        if !self.is_removing && self.emitter.store.sweep(&self.hold.lease).await?.is_due.is_none() {
            let spread = 0.5 + self.emitter.surroundings.dice.unit();
            self.plan(Some(interval.mul_f64(spread)), None).await?;
        }
        Ok(())
    }

    /// Takes the sweep one step on, if its hour has come. Answers whether there is more to do at once.
    pub(super) async fn sweep(&self, stop: &CancellationToken) -> Result<bool> {
        let sweep = self.emitter.store.sweep(&self.hold.lease).await?;
        let Some(interval) = self.emitter.options.repair.interval else {
            // Its hour is moved on, not taken away: a connection on which nothing happens is leased for
            // its sweep alone, and would not be swept again once sweeps are on.
            if sweep.is_due == Some(true) {
                self.plan(Some(OFF_DELAY), None).await?;
            }
            return Ok(false);
        };
        if self.is_removing || sweep.halted.is_some() || self.is_over() || stop.is_cancelled() {
            return Ok(false);
        }
        match (sweep.is_due, &sweep.progress) {
            (Some(false) | None, _) => Ok(false),
            (Some(true), None) => {
                let is_ours = self.begin(sweep.partial >= PARTIAL_MAX, None).await?;
                crate::crash::point!("r20.begun");
                Ok(is_ours)
            }
            (Some(true), Some(progress)) => match given_up(progress) {
                None => self.read_page(&sweep, progress, interval).await,
                Some(result) => {
                    tracing::error!(
                        error_code = "sweep_given_up",
                        "a sweep is begun anew: {result}"
                    );
                    self.begin(true, Some(format!("begun anew: {result}"))).await?;
                    self.plan(Some(interval), None).await?;
                    Ok(false)
                }
            },
        }
    }

    async fn read_page(
        &self,
        sweep: &Sweep,
        progress: &SweepProgress,
        interval: Duration,
    ) -> Result<bool> {
        if !self.may_call(PRICE_OF_READING).await? {
            return Ok(false);
        }
        let since = sweep.since.as_deref().filter(|_| !progress.is_full);
        let listing = Listing { since, page: progress.page.as_deref() };
        let listed = self.calendar().list(listing).await;
        came_to(LIST, listed_name(&listed));
        crate::crash::point!("r20.listed");
        match listed {
            Listed::Page(page) => self.take_page(sweep, progress, page, interval).await,
            Listed::Expired { message } => {
                tracing::warn!(
                    error_code = "sweep_token_expired",
                    "the calendar does not know any more what has changed, and is read whole: \
                     {message}"
                );
                let result = format!("the sync token had expired, all is read: {message}");
                // Only a token is expected to expire; what expires within a scan is not tried at once.
                let again = self.begin(true, Some(result)).await?;
                if progress.is_full {
                    self.plan(Some(self.emitter.options.backoff.delay_max), None).await?;
                }
                Ok(again && !progress.is_full)
            }
            Listed::Unsupported => {
                let result = "this kind of calendar cannot be swept yet".to_owned();
                self.plan(Some(interval), Some(result)).await?;
                Ok(false)
            }
            Listed::CalendarGone { message } => self.calendar_gone(message).await,
            Listed::Failed(answer) => self.failed(&answer).await,
        }
    }

    /// Writes down what a page says, and what follows from the last one.
    async fn take_page(
        &self,
        sweep: &Sweep,
        progress: &SweepProgress,
        page: Page,
        interval: Duration,
    ) -> Result<bool> {
        let Some(swept) = self.sort(sweep, progress, &page).await? else {
            return Ok(false);
        };
        let news = match self.emitter.store.sweep_page(&self.hold.lease, &swept).await {
            Ok(Some(news)) => news,
            Ok(None) => return Ok(false),
            // What the database does not take it does not take a moment later either.
            Err(error) => return self.put_off(None, error.to_string()).await,
        };
        crate::crash::point!("r20.noted");
        for found in swept.found.iter().filter(|found| news.contains(&found.external_id)) {
            self.report(found.kind, found.uid.as_ref(), &found.external_id);
        }
        match page.next {
            Next::Page(_) => Ok(true),
            Next::End { since } => self.end_sweep(sweep, progress, since, interval).await,
        }
    }

    /// Holds a page against the rows. `None`: it is to be read again, later, or once a person has seen
    /// to it.
    async fn sort(
        &self,
        sweep: &Sweep,
        progress: &SweepProgress,
        page: &Page,
    ) -> Result<Option<SweptPage>> {
        let uids: Vec<IcalUid> = page.events.iter().map(|it| it.marker.uid.clone()).collect();
        let rows = self.emitter.store.swept_rows(&self.hold.lease, &uids, &page.deleted).await?;
        let rows: BTreeMap<IcalUid, SweptRow> =
            rows.into_iter().map(|row| (row.uid.clone(), row)).collect();
        let mut swept = SweptPage {
            vanished: page.deleted.clone(),
            next: match &page.next {
                Next::Page(next) => Some(next.clone()),
                Next::End { .. } => None,
            },
            ..SweptPage::default()
        };
        for event in &page.events {
            let uid = &event.marker.uid;
            let name = |generation| self.calendar().external_id(uid, generation);
            match sight(event, rows.get(uid), name) {
                Sight::Own => as_its_own(&mut swept, event, false),
                Sight::Otherwise => as_its_own(&mut swept, event, true),
                Sight::Copy => swept.found.push(beside(event, DriftKind::Copy)),
                Sight::Orphan => swept.found.push(beside(event, DriftKind::Orphan)),
                Sight::Extra { generation } => {
                    let removals = progress.removals + swept.removals;
                    if let Some(reason) = removal_guard(removals).filter(|_| !sweep.is_excused) {
                        self.halt(reason).await?;
                        return Ok(None);
                    }
                    let row = rows.get(uid).expect("what no row tells of is no extra");
                    match self.remove_extra(event, generation, row, progress.failures).await? {
                        Removal::Done => {
                            swept.removals += 1;
                            swept.vanished.push(event.id.clone());
                        }
                        Removal::Vanished => swept.vanished.push(event.id.clone()),
                        Removal::Left => swept.found.push(beside(event, DriftKind::Extra)),
                        // Its id is new: it is the row's event all the same.
                        Removal::Alone if generation == row.generation => {
                            as_its_own(&mut swept, event, true);
                        }
                        Removal::Alone => {
                            swept.found.push(beside(event, DriftKind::Extra));
                            swept.verify.push(uid.clone());
                        }
                        Removal::Later => return Ok(None),
                    }
                }
            }
        }
        swept.gone = self.gone(page, &rows);
        Ok(Some(swept))
    }

    /// The rows whose event was told to be deleted, though not by us.
    fn gone(&self, page: &Page, rows: &BTreeMap<IcalUid, SweptRow>) -> Vec<IcalUid> {
        let is_gone = |row: &&SweptRow| {
            let name = |generation| self.calendar().external_id(&row.uid, generation);
            let is_told = |id: &String| is_own(row, id, Some(id.as_str()), name);
            row.applied.is_some() && page.deleted.iter().any(is_told)
        };
        rows.values().filter(is_gone).map(|row| row.uid.clone()).collect()
    }

    /// All was read: what is missing is read by its name, unless there is too much of it.
    async fn end_sweep(
        &self,
        sweep: &Sweep,
        progress: &SweepProgress,
        since: Option<String>,
        interval: Duration,
    ) -> Result<bool> {
        let repair = &self.emitter.options.repair;
        let missing = self.emitter.store.missing(&self.hold.lease, repair.listing_lag).await?;
        let halt = guard(missing, repair.halt_share).filter(|_| !sweep.is_excused);
        if let Some(reason) = halt {
            self.halt(reason).await?;
            return Ok(false);
        }
        let Missing { known, missing } = missing;
        // An extra that is left for now is in no list of changes: the next sweep reads all.
        let since = match since {
            Some(since) if !self.has_extra().await? => Some(since),
            Some(_) | None => None,
        };
        let (what, pages) = (if progress.is_full { "all" } else { "changes" }, progress.pages + 1);
        tracing::info!(known, missing, pages, scan = what, "a sweep has ended");
        let result = format!("read {what}: {missing} of {known} events missing");
        let verify_drift = repair.policy == Policy::Repair;
        let is_ours =
            self.step(SweepStep::End { since, after: interval, verify_drift, result }).await?;
        crate::crash::point!("r20.ended");
        Ok(is_ours)
    }

    async fn has_extra(&self) -> Result<bool> {
        let left = self.emitter.store.drift(self.hold.lease.connection).await?;
        Ok(left.iter().any(|drift| drift.kind == DriftKind::Extra))
    }

    /// Nothing is repaired until a person has seen to it.
    async fn halt(&self, reason: String) -> Result<bool> {
        tracing::error!(
            error_code = "sweep_halted",
            "repair is halted until a person has seen to it: {reason}"
        );
        self.emitter.notice(Notice::Halted);
        self.step(SweepStep::Halt { reason }).await
    }

    /// The calendar itself is not there: a person has to see to it.
    pub(super) async fn calendar_gone(&self, message: String) -> Result<bool> {
        self.trouble();
        self.closed(&format!("the calendar is not there: {message}")).await?;
        self.put_off(None, message).await
    }

    /// The calendar did not answer usably: the page is read again, later.
    pub(super) async fn failed(&self, answer: &Answer) -> Result<bool> {
        self.trouble();
        match unread(self.kind(), answer) {
            // Nothing else is under way: it was by the access of now.
            Unread::Unauthorised { reason } => {
                match self.shut_out(answer, &reason, self.edition()).await? {
                    ShutOut::Renewed => Ok(true),
                    ShutOut::Out => self.put_off(None, reason).await,
                }
            }
            Unread::Retry { after, lane_wide, reason } => {
                let least = self.emitter.options.backoff.delay_min;
                self.withheld(Withheld::RetryAfter, after.unwrap_or_default());
                if let Some(time) = after.or(lane_wide.then_some(least)) {
                    self.rest(time);
                }
                self.put_off(after, reason).await
            }
        }
    }

    async fn put_off(&self, asked: Option<Duration>, reason: String) -> Result<bool> {
        tracing::warn!(error_code = "sweep_put_off", "a sweep goes on later: {reason}");
        let after = self.emitter.options.backoff.delay_max.max(asked.unwrap_or_default());
        self.step(SweepStep::PutOff { after, result: format!("put off: {reason}") }).await?;
        Ok(false)
    }

    async fn plan(&self, after: Option<Duration>, result: Option<String>) -> Result<bool> {
        self.step(SweepStep::Plan { after, result }).await
    }

    async fn begin(&self, full: bool, result: Option<String>) -> Result<bool> {
        self.step(SweepStep::Begin { full, result }).await
    }

    /// Whether the lane is still ours.
    async fn step(&self, step: SweepStep) -> Result<bool> {
        match self.emitter.store.step_sweep(&self.hold.lease, &step).await? {
            Fenced::Written => Ok(true),
            Fenced::Refused => {
                tracing::warn!(error_code = "lease_lost", "lost the lane while sweeping it");
                self.end();
                Ok(false)
            }
        }
    }

    /// Tells people of something that is otherwise, and left so.
    pub(super) fn report(&self, kind: DriftKind, uid: Option<&IcalUid>, external_id: &str) {
        if self.emitter.options.repair.policy == Policy::Leave && kind.is_of_a_row() {
            return;
        }
        tracing::warn!(
            booking.uid = uid.map(tracing::field::display),
            external_event_id = external_id,
            error_code = "drift",
            kind = kind.name(),
            "the calendar is otherwise than we left it, and left so"
        );
        self.emitter.notice(Notice::Drift(kind));
    }
}

/// The event of a row: whatever it was taken for before, it is that now.
fn as_its_own(swept: &mut SweptPage, event: &ListedEvent, is_otherwise: bool) {
    swept.seen.push(event.marker.uid.clone());
    swept.vanished.push(event.id.clone());
    if is_otherwise {
        swept.verify.push(event.marker.uid.clone());
    }
}

/// An event beside those of the rows.
fn beside(event: &ListedEvent, kind: DriftKind) -> FoundDrift {
    FoundDrift { external_id: event.id.clone(), uid: Some(event.marker.uid.clone()), kind }
}

/// Why a sweep does not go on where it is: where to read on may be what is wrong.
fn given_up(progress: &SweepProgress) -> Option<String> {
    if progress.pages >= PAGES_MAX {
        return Some(format!("{PAGES_MAX} pages were read, and there are more"));
    }
    (progress.failures >= FAILURES_MAX)
        .then(|| format!("a page could not be read {FAILURES_MAX} times in a row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_gets_nowhere_is_begun_anew() {
        let at = |pages, failures| {
            given_up(&SweepProgress { pages, failures, ..SweepProgress::default() }).is_some()
        };
        assert!(!at(PAGES_MAX - 1, FAILURES_MAX - 1));
        assert!(at(PAGES_MAX, 0));
        assert!(at(0, FAILURES_MAX));
    }
}
