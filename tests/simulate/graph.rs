//! What the wire knows of Graph's bodies.

/// The frozen bytes as a PATCH: a `transactionId` cannot be changed, and is refused.
pub fn patch_of(body: &[u8]) -> Vec<u8> {
    let mut event: serde_json::Value = serde_json::from_slice(body).expect("an adapter wrote it");
    if let Some(fields) = event.as_object_mut() {
        fields.remove("transactionId");
    }
    event.to_string().into_bytes()
}

/// The title in the frozen bytes.
pub fn title_of(body: &[u8]) -> String {
    let event: serde_json::Value = serde_json::from_slice(body).expect("an adapter wrote it");
    event["subject"].as_str().unwrap_or_default().to_owned()
}
