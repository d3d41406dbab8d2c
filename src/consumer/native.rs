//! What `rdkafka` does not wrap, or not so that we could use it: the topic's id, by which a topic
//! that was deleted and made anew under its old name is told from what it was (rule R2); the log
//! end that the last fetch brought along; how far a partition was passed; a commit that is waited for
//! by nobody and answered all the same; and headers whose names are not UTF-8, at which rdkafka 0.39
//! panics (`BorrowedHeaders::try_get`). The only unsafe code of this crate.
#![expect(unsafe_code, reason = "rdkafka wraps neither DescribeTopics nor the cached watermarks")]

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::slice;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, Headers as _};
use rdkafka::{ClientContext, TopicPartitionList};
use rdkafka_sys::bindings as sys;

/// Over the time-out that librdkafka itself holds to.
const GRACE: Duration = Duration::from_millis(500);

/// Something of librdkafka's that has to be destroyed.
struct Owned<T> {
    ptr: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(ptr: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> KafkaResult<Self> {
        if ptr.is_null() {
            return Err(KafkaError::AdminOpCreation("librdkafka gave nothing".to_owned()));
        }
        Ok(Self { ptr, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `ptr` is not null, came from the constructor that `destroy` belongs to, and is
        // destroyed nowhere else.
        unsafe { (self.destroy)(self.ptr) }
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Asks a broker for the topic's id, in Kafka's own spelling (URL-safe base64). `None`: the broker
/// gives none (older than 2.8). The broker is named, because librdkafka would ask the controller,
/// and its embedded cluster has none. Blocks, at most a little longer than `timeout`.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    broker: i32,
    timeout: Duration,
) -> KafkaResult<Option<String>> {
    let name = CString::new(topic)?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let rk = client.native_ptr();
    // SAFETY: `rk` lives as long as `client`; each object is freed by its own destructor, and
    // after the last use of what is borrowed from it (Rust drops them in the reverse order). The
    // names are copied by `of_topic_names`.
    unsafe {
        let topics = Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(
                rk,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(
            options.ptr,
            milliseconds(timeout),
            ptr::null_mut(),
            0,
        );
        check(set)?;
        let set = sys::rd_kafka_AdminOptions_set_broker(options.ptr, broker, ptr::null_mut(), 0);
        check(set)?;
        let queue = Owned::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy)?;
        sys::rd_kafka_DescribeTopics(rk, topics.ptr, options.ptr, queue.ptr);
        let event = sys::rd_kafka_queue_poll(queue.ptr, milliseconds(timeout + GRACE));
        if event.is_null() {
            return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
        }
        let event = Owned::new(event, sys::rd_kafka_event_destroy)?;
        check(sys::rd_kafka_event_error(event.ptr))?;
        described_id(event.ptr)
    }
}

fn check(error: sys::rd_kafka_resp_err_t) -> KafkaResult<()> {
    let code = RDKafkaErrorCode::from(error);
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(KafkaError::AdminOp(code)) }
}

/// # Safety
///
/// `event` is alive.
unsafe fn described_id(event: *mut sys::rd_kafka_event_t) -> KafkaResult<Option<String>> {
    let unexpected = || KafkaError::AdminOp(RDKafkaErrorCode::BadMessage);
    // SAFETY: everything below is borrowed from the event, which the caller keeps; every pointer
    // is looked at before it is followed, and the array has `count` elements.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(unexpected());
        }
        let mut count = 0_usize;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return Err(unexpected());
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            check(sys::rd_kafka_error_code(error))?;
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Ok(None);
        }
        let most = sys::rd_kafka_Uuid_most_significant_bits(id);
        let least = sys::rd_kafka_Uuid_least_significant_bits(id);
        Ok(spelled(most, least))
    }
}

/// Kafka's spelling of an id; the id of nothing but zeros means that there is none.
fn spelled(most: i64, least: i64) -> Option<String> {
    if most == 0 && least == 0 {
        return None;
    }
    let mut bytes = [0_u8; 16];
    bytes[..8].copy_from_slice(&most.to_be_bytes());
    bytes[8..].copy_from_slice(&least.to_be_bytes());
    Some(BASE64URL_NOPAD.encode(&bytes))
}

