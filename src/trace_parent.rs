//! Where a change came from, in the words of the W3C: its `traceparent`
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>), as a record's header carries it, as it
//! is stored with an effect, and as it goes out with a call. Pure.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// The header's name, in Kafka as in HTTP.
pub const HEADER: &str = "traceparent";

/// How long its text is in version 00, the only one that there is.
pub const LENGTH: usize = 55;

/// The bit of the flags that says that its spans are recorded.
const SAMPLED: u8 = 1;

/// A span of somebody's, by name: what is done on its account is its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: NonZeroU128,
    /// The span in it.
    pub span: NonZeroU64,
    /// As they came.
    pub flags: u8,
}

impl TraceParent {
    /// Reads the text of version 00: lower-case hexadecimal, no id of zeros. What is anything else is
    /// as good as none (section 4.3 of the recommendation).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == LENGTH)?;
        let rest = text.strip_prefix("00-")?;
        let mut parts = rest.split('-');
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && trace.len() == 32 && span.len() == 16;
        // `from_str_radix` takes a sign and capitals too.
        let is_hex = |part: &str| part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if !is_whole || ![trace, span, flags].into_iter().all(is_hex) {
            return None;
        }
        Some(Self {
            trace: NonZeroU128::new(u128::from_str_radix(trace, 16).ok()?)?,
            span: NonZeroU64::new(u64::from_str_radix(span, 16).ok()?)?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        })
    }

    /// What a record's headers carry. Of several the last counts, as it is the one that whoever
    /// published last has added.
    pub fn of(headers: &[(String, Option<Vec<u8>>)]) -> Option<Self> {
        let (_, value) = headers.iter().rev().find(|(name, _)| name == HEADER)?;
        Self::parse(value.as_deref()?)
    }

    /// Whether its spans are recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_parent_is_read_and_written_as_it_came() {
        let read = TraceParent::parse(TEXT.as_bytes()).expect("it is one");
        assert_eq!(read.trace.get(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((read.span.get(), read.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert!(read.is_sampled());
        assert_eq!(read.to_string(), TEXT);
        let unsampled = TEXT.replace("-01", "-00");
        assert!(!TraceParent::parse(unsampled.as_bytes()).expect("it is one").is_sampled());
    }

    #[test]
    fn what_is_no_trace_parent_is_none() {
        let zero_trace = TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = TEXT.replace("00f067aa0ba902b7", &"0".repeat(16));
        for text in [
            "",
            &TEXT[..54],
            &format!("{TEXT}0"),
            &TEXT.to_uppercase(),
            &TEXT.replacen("00-", "ff-", 1),
            &TEXT.replacen("00-", "01-", 1),
            &TEXT.replace("-01", "-+1"),
            &TEXT.replace('-', "_"),
            &TEXT.replace("-00f067aa", "00f067aa-"),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_last_header_of_that_name_counts() {
        let header = |name: &str, value: Option<&str>| {
            (name.to_owned(), value.map(|value| value.as_bytes().to_vec()))
        };
        let later = TEXT.replace("-01", "-00");
        let of = |headers: &[_]| TraceParent::of(headers).map(|found| found.to_string());
        assert_eq!(of(&[header("Traceparent", Some(TEXT))]), None);
        assert_eq!(of(&[header(HEADER, None)]), None);
        let both = [header(HEADER, Some(TEXT)), header(HEADER, Some(&later)), header("x", None)];
        assert_eq!(of(&both), Some(later));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let read = TraceParent::parse(&bytes);
            prop_assert!(read.is_none_or(|read| read.to_string().as_bytes() == bytes));
        }
    }
}
