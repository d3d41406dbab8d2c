//! The booking application's side of the topic: the real encoding, a real producer.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::day::{Payload, Record};
use super::parts::TOPIC;
use crate::cli::encode::read_line;
use crate::cli::publish::producer;
use crate::clock::Dice;

/// How long a record may take to be acknowledged, in milliseconds.
const DELIVERY_TIMEOUT_MS: &str = "10000";

/// Publishes records, and knows where the topic ends by them.
pub(super) struct Producer {
    kafka: FutureProducer,
    ends: BTreeMap<i32, i64>,
}

impl Producer {
    pub(super) fn new(brokers: &str) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("message.timeout.ms", DELIVERY_TIMEOUT_MS);
        let kafka = producer(config).context("cannot make a producer")?;
        Ok(Self { kafka, ends: BTreeMap::new() })
    }

    /// Publishes a wave in its order, and awaits that every record is acknowledged.
    pub(super) async fn publish(&mut self, wave: &[Record], dice: &dyn Dice) -> anyhow::Result<()> {
        let mut deliveries = Vec::with_capacity(wave.len());
        for record in wave {
            let payload = encoded(&record.payload, dice)?;
            let mut sent = FutureRecord::<str, [u8]>::to(TOPIC).key(&record.key);
            if let Some(payload) = &payload {
                sent = sent.payload(payload);
            }
            let queued = self.kafka.send_result(sent).map_err(|(error, _)| error);
            deliveries.push(queued.context("cannot publish an event")?);
        }
        for delivery in deliveries {
            let delivered = delivery.await.context("the producer ended")?;
            let at = delivered.map_err(|(error, _)| error).context("an event was not delivered")?;
            let end = self.ends.entry(at.partition).or_default();
            *end = (*end).max(at.offset + 1);
        }
        Ok(())
    }

    /// Where each partition ends.
    pub(super) fn ends(&self) -> &BTreeMap<i32, i64> {
        &self.ends
    }
}

fn encoded(payload: &Payload, dice: &dyn Dice) -> anyhow::Result<Option<Vec<u8>>> {
    let encode = |event: &serde_json::Value| -> anyhow::Result<Vec<u8>> {
        match read_line(event.to_string().as_bytes(), dice) {
            Ok((_, bytes)) => Ok(bytes),
            Err(error) => bail!("the demo's day has an event that is none: {error}"),
        }
    };
    Ok(match payload {
        Payload::Event(event) => Some(encode(event)?),
        Payload::CutShort(event) => {
            let mut bytes = encode(event)?;
            bytes.truncate(bytes.len() / 2);
            Some(bytes)
        }
        Payload::Tombstone => None,
    })
}
