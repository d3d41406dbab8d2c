//! `simulate`: lets seeds happen, and says which broke the promise. See [`simulate`].
#![expect(clippy::print_stdout, reason = "it is a command")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Parser, ValueEnum as _};
use simulate::coverage::{self, Counts};
use simulate::regressions::{self, Regression};
use simulate::run::{Verdict, simulate};
use simulate::variant::Variant;

/// Each broken variant must fail within so many seeds.
const CONTROL_SEEDS_MAX: u64 = 1_000;
/// So many seeds are enough for everything to happen.
const COVERAGE_SEEDS_MIN: u64 = 10_000;
/// Of a failing seed's trace, so many lines are printed.
const TRACE_LINES_MAX: usize = 400;

/// Draws schedules of faults from seeds, and holds calendar-sync to its promise.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints what happens in each, line by line.
    #[arg(long)]
    trace: bool,
    /// The service broken on purpose.
    #[arg(long, value_enum, default_value_t = Variant::Whole)]
    variant: Variant,
    /// Further: the seeds that once failed, that a seed always takes the same way, that each broken
    /// variant is noticed, and that in 10,000 seeds every kind of fault happens.
    #[arg(long)]
    suite: bool,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
}

/// What passed, and what did not.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, is_well: bool) {
        if is_well {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut tally = Tally::default();
    if args.suite {
        once_failed(&mut tally);
        if cfg!(tokio_unstable) {
            same_way_twice(&mut tally);
        } else {
            println!(
                "not looked at: whether a seed takes the same way twice (tokio_unstable is off)"
            );
        }
        controls(&args, &mut tally);
    }
    seeds(&args, &mut tally);
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seeds that were asked for.
fn seeds(args: &Args, tally: &mut Tally) {
    let failed = Mutex::new(0);
    let counts = Mutex::new(Counts::new());
    let last = args.seed.saturating_add(args.seeds);
    if last - args.seed < args.seeds {
        println!("there are no seeds above {}", u64::MAX - 1);
    }
    let ran = AtomicU64::new(0);
    each(args.jobs, args.seed..last, |seed| {
        ran.fetch_add(1, Ordering::Relaxed);
        let verdict = simulate(seed, args.variant, args.trace);
        if args.trace {
            println!("{}", verdict.trace);
        }
        coverage::add(&mut counts.lock().unwrap_or_else(PoisonError::into_inner), &verdict.counts);
        if !verdict.wrongs.is_empty() {
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            tell(&verdict, !args.trace && *failed == 0);
            *failed += 1;
        }
        true
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.failed += failed;
    tally.passed += ran.into_inner() - failed;
    if args.suite && args.seeds >= COVERAGE_SEEDS_MIN {
        covers(&counts.into_inner().unwrap_or_else(PoisonError::into_inner), tally);
    }
}

/// Every kind of fault has happened, and the service has met it in every way that it knows.
fn covers(counts: &Counts, tally: &mut Tally) {
    for (group, names) in coverage::ALL {
        let all = names.iter().map(|name| format!("{name} {}", counts.get(name).unwrap_or(&0)));
        println!("{group}: {}", all.collect::<Vec<_>>().join(", "));
    }
    let missing = coverage::missing(counts);
    if !missing.is_empty() {
        println!("never happened: {missing:?}");
    }
    tally.count(missing.is_empty());
}

/// Does something about each, some at a time, until it answers `false`.
fn each(jobs: u64, seeds: std::ops::Range<u64>, of: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !of(seed) {
                        next.store(seeds.end, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
}

/// What was wrong with a seed, and how it came to that.
fn tell(verdict: &Verdict, shows_trace: bool) {
    if shows_trace {
        let trace = simulate(verdict.seed, verdict.variant, true).trace;
        let lines: Vec<&str> = trace.lines().collect();
        let skipped = lines.len().saturating_sub(TRACE_LINES_MAX);
        println!("the last of {} lines of seed {}:", lines.len(), verdict.seed);
        lines[skipped..].iter().for_each(|line| println!("{line}"));
    }
    for wrong in &verdict.wrongs {
        println!("seed {}: {wrong}", verdict.seed);
    }
    let variant = verdict.variant.to_possible_value().expect("none is hidden");
    let (seed, variant) = (verdict.seed, variant.get_name().to_owned());
    println!("all of it: tests/run simulate --seeds 1 --seed {seed} --variant {variant} --trace");
}

fn once_failed(tally: &mut Tally) {
    for Regression { seed, taught, reaches, .. } in regressions::ALL {
        let verdict = simulate(*seed, Variant::Whole, false);
        let is_hollow = reaches.is_some_and(|reaches| !verdict.counts.contains_key(reaches));
        if is_hollow || reaches.is_none() {
            let what = reaches.unwrap_or("what it was about");
            println!("seed {seed} does not come to `{what}` any more, and cannot teach: {taught}");
        }
        if !verdict.wrongs.is_empty() {
            println!("seed {seed} once taught: {taught}");
            tell(&verdict, true);
        }
        tally.count(verdict.wrongs.is_empty() && !is_hollow);
    }
}

/// A seed that failed and cannot be repeated would be worth nothing. Built without `tokio_unstable`,
/// tokio's own dice are not the seed's.
fn same_way_twice(tally: &mut Tally) {
    for seed in 1..=20 {
        let [first, second] = [(); 2].map(|()| simulate(seed, Variant::Whole, true).trace);
        let is_same = first == second && !first.is_empty();
        if !is_same {
            println!("seed {seed} takes another way each time");
        }
        tally.count(is_same);
    }
}

/// Each broken variant is noticed.
fn controls(args: &Args, tally: &mut Tally) {
    for variant in Variant::broken() {
        let found = Mutex::new(None);
        each(args.jobs, 1..CONTROL_SEEDS_MAX + 1, |seed| {
            let verdict = simulate(seed, variant, false);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(wrong) = verdict.wrongs.into_iter().next()
                && found.is_none()
            {
                *found = Some((seed, wrong));
            }
            found.is_none()
        });
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.count(found.is_some());
        match found {
            Some((seed, wrong)) => println!("{variant:?} is noticed by seed {seed}: {wrong}"),
            None => println!("{variant:?} is NOT noticed within {CONTROL_SEEDS_MAX} seeds"),
        }
    }
}
