//! `publish`: JSON lines to records on the topic, each one's delivery awaited.
//!
//! For trying the service out and for repairs by hand. Every line is checked as the service will
//! check it, so nothing is published that would become a dead letter.

use std::collections::VecDeque;
use std::io::{self, Write};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::encode::{LineError, OutgoingEvent, read_line};
use crate::clock::Dice;
use crate::consumer::without_value;

/// The longest line that we read, in bytes: a record may be longer as JSON than as Avro.
pub const LINE_LEN_MAX: usize = 4 * 1024 * 1024;
/// The most records whose delivery is awaited at once.
pub const IN_FLIGHT_MAX: usize = 1_000;
/// How long librdkafka tries to deliver a record, unless the configuration says, in milliseconds.
const DELIVERY_TIMEOUT_MS: &str = "60000";

/// What became of the lines. Empty lines do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// How many there were.
    pub lines: u64,
    /// How many are on the topic, acknowledged by all its in-sync replicas.
    pub delivered: u64,
    /// How many are not events that the service would read.
    pub refused: u64,
    /// How many records Kafka did not acknowledge. They may be on the topic all the same.
    pub undelivered: u64,
}

/// Why not everything was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The configuration is not accepted.
    #[error("cannot make a producer")]
    Producer(#[source] KafkaError),
    /// The lines cannot be read on.
    #[error("cannot read line {line}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write the report")]
    Write(#[source] io::Error),
    /// Some lines were refused or not delivered; each is in the report by its number.
    #[error("{} of {} lines were not published", .0.refused + .0.undelivered, .0.lines)]
    Incomplete(PublishReport),
}

/// Opens a file, or standard input for `-`.
pub async fn open(path: &str) -> io::Result<Box<dyn AsyncBufRead + Send + Unpin>> {
    if path == "-" {
        return Ok(Box::new(BufReader::new(tokio::io::stdin())));
    }
    Ok(Box::new(BufReader::new(tokio::fs::File::open(path).await?)))
}

/// Publishes one event for each line (see [`read_line`]), the booking's id as the key. `config`
/// holds at least `bootstrap.servers`. A line that is no event is reported by its number and
/// skipped; so is a record that is not delivered. The last line of the report is a summary.
///
/// # Errors
/// [`PublishError::Incomplete`] at the end if any line was refused or not delivered.
pub async fn publish(
    config: ClientConfig,
    topic: &str,
    mut lines: impl AsyncBufRead + Unpin,
    dice: &dyn Dice,
    out: &mut (dyn Write + Send),
) -> Result<PublishReport, PublishError> {
    let producer = producer(config).map_err(PublishError::Producer)?;
    let mut publisher = Publisher {
        producer,
        topic,
        in_flight: VecDeque::new(),
        report: PublishReport::default(),
        out,
    };
    let mut buffer = Vec::new();
    for line in 1.. {
        let read = next_line(&mut lines, &mut buffer).await;
        match read.map_err(|source| PublishError::Read { line, source })? {
            Line::End => break,
            Line::Whole if buffer.trim_ascii().is_empty() => {}
            Line::Whole => publisher.line(line, read_line(&buffer, dice)).await?,
            Line::TooLong => {
                publisher.refuse(line, &format!("longer than {LINE_LEN_MAX} bytes"))?;
            }
        }
    }
    publisher.finish().await
}

/// A producer as the booking service's should be: idempotent, with Java's partitioner.
pub(super) fn producer(mut config: ClientConfig) -> Result<FutureProducer, KafkaError> {
    config.set("enable.idempotence", "true").set("acks", "all");
    for (key, value) in [
        ("message.timeout.ms", DELIVERY_TIMEOUT_MS),
        // As Java's producers do it, so that a booking's events meet in one partition.
        ("partitioner", "murmur2_random"),
    ] {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    config.create().map_err(without_value)
}

/// What was found of a line.
enum Line {
    /// It is in the buffer.
    Whole,
    /// It was skipped.
    TooLong,
    /// There is none.
    End,
}

async fn next_line(
    lines: &mut (impl AsyncBufRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Line> {
    buffer.clear();
    let bound = u64::try_from(LINE_LEN_MAX).unwrap_or(u64::MAX);
    (&mut *lines).take(bound).read_until(b'\n', buffer).await?;
    if buffer.is_empty() {
        return Ok(Line::End);
    }
    if buffer.ends_with(b"\n") || buffer.len() < LINE_LEN_MAX {
        return Ok(Line::Whole);
    }
    loop {
        let more = lines.fill_buf().await?;
        if more.is_empty() {
            return Ok(Line::TooLong);
        }
        let end = more.iter().position(|byte| *byte == b'\n');
        let len = more.len();
        lines.consume(end.map_or(len, |end| end + 1));
        if end.is_some() {
            return Ok(Line::TooLong);
        }
    }
}

struct Publisher<'a> {
    producer: FutureProducer,
    topic: &'a str,
    /// Lines whose delivery is awaited, in order.
    in_flight: VecDeque<(u64, DeliveryFuture)>,
    report: PublishReport,
    out: &'a mut (dyn Write + Send),
}

impl Publisher<'_> {
    async fn line(
        &mut self,
        line: u64,
        read: Result<(OutgoingEvent, Vec<u8>), LineError>,
    ) -> Result<(), PublishError> {
        match read {
            Ok((event, record)) => self.send(line, event.booking.as_str(), &record).await,
            Err(error) => self.refuse(line, &error.to_string()),
        }
    }

    fn refuse(&mut self, line: u64, reason: &str) -> Result<(), PublishError> {
        self.report.lines += 1;
        self.report.refused += 1;
        self.say(&format!("line {line}: {reason}"))
    }

    async fn send(&mut self, line: u64, key: &str, record: &[u8]) -> Result<(), PublishError> {
        self.report.lines += 1;
        while self.in_flight.len() >= IN_FLIGHT_MAX {
            self.settle().await?;
        }
        loop {
            let sent = FutureRecord::to(self.topic).key(key).payload(record);
            match self.producer.send_result(sent).map_err(|(error, _)| error) {
                Ok(delivery) => {
                    self.in_flight.push_back((line, delivery));
                    return Ok(());
                }
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
                    if !self.in_flight.is_empty() =>
                {
                    self.settle().await?;
                }
                Err(error) => return self.undelivered(line, &error.to_string()),
            }
        }
    }

    /// Awaits the oldest delivery. librdkafka ends every one within its time-out.
    async fn settle(&mut self) -> Result<(), PublishError> {
        let Some((line, delivery)) = self.in_flight.pop_front() else {
            return Ok(());
        };
        match delivery.await {
            Ok(Ok(_)) => {
                self.report.delivered += 1;
                Ok(())
            }
            Ok(Err((error, _))) => self.undelivered(line, &error.to_string()),
            Err(_) => self.undelivered(line, "the producer ended"),
        }
    }

    fn undelivered(&mut self, line: u64, reason: &str) -> Result<(), PublishError> {
        self.report.undelivered += 1;
        self.say(&format!("line {line}: not delivered: {reason}"))
    }

    async fn finish(mut self) -> Result<PublishReport, PublishError> {
        while !self.in_flight.is_empty() {
            self.settle().await?;
        }
        let report = self.report;
        let PublishReport { lines, delivered, refused, undelivered } = report;
        self.say(&format!(
            "{delivered} of {lines} events delivered to {}, {refused} lines refused, \
             {undelivered} not delivered",
            self.topic
        ))?;
        if refused + undelivered > 0 {
            return Err(PublishError::Incomplete(report));
        }
        Ok(report)
    }

    fn say(&mut self, text: &str) -> Result<(), PublishError> {
        writeln!(self.out, "{text}").map_err(PublishError::Write)
    }
}
