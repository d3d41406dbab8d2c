//! What a seed draws before anything begins: how large the world is, which faults there are and how
//! often. Each seed has a third of the kinds, rare or often (swarm testing): a fault that is drowned by
//! all the others shows nothing.

use std::time::Duration;

use calendar_sync::emit::drift::Policy;

use crate::dice::Chance;

/// How often things go wrong, in a thousand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    /// A broker delivers a record once more.
    pub(crate) delivered_twice: u64,
    /// A question to the broker has no answer.
    pub(crate) broker_fails: u64,
    /// The database is asked, does nothing, and gives no answer.
    pub(crate) store_fails_before: u64,
    /// It does what it was asked, and gives no answer.
    pub(crate) store_fails_after: u64,
    /// It takes its time.
    pub(crate) store_slow: u64,
    /// A request to a calendar does not leave (connection refused).
    pub(crate) call_refused: u64,
    /// It is lost on the way.
    pub(crate) request_lost: u64,
    /// It is carried out, and its answer is lost.
    pub(crate) answer_lost: u64,
    /// It is carried out, and its answer takes longer than anybody waits.
    pub(crate) answer_late: u64,
    /// It arrives twice, the second time later.
    pub(crate) request_doubled: u64,
    /// It is held on the way, past leases, and then carried out.
    pub(crate) request_held: u64,
    /// 429, or what the provider says instead.
    pub(crate) limited: u64,
    /// 5xx, and nothing was done.
    pub(crate) error_before: u64,
    /// 5xx, and it was done.
    pub(crate) error_after: u64,
    /// 4xx that proves nothing, and it was done (rule R13).
    pub(crate) refusal_after: u64,
    /// The producer sends a record again.
    pub(crate) producer_repeats: u64,
    /// It sends records of one booking in another order (only with a sequence).
    pub(crate) producer_reorders: u64,
    /// Something stands in the topic that is no event.
    pub(crate) garbage: u64,
}

/// What happens besides, at hours that the script draws.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one kind of fault, and any may go with any"
)]
pub(crate) struct Features {
    /// Members come, go and are shuffled.
    pub(crate) rebalances: bool,
    /// The group gives a living member's partitions away before it knows.
    pub(crate) evictions: bool,
    /// Workers are ended or frozen.
    pub(crate) crashes: bool,
    /// The database, or the broker, is away for a while.
    pub(crate) outages: bool,
    /// The database loses its last commits, or is restored.
    pub(crate) rewinds: bool,
    /// Clocks jump: the database's, or a worker's.
    pub(crate) jumps: bool,
    /// Kafka's copy of a cursor is set by hand.
    pub(crate) committed_by_hand: bool,
    /// The topic gets a partition more.
    pub(crate) more_partitions: bool,
    /// The topic is deleted and made anew.
    pub(crate) recreated: bool,
    /// The log is cut behind the cursor.
    pub(crate) retention: bool,
    /// The log is cut before the cursor.
    pub(crate) lost_range: bool,
    /// The host changes events by hand.
    pub(crate) hand_edits: bool,
    /// Connections are added, removed, and made the destination in turn.
    pub(crate) connections: bool,
    /// Credentials expire.
    pub(crate) expiry: bool,
    /// Calendars refuse everything for a while, or are gone.
    pub(crate) refusals: bool,
    /// Flags and allowlists are changed.
    pub(crate) gates: bool,
    /// Bookings change hands.
    pub(crate) moves: bool,
    /// Reading is held back for a while, as too many effects are due.
    pub(crate) holds: bool,
}

/// How calendars are swept (rule R20).
#[derive(Debug, Clone)]
pub(crate) struct Sweeps {
    /// What is done about what the host did.
    pub(crate) policy: Policy,
    /// How long after a sweep the next one is due, about.
    pub(crate) interval: Duration,
    /// From so many hundredths of the known events missing on, a sweep halts.
    pub(crate) halt_share: u32,
    /// How often a calendar forgets a token before its time, in a thousand.
    pub(crate) forgets: u64,
}

/// All that a seed draws at first.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The seed.
    pub(crate) seed: u64,
    /// How many workers there are at least.
    pub(crate) workers: u64,
    /// How many partitions the topic begins with.
    pub(crate) partitions: usize,
    /// How many providers.
    pub(crate) providers: u64,
    /// How many bookings.
    pub(crate) bookings: u64,
    /// For so long things go wrong.
    pub(crate) span: Duration,
    /// How often.
    pub(crate) rates: Rates,
    /// What else.
    pub(crate) features: Features,
    /// How long a lane is leased for.
    pub(crate) lease: Duration,
    /// The longest call.
    pub(crate) call_timeout: Duration,
    /// Rows that are stamped at once.
    pub(crate) claim_batch: u32,
    /// Calls at once on one connection.
    pub(crate) lane_concurrency: usize,
    /// Records in a batch.
    pub(crate) batch_max: usize,
    /// Whether calendars are swept, and how.
    pub(crate) sweeps: Option<Sweeps>,
    /// Bookings are cancelled and soon made again, while requests are late, in calendars where the event
    /// has one name for ever: what was to delete the one may find the other.
    pub(crate) wavers: bool,
}

