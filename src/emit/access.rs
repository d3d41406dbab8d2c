//! Access to a lane's calendar: renewed before it expires, and once when it is refused, by whoever holds
//! the lane and by nobody else (rule R10).
//!
//! Ask, then store, then use: what was renewed is written down under the lane's token before anything is
//! sent with it. No transaction is open while a token endpoint is asked. A worker that dies between its
//! answer and the writing leaves what it was renewed from, and the next one renews from that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use booking::CalendarKind;
use chrono::{DateTime, Utc};

use super::hold::{Held, Hold};
use super::lane::{Drain, REST_AFTER_TROUBLE};
use super::outcome::is_unauthenticated;
use super::traced::{RENEW, renewal_name};
use super::{Emitter, Notice, Opened, Renewal, Unopened, Unrenewed};
use crate::calendar::{Answer, Calendar};
use crate::connection::kept::Lifetime;
use crate::store::{ConnectionRow, Fenced, Result};
use crate::telemetry::scope::came_to;

/// How long after its access token has expired an open attempt is read again (rule R14): so much the
/// provider's clock may be behind ours.
pub const EXPIRY_SKEW: Duration = Duration::from_mins(5);

/// So many times what was renewed is written down, if somebody seals anew meanwhile.
const STORE_TRIES_MAX: u32 = 3;

/// What became of a renewal.
enum Renewed {
    /// The connection as it is now, open.
    Opened(Box<ConnectionRow>, Opened),
    /// Nothing of it is ever renewed.
    Lasting,
    /// It waits for a person; or was connected again meanwhile, and is opened anew.
    Closed { rest: Duration },
    /// It is tried again by itself.
    Later { rest: Duration },
    /// The lane is somebody else's, or the connection another one by now.
    Lost,
}

/// A connection that is to be drained.
pub(super) enum Entered {
    /// It is open. `rest`: its access could not be renewed and is good for a while still; it is left
    /// alone for so long afterwards.
    In { connection: Box<ConnectionRow>, opened: Opened, rest: Option<Duration> },
    /// It is not: it is left alone for so long.
    Out { rest: Duration },
}

/// What a drain is with its calendar by.
pub(super) struct Access {
    current: Mutex<Current>,
    /// One renews, and the others wait for it.
    renewing: tokio::sync::Mutex<()>,
}

struct Current {
    connection: Arc<ConnectionRow>,
    opened: Opened,
    /// Rises with each renewal: whose call was made by an earlier one tries again.
    edition: u32,
    /// Whether it was renewed because it was refused.
    was_refused: bool,
    /// Whether it could not be renewed: one try a drain, while it is good.
    has_failed: bool,
}

/// What follows from a calendar's not letting us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShutOut {
    /// Access is new: try again at once.
    Renewed,
    /// Later, or once a person has seen to it.
    Out,
}

impl Access {
    pub(super) fn new(connection: ConnectionRow, opened: Opened, has_failed: bool) -> Self {
        let (connection, edition) = (Arc::new(connection), 0);
        let current = Current { connection, opened, edition, was_refused: false, has_failed };
        Self { current: Mutex::new(current), renewing: tokio::sync::Mutex::default() }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, connection: ConnectionRow, opened: Opened, was_refused: bool) {
        let mut current = self.current();
        current.connection = Arc::new(connection);
        current.opened = opened;
        current.edition += 1;
        current.was_refused |= was_refused;
    }
}

impl Emitter {
    /// Opens a connection, with access that is good for a while.
    pub(super) async fn enter(
        &self,
        hold: &Hold,
        connection: ConnectionRow,
        opened: std::result::Result<Opened, Unopened>,
    ) -> Result<Entered> {
        let opened = match opened {
            Ok(opened) if !self.is_to_be_renewed(opened.lifetime) => {
                return Ok(Entered::In { connection: Box::new(connection), opened, rest: None });
            }
            Ok(opened) => Some(opened),
            Err(Unopened::Stale) => None,
            Err(Unopened::Credentials(reason)) => {
                let rest = self.park(&hold.lease, &connection, &reason).await?;
                return Ok(Entered::Out { rest });
            }
            Err(Unopened::Process(reason)) => {
                tracing::error!(
                    error_code = "connection_unopened",
                    "this process cannot open the connection, and leaves it to others: {reason}"
                );
                return Ok(Entered::Out { rest: REST_AFTER_TROUBLE });
            }
        };
        let renewed = self.renew_access(hold, &connection).await?;
        Ok(match (renewed, opened) {
            (Renewed::Opened(connection, opened), _) => {
                Entered::In { connection, opened, rest: None }
            }
            (Renewed::Lasting, Some(opened)) => {
                Entered::In { connection: Box::new(connection), opened, rest: None }
            }
            // It is good for some minutes still: nobody has to wait meanwhile.
            (Renewed::Later { rest }, Some(opened)) if !self.is_over(opened.lifetime) => {
                Entered::In { connection: Box::new(connection), opened, rest: Some(rest) }
            }
            (Renewed::Later { rest } | Renewed::Closed { rest }, _) => Entered::Out { rest },
            (Renewed::Lost, _) => Entered::Out { rest: Duration::ZERO },
            (Renewed::Lasting, None) => unreachable!("what is stale is renewed"),
        })
    }

