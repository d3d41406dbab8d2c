//! The cells of the rules R10 to R15 and R20, of one store and kind of calendar: all in one database,
//! each booking in a calendar of its own, whose worker is given that calendar alone. They go forward
//! together, crash by crash; then one other worker recovers them all.

use std::time::Duration;

use booking::Verb;
use calendar_sync::crash::POINTS;
use calendar_sync::emit::RepairOptions;
use calendar_sync::emit::drift::Policy;
use futures::{StreamExt as _, stream};

use super::VERBS;
use super::cells::{AT_CALENDAR, Act, Plan, Said, TWICE, plan};
use super::process::Process;
use super::verdict::{Case, Outbox, judge_all, recover, tell};
use crate::end_to_end::host::{Ordered, Trouble};
use crate::end_to_end::story::{Story, hour, provider};
use crate::end_to_end::world::{PATIENCE, TOPIC, World, until};

/// So many workers live at once. They mostly wait for the leases of those who are dead.
const PROCESSES_MAX: usize = 12;

/// So many calendars are looked into at once.
const JUDGED_AT_ONCE: usize = 8;

/// For a worker without a broker, which only sends.
const ALONE: [(&str, &str); 3] = [
    // Nobody listens there.
    ("KAFKA_BROKERS", "127.0.0.1:9"),
    // Without what librdkafka says of that.
    ("LOG_LEVEL", "info,sqlx=error,calendar_sync::emit=debug,calendar_sync::consumer=error"),
    ("REPAIR_POLICY", "repair"),
];

/// Longer than all of it: a sweep begins where its hour is made to come, and nowhere else.
const SWEEP_EVERY: Duration = Duration::from_hours(6);

/// What is said to every booking once all is over: life goes on.
const LAST_HOUR: u32 = 15;

/// Longer than the making of all that was before, so that nothing of it is verified meanwhile; and
/// then again and again, should it take longer all the same.
const VERIFY_LATER: [Duration; 20] = [Duration::from_secs(5); 20];

/// How a slow calendar keeps a reading waiting: longer than the time after which a lease is
/// renewed, and shorter than a call may take.
const SLOW: Duration = Duration::from_millis(1_300);

/// One cell under way.
struct Cell {
    name: String,
    plan: Plan,
    case: Case,
    /// What keeps its calls.
    stranded: Vec<Ordered>,
    slow: Option<Ordered>,
    wrong: Option<String>,
}

/// All of them.
///
/// Fails with: `emit/decide.rs`, `next`: `Step::Send { verb: Verb::Create, generation:
/// owed.generation + 1 }` for `Step::Settle`; `emit/call.rs`, `send`: the record of what would be
/// acknowledged before the call.
pub(super) async fn every_cell(mut world: World) {
    world.emit.verify_after = VERIFY_LATER.to_vec();
    let repair =
        RepairOptions { policy: Policy::Repair, interval: Some(SWEEP_EVERY), ..world.emit.repair };
    world.emit.repair = repair;
    let mut cells = make(&world).await;
    let count = cells.len();
    make_before(&mut world, &mut cells).await;
    let outbox = Outbox::of(&world).await;
    while cells.iter().any(|cell| !cell.plan.acts.is_empty()) {
        act(&mut world, &outbox, &mut cells).await;
        crash(&world, &mut cells).await;
        // Whoever is ended next need not wait for the leases of those who are dead. The last ones
        // do run out by themselves: whoever recovers waits for that.
        if cells.iter().any(|cell| !cell.plan.acts.is_empty()) {
            outbox.end_leases().await;
        }
    }
    for order in cells.iter().filter_map(|cell| cell.slow.as_ref()) {
        order.withdraw();
    }
    let recovered = recover(&world, &outbox).await;
    for order in cells.iter().flat_map(|cell| &cell.stranded) {
        order.withdraw();
    }
    all_has_landed(&world).await;
    judge(&world, &mut cells).await;
    let lived_on = live_on(&mut world, &outbox, &mut cells).await;
    outbox.close().await;
    judge(&world, &mut cells).await;
    let wrong = cells.into_iter().map(|cell| (cell.name, cell.wrong));
    let whole = [("the recovery", recovered), ("life after it", lived_on)];
    let whole = whole.map(|(what, done)| (what.to_owned(), done.err()));
    tell(wrong.chain(whole));
    let cursor = world.store.cursor(TOPIC, 0).await.expect("the store answers");
    let next = cursor.and_then(|cursor| cursor.next_offset);
    assert_eq!(next, i64::try_from(world.log_end()).ok(), "the log is read to its end");
    crate::say(&format!("{}: {count} cells", world.fact));
    judge_all(world).await;
}

/// Every cell that there is, its calendar connected.
async fn make(world: &World) -> Vec<Cell> {
    let kind = world.host.kind();
    let points = POINTS.iter().map(|point| point.name).chain(AT_CALENDAR);
    let mut cells = Vec::new();
    for (point, verb) in points.flat_map(|point| VERBS.map(|verb| (point, verb))) {
        let Ok(plan) = plan(point, verb, kind) else { continue };
        let name = format!("{point}, {}", verb.name());
        cells.push(cell(world, cells.len(), name.clone(), plan.clone()).await);
        if TWICE.contains(&point) {
            cells.push(cell(world, cells.len(), format!("{name}, twice"), plan.twice()).await);
        }
    }
    cells
}

async fn cell(world: &World, number: usize, name: String, plan: Plan) -> Cell {
    let number = number as u128;
    let at = world.connect(number).await;
    let story = Story::of(&format!("b{number}"), provider(number));
    let case = Case { story, at, changed_before: 0 };
    Cell { name, plan, case, stranded: Vec::new(), slow: None, wrong: None }
}