/// No request is on its way for longer: the last verification comes after it (rule R14).
pub(crate) const HELD_MAX: Duration = Duration::from_mins(25);
/// When an open attempt is verified.
pub(crate) const VERIFY_AFTER: [Duration; 2] = [Duration::from_mins(4), Duration::from_mins(30)];

// The last verification of an attempt comes after the last moment in which it can land.
const _: () = assert!(HELD_MAX.as_secs() < VERIFY_AFTER[1].as_secs());

impl Plan {
    /// Draws it.
    pub(crate) fn draw(seed: u64) -> Self {
        let dice = &mut Chance::of(seed, "plan");
        let mut plan = Self {
            seed,
            workers: dice.between(2, 3),
            partitions: usize::try_from(dice.between(1, 3)).unwrap_or(1),
            providers: dice.between(1, 2),
            bookings: dice.between(1, 4),
            span: Duration::from_mins(dice.between(6, 20)),
            rates: rates(dice),
            features: features(dice),
            lease: Duration::from_secs(*dice.pick(&[40, 60, 90])),
            call_timeout: Duration::from_secs(*dice.pick(&[5, 10])),
            claim_batch: *dice.pick(&[1, 2, 5]),
            lane_concurrency: *dice.pick(&[1, 2, 4]),
            batch_max: *dice.pick(&[1, 2, 5]),
            sweeps: None,
            wavers: false,
        };
        plan.features.holds = dice.hits(150);
        // From a stream of its own: the other seeds stay as they are.
        let dice = &mut Chance::of(seed, "sweeps");
        plan.sweeps = dice.hits(400).then(|| sweeps(dice));
        plan.features.hand_edits |= plan.sweeps.is_some() && dice.hits(500);
        let is_late = plan.rates.request_held > 0 || plan.rates.request_doubled > 0;
        plan.wavers = is_late && Chance::of(seed, "waverers").hits(200);
        plan
    }
}

fn sweeps(dice: &mut Chance) -> Sweeps {
    Sweeps {
        policy: *dice.pick(&[Policy::Repair, Policy::Repair, Policy::Report, Policy::Leave]),
        interval: Duration::from_mins(*dice.pick(&[3, 8, 15])),
        halt_share: *dice.pick(&[20, 50, 100]),
        forgets: *dice.pick(&[0, 20, 200]),
    }
}

/// Each kind of fault in a third of the seeds, rare or often.
fn rates(dice: &mut Chance) -> Rates {
    let mut rate = |often: &[u64]| if dice.hits(350) { *dice.pick(often) } else { 0 };
    Rates {
        delivered_twice: rate(&[20, 200]),
        broker_fails: rate(&[20, 300]),
        store_fails_before: rate(&[10, 60]),
        store_fails_after: rate(&[10, 60]),
        store_slow: rate(&[20, 200]),
        call_refused: rate(&[30, 200]),
        request_lost: rate(&[30, 200]),
        answer_lost: rate(&[50, 300]),
        answer_late: rate(&[50, 300]),
        request_doubled: rate(&[50, 300]),
        request_held: rate(&[30, 200]),
        limited: rate(&[30, 200]),
        error_before: rate(&[30, 200]),
        error_after: rate(&[30, 200]),
        refusal_after: rate(&[20, 100]),
        producer_repeats: rate(&[50, 300]),
        producer_reorders: rate(&[50, 300]),
        garbage: rate(&[20, 200]),
    }
}

fn features(dice: &mut Chance) -> Features {
    let mut has = |per_mille| dice.hits(per_mille);
    let mut features = Features {
        rebalances: has(350),
        evictions: has(250),
        crashes: has(450),
        outages: has(200),
        rewinds: has(200),
        jumps: has(200),
        committed_by_hand: has(150),
        more_partitions: has(150),
        recreated: has(100),
        retention: has(200),
        lost_range: has(100),
        hand_edits: has(250),
        connections: has(300),
        expiry: has(250),
        refusals: has(200),
        gates: has(200),
        moves: has(350),
        holds: false,
    };
    // What a database has forgotten has to be in the log still, and connections are not in it: a
    // restore across such a change needs a person, or the sweep (rule R20).
    if features.rewinds {
        features.recreated = false;
        features.retention = false;
        features.lost_range = false;
        features.connections = false;
        features.expiry = false;
        features.gates = false;
        features.refusals = false;
        // Nothing but Kafka's copy tells of a tail that was lost unseen.
        features.committed_by_hand = false;
    }
    // Only a sequence orders events of two partitions (rule R6), and here reading begins anew.
    if features.rewinds || features.recreated || features.lost_range {
        features.more_partitions = false;
    }
    features
}
