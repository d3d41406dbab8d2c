//! Runs two operations in every interleaving of their statements.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use calendar_sync::store::Result;
use calendar_sync::store::postgres::{PostgresStore, Probe};
use futures::future::{MaybeDone, join, maybe_done};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::world::World;
use crate::say;

/// The longest that anything may take. Longer than the lock timeout of the store, so that a
/// session that waits in vain says so itself.
const BOUND: Duration = Duration::from_mins(1);
/// No operation has so many statements.
const STATEMENTS_MAX: usize = 40;

/// So often both run at once besides, held nowhere: within a statement nobody can be held.
const AT_ONCE: usize = 8;

/// The schedules that this process has run.
static SCHEDULES: AtomicUsize = AtomicUsize::new(0);

/// Holds a session before one of its statements, counted from 0.
struct Hold {
    before: usize,
    seen: AtomicUsize,
    reached: Notify,
    released: Notify,
}

impl Hold {
    fn before(before: usize) -> Arc<Self> {
        let (reached, released) = (Notify::new(), Notify::new());
        Arc::new(Self { before, seen: AtomicUsize::new(0), reached, released })
    }

    /// Lets the session go on; also where it has not come yet.
    fn release(&self) {
        self.released.notify_one();
    }
}

#[async_trait]
impl Probe for Hold {
    async fn before(&self, _: &'static str) {
        if self.seen.fetch_add(1, Ordering::Relaxed) == self.before {
            self.reached.notify_one();
            self.released.notified().await;
        }
    }
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Ended,
    Held,
    /// It waits for a lock of the other.
    Blocked,
}

/// Lets a session go on until it stands.
async fn until<F: Future>(world: &World, session: Pin<&mut MaybeDone<F>>, hold: &Hold) -> Stands {
    let standing = async {
        tokio::select! {
            biased;
            () = session => Stands::Ended,
            () = hold.reached.notified() => Stands::Held,
            () = world.until_blocked(1) => Stands::Blocked,
        }
    };
    timeout(BOUND, standing).await.expect("a session ends, is held, or waits for a lock")
}

/// One schedule: `one` runs up to its statement `at.0`; then `other` up to its statement `at.1`;
/// then the rest of `one`, and the rest of `other`.
async fn run<X, Y>(
    world: &World,
    at: (usize, usize),
    one: impl AsyncFnOnce(PostgresStore) -> Result<X>,
    other: impl AsyncFnOnce(PostgresStore) -> Result<Y>,
) -> (Result<X>, Result<Y>, (Stands, Stands)) {
    let (hold_one, hold_other) = (Hold::before(at.0), Hold::before(at.1));
    let mut one = Box::pin(maybe_done(one(world.store.with_probe(hold_one.clone()))));
    let mut other = Box::pin(maybe_done(other(world.store.with_probe(hold_other.clone()))));
    let first = until(world, one.as_mut(), &hold_one).await;
    let second = until(world, other.as_mut(), &hold_other).await;
    hold_one.release();
    if second == Stands::Held {
        until(world, one.as_mut(), &hold_one).await;
    }
    hold_other.release();
    timeout(BOUND, join(one.as_mut(), other.as_mut())).await.expect("both sessions end");
    let one = one.as_mut().take_output().expect("it has ended");
    let other = other.as_mut().take_output().expect("it has ended");
    (one, other, (first, second))
}

/// Says which schedule it was that failed.
struct Telling(String);

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("races: failed: {}", self.0));
        }
    }
}

/// Races two operations. For every schedule the world is emptied, `given` prepares it, both run,
/// and `then` looks at what they did. Both must end without an error: a deadlock (SQLSTATE 40P01)
/// or a lock that was waited for too long (55P03) is one.
pub(crate) async fn race<S, A: Debug, B: Debug>(
    world: &World,
    fact: &str,
    given: impl AsyncFn(&World) -> S,
    first: impl AsyncFn(PostgresStore, &S) -> Result<A>,
    second: impl AsyncFn(PostgresStore, &S) -> Result<B>,
    then: impl AsyncFn(&World, &S, A, B),
) {
    let (mut schedules, mut overlaps) = (0, 0);
    for swapped in [false, true] {
        let mut next = Some((1, 1));
        while let Some(at) = next {
            assert!(at.0.max(at.1) < STATEMENTS_MAX, "{fact}: it never ends");
            world.clear().await;
            let state = given(world).await;
            let telling = Telling(format!("{fact}: held at {at:?}, swapped: {swapped}"));
            let one = async |store| first(store, &state).await;
            let other = async |store| second(store, &state).await;
            let (a, b, stood) = if swapped {
                let (b, a, stood) = run(world, at, other, one).await;
                (a, b, stood)
            } else {
                run(world, at, one, other).await
            };
            let a = a.expect("the first operation ends well");
            let b = b.expect("the second operation ends well");
            then(world, &state, a, b).await;
            world.all_is_well().await;
            drop(telling);
            schedules += 1;
            overlaps += usize::from(stood.0 == Stands::Held);
            next = match stood {
                (Stands::Ended | Stands::Blocked, _) => None,
                (Stands::Held, Stands::Held) => Some((at.0, at.1 + 1)),
                (Stands::Held, Stands::Ended | Stands::Blocked) => Some((at.0 + 1, 1)),
            };
        }
    }
    for _ in 0..AT_ONCE {
        world.clear().await;
        let state = given(world).await;
        let telling = Telling(format!("{fact}: both at once"));
        let (one, other) = (world.store.clone(), world.store.clone());
        let both = join(first(one, &state), second(other, &state));
        let (a, b) = timeout(BOUND, both).await.expect("both operations end");
        let a = a.expect("the first operation ends well");
        let b = b.expect("the second operation ends well");
        then(world, &state, a, b).await;
        world.all_is_well().await;
        drop(telling);
    }
    let all = SCHEDULES.fetch_add(schedules, Ordering::Relaxed) + schedules;
    say(&format!(
        "races: {fact}: {schedules} schedules, {overlaps} of them overlapping ({all} so far)"
    ));
}
