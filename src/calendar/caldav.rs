//! The Caldav adapter.
use async_trait::async_trait;
use booking::{CalendarKind, Content, IcalUid, Marker};

use super::http::Http;
use super::{Account, Answer, Calendar, Call, Reading};

/// Placeholder.
pub struct Caldav;

impl Caldav {
    /// Opens it.
    pub fn new(_account: Account, _http: Http) -> Self {
        Self
    }
}

#[async_trait]
impl Calendar for Caldav {
    fn kind(&self) -> CalendarKind {
        CalendarKind::Caldav
    }
    fn external_id(&self, _uid: &IcalUid, _generation: i32) -> String {
        String::new()
    }
    fn body(&self, _external_id: &str, _marker: &Marker, _content: &Content) -> Vec<u8> {
        Vec::new()
    }
    async fn send(&self, _call: &Call<'_>) -> Answer {
        Answer::Lost { sent: false, message: String::new() }
    }
    async fn read(&self, _external_id: &str) -> Reading {
        Reading::Absent
    }
}
