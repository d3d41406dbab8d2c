//! The life of a worker's process: it can be ended or frozen at its n-th step, a step being one poll
//! of any of its tasks. What was handed to the network by then goes its way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use calendar_sync::clock::Tasks;
use futures::future::BoxFuture;
use tokio::sync::Notify;

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The process is gone.
    Dies,
    /// It takes no step until it is thawed, after so long.
    Freezes(Duration),
}

/// One process.
#[derive(Debug, Default)]
pub(crate) struct Life {
    state: Mutex<State>,
    /// Notified when the fate has come.
    pub(crate) struck: Notify,
}

#[derive(Debug, Default)]
struct State {
    polls: u64,
    fate: Option<(u64, Fate)>,
    stands: Option<Fate>,
    waiting: Vec<Waker>,
}

impl Life {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this happen after so many further polls.
    pub(crate) fn doom(&self, polls: u64, fate: Fate) {
        let mut state = self.state();
        state.fate = Some((state.polls + polls, fate));
    }

    /// What has happened, if anything.
    pub(crate) fn stands(&self) -> Option<Fate> {
        self.state().stands
    }

    /// Goes on after a freeze.
    pub(crate) fn thaw(&self) {
        let mut state = self.state();
        if matches!(state.stands, Some(Fate::Freezes(_))) {
            state.stands = None;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether a task may take its step now.
    fn step(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        if state.stands.is_none() {
            state.polls += 1;
            match state.fate {
                Some((at, fate)) if state.polls >= at => {
                    state.fate = None;
                    state.stands = Some(fate);
                    self.struck.notify_one();
                }
                Some(_) | None => return true,
            }
        }
        state.waiting.push(waker.clone());
        false
    }
}

/// Sees every task of a process.
pub(crate) struct Process(pub(crate) Arc<Life>);

impl Tasks for Process {
    fn seen(&self, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        Box::pin(Watched { life: Arc::clone(&self.0), task })
    }
}

struct Watched {
    life: Arc<Life>,
    task: BoxFuture<'static, ()>,
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.life.step(context.waker()) {
            self.task.as_mut().poll(context)
        } else {
            Poll::Pending
        }
    }
}
