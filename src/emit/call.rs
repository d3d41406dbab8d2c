//! One effect: send, understand the answer, read back where it does not tell, record.

use std::time::Duration;

use booking::Verb;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::access::ShutOut;
use super::decide::{
    Settled, Step, has_one_name, is_otherwise, read_as, settle, settle_unsent, superseded,
};
use super::frozen::Frozen;
use super::lane::{Drain, Leave};
use super::limits::{PRICE_OF_READING, price};
use super::meter::{Became, Withheld};
use super::outcome::{Outcome, Unread, unread};
use super::traced::{READ, reading_name};
use crate::calendar::microsoft::DUPLICATE;
use crate::calendar::{Answer, Call, Condition, Hers, Inspected, Name, Reading};
use crate::store::{Finding, InFlight, Owed, Recorded, Result};
use crate::telemetry::scope::came_to;

/// So many rounds of sending and reading back one effect gets before it waits.
const ROUNDS_MAX: u32 = 3;

/// How long a row waits that the calendar is ahead of: our log has to catch up (rule R7).
const AHEAD_DELAY: Duration = Duration::from_mins(1);

/// How a step of an effect went on.
enum Next {
    Record(Finding, Option<Duration>),
    /// The effect has ended: recorded, and told.
    End(Became, Finding, Option<Duration>),
    /// `was_there`: an event of this name stood there, as far as the calendar has said.
    /// `sent`: what is in flight may have been sent already.
    ReadBack {
        was_there: bool,
        sent: bool,
    },
    Send(Sending),
    /// Nothing may be sent or written any more: the lease is lost.
    Leave,
}

/// What is in flight, as it goes out.
struct Sending {
    verb: Verb,
    condition: Condition,
    /// The id under which its calendar keeps the event, if that is known.
    server_id: Option<String>,
    /// What its host has put into the event that was read just before: it stays.
    hers: Option<Hers>,
}

impl Sending {
    /// Whatever its host has put in: the condition is that she has not since this was ours alone.
    fn unread(verb: Verb, condition: Condition, server_id: Option<String>) -> Next {
        Next::Send(Self { verb, condition, server_id, hers: None })
    }
}

