//! How fast events are taken in: `Pipeline::take` on PostgreSQL with fsync, journal, effects and
//! planning, beside what bounds it: the bare bulk upsert of the same rows, and folding alone; and the
//! same with traces.
//!
//! `TEST_POSTGRES_URL=… cargo bench --bench ingest -- [EVENTS] [REPEATS] [BATCHES] [PARTITIONS]`,
//! the last two as lists with commas. Every run begins with empty tables and is checked in the
//! end: the cursors, the bookings, the effects that are due, the journal.
//!
//! The machine is seldom ours alone, so the best and the median stand beside the load; processor
//! time an event, and the events that two cores could do for it, depend less on the others.

#![expect(clippy::cast_precision_loss, reason = "the counts of a run are far below 2^52")]

mod ceiling;
mod database;
mod events;
mod measure;
mod traces;

use std::fmt::Write as _;
use std::sync::Arc;

use booking::Rules;
use booking::content::Template;
use calendar_sync::clock::{Dice as _, Surroundings, SystemDice};
use calendar_sync::consumer::{BatchPlace, BatchSink as _, RawRecord, Taken};
use calendar_sync::pipeline::Pipeline;
use calendar_sync::pipeline::schemas::NoRegistry;
use calendar_sync::store::postgres::PostgresStore;
use calendar_sync::store::{Fence, Fenced, LogFacts, Store as _};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use ceiling::Rows;
use database::{Start, in_new_database, say, start};
use events::Mix;
use measure::{Cost, Statements, Watch};
use traces::Traces;

/// What the service promises on two cores, in events a second.
const TARGET: f64 = 10_000.0;
/// The share of creates from which a log is as hard as the promise says, in percent.
const CREATES_MIN: usize = 30;
const CORES: f64 = 2.0;
const TOPIC: &str = "bookings";

type Partitions = Arc<Vec<Vec<RawRecord>>>;

/// What is asked for.
struct Asked {
    events: usize,
    repeats: usize,
    batches: Vec<usize>,
    partitions: Vec<usize>,
}

/// All repeats of one case.
struct Case {
    name: &'static str,
    batch: usize,
    partitions: usize,
    events: usize,
    /// The bookings written in every run, as often as they are written.
    rows: usize,
    /// In one batch, on average; without BEGIN.
    statements: f64,
    costs: Vec<Cost>,
    load: f64,
}

impl Case {
    /// Events a second, the slowest run first.
    fn rates(&self) -> Vec<f64> {
        let rate = |cost: &Cost| self.events as f64 / cost.elapsed.as_secs_f64();
        let mut rates: Vec<f64> = self.costs.iter().map(rate).collect();
        rates.sort_unstable_by(f64::total_cmp);
        rates
    }

