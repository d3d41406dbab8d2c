//! The cells of the rules R1 and R3, of one store and kind of calendar. A batch carries every verb,
//! so that one process that crashes is a cell of each: its topic holds a booking that is made, one
//! that is moved and one that is cancelled, each for a calendar of its own.

use booking::{ConnectionId, Verb};
use calendar_sync::cli::encode::{OutgoingEvent, encode};
use calendar_sync::consumer::RawRecord;
use calendar_sync::crash::POINTS;
use futures::{StreamExt as _, stream};
use rdkafka::producer::FutureRecord;

use super::VERBS;
use super::process::Process;
use super::verdict::{Case, Outbox, judge_all, recover, tell};
use crate::broker::Broker;
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::world::{PATIENCE, World, until};

/// So many workers live at once: they mostly wait for their group.
const PROCESSES_MAX: usize = 16;

/// A second worker is ended there too.
pub(super) const TWICE: [&str; 2] = ["r1.noted", "r3.all_written"];

/// Whether whoever crashes there is reading.
pub(super) fn is_read_at(point: &str) -> bool {
    point.starts_with("r1.") || point.starts_with("r3.")
}

/// A topic of its own, and those who crash while they read it.
struct Cell {
    point: &'static str,
    crashes: usize,
    topic: String,
    /// In the order of [`VERBS`].
    cases: Vec<Case>,
    log_end: i64,
    wrong: Option<String>,
}

impl Cell {
    fn name(&self) -> String {
        let times = if self.crashes > 1 { ", twice" } else { "" };
        format!("{}{times}", self.point)
    }

    fn serves(&self) -> Vec<ConnectionId> {
        self.cases.iter().map(|case| case.at.id).collect()
    }

    /// What was before: the bookings that are to be moved and cancelled are made.
    fn history(&mut self) -> Vec<OutgoingEvent> {
        self.cases[1..].iter_mut().map(|case| case.story.created()).collect()
    }

    /// The batch.
    fn news(&mut self) -> Vec<OutgoingEvent> {
        let news = self.cases.iter_mut().zip(VERBS);
        news.map(|(Case { story, .. }, verb)| match verb {
            Verb::Create => story.created(),
            Verb::Update => story.moved(11),
            Verb::Delete => story.cancelled(),
        })
        .collect()
    }
}

/// All of them.
///
/// Fails with: `store/postgres/ingest.rs`, `commit_batch`: a commit of `tx`, and another one begun,
/// after the cursor is advanced (seen with PostgreSQL, in the cells `r3.cursor_written` and
/// `r3.all_written`).
pub(super) async fn every_cell(world: World) {
    let Some(broker) = Broker::of(&world) else {
        return world.end().await;
    };
    let mut cells = make(&world).await;
    let topics: Vec<_> = cells.iter().map(|cell| cell.topic.clone()).collect();
    broker.create(&topics, 1).await;
    for cell in &mut cells {
        let history = cell.history();
        let records = publish(&world, &broker, &cell.topic, history).await;
        world.read_log(&cell.topic, &records, records.len(), records.len()).await;
    }
    world.drain().await;
    for cell in &mut cells {
        cell.cases.iter_mut().for_each(|case| case.begin(&world));
        let news = cell.news();
        cell.log_end = after(&publish(&world, &broker, &cell.topic, news).await);
    }
    let crashed = stream::iter(&mut cells).for_each_concurrent(PROCESSES_MAX, async |cell| {
        for _ in 0..cell.crashes {
            let process = start(&world, &broker, cell, Some(cell.point));
            let crashed = process.crashes_at(cell.point).await;
            cell.wrong = cell.wrong.take().or(crashed.err());
        }
    });
    crashed.await;
    read_to_the_end(&world, &broker, &cells).await;
    let outbox = Outbox::of(&world).await;
    let recovered = recover(&world, &outbox).await;
    outbox.close().await;
    judge(&world, &mut cells).await;
    let count = cells.len() * VERBS.len();
    let wrong = cells.iter_mut().map(|cell| (cell.name(), cell.wrong.take()));
    let whole = ("the recovery".to_owned(), recovered.err());
    tell(wrong.chain([whole]));
    broker.end(&topics).await;
    crate::say(&format!("{}: {count} cells", world.fact));
    judge_all(world).await;
}

