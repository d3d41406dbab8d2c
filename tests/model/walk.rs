//! Walking every path of a configuration.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::{Checker, HasDiscoveries, Model as _};

use crate::protocol::Protocol;
use crate::state::State;

/// The workers are alike: of two states that differ by their places alone, one is enough.
fn representative(state: &State) -> State {
    let mirrored = state.mirrored();
    if mirrored.workers < state.workers { mirrored } else { state.clone() }
}

/// Every invariant holds in every state, and every witness is seen.
#[track_caller]
pub(crate) fn holds(protocol: Protocol) {
    let checker = protocol.checker().symmetry_fn(representative).spawn_dfs().join();
    tell(&checker);
    checker.assert_properties();
}

/// This invariant is broken: there is a path, which is told, to a state in which it does not hold.
#[track_caller]
pub(crate) fn is_noticed(protocol: Protocol, invariant: &'static str) {
    let finish = HasDiscoveries::AnyOf([invariant].into());
    let checker = protocol.checker().finish_when(finish).spawn_bfs().join();
    tell(&checker);
    let path = checker.assert_any_discovery(invariant);
    let actions = path.into_actions();
    say(&format!("against \"{invariant}\": {actions:?}"));
}

/// No path goes round in a circle: as states are finite, every path ends. (The checker tells a
/// circle from two ways to one state by nothing.)
#[track_caller]
pub(crate) fn every_path_ends(protocol: &Protocol) {
    let name = |state: &State| {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    };
    let (mut entered, mut left) = (HashSet::new(), HashSet::new());
    // The path walked now: each state's name, and the states after it that are still to be seen.
    let mut path = vec![(0, protocol.init_states())];
    while let Some((at, further)) = path.last_mut() {
        let Some(next) = further.pop() else {
            entered.remove(at);
            left.insert(*at);
            path.pop();
            continue;
        };
        let name = name(&next);
        assert!(!entered.contains(&name), "a path comes back to {next:#?}");
        if !left.contains(&name) {
            entered.insert(name);
            path.push((name, protocol.next_states(&next)));
        }
    }
    say(&format!("{} states, and no way back", left.len()));
}

fn tell(checker: &impl Checker<Protocol>) {
    let (all, unique) = (checker.state_count(), checker.unique_state_count());
    say(&format!("{unique} states ({all} ways to them), at most {} steps", checker.max_depth()));
}

#[expect(clippy::print_stderr, reason = "figures for who runs the test with --nocapture")]
fn say(line: &str) {
    let thread = std::thread::current();
    eprintln!("{}: {line}", thread.name().unwrap_or("model"));
}
