//! The calls of sending.

use booking::{Digest, Verb};
use calendar_sync::store::{Finding, Gate, InFlight, LaneLease, Owed, Record, Stamp, Store};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::env::{Answered as _, LONG, connection, content, hour, open_gate, token, uid};
use super::calls::{Numbers, Pair, Tried, said};

impl Pair {
    pub(super) async fn on_lanes(&self, numbers: &mut Numbers<'_>) -> Tried {
        let lane = self.lane(numbers);
        match numbers.below(12) {
            0..=3 => {
                let gate = Gate {
                    enabled: !numbers.rarely(),
                    providers: if numbers.rarely() { vec![token(1)] } else { Vec::new() },
                    connections: if numbers.rarely() { vec![connection(2).0] } else { Vec::new() },
                };
                let (from, time) = (numbers.connection(), numbers.time());
                same!(self, store => store.lease(&gate, from, lane.token, time));
                let limit = u32::from(numbers.below(5));
                same!(self, store => store.backlog(&gate, limit));
            }
            4 => {
                let time = numbers.time();
                same!(self, store => store.renew(&lane, time));
            }
            5 => {
                let time = numbers.time();
                same!(self, store => store.release(&lane, time, None));
            }
            6 | 7 => {
                let time = numbers.time();
                same!(self, store => store.take_over(&lane, time));
            }
            _ => {
                let due = self.due(&lane).await?;
                let stamp = |numbers: &mut Numbers<'_>| {
                    let owed = due.get(usize::from(numbers.below(3)));
                    let is_delete = owed.is_some_and(|owed| owed.desired.is_none());
                    let verb = if is_delete && !numbers.rarely() {
                        Verb::Delete
                    } else {
                        numbers.of(&[Verb::Create, Verb::Update])
                    };
                    let revision = owed.map_or(0, |owed| owed.desired_revision);
                    Stamp {
                        uid: owed.map_or_else(|| uid("a"), |owed| owed.uid.clone()),
                        desired_revision: revision + i64::from(numbers.rarely()),
                        generation: owed.map_or(0, |owed| owed.generation)
                            + i32::from(numbers.rarely()),
                        in_flight: InFlight { verb, revision, digest: None, body: vec![1, 2] },
                    }
                };
                let stamps = [stamp(numbers), stamp(numbers)];
                same!(self, store => store.stamp(&lane, &stamps));
            }
        }
        Ok(())
    }

    /// Sends what is owed, from the lease to the record, as a lane does: single calls seldom come
    /// so far.
    pub(super) async fn send(&self, numbers: &mut Numbers<'_>) -> Tried {
        let lane = self.lane(numbers);
        same!(self, store => store.lease(&open_gate(), lane.connection, lane.token, LONG));
        same!(self, store => store.renew(&lane, LONG));
        let due = self.due(&lane).await?;
        let Some(owed) = due.get(usize::from(numbers.below(2))).or(due.first()) else {
            return Ok(());
        };
        let revision = owed.desired_revision;
        let digest = owed.desired.as_ref().map(booking::Content::digest);
        let verb = match (digest, owed.applied) {
            (None, _) => Verb::Delete,
            (Some(_), None) => Verb::Create,
            (Some(_), Some(_)) => Verb::Update,
        };
        if owed.verify.as_ref().is_none_or(|verify| !verify.is_due) || numbers.yes() {
            let stamp = Stamp {
                uid: owed.uid.clone(),
                desired_revision: revision,
                generation: owed.generation + i32::from(owed.burned),
                in_flight: InFlight { verb, revision, digest, body: vec![3] },
            };
            same!(self, store => store.stamp(&lane, std::slice::from_ref(&stamp)));
        }
        let finding = match digest {
            _ if numbers.yes() => finding(numbers, owed.uid.as_str()),
            None => Finding::Absent { revision },
            Some(digest) => present(revision, digest, owed.uid.as_str(), numbers),
        };
        let verify_after = numbers.maybe_time();
        let record = Record { lane, uid: owed.uid.clone(), finding, verify_after };
        same!(self, store => store.record(&record));
        Ok(())
    }

    /// What is due, on both. It also sets aside what cannot be read: both are to do so.
    async fn due(&self, lane: &LaneLease) -> Result<Vec<Owed>, TestCaseError> {
        let due = self.model.due(lane, 10).await.answered();
        prop_assert_eq!(&due, &self.sqlite.due(lane, 10).await.answered());
        Ok(due)
    }

    pub(super) async fn record(&self, numbers: &mut Numbers<'_>) -> Tried {
        let lane = self.lane(numbers);
        let uid = uid(self.name(numbers, &lane));
        let finding = finding(numbers, uid.as_str());
        let record = Record { lane, uid, finding, verify_after: numbers.maybe_time() };
        same!(self, store => store.record(&record));
        Ok(())
    }
}

fn present(revision: i64, digest: Digest, name: &str, numbers: &mut Numbers<'_>) -> Finding {
    let is_told = numbers.yes();
    Finding::Present {
        revision,
        digest,
        etag: is_told.then(|| "\"1\"".to_owned()),
        external_id: if numbers.rarely() { "x".to_owned() } else { name.to_owned() },
        provider_uid: is_told.then(|| "theirs".to_owned()),
        start: hour(9),
        end: if numbers.rarely() { hour(9) } else { hour(10) },
    }
}

fn finding(numbers: &mut Numbers<'_>, name: &str) -> Finding {
    let (kind, after, rejected) = (numbers.below(12), numbers.time(), numbers.yes());
    let revision = i64::from(numbers.below(4));
    let title = numbers.of(&["Massage", "Haircut"]);
    let error = "the calendar said no".to_owned();
    match kind {
        0 => present(revision, content(title).digest(), name, numbers),
        1 => Finding::Absent { revision },
        2 => Finding::Gone,
        3 => Finding::NotApplied { after, error, rejected },
        4 => Finding::Unknown { after, error, rejected },
        5 | 6 => Finding::Dead { error, unknown: rejected },
        7 | 8 => Finding::Ahead { revision, after, error },
        9 => Finding::Verified,
        10 => Finding::Unverified,
        _ => Finding::Differs {
            present: numbers.yes().then(|| (revision, content(title).digest())),
            etag: None,
            passed: i32::from(rejected),
        },
    }
}
