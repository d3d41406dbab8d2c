//! What holds of every kind of calendar, however its switches stand.

use std::collections::{BTreeMap, BTreeSet};

use super::super::switches::Listing;
use super::*;
use crate::dice::Chance;

const KINDS: [Kind; 3] = [Kind::Google, Kind::Microsoft, Kind::Caldav];
const SEEDS: u64 = 100;

/// A number below the given one, of a series that the seed determines.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut chance = Chance::of(seed, "laws");
    move |below| chance.below(below)
}

/// A calendar with drawn switches after some drawn requests and deeds. `each` is told what each
/// request was told, and how many changes it made.
fn story(kind: Kind, seed: u64, mut each: impl FnMut(&Said, usize)) -> Desk {
    let mut dice = dice(seed);
    let switches = Switches::draw(kind, &mut dice);
    let calendar = Calendar::new(kind, switches);
    let mut desk = Desk { calendar, kind, now: Duration::ZERO, request: 0 };
    let mut etags = vec!["\"nothing\"".to_owned()];
    for _ in 0..60 {
        desk.wait(Duration::from_millis(dice(4) * dice(4000)));
        let revision = i64::try_from(dice(4)).unwrap();
        let if_match = match dice(3) {
            0 => None,
            1 => etags.last().cloned(),
            _ => Some(etags[usize::try_from(dice(etags.len() as u64)).unwrap()].clone()),
        };
        let before = changes_by_requests(&desk.calendar);
        let said = match dice(6) {
            0 => desk.create(revision),
            1 | 2 => desk.update(revision, if_match.as_deref()),
            3 => desk.delete(if_match.as_deref()),
            4 => desk.read(),
            _ => {
                host(&mut desk, dice(9));
                continue;
            }
        };
        each(&said, changes_by_requests(&desk.calendar) - before);
        match said {
            Said::Done { etag: Some(etag), .. } | Said::Live { etag: Some(etag), .. } => {
                etags.push(etag);
            }
            Said::Done { .. }
            | Said::Live { .. }
            | Said::Refused { .. }
            | Said::Tombstone
            | Said::Absent => {}
        }
    }
    desk
}

fn changes_by_requests(calendar: &Calendar) -> usize {
    let changes = calendar.history().iter();
    changes.filter(|change| matches!(change.by, By::Request(_))).count()
}

fn host(desk: &mut Desk, number: u64) {
    let name = name(desk.kind);
    desk.host(&match number {
        0 => Deed::Delete { name },
        1 => Deed::Edit { name, title: true, time: true },
        2 => Deed::Annotate { name },
        3 => Deed::StripMarker { name },
        4 => Deed::Copy { name },
        5 => Deed::DeleteCopy { name },
        6 => Deed::Restore { name },
        7 => Deed::Add,
        _ => Deed::EvictTombstones,
    });
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for kind in KINDS {
        for seed in 0..20 {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            let first = story(kind, seed, |said, _| one.push(said.clone()));
            let second = story(kind, seed, |said, _| other.push(said.clone()));
            assert_eq!(one, other);
            assert_eq!(first.calendar.history(), second.calendar.history());
        }
    }
}

/// What an oracle may take for granted of each answer.
#[test]
fn a_refusal_and_a_reading_change_nothing_and_a_write_at_most_one_event() {
    for kind in KINDS {
        for seed in 0..SEEDS {
            story(kind, seed, |said, changes| match said {
                Said::Done { status, .. } => {
                    assert!((200..300).contains(status), "{status}");
                    assert!(changes <= 1, "{changes} changes");
                }
                Said::Refused { status: 500, .. } => {
                    assert_eq!((changes, kind), (1, Kind::Caldav));
                }
                Said::Refused { status, .. } => {
                    assert!((400..500).contains(status), "{status}");
                    assert_eq!(changes, 0, "{said:?}");
                }
                Said::Live { .. } | Said::Tombstone | Said::Absent => assert_eq!(changes, 0),
            });
        }
    }
}

#[test]
fn the_history_accounts_for_every_live_event() {
    for kind in KINDS {
        for seed in 0..SEEDS {
            let desk = story(kind, seed, |_, _| {});
            let mut told: BTreeMap<&str, i64> = BTreeMap::new();
            let mut last = Duration::ZERO;
            for change in desk.calendar.history() {
                assert!(change.at >= last, "{change:?}");
                last = change.at;
                let is_live = |stood: &Stood| i64::from(matches!(stood, Stood::Live(_)));
                *told.entry(&change.name).or_default() +=
                    is_live(&change.after) - is_live(&change.before);
            }
            for event in desk.calendar.live() {
                *told.entry(&event.name).or_default() -= 1;
            }
            assert!(told.values().all(|count| *count == 0), "{kind:?} {seed}: {told:?}");
        }
    }
}

