//! Where an effect came from: the traces of the events that asked for it, and since when they wait.
//!
//! Kept with the effect, so that whoever sends it, now or after a crash, in this process or another,
//! goes on with the trace of whoever published. It is for people who look, and decides nothing.

use booking::Effect;
use chrono::{DateTime, Utc};

use crate::trace_parent::{self, TraceParent};

/// So many events' traces are kept with an effect.
pub const TRACES_MAX: usize = 8;

/// What an effect's column `trace` holds at most: that many, with a space between each two.
pub(super) const TRACE_TEXT_MAX: usize = TRACES_MAX * (trace_parent::LENGTH + 1) - 1;

// SQL has it written out.
const _: () = assert!(TRACE_TEXT_MAX == 447);

/// The year 9999 ends: what a producer dates later, PostgreSQL may refuse.
const PUBLISHED_MS_MAX: i64 = 253_402_300_799_999;

/// Where what is owed came from. Nothing at all of what no event has asked for: what a connection is
/// filled with, what is repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectOrigin {
    /// The traces of the events that asked for it and found it still owed; the newest first, at most
    /// [`TRACES_MAX`].
    traces: Vec<TraceParent>,
    /// When the oldest of them was published, by the record's timestamp; or, if it was done since and
    /// others came meanwhile, when the call that did it was stamped.
    pub published_at: Option<DateTime<Utc>>,
}

impl EffectOrigin {
    /// Of one event. A timestamp that is none (Kafka's -1 among them) is left out.
    pub fn new(trace: Option<TraceParent>, published_ms: i64) -> Self {
        let published_at = Some(published_ms)
            .filter(|ms| (1..=PUBLISHED_MS_MAX).contains(ms))
            .and_then(DateTime::from_timestamp_millis);
        Self { traces: trace.into_iter().collect(), published_at }
    }

    /// The traces, the newest first.
    pub fn traces(&self) -> &[TraceParent] {
        &self.traces
    }

    /// Of what `later` has asked for, before what this asked for was done.
    pub fn is_followed_by(&mut self, later: &Self) {
        if !later.traces.is_empty() {
            self.traces.splice(0..0, later.traces.iter().copied());
            self.traces.truncate(TRACES_MAX);
        }
        self.published_at = match (self.published_at, later.published_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// As it is stored. What is there and no trace is left out: nothing depends on it.
    pub(super) fn read(text: Option<&str>, published_at: Option<DateTime<Utc>>) -> Self {
        let traces = text.unwrap_or_default().split(' ');
        let traces = traces.filter_map(|text| TraceParent::parse(text.as_bytes()));
        Self { traces: traces.take(TRACES_MAX).collect(), published_at }
    }

    /// The traces as they are stored: separated by a space; `None` if there are none.
    pub(super) fn text(&self) -> Option<String> {
        let traces: Vec<String> = self.traces.iter().map(ToString::to_string).collect();
        (!traces.is_empty()).then(|| traces.join(" "))
    }
}

/// An effect, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEffect {
    /// What is owed.
    pub effect: Effect,
    /// The events of this batch that asked for it.
    pub origin: EffectOrigin,
}

/// Of no event.
impl From<Effect> for NewEffect {
    fn from(effect: Effect) -> Self {
        Self { effect, origin: EffectOrigin::default() }
    }
}
