//! Two sessions, at every statement of each: no interleaving on PostgreSQL loses an update,
//! accepts a stale record, or deadlocks.
//!
//! [`schedule`] holds one session before a statement, lets the other go on until it ends, waits
//! for a lock, or stands before a statement of its own, and then releases both; it does so for
//! every pair of statements, in both roles. [`world`] is the database, with triggers that watch
//! every single write. Every fact names the change of one line that makes it fail.

mod schedule;

mod world;

mod fences;

mod ingest;

mod connections;

mod lanes;

mod records;

mod order;
