//! Trouble for what is asked of one calendar.

use calendar_sync::emulator::{self, Rule};

use super::{EVERY, Host, Ordered, Place, Trouble, google, microsoft, ordered};
use crate::end_to_end::wire::Meant;

/// What is asked of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To change an event.
    Writes,
    /// For an event.
    Reads,
    /// Anything.
    All,
}

impl Host {
    /// Orders trouble for the next `count` of what is asked of a calendar.
    pub(crate) fn order_of(
        &self,
        place: &Place,
        count: u32,
        asked: Asked,
        trouble: Trouble,
    ) -> Ordered {
        let calendar = self.calendar_of(place);
        let rule = || google::rule(count, trouble).calendar(&calendar);
        match self {
            Self::Google(google) => {
                Ordered::Google(google.order(narrowed(rule(), asked, &[emulator::Verb::Get])))
            }
            Self::Microsoft(graph) => {
                let reads = [emulator::Verb::Get, emulator::Verb::List];
                ordered(graph.order(narrowed(rule(), asked, &reads)))
            }
            Self::Caldav(caldav) => {
                let meant = match asked {
                    Asked::Writes => Meant::Writes(calendar),
                    Asked::Reads => Meant::Reads(calendar),
                    Asked::All => Meant::All(calendar),
                };
                Ordered::Wire(caldav.wire.order(count, trouble, meant))
            }
        }
    }

    /// Whoever reads an event of a calendar is told that there is none, until that is withdrawn.
    pub(crate) fn lag(&self, place: &Place) -> Ordered {
        let reason = match self {
            Self::Google(_) | Self::Caldav(_) => "notFound",
            Self::Microsoft(_) => "ErrorItemNotFound",
        };
        let not_found = Trouble::Refused { status: 404, reason, retry_after_s: None };
        let Self::Microsoft(graph) = self else {
            return self.order_of(place, EVERY, Asked::Reads, not_found);
        };
        let rule = google::rule(EVERY, not_found).calendar(&self.calendar_of(place));
        microsoft::lag(graph, rule.verb(emulator::Verb::Get))
    }

    /// The calendar forgets what it remembers of deleted events, as it may at any time.
    pub(crate) fn forget(&self, place: &Place) {
        match self {
            Self::Google(google) => google.evict_tombstones(&place.calendar),
            Self::Microsoft(graph) => graph.forget_transactions(&place.subject),
            Self::Caldav(_) => {}
        }
    }
}

fn narrowed(rule: Rule, asked: Asked, reads: &[emulator::Verb]) -> Rule {
    match asked {
        Asked::Writes => google::of_writes(rule),
        Asked::Reads => reads.iter().copied().fold(rule, Rule::verb),
        Asked::All => rule,
    }
}
