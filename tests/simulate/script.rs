//! What happens at which hour: drawn before anything begins, so that nothing that the service does
//! changes what happens to it.

use std::time::Duration;

use crate::dice::Chance;
use crate::plan::Plan;

/// Something that happens to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// One booking is made, changed, cancelled, ….
    Story,
    /// The group gives partitions to others.
    Shuffle,
    /// A worker more.
    Begin,
    /// A worker is struck.
    Strike(Strike),
    /// The database is away, or there again.
    StoreAway(bool),
    /// The broker is.
    BrokerAway(bool),
    /// Every worker holds its reading back, or goes on.
    Hold(bool),
    /// The database falls back; the server shows it, or not.
    FallBack(bool),
    /// A clock, of the database's machine or of a worker's, is off by so many milliseconds from now on.
    Jump(i64),
    /// The log is not what it was.
    Log(Break),
    /// The host does something by hand.
    Hand,
    /// The host notes something on an event of ours.
    Note,
    /// A booking is cancelled, or the one that was cancelled so is made again.
    Waver,
    /// A provider's destination becomes another account.
    Connect,
    /// A connection is removed; its events are withdrawn, or left.
    Disconnect(bool),
    /// An account is in trouble.
    Account(Trouble),
    /// Flags and allowlists change: workers begin anew with others.
    Gates,
    /// The person on call looks.
    Attend,
}

/// What strikes a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The group expels it, and it does not know.
    Evict,
    /// It is asked to end.
    Stop,
    /// Its process ends after so many polls.
    Kill(u64),
    /// Its process freezes after so many polls, for so long.
    Freeze(u64, Duration),
}

/// What happens to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Somebody sets Kafka's copy of a cursor.
    SetCommitted,
    /// The topic gets a partition more.
    AddPartition,
    /// The topic is deleted and made anew.
    Recreate,
    /// It is cut below a cursor.
    CutBehind,
    /// It is cut at its end, whoever has read it.
    CutAhead,
}

/// What troubles an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its credentials expire.
    Expire,
    /// Its calendar is gone for so long.
    Gone(Duration),
    /// It refuses every write for so long.
    Refuse(Duration),
}

/// What lasts for a while: how it begins, and how it ends.
const LASTING: [(Deed, Deed); 3] = [
    (Deed::StoreAway(true), Deed::StoreAway(false)),
    (Deed::BrokerAway(true), Deed::BrokerAway(false)),
    (Deed::Hold(true), Deed::Hold(false)),
];
/// The longest while.
const LASTS_MAX: Duration = Duration::from_mins(2);

/// So often at most a booking is cancelled and soon made again.
const WAVERS_MAX: u64 = 12;
/// The longest time between the two.
const WAVERS_FOR: Duration = Duration::from_secs(45);

/// A deed and its hour.
pub(crate) type Scene = (Duration, Deed);

/// The whole script, in order.
pub(crate) fn draw(plan: &Plan) -> Vec<Scene> {
    let dice = &mut Chance::of(plan.seed, "script");
    let mut scenes = Vec::new();
    let features = &plan.features;
    let mut put = |dice: &mut Chance, times: u64, deed: &mut dyn FnMut(&mut Chance) -> Deed| {
        for _ in 0..times {
            scenes.push((dice.time(plan.span), deed(dice)));
        }
    };
    let times = dice.between(plan.bookings * 2, plan.bookings * 7);
    put(dice, times, &mut |_| Deed::Story);
    let mut some =
        |dice: &mut Chance, has: bool, most: u64, deed: &mut dyn FnMut(&mut Chance) -> Deed| {
            let times = if has { dice.between(1, most) } else { 0 };
            put(dice, times, deed);
        };
    some(dice, features.rebalances, 5, &mut |dice| {
        *dice.pick(&[Deed::Shuffle, Deed::Shuffle, Deed::Begin, Deed::Strike(Strike::Stop)])
    });
    some(dice, features.evictions, 3, &mut |_| Deed::Strike(Strike::Evict));
    some(dice, features.crashes, 6, &mut |dice| {
        let polls = dice.between(1, 300);
        let times = [Duration::from_secs(20), Duration::from_mins(2), Duration::from_mins(8)];
        let freeze = Strike::Freeze(polls, *dice.pick(&times));
        Deed::Strike(if dice.hits(500) { Strike::Kill(polls) } else { freeze })
    });
    some(dice, features.outages, 3, &mut |dice| {
        if dice.hits(500) { Deed::StoreAway(true) } else { Deed::BrokerAway(true) }
    });
    some(dice, features.holds, 3, &mut |_| Deed::Hold(true));
    some(dice, features.rewinds, 2, &mut |dice| Deed::FallBack(dice.hits(700)));
    some(dice, features.jumps, 3, &mut |dice| {
        let by = i64::try_from(dice.below(600_000)).unwrap_or_default();
        Deed::Jump(by - 300_000)
    });
    some(dice, features.committed_by_hand, 3, &mut |_| Deed::Log(Break::SetCommitted));
    some(dice, features.more_partitions, 1, &mut |_| Deed::Log(Break::AddPartition));
    some(dice, features.recreated, 1, &mut |_| Deed::Log(Break::Recreate));
    some(dice, features.retention, 3, &mut |_| Deed::Log(Break::CutBehind));
    some(dice, features.lost_range, 2, &mut |_| Deed::Log(Break::CutAhead));
    some(dice, features.hand_edits, 6, &mut |_| Deed::Hand);
    some(dice, features.connections, 5, &mut |dice| {
        if dice.hits(600) { Deed::Connect } else { Deed::Disconnect(dice.hits(700)) }
    });
    some(dice, features.expiry, 3, &mut |_| Deed::Account(Trouble::Expire));
    some(dice, features.refusals, 3, &mut |dice| {
        let time = dice.time(Duration::from_mins(6));
        Deed::Account(if dice.hits(300) { Trouble::Gone(time) } else { Trouble::Refuse(time) })
    });
    some(dice, features.gates, 4, &mut |_| Deed::Gates);
    // Of streams of their own: what else happens stays as it is.
    let notes = &mut Chance::of(plan.seed, "script, notes");
    let has_notes = features.hand_edits && notes.hits(500);
    some(notes, has_notes, 4, &mut |_| Deed::Note);
    let wavers = &mut Chance::of(plan.seed, "script, wavering");
    let times = if plan.wavers { wavers.between(4, WAVERS_MAX) } else { 0 };
    for _ in 0..times {
        let at = wavers.time(plan.span);
        scenes.push((at, Deed::Waver));
        scenes.push((at + wavers.time(WAVERS_FOR), Deed::Waver));
    }
    let minutes = plan.span.as_secs() / 60;
    for minute in (3..minutes).step_by(3) {
        scenes.push((Duration::from_mins(minute), Deed::Attend));
    }
    for (begins, ends) in LASTING {
        let begun: Vec<Duration> =
            scenes.iter().filter(|(_, deed)| *deed == begins).map(|(at, _)| *at).collect();
        scenes.extend(begun.into_iter().map(|at| (at + dice.time(LASTS_MAX), ends)));
    }
    scenes.sort_by_key(|(at, _)| *at);
    scenes
}
