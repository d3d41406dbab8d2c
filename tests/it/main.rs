//! The integration tests: one binary, one module for each thing that is held.

mod services;

mod readme;

mod module_rule;

mod settings;

mod golden;

mod publish;

mod store_contract;

mod races;

mod calendars;

mod consumer;

mod pipeline;

mod commands;

mod end_to_end;

#[cfg(feature = "demo")]
mod emulator;

#[cfg(feature = "demo")]
mod demo;

#[cfg(feature = "demo")]
mod runbook;

#[cfg(feature = "demo")]
mod booking_service;

#[cfg(feature = "demo")]
mod kill;
