//! Ids: long, opaque and case-sensitive, in the letters of URL-safe base64.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use sha2::{Digest as _, Sha256};

/// Both ids of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    /// Says where the event is: another one when it moves to another calendar.
    pub(super) mutable: String,
    /// Stays with the event for as long as it is in its mailbox.
    pub(super) immutable: String,
}

impl Ids {
    pub(super) fn make(mailbox: &str, number: u64, moves: u64) -> Self {
        let own = format!("{mailbox} {number}");
        let place = format!("{own} {moves}");
        Self {
            mutable: format!("AAMkAG{}A=", letters("mutable", &place, 108)),
            immutable: format!("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{}=", letters("id", &own, 42)),
        }
    }
}

/// The id of a calendar, which is the same whatever a client prefers (B6).
pub(super) fn of_calendar(mailbox: &str, name: &str) -> String {
    format!("AAMkAGCa{}A=", letters("calendar", &format!("{mailbox} {name}"), 84))
}

/// `iCalUId`: a text of hexadecimal digits that begins as Outlook's do.
pub(super) fn ical_uid(mailbox: &str, number: u64) -> String {
    let bytes = bytes("uid", &format!("{mailbox} {number}"), 32);
    let digits = data_encoding::HEXUPPER.encode(&bytes);
    format!("040000008200E00074C5B7101A82E00800000000{digits}")
}

/// What follows a `W/` in quotes.
pub(super) fn change_key(number: u64) -> String {
    let mut key = b"\x66\x59\xd6\xe1".to_vec();
    key.extend(Sha256::digest(number.to_be_bytes()).iter().take(10));
    key.extend(number.to_be_bytes());
    BASE64.encode(&key)
}

/// Whether a text could be an id.
pub(super) fn is_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    (20..=512).contains(&text.len()) && text.bytes().all(is_letter)
}

fn letters(kind: &str, of: &str, bytes_count: usize) -> String {
    BASE64URL_NOPAD.encode(&bytes(kind, of, bytes_count))
}

fn bytes(kind: &str, of: &str, count: usize) -> Vec<u8> {
    let mut made = Vec::with_capacity(count + 32);
    let mut round = 0;
    while made.len() < count {
        made.extend(Sha256::digest(format!("{kind} {round} {of}").as_bytes()).iter());
        round += 1;
    }
    made.truncate(count);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_changes_one_id_of_two() {
        let (here, there) = (Ids::make("ada", 7, 0), Ids::make("ada", 7, 1));
        assert_ne!(here.mutable, there.mutable);
        assert_eq!(here.immutable, there.immutable);
        assert_eq!(here.mutable.len(), 152);
        assert!(is_id(&here.mutable) && is_id(&here.immutable));
        assert_ne!(here, Ids::make("eve", 7, 0));
    }
}
