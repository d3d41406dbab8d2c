//! What a second look at a booking found: every calendar has it, or who still owes what.

use axum::http::StatusCode;
use booking::BookingId;
use serde_json::{Value, json};

use crate::store::{BookingStatus, ConnectionState, EffectStatus, Gate, Standing};

/// What is found of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Of all its calendars together.
    pub result: State,
    /// Of each, in the order of the status.
    pub calendars: Vec<State>,
}

/// How far a calendar is with a booking. In the order of what a person should hear first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It holds exactly what it should: nothing is sent.
    Unchanged,
    /// A call is owed, and goes out now.
    Due,
    /// A call is owed, and the flags or allowlists hold it back.
    Gated,
    /// A call is owed, and the booking application's own events are not taken over yet.
    Unadopted,
    /// A call is owed, and the connection waits for a person.
    Parked,
    /// The calendar refused it too often: a dead letter.
    Dead,
    /// The booking should be in a calendar, and its provider has none.
    NoCalendar,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Due => "due",
            Self::Gated => "gated",
            Self::Unadopted => "unadopted",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::NoCalendar => "no_calendar",
        }
    }

    /// What it means, and what to do.
    fn meaning(self) -> &'static str {
        match self {
            Self::Unchanged => {
                "idempotency check passed: every calendar holds this revision already"
            }
            Self::Due => "it is being sent",
            Self::Gated => {
                "CALENDAR_SYNC_ENABLED is not true, or an allowlist leaves it out: it is sent once it may"
            }
            Self::Unadopted => {
                "the calendar holds events of the booking application: run `calendar-sync adopt`"
            }
            Self::Parked => {
                "the connection waits for a person: see `calendar-sync connections list`"
            }
            Self::Dead => {
                "the calendar refused it too often: see `calendar-sync dead-letters list`"
            }
            Self::NoCalendar => {
                "no calendar is to show it: its provider has none connected (see `calendar-sync \
                 connections add --help`), or it ended before content.horizon"
            }
        }
    }
}

/// Judges a booking's status.
pub fn look(status: &BookingStatus, gate: &Gate) -> Synced {
    let calendars: Vec<_> = status.calendars.iter().map(|effect| state(effect, gate)).collect();
    let lacks = status.is_shown && !status.calendars.iter().any(|effect| effect.is_wanted);
    let worst = calendars.iter().copied().max().unwrap_or(State::Unchanged);
    let result = if lacks { worst.max(State::NoCalendar) } else { worst };
    Synced { result, calendars }
}

fn state(effect: &EffectStatus, gate: &Gate) -> State {
    match effect.standing {
        Standing::Dead => return State::Dead,
        Standing::Settled => return State::Unchanged,
        Standing::Unadopted => return State::Unadopted,
        Standing::Due => {}
    }
    match effect.connection_state {
        ConnectionState::Parked | ConnectionState::Removed => return State::Parked,
        ConnectionState::Active | ConnectionState::Removing => {}
    }
    let on = |list: &[uuid::Uuid], id| list.is_empty() || list.contains(&id);
    let passes = gate.enabled
        && on(&gate.providers, effect.provider.0)
        && on(&gate.connections, effect.connection.0);
    if passes { State::Due } else { State::Gated }
}

/// Says it to whoever reads the log.
pub fn log(booking: &BookingId, status: &BookingStatus, synced: &Synced) {
    tracing::info!(
        booking.id = %booking,
        booking.uid = %status.uid,
        provider_id = %status.provider,
        revision = status.revision,
        result = synced.result.name(),
        "a sync was asked for; {}",
        synced.result.meaning()
    );
}

impl Synced {
    /// 200: nothing is owed. 202: something is.
    pub fn http_status(&self) -> StatusCode {
        match self.result {
            State::Unchanged => StatusCode::OK,
            State::Due
            | State::Gated
            | State::Unadopted
            | State::Parked
            | State::Dead
            | State::NoCalendar => StatusCode::ACCEPTED,
        }
    }

    /// All of it.
    pub fn json(&self, booking: &BookingId, status: &BookingStatus) -> Value {
        let calendar = |(state, effect): (&State, &EffectStatus)| {
            json!({
                "connection_id": effect.connection,
                "calendar_provider": effect.kind.name(),
                "state": state.name(),
                "event": if effect.is_live { "live" } else { "none" },
                "wanted": if effect.is_wanted { "live" } else { "none" },
                "applied_revision": effect.applied_revision,
                "attempts": effect.attempts,
                "last_error": effect.last_error,
            })
        };
        let calendars: Vec<_> =
            self.calendars.iter().zip(&status.calendars).map(calendar).collect();
        json!({
            "booking_id": booking,
            "ical_uid": status.uid,
            "provider_id": status.provider,
            "revision": status.revision,
            "result": self.result.name(),
            "message": self.result.meaning(),
            "calendars": calendars,
        })
    }
}

#[cfg(test)]
mod tests {
    use booking::{CalendarKind, ConnectionId, IcalUid, ProviderId};
    use uuid::Uuid;

    use super::*;

    fn effect() -> EffectStatus {
        EffectStatus {
            connection: ConnectionId(Uuid::from_u128(1)),
            provider: ProviderId(Uuid::from_u128(2)),
            kind: CalendarKind::Google,
            connection_state: ConnectionState::Active,
            is_wanted: true,
            is_live: true,
            applied_revision: Some(3),
            standing: Standing::Settled,
            attempts: 0,
            last_error: None,
        }
    }

    fn of(calendars: Vec<EffectStatus>) -> State {
        let status = BookingStatus {
            uid: IcalUid::parse("a@example.com").unwrap(),
            provider: ProviderId(Uuid::from_u128(2)),
            revision: 3,
            is_shown: true,
            calendars,
        };
        let gate = Gate { enabled: true, ..Gate::default() };
        let synced = look(&status, &gate);
        let off = look(&status, &Gate::default());
        let gated = if synced.result == State::Due { State::Gated } else { synced.result };
        assert_eq!(off.result, gated);
        synced.result
    }

    #[test]
    fn the_worst_of_a_bookings_calendars_is_told() {
        let due = EffectStatus { standing: Standing::Due, ..effect() };
        let parked = EffectStatus { connection_state: ConnectionState::Parked, ..due.clone() };
        let dead = EffectStatus { standing: Standing::Dead, ..effect() };
        assert_eq!(of(vec![effect()]), State::Unchanged);
        assert_eq!(of(vec![due.clone(), effect()]), State::Due);
        assert_eq!(of(vec![parked.clone(), due]), State::Parked);
        assert_eq!(of(vec![parked, dead]), State::Dead);
    }

    /// As the lease does: a move leaves an event to withdraw with the former provider.
    #[test]
    fn the_allowlist_asks_for_the_connections_provider() {
        let due = EffectStatus {
            standing: Standing::Due,
            provider: ProviderId(Uuid::from_u128(9)),
            ..effect()
        };
        let allows = |provider: u128| Gate {
            enabled: true,
            providers: vec![Uuid::from_u128(provider)],
            connections: Vec::new(),
        };
        assert_eq!(state(&due, &allows(9)), State::Due);
        assert_eq!(state(&due, &allows(2)), State::Gated);
    }

    #[test]
    fn a_shown_booking_without_a_calendar_is_told() {
        assert_eq!(of(Vec::new()), State::NoCalendar);
        let withdrawn = EffectStatus { is_wanted: false, is_live: false, ..effect() };
        assert_eq!(of(vec![withdrawn]), State::NoCalendar);
    }
}