#[test]
fn every_name_has_one_event_but_where_graph_forgets_a_transaction() {
    let mut twins = 0;
    for kind in KINDS {
        for seed in 0..SEEDS {
            let desk = story(kind, seed, |_, _| {});
            let mut names = BTreeSet::new();
            for event in desk.calendar.live() {
                if !names.insert(&event.name) {
                    assert_eq!(kind, Kind::Microsoft);
                    twins += 1;
                }
            }
        }
    }
    assert!(twins > 0, "no seed let Graph forget");
}

/// A request that comes at an earlier hour than the one before would be a fault of the simulator.
#[test]
fn the_hour_may_stand_still() {
    let mut desk = Desk::holding(Kind::Google, |_| {});
    assert_eq!(desk.calendar.history()[0].at, Duration::ZERO);
    assert_eq!(desk.calendar.history()[0].by, By::Request(1));
    desk.update(1, None);
    assert_eq!(desk.last().by, By::Request(2));
    assert_eq!(desk.only().written_at, Some(Duration::ZERO));
}

/// That each choice of each switch is drawn.
#[test]
fn every_choice_of_every_switch_is_drawn() {
    let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for kind in KINDS {
        for seed in 0..SEEDS {
            let mut dice = dice(seed);
            let mut switches = Switches::draw(kind, &mut dice);
            // Drawn by itself, where the calendar is swept.
            switches.listing = Listing::draw(kind, &mut dice);
            let shown = format!("{switches:#?}");
            // Names and values of the fields, as the derived `Debug` lays them out.
            let mut field = String::new();
            for line in shown.lines() {
                match line.strip_prefix("        ").and_then(|line| line.split_once(": ")) {
                    Some((name, value)) if !name.starts_with(' ') => {
                        name.clone_into(&mut field);
                        drawn.entry(field.clone()).or_default().insert(value.to_owned());
                    }
                    Some(_) | None => {
                        if let Some(values) = drawn.get_mut(&field) {
                            values.insert(line.trim().to_owned());
                        }
                    }
                }
            }
        }
    }
    for (field, values) in &drawn {
        assert!(values.len() > 1, "{field} is always {values:?}");
    }
    let choices = [
        ("collisions", "Refused Overwritten Same"),
        ("tombstone_update", "Forbidden Revives"),
        ("missing_for", "Reads All"),
        ("after_delete", "MakesNew AnswersWithDeleted"),
        ("duplicate", "Status400 Status409"),
        ("second_delete", "NotFound CannotDelete"),
        ("obeys_if_none_match", "true false"),
        ("etags", "Strong Weak None"),
        ("etag_on_put", "true false"),
        ("etags_from", "Count Content"),
        ("overwrite", "Accepted Refused"),
        ("deletion", "NoContent MultiStatus"),
        ("missing", "NotFound ConditionFailed"),
        ("trash", "None RefusesPut RefusesDelete"),
        ("uid_conflict", "Status409 Status412 Status403 Status400 Accepted"),
        ("copies", "Another Same"),
        ("invalid", "Status400 Status412"),
        ("is_supported", "true false"),
        ("tells_changes", "true false"),
    ];
    for (field, values) in choices {
        for value in values.split(' ') {
            let is_drawn = |drawn: &BTreeSet<String>| drawn.iter().any(|it| it.starts_with(value));
            assert!(drawn.get(field).is_some_and(is_drawn), "{field} is never {value}");
        }
    }
    assert!(!drawn["collisions"].iter().any(|it| it.starts_with("Twins")));
}

/// What both the service and its oracle misread alike, nobody would see.
#[test]
fn the_calendars_know_neither_the_service_nor_the_hour() {
    const WORDS: [&str; 10] = [
        "calendar_sync",
        "booking::",
        "async",
        ".await",
        "tokio",
        "std::fs",
        "std::net",
        "Instant",
        "SystemTime",
        "Utc::now",
    ];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("calendars");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let said: Vec<_> = WORDS.iter().filter(|word| text.contains(**word)).collect();
        assert!(said.is_empty(), "{} says {said:?}", path.display());
        files += 1;
    }
    assert!(files >= 10, "only {files} files");
}
