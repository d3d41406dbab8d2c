//! The crash matrix: a worker's process is ended at every step of the protocol (the points of
//! [`calendar_sync::crash`]), with every verb, on every store and every kind of calendar; another
//! worker recovers; and in the end each calendar holds what its booking says, done once.
//!
//! The worker is the service's own binary, `run`, in a process of its own, which aborts at the point
//! named by its environment; that it did abort there, and nowhere else, is asserted. What must be
//! done in one process of the test's own is done by a worker in it.
//!
//! A *cell* is a point, a verb, a kind of calendar and a store. [`cells`] says what leads to each,
//! and which cells there cannot be, and why. [`sending`] has the cells of the rules R10 to R15: one
//! process for each, without a broker, on a store that owes one call. [`reading`] has those of R1 and
//! R3: one process for all verbs of a point, as one batch carries them all.

mod cells;

mod process;

mod reading;

mod sending;

mod verdict;

use std::collections::BTreeMap;

use booking::{CalendarKind, Verb};
use calendar_sync::crash::POINTS;

use crate::end_to_end::world::{Parts, World};
use crate::module_rule::sources;

/// Every kind of calendar.
const KINDS: [CalendarKind; 3] =
    [CalendarKind::Google, CalendarKind::Microsoft, CalendarKind::Caldav];

/// Every verb.
const VERBS: [Verb; 3] = [Verb::Create, Verb::Update, Verb::Delete];

/// One fact of one store and kind of calendar.
macro_rules! matrix {
    ($name:ident, $parts:ident, $kind:ident) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn wherever_a_sender_crashes_its_effect_is_there_once() {
                let fact = concat!("crash, sending, ", stringify!($name));
                let made = World::for_processes(Parts::$parts, CalendarKind::$kind, fact).await;
                if let Some(world) = made {
                    sending::every_cell(world).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn wherever_a_reader_crashes_each_record_is_folded_once() {
                let fact = concat!("crash, reading, ", stringify!($name));
                let made = World::for_processes(Parts::$parts, CalendarKind::$kind, fact).await;
                if let Some(world) = made {
                    reading::every_cell(world).await;
                }
            }
        }
    };
}

matrix!(sqlite_and_google, Embedded, Google);
matrix!(sqlite_and_caldav, Embedded, Caldav);
matrix!(sqlite_and_microsoft, Embedded, Microsoft);
matrix!(postgres_and_google, Real, Google);
matrix!(postgres_and_caldav, Real, Caldav);
matrix!(postgres_and_microsoft, Real, Microsoft);

/// No row of the table is idle: at each point, with some kind of calendar, some verb crashes.
#[test]
fn the_matrix_reaches_every_point() {
    for point in POINTS {
        let reached = KINDS.into_iter().any(|kind| {
            reading::is_read_at(point.name)
                || VERBS.iter().any(|verb| cells::plan(point.name, *verb, kind).is_ok())
        });
        assert!(reached, "no cell crashes at {}: {}", point.name, point.meaning);
    }
    let is_listed = |name| POINTS.iter().any(|point| point.name == name);
    assert!(cells::TWICE.into_iter().chain(reading::TWICE).all(is_listed));
    assert!(!cells::AT_CALENDAR.into_iter().any(is_listed), "no line of ours is there");
}

/// Each point stands in the source: in one place outside the stores, or in two, both in the stores.
#[test]
fn every_point_stands_in_the_source() {
    let sources = sources(&["src"]);
    let mut found = BTreeMap::<&str, Vec<&str>>::new();
    for source in sources.iter().filter(|source| source.path != "src/crash.rs") {
        for rest in source.text.split("crate::crash::point!(").skip(1) {
            let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
            let (name, _) = name.expect("a point has a name");
            found.entry(name).or_default().push(&source.path);
        }
    }
    for point in POINTS {
        let places = found.remove(point.name).unwrap_or_default();
        let stores = places.iter().filter(|path| path.starts_with("src/store/")).count();
        let is_whole = (places.len(), stores) == (1, 0) || (places.len(), stores) == (2, 2);
        assert!(is_whole, "{} stands in {places:?}", point.name);
    }
    assert!(found.is_empty(), "in no table: {found:?}");
}
