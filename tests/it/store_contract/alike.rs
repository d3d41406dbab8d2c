//! The model answers as SQLite does, to any calls in any order: facts tell what has been thought
//! of, and this finds where the two differ beside them. The calls follow from [`SEED`], so that a
//! failure comes again.

#[macro_use]
mod calls;

mod sending;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use self::calls::{Call, NUMBERS, Pair};

/// Where chance begins.
const SEED: u64 = 0x2030_0604;
/// How many sequences of calls are tried, and how long each is at most.
const CASES: u32 = 48;
const CALLS_MAX: usize = 120;
/// Their answers differ soon where what they hold does.
const CALLS_PER_LOOK: usize = 8;

#[test]
fn the_model_answers_as_sqlite_does() {
    let call =
        (0..120_u8, any::<[u8; NUMBERS]>()).prop_map(|(kind, numbers)| Call { kind, numbers });
    let calls = proptest::collection::vec(call, 1..CALLS_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Config::default()
    };
    let tried = TestRunner::new(config).run(&calls, |calls| {
        runtime.block_on(async {
            let pair = Pair::new().await;
            pair.begin().await?;
            for (made, call) in calls.iter().enumerate() {
                pair.call(call).await?;
                if made % CALLS_PER_LOOK == 0 {
                    pair.look().await?;
                }
            }
            pair.look().await?;
            pair.end().await;
            Ok(())
        })
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
}