impl Drain<'_> {
    /// Does one step about one row, to its record.
    pub(super) async fn take_step(
        &self,
        owed: Owed,
        step: Step,
        stop: &CancellationToken,
    ) -> Result<()> {
        if self.is_over() || stop.is_cancelled() {
            return self.leave_unsent(&owed, &step).await;
        }
        let span = tracing::info_span!("effect", booking.uid = %owed.uid);
        match step {
            Step::Nothing => Ok(()),
            Step::Ahead { revision } => self.record(&owed, ahead(&owed, revision), None).await,
            Step::Verify(open) => self.verify(&owed, &open, stop).instrument(span).await,
            Step::Settle => {
                self.put_through(&owed, read_back(&owed, true), &step, stop).instrument(span).await
            }
            Step::Send { verb, .. } => {
                let kind = self.kind();
                let known = || owed.server_id.clone();
                let first = match (verb, &owed.etag) {
                    // An earlier call may have landed under the one name that there is, and not every
                    // server obeys `If-None-Match`: look before overwriting.
                    (Verb::Create, _) if owed.verify.is_some() && has_one_name(kind) => {
                        read_back(&owed, false)
                    }
                    (Verb::Create, _) => Sending::unread(verb, Condition::New, None),
                    (_, Some(etag)) => {
                        Sending::unread(verb, Condition::Match(etag.clone()), known())
                    }
                    // No strong ETag is known, or something of the host's is in it: look before
                    // changing.
                    (Verb::Update | Verb::Delete, None) => read_back(&owed, false),
                };
                self.put_through(&owed, first, &step, stop).instrument(span).await
            }
        }
    }

    /// What was stamped for this drain and surely not sent is no call on its way: what is wanted by
    /// the time of the next drain goes out instead, not these bytes and then that. What came with a
    /// call in flight is still to be settled.
    async fn leave_unsent(&self, owed: &Owed, step: &Step) -> Result<()> {
        match step {
            Step::Send { .. } => self.record(owed, unsent(), None).await,
            Step::Settle | Step::Ahead { .. } | Step::Verify(_) | Step::Nothing => Ok(()),
        }
    }

    /// Sends what is in flight and reads it back, in turns, until there is something to record. A
    /// stop ends it before the next call: what was sent stays in flight.
    async fn put_through(
        &self,
        owed: &Owed,
        first: Next,
        step: &Step,
        stop: &CancellationToken,
    ) -> Result<()> {
        let Some(flight) = &owed.in_flight else {
            unreachable!("what is put through is in flight")
        };
        let external_id = self.external_id(owed, owed.generation);
        let mut next = first;
        let mut rounds = 0;
        // Whether nothing of this flight can have been applied before the next call: only then
        // does a refusal of that call mean that nothing is in flight any more.
        let mut fresh = matches!(next, Next::Send(..) | Next::ReadBack { sent: false, .. });
        let mut calls = 0;
        loop {
            if stop.is_cancelled() && calls > 0 && !matches!(next, Next::Record(..) | Next::End(..))
            {
                return if rounds == 0 { self.leave_unsent(owed, step).await } else { Ok(()) };
            }
            calls += 1;
            next = match next {
                Next::Send(..) if rounds == ROUNDS_MAX => {
                    let error = "the calendar answers a condition and its reading differently";
                    Next::Record(self.unknown(owed, error, None, false), None)
                }
                Next::Send(sending) => {
                    rounds += 1;
                    let first_of_all = std::mem::replace(&mut fresh, false);
                    self.send(owed, flight, sending, &external_id, first_of_all).await?
                }
                Next::ReadBack { was_there, sent } => {
                    self.read_back(owed, flight, &external_id, (was_there, sent)).await?
                }
                Next::Record(finding, verify_after) => {
                    return self.record(owed, finding, verify_after).await;
                }
                Next::End(became, finding, verify_after) => {
                    if self.write(owed, finding, verify_after).await? == Recorded::Written {
                        self.tell_end(owed, flight.verb, became);
                    }
                    return Ok(());
                }
                Next::Leave => return Ok(()),
            }
        }
    }

    async fn send(
        &self,
        owed: &Owed,
        flight: &InFlight,
        sending: Sending,
        external_id: &str,
        fresh: bool,
    ) -> Result<Next> {
        match self.leave_to_call(price(self.kind(), sending.verb)).await? {
            Leave::Granted => {}
            Leave::Withheld if fresh => return Ok(Next::Record(unsent(), None)),
            Leave::Withheld | Leave::Lost => return Ok(Next::Leave),
        }
        let frozen = match flight.digest.map(|_| Frozen::parse(&flight.body)) {
            Some(None) => return Ok(self.unreadable(owed)),
            Some(frozen) => frozen,
            None => None,
        };
        let Sending { verb, condition, server_id, hers } = sending;
        let name = Name { given: external_id, server_id: server_id.as_deref() };
        let body = frozen.as_ref().map_or("", |frozen| &frozen.body).as_bytes();
        let kept = hers.as_ref().map(|hers| self.calendar().keeping(body, hers));
        let call = Call { verb, name, condition, body: kept.as_deref().unwrap_or(body) };
        let edition = self.edition();
        crate::crash::point!("r10.calling");
        let (answer, outcome) = self.attempt(&call).await;
        crate::crash::point!("call.answered");
        tracing::debug!(verb = call.verb.name(), revision = flight.revision, outcome = ?outcome);
        Ok(match outcome {
            Outcome::Applied { etag, provider_uid, server_id } => {
                self.success();
                // Made anew on bare 404s: a moment after its insert, an event may not be found, and
                // another insert be answered as if it had been done (rule R12).
                let is_anew = call.verb == Verb::Create && flight.verb == Verb::Update;
                let later = self.first_verification().filter(|_| is_anew);
                let known_as = server_id.as_deref().unwrap_or(external_id);
                let etag = etag.filter(|_| hers.is_none());
                let finding = acknowledged(flight, frozen, known_as, etag, provider_uid);
                Next::End(Became::Applied, finding, later)
            }
            // Only a delete says so; a put is known again by its marker.
            Outcome::AlreadyApplied if flight.digest.is_none() => {
                self.success();
                let finding = Finding::Absent { revision: flight.revision };
                Next::End(Became::AlreadyApplied, finding, None)
            }
            Outcome::Unknown { reason, open: true, after } => {
                self.trouble();
                self.rest_if_asked(after);
                let verify = self.first_verification();
                Next::Record(self.unknown(owed, &reason, after, false), verify)
            }
            Outcome::AlreadyApplied | Outcome::Unknown { open: false, .. } => {
                let was_there = call.verb == Verb::Update || is_used(&answer);
                Next::ReadBack { was_there, sent: true }
            }
            Outcome::Retry { after, lane_wide, reason } => {
                self.trouble();
                self.withheld(Withheld::RetryAfter, after.unwrap_or_default());
                let after = self.delay(owed, after);
                if lane_wide {
                    self.rest(after);
                }
                Next::Record(refused(!fresh, after, reason, false), None)
            }
            // The bytes of before are refused, and other ones are wanted by now.
            Outcome::Rejected { reason, .. } if !fresh && superseded(owed, flight) => {
                self.refusal();
                self.give_way(reason)
            }
            Outcome::Rejected { reason, unknown } => {
                Next::Record(self.rejected(owed, reason, unknown || !fresh), None)
            }
            Outcome::Unauthorised { reason } => {
                self.unauthorised(owed, &answer, reason, (!fresh, edition)).await?
            }
        })
    }

    async fn read_back(
        &self,
        owed: &Owed,
        flight: &InFlight,
        external_id: &str,
        (was_there, sent): (bool, bool),
    ) -> Result<Next> {
        if !self.may_call(PRICE_OF_READING).await? {
            return Ok(Next::Leave);
        }
        let edition = self.edition();
        crate::crash::point!("r13.reading");
        let seen = self.calendar().inspect(Self::name(owed, external_id)).await;
        let Inspected { reading, content: _, hers } = seen;
        came_to(READ, reading_name(&reading));
        crate::crash::point!("r13.read");
        let reading = read_as(self.kind(), was_there, reading);
        let found = match &reading {
            Reading::Live { server_id, .. } => server_id.clone(),
            Reading::Tombstone
            | Reading::Absent
            | Reading::CalendarGone { .. }
            | Reading::Failed(_) => None,
        };
        // One bare 404 can be transient (rule R12): a moment after its insert, an event may not be
        // found by anybody. What was to be deleted is looked for once more, later.
        let is_bare = reading == Reading::Absent;
        let settle = if sent { settle } else { settle_unsent };
        let settled = settle(owed, flight, reading);
        tracing::debug!(verb = flight.verb.name(), revision = flight.revision, settled = ?settled);
        Ok(match settled {
            Settled::Present { revision, digest, etag, provider_uid, server_id } => {
                self.success();
                let Some(frozen) = Frozen::parse(&flight.body) else {
                    return Ok(self.unreadable(owed));
                };
                // The event carries what is wanted now, or what was in flight.
                let (start, end) = match &owed.desired {
                    Some(content) if digest == content.digest() => (content.start, content.end),
                    Some(_) | None => (frozen.start, frozen.end),
                };
                let external_id = server_id.unwrap_or_else(|| external_id.to_owned());
                let etag = etag.filter(|_| hers.is_none());
                let finding = Finding::Present {
                    revision,
                    digest,
                    etag,
                    external_id,
                    provider_uid,
                    start,
                    end,
                };
                // What was to be written over carries our marker already: only an answer says that it
                // was. It is looked at once more.
                let later = self.first_verification().filter(|_| is_otherwise(owed));
                Next::End(Became::AlreadyApplied, finding, later)
            }
            Settled::Absent => {
                self.success();
                let later = self.first_verification().filter(|_| is_bare);
                let finding = Finding::Absent { revision: flight.revision };
                Next::End(Became::AlreadyApplied, finding, later)
            }
            Settled::Gone => {
                crate::crash::point!("r12.gone");
                tracing::info!("the event was removed by hand; it is made anew, under a new name");
                Next::Record(Finding::Gone, None)
            }
            Settled::SendAgain { verb, condition } => {
                crate::crash::point!("r13.sending_again");
                let hers = hers.filter(|_| verb != Verb::Delete);
                Next::Send(Sending { verb, condition, server_id: found, hers })
            }
            Settled::Superseded => self.give_way("not applied, and superseded".to_owned()),
            Settled::Ahead { revision } => Next::Record(ahead(owed, revision), None),
            Settled::Unread(reading) => self.unread(owed, reading, edition).await?,
        })
    }

    /// What is in flight could not be read back: it stays in flight.
    async fn unread(&self, owed: &Owed, reading: Reading, edition: u32) -> Result<Next> {
        let answer = match reading {
            Reading::Failed(answer) => answer,
            Reading::CalendarGone { message } => {
                let reason = format!("the calendar is not there: {message}");
                self.refusal();
                self.closed(&reason).await?;
                return Ok(Next::Record(self.unknown(owed, &reason, None, false), None));
            }
            Reading::Live { .. } | Reading::Tombstone | Reading::Absent => {
                unreachable!("what was read is settled")
            }
        };
        self.trouble();
        match unread(self.kind(), &answer) {
            Unread::Retry { after, lane_wide, reason } => {
                self.rest_if_asked(after);
                let after = self.delay(owed, after);
                if lane_wide {
                    self.rest(after);
                }
                Ok(Next::Record(Finding::Unknown { after, error: reason, rejected: false }, None))
            }
            Unread::Unauthorised { reason } => {
                self.unauthorised(owed, &answer, reason, (true, edition)).await
            }
        }
    }

    /// What is in flight makes room for what is wanted by now. Its own answer is still out: it is
    /// looked for later (rule R14).
    fn give_way(&self, error: String) -> Next {
        crate::crash::point!("r13.given_way");
        let finding = Finding::NotApplied { after: Duration::ZERO, error, rejected: false };
        Next::Record(finding, self.first_verification())
    }

    /// A calendar that says when to come back is not asked before, whatever about.
    fn rest_if_asked(&self, after: Option<Duration>) {
        if let Some(after) = after {
            self.withheld(Withheld::RetryAfter, after);
            self.rest(after);
        }
    }

    /// The credentials do not open the calendar: new access is asked for, or a person has to see to it.
    /// The effect waits in its newest state (L7).
    async fn unauthorised(
        &self,
        owed: &Owed,
        answer: &Answer,
        reason: String,
        (in_flight, edition): (bool, u32),
    ) -> Result<Next> {
        self.refusal();
        let after = match self.shut_out(answer, &reason, edition).await? {
            ShutOut::Renewed => Duration::ZERO,
            ShutOut::Out => self.delay(owed, None),
        };
        Ok(Next::Record(refused(in_flight, after, reason, false), None))
    }

    /// What is in flight is nothing that we freeze: for a person, and no other row's trouble.
    fn unreadable(&self, owed: &Owed) -> Next {
        let error = "effects.flight_body holds no frozen call";
        tracing::error!(error_code = "row_unreadable", "{error}");
        Next::Record(self.rejected(owed, error.to_owned(), true), None)
    }

    /// Counts a rejection; too many are a dead letter (rule R13).
    fn rejected(&self, owed: &Owed, error: String, unknown: bool) -> Finding {
        self.refusal();
        let after = self.delay(owed, None);
        if owed.rejections + 1 >= self.emitter.options.rejections_max {
            return Finding::Dead { error, unknown };
        }
        refused(unknown, after, error, true)
    }

    fn unknown(
        &self,
        owed: &Owed,
        error: &str,
        after: Option<Duration>,
        rejected: bool,
    ) -> Finding {
        Finding::Unknown { after: self.delay(owed, after), error: error.to_owned(), rejected }
    }

    /// What the calendar asks for, or the backoff; never less than the latter (rule R13).
    pub(super) fn delay(&self, owed: &Owed, asked: Option<Duration>) -> Duration {
        let attempts = u32::try_from(owed.attempts).unwrap_or_default();
        let jitter = self.emitter.surroundings.dice.unit();
        self.emitter.options.backoff.delay(attempts, jitter).max(asked.unwrap_or_default())
    }
}