    fn best(&self) -> f64 {
        self.rates().last().copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        let rates = self.rates();
        rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Microseconds of processor time an event: the least of the repeats.
    fn micros(&self, part: fn(&Cost) -> Option<f64>) -> f64 {
        let of_run = |cost: &Cost| part(cost).map(|s| s * 1e6 / self.events as f64);
        self.costs.iter().filter_map(of_run).fold(f64::NAN, f64::min)
    }
}

fn main() {
    let Some(Start { words, url, runtime }) = start("ingest") else {
        return;
    };
    let asked = asked(&words);
    runtime.block_on(in_new_database(&url, async |store| measure(store, &asked).await));
}

fn asked(words: &[String]) -> Asked {
    let numbers = |place: usize, default: &str| -> Vec<usize> {
        let text = words.get(place).map_or(default, String::as_str);
        text.split(',').map(|number| number.parse().expect("a number")).collect()
    };
    Asked {
        events: numbers(0, "200000")[0],
        repeats: numbers(1, "3")[0],
        batches: numbers(2, "1000,4000"),
        partitions: numbers(3, "2,4"),
    }
}

async fn measure(store: &PostgresStore, asked: &Asked) {
    store.migrate().await.expect("it is migrated");
    for provider in 0..events::PROVIDERS {
        store.put_connection(&events::connection(provider)).await.expect("it is connected");
    }
    say(&format!("PostgreSQL {}", durable(store.pool()).await));
    let mut cases = Vec::new();
    for &partitions in &asked.partitions {
        let (log, mix) = events::log(asked.events, partitions);
        assert!(mix.created * 100 >= CREATES_MIN * mix.events(), "{mix}");
        say(&format!("{partitions} partitions, {mix}"));
        let log = Arc::new(log);
        for &batch in &asked.batches {
            let (fold, rows) = fold_alone(store.pool(), &log, batch).await;
            let written = fold.rows;
            cases.push(fold);
            cases.push(bare(store.pool(), rows, batch, &mix, asked.repeats).await);
            for traces in [Traces::No, Traces::Carried, Traces::Recorded] {
                let pipeline = whole(store, &log, batch, (&mix, traces), asked.repeats).await;
                cases.push(Case { rows: written, ..pipeline });
            }
            say(&format!("  batches of {batch}: done"));
        }
    }
    say(&table(&cases));
}

/// What is measured is only worth it if commits reach the disk.
async fn durable(pool: &PgPool) -> String {
    const SETTINGS: &str = "
        SELECT current_setting('server_version'), current_setting('fsync'),
               current_setting('synchronous_commit'), current_setting('full_page_writes')";
    let (version, fsync, synchronous, full): (String, String, String, String) =
        sqlx::query_as(SETTINGS).fetch_one(pool).await.expect("PostgreSQL answers");
    assert_eq!((fsync.as_str(), synchronous.as_str(), full.as_str()), ("on", "on", "on"));
    format!("{version}, fsync=on, synchronous_commit=on, full_page_writes=on")
}

fn rules() -> Rules {
    let template = |text| Template::parse(text).expect("a template");
    Rules {
        uid_domain: "bookings.example".to_owned(),
        summary: template("Booking: {service_name}"),
        description: template("{description}"),
        location: template("{location}"),
        pending_is_tentative: false,
        horizon: events::horizon(),
    }
}

/// Decode, fold and plan in memory, on one core; and the rows that come of it, by partition.
async fn fold_alone(pool: &PgPool, log: &Partitions, batch: usize) -> (Case, Vec<Vec<Rows>>) {
    let events = log.iter().map(Vec::len).sum();
    let rules = rules();
    let watch = Watch::start(pool).await;
    let mut folded = Vec::new();
    for records in log.iter() {
        folded.push(ceiling::fold_alone(records, batch, &rules).await.0);
    }
    let cost = Cost { backends: None, writers: None, ..watch.stop(pool).await };
    let rows: Vec<Vec<Rows>> = folded.into_iter().map(ceiling::rows).collect();
    let case = Case {
        name: "fold in memory",
        batch,
        partitions: 1,
        events,
        rows: rows.iter().flatten().map(Rows::len).sum(),
        statements: 0.0,
        costs: vec![cost],
        load: measure::load(),
    };
    (case, rows)
}

/// The bare upsert of the same rows, the partitions beside each other as in the pipeline.
async fn bare(
    pool: &PgPool,
    rows: Vec<Vec<Rows>>,
    batch: usize,
    mix: &Mix,
    repeats: usize,
) -> Case {
    let partitions = rows.len();
    let count = rows.iter().flatten().map(Rows::len).sum();
    let rows: Vec<Arc<Vec<Rows>>> = rows.into_iter().map(Arc::new).collect();
    let mut costs = Vec::new();
    for _ in 0..repeats {
        ceiling::make_table(pool).await;
        settle(pool).await;
        let watch = Watch::start(pool).await;
        let mut tasks = JoinSet::new();
        for of_partition in &rows {
            let (pool, of_partition) = (pool.clone(), Arc::clone(of_partition));
            tasks.spawn(async move { ceiling::upsert(&pool, &of_partition).await });
        }
        tasks.join_all().await;
        costs.push(watch.stop(pool).await);
    }
    let load = measure::load();
    let (events, name, statements) = (mix.events(), "bare upsert", 1.0);
    Case { name, batch, partitions, events, rows: count, statements, costs, load }
}

/// The pipeline itself.
async fn whole(
    store: &PostgresStore,
    log: &Partitions,
    batch: usize,
    (mix, traces): (&Mix, Traces),
    repeats: usize,
) -> Case {
    let log = &traces.of(log);
    let (mut costs, mut statements) = (Vec::new(), 0.0);
    let batches: usize = log.iter().map(|records| records.len().div_ceil(batch)).sum();
    for _ in 0..repeats {
        empty(store.pool()).await;
        settle(store.pool()).await;
        let counted = Arc::new(Statements::default());
        let probed: Arc<PostgresStore> = Arc::new(store.with_probe(counted.clone()));
        let pipeline = Pipeline::new(probed, Arc::new(NoRegistry), rules(), Surroundings::real());
        let (tracer, exporting) = traces.tracer();
        let pipeline = Arc::new(pipeline.traced(tracer, "bench".to_owned()));
        let places = fence(store, log.len()).await;
        let watch = Watch::start(store.pool()).await;
        let mut tasks = JoinSet::new();
        for (partition, place) in places.into_iter().enumerate() {
            let (pipeline, log) = (Arc::clone(&pipeline), Arc::clone(log));
            tasks.spawn(async move { feed(&pipeline, place, &log[partition], batch).await });
        }
        tasks.join_all().await;
        costs.push(watch.stop(store.pool()).await);
        if let Some(exporting) = exporting {
            exporting.end().await;
        }
        statements = counted.count() as f64 / batches as f64;
        check(store, log, mix).await;
    }
    let (name, partitions, load) = (traces.name(), log.len(), measure::load());
    Case { name, batch, partitions, events: mix.events(), rows: 0, statements, costs, load }
}

/// Fences the partitions as the consumer does, and gives each cursor its start.
async fn fence(store: &PostgresStore, partitions: usize) -> Vec<BatchPlace> {
    let numbers: Vec<i32> = (0..).take(partitions).collect();
    let cursors = store.fence(TOPIC, &numbers, SystemDice.token()).await.expect("they are fenced");
    let mut places = Vec::new();
    for cursor in cursors {
        let facts = LogFacts { start: Some(0), ..LogFacts::default() };
        let noted = store.note_log(&cursor.fence, &facts).await.expect("it is noted");
        assert_eq!(noted, Fenced::Written);
        let fence: Fence = cursor.fence;
        places.push(BatchPlace {
            fence,
            incarnation: 0,
            from: 0,
            log_end: None,
            recover_until: None,
            gathered_for: std::time::Duration::ZERO,
        });
    }
    places
}

async fn feed(pipeline: &Pipeline, mut place: BatchPlace, records: &[RawRecord], batch: usize) {
    let stop = CancellationToken::new();
    for chunk in records.chunks(batch) {
        // Copied as the consumer copies them out of librdkafka's buffers.
        let taken = pipeline.take(&place, chunk.to_vec(), &stop).await;
        let to = place.from + chunk.len().cast_signed() as i64;
        assert_eq!(taken, Taken::To(to));
        place.from = to;
    }
}

/// The result must be right, or its speed means nothing.
async fn check(store: &PostgresStore, log: &Partitions, mix: &Mix) {
    const COUNTS: &str = "
        SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM effects WHERE due),
               (SELECT count(*) FROM journal), (SELECT count(*) FROM dead_letters)";
    for cursor in store.cursors().await.expect("PostgreSQL answers") {
        let partition = usize::try_from(cursor.fence.partition).expect("it is not negative");
        assert_eq!(cursor.next_offset, Some(log[partition].len().cast_signed() as i64));
    }
    let counts: (i64, i64, i64, i64) =
        sqlx::query_as(COUNTS).fetch_one(store.pool()).await.expect("PostgreSQL answers");
    let expected = [mix.created, mix.live(), mix.events(), 0].map(|n| n.cast_signed() as i64);
    assert_eq!(<[i64; 4]>::from(counts), expected, "bookings, due, journal, dead letters");
}

