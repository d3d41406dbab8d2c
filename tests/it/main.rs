//! The integration tests: one binary, one module for each thing that is held.

use std::io::Write as _;

/// The facts of one module of a suite, each a test on what `$make` makes.
macro_rules! facts {
    ($make:ident, $suite:ident, $module:ident, [$($fact:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $fact() {
                    if let Some(mut env) = super::$make(stringify!($fact)).await {
                        crate::$suite::$module::$fact(&mut env).await;
                        env.end().await;
                    }
                }
            )*
        }
    };
}

mod services;

mod dav_server;

mod authority;

mod odd_answers;

mod wait;

mod exposition;

mod leash;

mod process;

mod broker;

mod readme;

mod deploy_files;

mod module_rule;

mod settings;

mod golden;

mod publish;

mod port;

mod store_contract;

mod races;

mod calendars;

mod consumer;

mod pipeline;

mod commands;

mod end_to_end;

mod accounts;

mod metrics;

mod health;

mod conformance;

#[cfg(feature = "demo")]
mod emulator;

#[cfg(feature = "demo")]
mod traces;

#[cfg(feature = "demo")]
mod demo;

#[cfg(feature = "demo")]
mod runbook;

#[cfg(feature = "demo")]
mod booking_service;

#[cfg(feature = "demo")]
mod kill;

mod rehearsal;

mod image;

#[cfg(feature = "crash-points")]
mod crash;

/// Past the harness, which shows nothing of a test that passes.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error takes a line");
}
