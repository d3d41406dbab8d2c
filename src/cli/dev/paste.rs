//! The runbook's commands, filled in and ready to be pasted.

use uuid::Uuid;

/// Where everything is, and what opens it.
#[derive(Debug)]
pub(super) struct Places {
    /// `http://host:port`.
    pub(super) url: String,
    pub(super) customer_token: String,
    pub(super) admin_token: String,
    pub(super) provider: Uuid,
    /// What runs SQL, up to the SQL itself.
    pub(super) sql: String,
    /// What lists the calendar's events.
    pub(super) calendar: String,
    /// What shows the topic's records.
    pub(super) topic: String,
}

impl Places {
    /// What one does first.
    pub(super) fn first(&self) -> String {
        let Self { url, customer_token, provider, sql, calendar, topic, .. } = self;
        format!(
            r#"# 1. Create a test booking
curl -X POST "{url}/api/bookings" -H "Authorization: Bearer {customer_token}" -H "Content-Type: application/json" -d '{{"provider_id": "{provider}", "service_id": "massage", "start_time": "2026-01-15T10:00:00Z", "end_time": "2026-01-15T11:00:00Z"}}'

# 2. See what the calendar has acknowledged
{sql} "SELECT id, provider_id, calendar_provider, external_event_id, ical_uid, start_time, end_time, is_busy, created_at FROM external_calendar_events WHERE provider_id = '{provider}' AND external_event_id LIKE '%booking%' ORDER BY created_at DESC LIMIT 10;"

# 3. See the event in the calendar itself
{calendar}

# 7. See the metrics
curl "{url}/api/ops/metrics/calendar"

# The topic
{topic}
"#
        )
    }

    /// What one does with a booking that is there.
    pub(super) fn then(&self, booking: &str) -> String {
        let Self { url, customer_token, admin_token, .. } = self;
        format!(
            r#"
# 4. Sync booking {booking} again
curl -X POST "{url}/api/calendar/sync/outbound" -H "Authorization: Bearer {admin_token}" -d '{{"booking_id": "{booking}"}}'

# 5. Move it
curl -X PATCH "{url}/api/bookings/{booking}" -H "Authorization: Bearer {customer_token}" -d '{{"start_time": "2026-01-15T14:00:00Z", "end_time": "2026-01-15T15:00:00Z"}}'

# 6. Cancel it
curl -X POST "{url}/api/bookings/{booking}/cancel" -H "Authorization: Bearer {customer_token}"
"#
        )
    }
}