/// What is in flight is read back before anything else.
fn read_back(owed: &Owed, sent: bool) -> Next {
    let flies = |flight: &InFlight| flight.verb == Verb::Update;
    Next::ReadBack { was_there: owed.in_flight.as_ref().is_some_and(flies), sent }
}

/// Whether the calendar says that an event of this name was made before.
fn is_used(answer: &Answer) -> bool {
    matches!(answer, Answer::Status { reason: Some(reason), .. } if reason == DUPLICATE)
}

/// The calendar holds a later revision than ours: our database lost its tail (rule R7).
fn ahead(owed: &Owed, revision: i64) -> Finding {
    tracing::error!(
        booking.uid = %owed.uid,
        error_code = "calendar_ahead",
        revision,
        desired_revision = owed.desired_revision,
        "the calendar holds a later revision than the database knows of; waiting for the log"
    );
    let error = format!("the calendar is ahead: it holds revision {revision}");
    Finding::Ahead { revision, after: AHEAD_DELAY, error }
}

/// A call that was surely not applied. Whether anything is in flight still depends on what was
/// sent before it.
fn unsent() -> Finding {
    let error = "not sent: the drain ended first".to_owned();
    Finding::NotApplied { after: Duration::ZERO, error, rejected: false }
}

fn refused(in_flight: bool, after: Duration, error: String, rejected: bool) -> Finding {
    if in_flight {
        Finding::Unknown { after, error, rejected }
    } else {
        Finding::NotApplied { after, error, rejected }
    }
}

fn acknowledged(
    flight: &InFlight,
    frozen: Option<Frozen>,
    external_id: &str,
    etag: Option<String>,
    provider_uid: Option<String>,
) -> Finding {
    let (Some(digest), Some(frozen)) = (flight.digest, frozen) else {
        return Finding::Absent { revision: flight.revision };
    };
    Finding::Present {
        revision: flight.revision,
        digest,
        etag,
        external_id: external_id.to_owned(),
        provider_uid,
        start: frozen.start,
        end: frozen.end,
    }
}
