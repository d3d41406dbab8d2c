//! calendar-sync keeps calendars equal to the bookings in a Kafka topic, each event exactly once
//! in effect.
//!
//! # The way of an event
//!
//! 1. [`consumer`] fences a partition's cursor in the database, checks that the log is the one that
//!    was read before, and hands over batches of records.
//! 2. [`pipeline`] reads each record ([`booking::decode`]), folds it into its booking's state
//!    ([`booking::fold`]), plans the calls that follow ([`booking::plan`]), and commits cursor,
//!    bookings, effects, journal and dead letters in one transaction of the [`store`].
//! 3. [`emit`] leases a connection, decides what is owed on it ([`emit::decide`]), stores the exact
//!    call, makes it through a [`calendar`], understands the answer ([`emit::outcome`]), and
//!    records what was acknowledged. While nothing is due it reads the calendar through, and finds
//!    what is otherwise than it was left ([`emit::drift`]).
//! 4. [`ops`] is what operators and the booking application ask over HTTP: metrics, whether this process
//!    is alive and ready, a booking to be sent again, and links by which hosts connect their calendars.
//! 5. [`cli`] builds all of this from the [`config`]; [`connection`] asks accounts' owners, names
//!    accounts, seals their credentials, and renews access that expires.
//!
//! What all of it does is told by [`telemetry`]: log lines, and traces, which go on with that of whoever
//! published ([`trace_parent`]).
//!
//! The protocol's rules have numbers (R1 to R22), which comments and tests name.
//!
//! # Invariants, and the test that holds each
//!
//! | invariant | held by |
//! |---|---|
//! | folding does not depend on the order, repetition or batching of sequenced events (R5, R6) | `booking`: `any_permutation_and_repetition_ends_in_the_same_calendar` |
//! | a revision never falls (R7) | `booking`: `a_revision_never_falls` |
//! | an event goes to its destination and nowhere else (R8, R19) | `booking`: `an_event_goes_to_the_destination_and_nowhere_else` |
//! | only the latest fence moves a cursor, and only on from where it stands (R1, R3) | `it`: `store_contract`, `a_stale_owner_can_write_nothing` and `a_cursor_without_an_offset_takes_a_batch_from_the_start_alone` |
//! | a log that is not the one that was read is not read on (R2) | `it`: `consumer` |
//! | what cannot be read is a dead letter, kept whole, and the partition goes on (R4) | `it`: `pipeline` |
//! | a commit holds only if nothing changed that it was folded from (R8, R16) | `it`: `races` |
//! | nothing is committed by what a database has forgotten since it was read (R3, R18) | `it`: `store_contract`, `a_booking_that_was_forgotten_meanwhile_makes_a_batch_stale`; `pipeline`, `what_was_read_before_the_database_fell_back_is_not_committed` |
//! | what is in flight is settled before anything supersedes it (R13) | `emit`: `what_is_in_flight_is_settled_before_anything_else` |
//! | what was not applied gives way to what is wanted by now, where it cannot land unseen (R13, R14) | `emit`: `what_was_not_applied_makes_room_for_what_is_wanted_by_now`; `it`: `an_update_that_is_refused_makes_room_for_the_cancellation` |
//! | nothing is sent before its time, and no row holds up another (R9) | `it`: `store_contract`, `a_verification_waits_for_what_is_owed_and_for_the_dead` and `a_take_over_keeps_the_backoff` |
//! | what the booking application made is taken over, not made again | `it`: `what_the_booking_application_made_is_taken_over` |
//! | only a marker, or the calendar's own yes, makes something applied (R13, R15) | `emit`: `decide` and `outcome`; `it`: `store_contract`, `what_is_not_acknowledged_stays_due` |
//! | wherever a worker crashes, another one recovers, and each effect is there once (R1, R3, R10 to R15, R20) | `it`: `crash`, with `--features crash-points` |
//! | a stale holder records nothing (R15) | `it`: `store_contract` and `races` |
//! | a generation that was to be deleted is never used again, whatever is wanted (R12) | `emit`: `a_burned_generation_is_never_used_again`; `it`: `store_contract`, `what_is_burned_is_deleted_though_an_event_is_wanted_again` |
//! | one bare 404 settles nothing for good (R12) | `emit`: `graph_has_used_up_the_name_of_what_was_there_and_is_not`; `it`: `an_event_that_is_not_found_for_a_moment_is_deleted_all_the_same` |
//! | a database that fell back leaves nothing behind that it has forgotten (R18) | `it`: `store_contract`, `what_may_have_lost_its_stamp_is_looked_at`; `end_to_end`, `recovery` |
//! | a generation that the database has forgotten is not used again (R12, R18) | `it`: `end_to_end`, `an_event_of_a_generation_that_was_forgotten_is_taken_over` |
//! | nothing is repaired by a listing alone: an event is read by its own name first (R20, L24) | `emit`: `drift`; `it`: `end_to_end`, `repair` |
//! | a calendar that held two events or more and turns up empty halts repair, and is not filled again (R20, L24) | `it`: `end_to_end`, `an_emptied_calendar_is_filled_again_once_a_person_has_said_so` |
//! | only what we could have made is removed, and only where its booking has another event or is to have none (R20) | `emit`: `only_what_we_could_have_made_before_is_an_extra` and `what_no_row_tells_of_is_never_removed`; `it`: `end_to_end`, `the_only_event_of_a_booking_is_not_removed_though_its_name_is_another` |
//! | an answer that is not understood in all its parts is no listing: nothing is missing by it (R20, L24) | `it`: `calendars`, `a_listing_that_is_not_understood_is_none` |
//! | what vanished without a trace is missed in the end (R20) | `it`: `end_to_end`, `what_got_lost_without_a_trace_comes_back_in_the_end` |
//! | what a host has put into an event survives every update and repair, and is no drift (R20) | `it`: `end_to_end`, `kept`; `calendar`: `all_of_hers_stays_beside_our_content` and `notes_survive_any_updates`; `simulate`: the oracle |
//! | what a host did by hand is overruled, or left and told, as the policy says; what is hers alone is never touched (R20) | `it`: `end_to_end`, `repair`; `simulate`: the oracle, and `afterwards` |
//! | no calendar is asked more often than its limit says, whoever asks; one tenant's flood is nobody else's wait (L16) | `emit`: `limits`, `in_no_minute_there_are_more_than_the_rate` and `a_mark_that_is_lost_lets_no_more_than_a_burst_through`; `it`: `end_to_end`, `limits`; `store_contract`, `budgets` and `a_pace_is_kept_with_its_lane` |
//! | a new connection is filled with the upcoming bookings, once, and what is asked for meanwhile goes first (R8, R21) | `it`: `end_to_end`, `filling`; `store_contract`, `what_an_event_asks_for_goes_before_a_fill` and `what_stands_already_is_not_filled_again` |
//! | only the lane's holder renews access, and what was renewed is stored before it is used; a stale token overwrites nothing, nor what was connected again meanwhile (R10) | `it`: `store_contract`, `credentials`; `accounts`, `two_workers_renew_once` and `crossing` |
//! | only a grant that is no good asks for its owner; a wrong client secret or a token endpoint's trouble parks nobody (L7) | `connection`: `refresh`; `it`: `accounts`, `refused` and `trouble` |
//! | only the same account renews a connection, whatever its address (R17); what only reads is refused before it is stored (L28) | `connection`: `connecting`, `id_token` and `scopes`; `it`: `accounts`, `linked`, `connecting` and `by_device` |
//! | what one browser began no other one ends, and nothing is stored before a calendar is chosen | `connection`: `pass`; `it`: `accounts`, `linked` |
//! | a service account's key is used at the token endpoint of the settings alone, and nothing is stored before it has opened a calendar that can be written to (L28) | `it`: `accounts`, `delegated` |
//! | a leaked database, log or metric gives no credential | `it`: `accounts`, `secrets` (codes and passes too) and `delegated` |
//! | no metric's label tells of a booking, an event, a connection or a host, and a scrape waits for nobody | `it`: `metrics`, `hygiene`; `health` |
//! | `external_calendar_events` says what stands in the calendar | `it`: `store_contract`, `records`; `simulate`: the oracle |
//! | no calendar is asked at an address that is not open, whatever its name led to before, and nothing goes unencrypted | `calendar`: `http::networks`; `it`: `calendars`, `reach` |
//! | whatever a server answers instead, the wait is bounded, its connection says why, and nothing is lost | `it`: `end_to_end`, `bad_input` and `tls` |
//! | every adapter passes one kit of facts, and the kit notices an adapter that is broken | `it`: `conformance`; `conformance::broken` |
//! | a few faults, anywhere, end in the fold: revisions only rise, a revision has one effect in a generation, no stale fence writes (R1, R3, R9 to R15) | `model` |
//! | one live event or none, through every fault that is drawn | `simulate`: `tests/run simulate` |
//! | a booking is one trace, from whoever published it to the calendar's answer, whoever sends it | `it`: `store_contract`, `origins`; `traces` |
//! | a line of the log names the trace that it was said in | `telemetry`: `a_line_names_the_trace_that_it_is_said_in`; `it`: `traces::work` |
//! | who is not let in by Kafka says which setting is about it and no secret, and is not ready | `it`: `image`, by `tests/run image` |
//! | a collector that is down, silent or talks nonsense slows nothing and stops nothing; what it is not told is counted | `it`: `traces`, `trouble` |
//! | what is sent to Google and Microsoft is what they publish: paths, parameters, bodies | `tests/run requests` |
//! | the core knows no async, I/O, clock or dice; SQL, Kafka and HTTP each have one place | `it`: `module_rule` |
//!
//! # Modules, in reading order

pub use booking;

pub mod config;

pub mod consumer;

pub mod pipeline;

pub mod registry;

pub mod store;

pub mod emit;

pub mod connection;

pub mod calendar;

#[cfg(feature = "demo")]
pub mod emulator;

pub mod ops;

pub mod clock;

pub mod trace_parent;

pub mod telemetry;

pub mod crash;

pub mod cli;