async fn empty(pool: &PgPool) {
    const EMPTY: &str = "TRUNCATE cursors, bookings, effects, journal, dead_letters";
    sqlx::query(EMPTY).execute(pool).await.expect("they are emptied");
}

/// Every run begins behind a checkpoint, so that each writes its own full pages.
async fn settle(pool: &PgPool) {
    sqlx::query("CHECKPOINT").execute(pool).await.expect("a checkpoint");
}

fn table(cases: &[Case]) -> String {
    let mut text = String::from(
        "\n                 batch part. │ events/s      % of   rows/s │ µs of CPU an event         │ two    │   WAL  stmts  load\n\
         \u{20}                            │   best median  bare          │   ours   backends  writers │  cores │ B/ev. /batch\n",
    );
    let mut write = |line: String| writeln!(text, "{line}").expect("a String takes any text");
    let mut bare = f64::NAN;
    for case in cases {
        if case.name == "bare upsert" {
            bare = case.best();
        }
        let is_bound = case.name == "fold in memory";
        let percent = if is_bound { f64::NAN } else { case.best() * 100.0 / bare };
        let ours = case.micros(|cost| Some(cost.ours));
        let backends = case.micros(|cost| cost.backends);
        let writers = case.micros(|cost| cost.writers);
        let all = [ours, backends, writers].into_iter().filter(|part| !part.is_nan()).sum::<f64>();
        let wal = case.costs.iter().map(|cost| cost.wal).min().unwrap_or(0) as f64;
        let wal = if is_bound { f64::NAN } else { wal / case.events as f64 };
        let rows = case.best() * case.rows as f64 / case.events as f64;
        write(format!(
            "{:<15} {:>6} {:>5} │ {} {} {} {} │ {} {} {} │ {} │ {} {} {}",
            case.name,
            case.batch,
            case.partitions,
            cell(case.best(), 6, 0),
            cell(case.median(), 6, 0),
            cell(percent, 5, 0),
            cell(rows, 8, 0),
            cell(ours, 6, 1),
            cell(backends, 10, 1),
            cell(writers, 8, 1),
            cell(CORES * 1e6 / all, 6, 0),
            cell(wal, 5, 0),
            cell(case.statements, 6, 1),
            cell(case.load, 5, 1),
        ));
    }
    write(verdict(cases));
    text
}

/// A number, or a dash where there is none.
fn cell(value: f64, width: usize, decimals: usize) -> String {
    if value.is_nan() {
        return format!("{:>width$}", '–');
    }
    format!("{value:>width$.decimals$}")
}

fn verdict(cases: &[Case]) -> String {
    let pipeline = cases.iter().filter(|case| case.name == "pipeline");
    let Some(case) = pipeline.max_by(|a, b| a.median().total_cmp(&b.median())) else {
        return "nothing was measured".to_owned();
    };
    let (best, median) = (case.best(), case.median());
    let met = match (best >= TARGET, median >= TARGET) {
        (_, true) => "met",
        (true, false) => "met by the best run only",
        (false, false) => "missed",
    };
    format!(
        "\ntarget, {TARGET:.0} events/s on two cores with at least {CREATES_MIN} % creates: {met}. \
         The median is {median:.0}, the best {best:.0}, in batches of {} of {} partitions.",
        case.batch, case.partitions
    )
}
