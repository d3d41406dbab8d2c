//! Names and bodies for Microsoft Graph, until the service has an adapter of its own: an event is
//! named by its `transactionId`, which it is also found by, in its marker.

use async_trait::async_trait;
use booking::{CalendarKind, ConnectionId, Content, IcalUid, Marker};
use calendar_sync::calendar::{Answer, Calendar as Adapter, Call, Name, Reading};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

/// Names events and writes their bodies; makes no call.
pub struct Graph(ConnectionId);

impl Graph {
    /// Of one connection.
    pub fn new(connection: ConnectionId) -> Self {
        Self(connection)
    }
}

/// The frozen bytes as a PATCH: a `transactionId` cannot be changed, and is refused.
pub fn patch_of(body: &[u8]) -> Vec<u8> {
    let mut event: serde_json::Value = serde_json::from_slice(body).expect("it was written here");
    if let Some(fields) = event.as_object_mut() {
        fields.remove("transactionId");
    }
    event.to_string().into_bytes()
}

/// The title in the frozen bytes.
pub fn title_of(body: &[u8]) -> String {
    let event: serde_json::Value = serde_json::from_slice(body).expect("it was written here");
    event["subject"].as_str().unwrap_or_default().to_owned()
}

fn moment(at: DateTime<Utc>) -> serde_json::Value {
    json!({ "dateTime": at.format("%Y-%m-%dT%H:%M:%S").to_string(), "timeZone": "UTC" })
}

#[async_trait]
impl Adapter for Graph {
    fn kind(&self) -> CalendarKind {
        CalendarKind::Microsoft
    }

    fn external_id(&self, uid: &IcalUid, generation: i32) -> String {
        let name = format!("{}/{uid}/{generation}", self.0);
        format!("booking-{}", Uuid::new_v5(&self.0.0, name.as_bytes()))
    }

    fn body(&self, external_id: &str, marker: &Marker, content: &Content) -> Vec<u8> {
        let text = json!({
            "uid": marker.uid.as_str(),
            "connection": marker.connection.to_string(),
            "revision": marker.revision,
            "digest": marker.digest.to_string(),
        });
        let property = json!({
            "id": "String {b0f9d3a4-0000-4000-8000-000000000001} Name booking",
            "value": text.to_string(),
        });
        let body = json!({
            "transactionId": external_id,
            "subject": content.summary,
            "start": moment(content.start),
            "end": moment(content.end),
            "showAs": if content.tentative { "tentative" } else { "busy" },
            "singleValueExtendedProperties": [property],
        });
        body.to_string().into_bytes()
    }

    async fn send(&self, _call: &Call<'_>) -> Answer {
        unreachable!("only names and bodies are asked of it")
    }

    async fn read(&self, _name: Name<'_>) -> Reading {
        unreachable!("only names and bodies are asked of it")
    }
}
