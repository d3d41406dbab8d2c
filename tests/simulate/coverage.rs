//! What has happened, by its name: a kind of fault that never comes, or an answer that the service
//! never gives, shows nothing.

use std::collections::BTreeMap;

use calendar_sync::store::Finding;

/// How often each has happened.
pub type Counts = BTreeMap<&'static str, u64>;

/// Adds what has happened elsewhere.
pub fn add(to: &mut Counts, others: &Counts) {
    for (what, times) in others {
        *to.entry(what).or_default() += times;
    }
}

/// What has to happen in any ten thousand seeds, group by group.
pub const ALL: &[(&str, &[&str])] = &[
    (
        "requests",
        &[
            "plain",
            "refused on the way",
            "lost on the way",
            "answered between",
            "answered between, done all the same",
            "answer lost",
            "answer late",
            "held",
            "doubled",
        ],
    ),
    ("database", &["slow", "no answer, not done", "no answer, done"]),
    ("broker", &["no answer from the broker", "delivered twice"]),
    (
        "producer",
        &[
            "created",
            "updated",
            "cancelled",
            "rebooked",
            "wavered",
            "handed over",
            "repeated",
            "reordered",
            "garbage",
        ],
    ),
    (
        "script",
        &[
            "shuffle",
            "one worker more",
            "evicted",
            "asked to end",
            "ended at a poll",
            "frozen at a poll",
            "held back",
            "database away",
            "broker away",
            "database fell back, another server",
            "database fell back, the same server",
            "database's clock jumped",
            "worker's clock jumped",
            "committed offset set by hand",
            "partition added",
            "topic made anew",
            "log cut behind",
            "log cut ahead",
            "connected",
            "removed, withdrawing",
            "removed, leaving",
            "credentials expired",
            "calendar gone",
            "calendar refuses",
            "flags changed",
        ],
    ),
    (
        "by hand",
        &[
            "deleted by hand",
            "edited by hand",
            "annotated by hand",
            "noted by hand",
            "written around a note",
            "marker stripped",
            "copied by hand",
            "restored by hand",
            "added by hand",
            "bin emptied",
            "all deleted by hand",
            "by hand afterwards",
        ],
    ),
    (
        "sweeps",
        &[
            "sweep begun",
            "sweep begun anew",
            "sweep ended",
            "sweep ended, with a token",
            "sweep halted",
            "sweep resumed",
            "sweep put off",
            "token expired",
            "told: deleted",
            "told: edited",
            "told: unmarked",
            "told: copy",
            "repaired: deleted",
            "repaired: edited",
            "repaired: unmarked",
            "repaired: lost",
            "repaired: extra",
        ],
    ),
    (
        "service",
        &[
            "batch written",
            "batch stale",
            "batch refused: foreign",
            "stopped",
            "another server noticed",
            "lane parked",
            "dead letter of a record",
            "found present",
            "found absent",
            "found gone",
            "found not applied",
            "found unknown",
            "found dead",
            "found ahead",
            "verified",
            "not verified",
            "verified: differs",
            "verified: later generations",
            "record refused",
        ],
    ),
];

/// What should have happened, and has not.
pub fn missing(counts: &Counts) -> Vec<&'static str> {
    let all = ALL.iter().flat_map(|(_, names)| names.iter().copied());
    all.filter(|name| !counts.contains_key(name)).collect()
}

/// What a finding is called.
pub(crate) fn found(finding: &Finding) -> &'static str {
    match finding {
        Finding::Present { .. } => "found present",
        Finding::Absent { .. } => "found absent",
        Finding::Gone => "found gone",
        Finding::NotApplied { .. } => "found not applied",
        Finding::Unknown { .. } => "found unknown",
        Finding::Dead { .. } => "found dead",
        Finding::Ahead { .. } => "found ahead",
        Finding::Verified => "verified",
        Finding::Unverified => "not verified",
        Finding::Differs { passed: 0, .. } | Finding::Differs { passed: 1, present: None, .. } => {
            "verified: differs"
        }
        Finding::Differs { .. } => "verified: later generations",
    }
}