    fn is_to_be_renewed(&self, lifetime: Option<Lifetime>) -> bool {
        lifetime.is_some_and(|it| it.refresh_at <= self.surroundings.clock.now())
    }

    fn is_over(&self, lifetime: Option<Lifetime>) -> bool {
        lifetime.is_some_and(|it| it.expires_at <= self.surroundings.clock.now())
    }

    /// When an attempt that was made by this access, or an earlier one, is read again (rule R14).
    pub(super) fn verify_after(&self, lifetime: Option<Lifetime>) -> Option<Duration> {
        let as_set = self.options.verify_after.first().copied();
        lifetime
            .map(|lifetime| until_it_cannot_land(lifetime, self.surroundings.clock.now()))
            .or(as_set)
    }

    /// Renews a connection's access, and writes down what came of it.
    async fn renew_access(&self, hold: &Hold, connection: &ConnectionRow) -> Result<Renewed> {
        match hold.keep(self).await? {
            Held::Enough => {}
            Held::TooShort | Held::Lost => return Ok(Renewed::Lost),
        }
        let renewed = self.accounts.renew(connection).await;
        came_to(RENEW, renewal_name(&renewed));
        let (renewal, failed) = match renewed {
            Ok(sealed) => {
                self.notice(Notice::Renewal(Renewal::Granted));
                return self.store_renewed(hold, connection, &sealed).await;
            }
            Err(Unrenewed::Lasting) => return Ok(Renewed::Lasting),
            Err(Unrenewed::Person(reason)) => {
                self.notice(Notice::Renewal(Renewal::Refused));
                let rest = self.park(&hold.lease, connection, &reason).await?;
                return Ok(Renewed::Closed { rest });
            }
            Err(Unrenewed::Process(reason)) => {
                tracing::error!(
                    error_code = "renewal_misconfigured",
                    "access cannot be renewed until this service's settings are mended; what is owed \
                     waits: {reason}"
                );
                (Renewal::Misconfigured, (None, reason))
            }
            Err(Unrenewed::Later { after, reason }) => {
                tracing::warn!(
                    error_code = "renewal_put_off",
                    "access could not be renewed, and is tried again: {reason}"
                );
                (Renewal::Later, (after, reason))
            }
        };
        self.notice(Notice::Renewal(renewal));
        let (after, reason): (Option<Duration>, String) = failed;
        let counted = self.store.renewal_failed(&hold.lease, &connection.sealed, &reason).await?;
        let Some(failures) = counted else {
            return Ok(Renewed::Lost);
        };
        let pause = self.options.backoff.delay(failures, self.surroundings.dice.unit());
        Ok(Renewed::Later { rest: pause.max(after.unwrap_or_default()) })
    }

    /// Writes down what credentials were renewed to, in the place of what they were renewed from.
    async fn store_renewed(
        &self,
        hold: &Hold,
        connection: &ConnectionRow,
        sealed: &[u8],
    ) -> Result<Renewed> {
        let mut from = connection.sealed.clone();
        for _ in 0..STORE_TRIES_MAX {
            match self.store.renew_credentials(&hold.lease, &from, sealed).await? {
                Fenced::Written => {
                    tracing::info!("access was renewed");
                    let renewed = ConnectionRow { sealed: sealed.to_vec(), ..connection.clone() };
                    return Ok(match self.accounts.open(&renewed).await {
                        Ok(opened) => Renewed::Opened(Box::new(renewed), opened),
                        Err(_) => unreachable!("what was just sealed opens, and has access"),
                    });
                }
                Fenced::Refused => {
                    let Some(now) = self.store.connection(connection.id).await? else {
                        return Ok(Renewed::Lost);
                    };
                    // Sealed anew, and the same for all that: what it was renewed to counts.
                    if now.sealed == from || !self.accounts.is_same(connection, &now) {
                        break;
                    }
                    from = now.sealed;
                }
            }
        }
        tracing::warn!(
            error_code = "renewal_fenced",
            "the lane went to another holder, or the account was connected again, while its access \
             was renewed"
        );
        Ok(Renewed::Lost)
    }
}