/// Tells what the application says to each cell, and has it folded.
async fn say(world: &mut World, cells: &mut [Cell], what: impl Fn(&Cell) -> Option<Said>) {
    let mut events = Vec::new();
    for cell in cells {
        let said = what(cell);
        let story = &mut cell.case.story;
        events.extend(said.map(|said| match said {
            Said::Created => story.created(),
            Said::Moved(hour) => story.moved(hour),
            Said::Cancelled => story.cancelled(),
            Said::Rebooked(hour) => story.rebooked(hour),
        }));
    }
    if !events.is_empty() {
        world.tell(events).await;
    }
}

/// What was before the crashes: said, and sent.
async fn make_before(world: &mut World, cells: &mut [Cell]) {
    let late = |cell: &Cell, world: &World| {
        let late = cell.plan.first_lands_late;
        late.then(|| world.host.order_at(&cell.case.at.place, Trouble::Late))
    };
    let late: Vec<_> = cells.iter().map(|cell| late(cell, world)).collect();
    let stages = cells.iter().map(|cell| cell.plan.before.len()).max().unwrap_or_default();
    for stage in 0..stages {
        say(world, cells, |cell| cell.plan.before.get(stage).copied()).await;
        world.drain().await;
    }
    for (cell, late) in cells.iter().zip(&late) {
        if let Some(late) = late {
            world.host.land(&cell.case.at.place, late);
        }
    }
    all_has_landed(world).await;
    for cell in cells {
        cell.case.begin(world);
    }
}

/// Every write that was sent has been looked at by its calendar.
async fn all_has_landed(world: &World) {
    let is_so = async || world.host.attempts().iter().all(|write| write.landed);
    until("all has landed", is_so).await;
}

/// What happens to each cell before its next crash.
async fn act(world: &mut World, outbox: &Outbox, cells: &mut [Cell]) {
    loop {
        let next = |cell: &Cell| cell.plan.acts.front().copied();
        let is_quiet = |act| !matches!(act, Act::Crash(_) | Act::EndOnCall);
        if !cells.iter().filter_map(next).any(is_quiet) {
            return;
        }
        say(world, cells, |cell| match next(cell) {
            Some(Act::Tell(said)) => Some(said),
            _ => None,
        })
        .await;
        for cell in cells.iter_mut() {
            let place = &cell.case.at.place;
            match next(cell) {
                Some(Act::RemoveByHand) => {
                    let event = world.only(&cell.case.at).await;
                    world.host.delete_by_hand(place, &event.id).await;
                }
                Some(Act::MoveByHand) => {
                    let event = world.only(&cell.case.at).await;
                    world.host.move_by_hand(place, &event.id, hour(LAST_HOUR)).await;
                }
                Some(Act::SweepComes) => outbox.sweep_alone(cell.case.at.id).await,
                Some(Act::SlowDown) => {
                    cell.slow = Some(world.host.order_all_at(place, Trouble::Slow(SLOW)));
                }
                Some(Act::Tell(_)) => {}
                Some(Act::Crash(_) | Act::EndOnCall) | None => continue,
            }
            cell.plan.acts.pop_front();
        }
    }
}

/// The next crash of each cell, several at a time.
async fn crash(world: &World, cells: &mut [Cell]) {
    let crashes = cells.iter_mut().filter_map(|cell| {
        let act = cell.plan.acts.pop_front()?;
        Some((cell, act))
    });
    let crashed = stream::iter(crashes).for_each_concurrent(PROCESSES_MAX, async |(cell, act)| {
        if let Err(how) = crash_one(world, cell, act).await {
            cell.wrong = Some(how);
            cell.plan.acts.clear();
        }
    });
    crashed.await;
}

async fn crash_one(world: &World, cell: &mut Cell, act: Act) -> Result<(), String> {
    let at = &cell.case.at;
    match act {
        Act::Crash(point) => {
            Process::start(world, &[at.id], Some(point), &ALONE).crashes_at(point).await
        }
        Act::EndOnCall => {
            let stranded = world.host.order_at(&at.place, Trouble::Stranded);
            let process = Process::start(world, &[at.id], None, &ALONE);
            let called = tokio::time::timeout(PATIENCE, stranded.wait_held()).await;
            let ended = process.end().await;
            cell.stranded.push(stranded);
            called.map_err(|_| "it called nobody".to_owned()).and(ended)
        }
        Act::Tell(_) | Act::RemoveByHand | Act::MoveByHand | Act::SweepComes | Act::SlowDown => {
            unreachable!("no crash")
        }
    }
}

async fn judge(world: &World, cells: &mut [Cell]) {
    let right = cells.iter_mut().filter(|cell| cell.wrong.is_none());
    let judged = stream::iter(right).for_each_concurrent(JUDGED_AT_ONCE, async |cell| {
        let Plan { writes, shows, .. } = &cell.plan;
        cell.wrong = cell.case.judge(world, writes, *shows).await.err();
    });
    judged.await;
}

/// One more event of every booking: no lane is stuck, and what is known of each event is right.
async fn live_on(world: &mut World, outbox: &Outbox, cells: &mut [Cell]) -> Result<(), String> {
    say(world, cells, |cell| match cell.plan.shows {
        Some(_) => Some(Said::Moved(LAST_HOUR)),
        None => Some(Said::Rebooked(LAST_HOUR)),
    })
    .await;
    let lived_on = recover(world, outbox).await;
    for cell in cells {
        let is_live = cell.plan.shows.replace(LAST_HOUR).is_some();
        cell.plan.writes.push(if is_live { Verb::Update } else { Verb::Create });
    }
    lived_on
}