/// The log end that the last fetch of the partition told, without asking anyone.
pub(super) fn cached_log_end<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let name = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1_i64, -1_i64);
    // SAFETY: the client and the name live through the call, and the two numbers are ours.
    let error = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            name.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (check(error).is_ok() && high >= 0).then_some(high)
}

/// The offset after what was last taken from the partition's queue, be it a record or a marker of a
/// transaction, which is never delivered. `None`: nothing was yet.
pub(super) fn position<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let name = CString::new(topic).ok()?;
    // SAFETY: the list is ours until it is destroyed, and the name is copied; the element lives as
    // long as the list.
    unsafe {
        let list = sys::rd_kafka_topic_partition_list_new(1);
        let list = Owned::new(list, sys::rd_kafka_topic_partition_list_destroy).ok()?;
        let element = sys::rd_kafka_topic_partition_list_add(list.ptr, name.as_ptr(), partition);
        check(sys::rd_kafka_position(client.native_ptr(), list.ptr)).ok()?;
        check((*element).err).ok()?;
        Some((*element).offset).filter(|offset| *offset >= 0)
    }
}

/// Commits offsets without waiting; the answer comes to the `commit_callback` of whoever polls the
/// consumer. From rdkafka 0.39's own asynchronous commit it never does: that names no queue, and sets
/// none of the callbacks to which librdkafka would give it instead (rust-rdkafka issue 856).
pub(super) fn commit<C: ClientContext>(
    client: &Client<C>,
    offsets: &TopicPartitionList,
) -> KafkaResult<()> {
    let rk = client.native_ptr();
    // SAFETY: client and list live through the call, in which librdkafka copies the list and takes a
    // reference of its own to the queue.
    let error = unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(rk);
        let queue = Owned::new(queue, sys::rd_kafka_queue_destroy)?;
        sys::rd_kafka_commit_queue(rk, offsets.ptr(), queue.ptr, None, ptr::null_mut())
    };
    let code = RDKafkaErrorCode::from(error);
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(KafkaError::ConsumerCommit(code)) }
}

/// A record's headers, in order. A name that is not UTF-8 has its odd bytes replaced.
pub(super) fn headers(headers: &BorrowedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
    // rdkafka hands librdkafka's own pointer out as this reference (`from_native_ptr`).
    let native = ptr::from_ref(headers).cast::<sys::rd_kafka_headers_t>();
    let mut all = Vec::with_capacity(headers.count());
    for index in 0..headers.count() {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0_usize);
        // SAFETY: the headers live as long as the reference. Where librdkafka answers without an
        // error, the name is a C string, and the value is null or `size` bytes long.
        unsafe {
            let error = sys::rd_kafka_header_get_all(
                native,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if check(error).is_err() || name.is_null() {
                continue;
            }
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            let bytes = value.cast::<u8>();
            let value = (!bytes.is_null()).then(|| slice::from_raw_parts(bytes, size).to_vec());
            all.push((name, value));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Header, OwnedHeaders};

    use super::*;

    #[test]
    fn headers_keep_their_order_and_a_name_that_is_not_utf_8_is_no_panic() {
        let owned = OwnedHeaders::new()
            .insert(Header { key: "b", value: Some("1") })
            .insert(Header { key: "a", value: None::<&str> });
        let native =
            ptr::from_ref(owned.as_borrowed()).cast_mut().cast::<sys::rd_kafka_headers_t>();
        let (name, value) = (b"\xff\xfe", b"2");
        // SAFETY: the headers are alive, and librdkafka copies name and value.
        let added = unsafe {
            sys::rd_kafka_header_add(native, name.as_ptr().cast(), 2, value.as_ptr().cast(), 1)
        };
        assert!(check(added).is_ok());
        let expected = [
            ("b".to_owned(), Some(b"1".to_vec())),
            ("a".to_owned(), None),
            ("\u{fffd}\u{fffd}".to_owned(), Some(b"2".to_vec())),
        ];
        assert_eq!(headers(owned.as_borrowed()), expected);
    }

    #[test]
    fn an_id_is_spelled_as_kafka_spells_it() {
        assert_eq!(spelled(0, 0), None);
        assert_eq!(spelled(-1, -1).as_deref(), Some("_____________________w"));
        assert_eq!(spelled(0, 1).as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAQ"));
    }
}