/// So long from now on a call may still take effect that was made by an access token: until that has
/// expired, by the provider's clock.
fn until_it_cannot_land(lifetime: Lifetime, now: DateTime<Utc>) -> Duration {
    (lifetime.expires_at - now).to_std().unwrap_or_default() + EXPIRY_SKEW
}

impl Drain<'_> {
    /// The calendar, by the access of now.
    pub(super) fn calendar(&self) -> Arc<dyn Calendar> {
        Arc::clone(&self.access.current().opened.calendar)
    }

    /// Its kind.
    pub(super) fn kind(&self) -> CalendarKind {
        self.access.current().connection.kind
    }

    /// The number of the access of now: to be asked for before a call.
    pub(super) fn edition(&self) -> u32 {
        self.access.current().edition
    }

    /// When an attempt that is left open is read again first.
    pub(super) fn first_verification(&self) -> Option<Duration> {
        let lifetime = self.access.current().opened.lifetime;
        self.emitter.verify_after(lifetime)
    }

    /// Renews access that is about to expire. Answers whether the calendar can be asked.
    pub(super) async fn keep_access(&self) -> Result<bool> {
        let _alone = self.access.renewing.lock().await;
        let (connection, lifetime, has_failed) = {
            let current = self.access.current();
            (Arc::clone(&current.connection), current.opened.lifetime, current.has_failed)
        };
        let is_over = self.emitter.is_over(lifetime);
        if !self.emitter.is_to_be_renewed(lifetime) || (has_failed && !is_over) {
            return Ok(true);
        }
        match self.emitter.renew_access(&self.hold, &connection).await? {
            Renewed::Opened(connection, opened) => {
                self.access.replace(*connection, opened, false);
                Ok(true)
            }
            Renewed::Lasting => Ok(true),
            Renewed::Later { rest } if !is_over => {
                self.access.current().has_failed = true;
                self.rest_afterwards(rest);
                Ok(true)
            }
            Renewed::Later { rest } | Renewed::Closed { rest } => {
                self.rest(rest);
                Ok(false)
            }
            Renewed::Lost => {
                self.end();
                Ok(false)
            }
        }
    }

    /// The calendar did not let us in, on a call that was made by the access of this edition. Where new
    /// access can help, it is asked for, once; else a person has to see to it (L7).
    pub(super) async fn shut_out(
        &self,
        answer: &Answer,
        reason: &str,
        edition: u32,
    ) -> Result<ShutOut> {
        if !is_unauthenticated(answer) {
            self.closed(reason).await?;
            return Ok(ShutOut::Out);
        }
        let _alone = self.access.renewing.lock().await;
        let (connection, present, was_refused) = {
            let current = self.access.current();
            (Arc::clone(&current.connection), current.edition, current.was_refused)
        };
        if edition < present {
            return Ok(ShutOut::Renewed);
        }
        // Another call was shut out before this one, and it could not be helped.
        if self.is_over() {
            return Ok(ShutOut::Out);
        }
        let renewed = if was_refused {
            // New access was refused as well.
            Renewed::Lasting
        } else {
            self.emitter.renew_access(&self.hold, &connection).await?
        };
        match renewed {
            Renewed::Opened(connection, opened) => {
                self.access.replace(*connection, opened, true);
                return Ok(ShutOut::Renewed);
            }
            Renewed::Lasting => self.closed(reason).await?,
            Renewed::Later { rest } | Renewed::Closed { rest } => self.rest(rest),
            Renewed::Lost => self.end(),
        }
        Ok(ShutOut::Out)
    }

    /// The connection does not open: parked, or, where it is being removed, left for a while.
    pub(super) async fn closed(&self, reason: &str) -> Result<()> {
        let connection = Arc::clone(&self.access.current().connection);
        let rest = self.emitter.park(&self.hold.lease, &connection, reason).await?;
        self.rest(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule R14.
    #[test]
    fn an_attempt_is_read_again_once_its_access_has_expired() {
        let now: DateTime<Utc> = "2026-11-22T10:00:00Z".parse().unwrap();
        let good_for = |seconds| Lifetime {
            refresh_at: now,
            expires_at: now + chrono::TimeDelta::seconds(seconds),
        };
        let minutes = Duration::from_mins;
        assert_eq!(until_it_cannot_land(good_for(3_600), now), minutes(65));
        assert_eq!(until_it_cannot_land(good_for(60), now), minutes(6));
        assert_eq!(until_it_cannot_land(good_for(-600), now), EXPIRY_SKEW);
    }
}