async fn make(world: &World) -> Vec<Cell> {
    let points = POINTS.iter().map(|point| point.name).filter(|point| is_read_at(point));
    let twice = TWICE.map(|point| (point, 2));
    let mut cells: Vec<Cell> = Vec::new();
    for (point, crashes) in points.map(|point| (point, 1)).chain(twice) {
        let topic = format!("crash-{}", world.surroundings.dice.token().simple());
        let mut cases = Vec::new();
        for verb in VERBS {
            let number = (cells.len() * VERBS.len() + cases.len()) as u128;
            let at = world.connect(number).await;
            let story = Story::of(&format!("{point}-{crashes}-{}", verb.name()), provider(number));
            cases.push(Case { story, at, changed_before: 0 });
        }
        cells.push(Cell { point, crashes, topic, cases, log_end: 0, wrong: None });
    }
    cells
}

/// Publishes, each record acknowledged; answers them as they stand in the log.
async fn publish(
    world: &World,
    broker: &Broker,
    topic: &str,
    events: Vec<OutgoingEvent>,
) -> Vec<RawRecord> {
    let mut records = Vec::new();
    for event in events {
        let (key, payload) = (event.booking.as_str(), encode(&event));
        let timestamp_ms = world.surroundings.clock.now().timestamp_millis();
        let record = FutureRecord::to(topic).partition(0).timestamp(timestamp_ms);
        let sent = broker.producer.send(record.key(key).payload(&payload), PATIENCE).await;
        records.push(RawRecord {
            partition: 0,
            offset: sent.expect("the broker takes a record").offset,
            timestamp_ms,
            key: Some(key.as_bytes().to_vec()),
            payload: Some(payload),
            headers: Vec::new(),
        });
    }
    records
}

/// The offset after the last of these.
fn after(records: &[RawRecord]) -> i64 {
    records.last().expect("there are some").offset + 1
}

fn start(world: &World, broker: &Broker, cell: &Cell, point: Option<&str>) -> Process {
    let kafka = [
        ("KAFKA_BROKERS", broker.bootstrap.as_str()),
        ("KAFKA_TOPIC", &cell.topic),
        ("KAFKA_GROUP", &cell.topic),
        ("LOG_LEVEL", "info,sqlx=error,calendar_sync::emit=debug"),
    ];
    Process::start(world, &cell.serves(), point, &kafka)
}

/// Other workers, of the same groups, read on where the first ones ended.
async fn read_to_the_end(world: &World, broker: &Broker, cells: &[Cell]) {
    let workers: Vec<_> = cells.iter().map(|cell| start(world, broker, cell, None)).collect();
    for cell in cells {
        until(&format!("{} is read to its end", cell.name()), async || {
            let cursor = world.store.cursor(&cell.topic, 0).await.expect("the store answers");
            cursor.and_then(|cursor| cursor.next_offset) == Some(cell.log_end)
        })
        .await;
    }
    for worker in workers {
        worker.stop().await;
    }
}

async fn judge(world: &World, cells: &mut [Cell]) {
    const SHOWS: [Option<u32>; 3] = [Some(9), Some(11), None];
    for cell in cells {
        for ((case, verb), shows) in cell.cases.iter().zip(VERBS).zip(SHOWS) {
            let judged = case.judge(world, &[verb], shows).await;
            let wrong = judged.err().map(|how| format!("{}: {how}", verb.name()));
            cell.wrong = cell.wrong.take().or(wrong);
        }
    }
}
