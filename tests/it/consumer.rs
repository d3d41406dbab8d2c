//! Reading the topic, on the embedded broker and on Apache Kafka: every record once and in order,
//! whoever joins, leaves or gets stuck, and a log that is not the one that was read is not read on.
#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

mod ledger;

mod harness;

mod membership;

mod stops;

mod living;

mod lag;
