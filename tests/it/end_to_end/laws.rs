//! Laws: what holds for any story of a booking, told in any way. The cases follow from [`SEED`], so
//! that a failure comes again.

use std::cell::RefCell;
use std::fmt::Debug;

use booking::IcalUid;
use calendar_sync::cli::encode::OutgoingEvent;
use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use super::story::{Story, provider};
use super::world::{Connected, World, until};

/// Where chance begins.
const SEED: u64 = 0x2030_0603;
/// How many stories are tried.
const CASES: u32 = 12;
/// How many batches of a story there may be.
const BATCHES_MAX: usize = 16;

/// What happens to a booking.
#[derive(Debug, Clone, Copy)]
enum Step {
    Moved(u32),
    Renamed(u8),
    Given(u128),
    Cancelled,
    Rebooked(u32),
}

impl Step {
    fn tell(self, story: &mut Story) -> OutgoingEvent {
        match self {
            Self::Moved(start) => story.moved(start),
            Self::Renamed(name) => {
                story.details.service_name = format!("Service {name}");
                story.updated()
            }
            Self::Given(number) => story.given_to(provider(number)),
            Self::Cancelled => story.cancelled(),
            Self::Rebooked(start) => story.rebooked(start),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..20_u32).prop_map(Step::Moved),
        (0..3_u8).prop_map(Step::Renamed),
        (1..3_u128).prop_map(Step::Given),
        Just(Step::Cancelled),
        (1..20_u32).prop_map(Step::Rebooked),
    ];
    vec(step, 1..6)
}

/// A story from its creation on, as events.
fn events(story: &mut Story, steps: &[Step]) -> Vec<OutgoingEvent> {
    let mut events = vec![story.created()];
    events.extend(steps.iter().map(|step| step.tell(story)));
    events
}

/// How a story is told: which of its events come in which order, some again; in batches of what
/// size; and after which of them the calendars catch up.
#[derive(Debug, Clone)]
struct Telling {
    steps: Vec<Step>,
    order: Vec<usize>,
    batch_max: usize,
    catches_up: Vec<bool>,
}

fn tellings() -> impl Strategy<Value = Telling> {
    let told = steps().prop_flat_map(|steps| {
        let repeats = vec(0..=steps.len(), 0..4);
        (Just(steps), repeats)
    });
    told.prop_flat_map(|(steps, repeats)| {
        let order: Vec<_> = (0..=steps.len()).chain(repeats).collect();
        let catches_up = vec(any::<bool>(), BATCHES_MAX);
        (Just(steps), Just(order).prop_shuffle(), 1..5_usize, catches_up)
    })
    .prop_map(|(steps, order, batch_max, catches_up)| Telling {
        steps,
        order,
        batch_max,
        catches_up,
    })
}

/// Tries a law on [`CASES`] inputs, all in one world.
fn law<I: Debug>(
    world: &mut World,
    inputs: &impl Strategy<Value = I>,
    case: &impl AsyncFn(&mut World, u32, I) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    };
    let place = RefCell::new((world, 0));
    let tried = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(inputs, |input| {
            let mut place = place.borrow_mut();
            place.1 += 1;
            let number = place.1;
            tokio::runtime::Handle::current().block_on(case(&mut *place.0, number, input))
        })
    });
    if let Err(failure) = tried {
        panic!("with the seed {SEED:#x}: {failure}");
    }
}

async fn nothing_owed(world: &World) {
    until("nothing is owed", async || world.pending().await == 0).await;
}

/// What the hosts see of a booking: in whose calendar, from when, under which title.
async fn seen(
    world: &World,
    hosts: &[Connected],
    uid: &IcalUid,
) -> Vec<(usize, DateTime<Utc>, String)> {
    let rows = world.store.external_events(uid).await.expect("the store answers");
    let mut seen = Vec::new();
    for (at, host) in hosts.iter().enumerate() {
        let shown = world.shown(host).await;
        let ours =
            shown.into_iter().filter(|event| rows.iter().any(|row| row.external_id == event.id));
        seen.extend(ours.map(|event| (at, event.start, event.summary)));
    }
    seen
}

/// L5: any permutation, duplication and batching of a booking's events that keeps its sequences.
pub(super) async fn any_order_repetition_and_batching_ends_in_the_same_calendar(world: &mut World) {
    let hosts = [world.connect(1).await, world.connect(2).await];
    let worker = world.worker();
    law(world, &tellings(), &async |world: &mut World, number, telling| {
        let mut straight = Story::of(&format!("straight-{number}"), provider(1));
        let mut mixed = Story::of(&format!("mixed-{number}"), provider(1));
        world.tell(events(&mut straight, &telling.steps)).await;
        let told = events(&mut mixed, &telling.steps);
        let order: Vec<_> = telling.order.iter().map(|at| told[*at].clone()).collect();
        for (batch, catches_up) in order.chunks(telling.batch_max).zip(&telling.catches_up) {
            world.tell(batch.to_vec()).await;
            if *catches_up {
                nothing_owed(world).await;
            }
        }
        nothing_owed(world).await;
        let expected = seen(world, &hosts, &straight.uid()).await;
        prop_assert!(expected.len() <= 1, "one event or none: {:?}", expected);
        prop_assert_eq!(seen(world, &hosts, &mixed.uid()).await, expected);
        prop_assert!(world.dead_letters().await.is_empty());
        Ok(())
    });
    worker.stop().await;
}

/// Two bookings, one with sequences and one without, and from where on the log comes again.
fn suffixes() -> impl Strategy<Value = (Vec<Step>, Vec<Step>, usize, usize)> {
    (steps(), steps(), 0..12_usize, 1..6_usize)
}

async fn told(world: &mut World, number: u32, (counted, plain): (&[Step], &[Step])) {
    let mut first = Story::of(&format!("counted-{number}"), provider(1));
    let mut second = Story::unsequenced(&format!("plain-{number}"), provider(1));
    let (first, second) = (events(&mut first, counted), events(&mut second, plain));
    world.tell(first.into_iter().chain(second)).await;
    nothing_owed(world).await;
}

/// A producer that sends the end of its log again changes nothing.
pub(super) async fn a_suffix_of_the_log_sent_again_changes_nothing(world: &mut World) {
    let _hosts = [world.connect(1).await, world.connect(2).await];
    let worker = world.worker();
    law(
        world,
        &suffixes(),
        &async |world: &mut World, number, (counted, plain, cut, batch_max)| {
            let start = world.log_end();
            told(world, number, (&counted, &plain)).await;
            let (writes, requests) = (world.host.writes().len(), world.host.requests());
            world.publish_again(start + cut);
            world.read(batch_max).await;
            nothing_owed(world).await;
            prop_assert_eq!(world.host.writes().len(), writes);
            prop_assert_eq!(world.host.requests(), requests, "not even a reading call");
            prop_assert!(world.dead_letters().await.is_empty());
            Ok(())
        },
    );
    worker.stop().await;
}

/// Rule R22: a replay from offset 0.
pub(super) async fn a_replay_from_offset_0_makes_no_call(world: &mut World) {
    let _hosts = [world.connect(1).await, world.connect(2).await];
    let worker = world.worker();
    law(world, &suffixes(), &async |world: &mut World, number, (counted, plain, _, batch_max)| {
        told(world, number, (&counted, &plain)).await;
        let requests = world.host.requests();
        world.rewind().await;
        world.read(batch_max).await;
        nothing_owed(world).await;
        prop_assert_eq!(world.host.requests(), requests);
        prop_assert!(world.dead_letters().await.is_empty());
        Ok(())
    });
    worker.stop().await;
}
