//! What `deploy/`'s account may do at Kafka: the rights of the manifest that Strimzi makes it from, given to
//! a test's own topic and group. Nothing in rdkafka gives rights, so the request is written here.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The manifest.
const USER: &str = include_str!("../../../deploy/kustomize/kafka/user.yaml");

/// A right: the type of a resource and an operation, each by Kafka's number
/// (`org.apache.kafka.common.resource.ResourceType`, `org.apache.kafka.common.acl.AclOperation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    resource: u8,
    operation: u8,
}

const TOPIC: u8 = 2;
const GROUP: u8 = 3;
/// `LITERAL` of `org.apache.kafka.common.resource.PatternType`.
const LITERAL: u8 = 3;
/// `ALLOW` of `org.apache.kafka.common.acl.AclPermissionType`.
const ALLOW: u8 = 3;

/// To publish, which is not among those of the manifest.
pub(super) const WRITE: Right = Right { resource: TOPIC, operation: 4 };

/// Those of the manifest.
pub(super) fn deployed() -> Vec<Right> {
    let mut rights = Vec::new();
    let mut resource = None;
    for line in USER.lines().map(str::trim) {
        match line.split_once(": ") {
            Some(("type", "topic")) => resource = Some(TOPIC),
            Some(("type", "group")) => resource = Some(GROUP),
            Some(("operations", list)) => {
                let resource = resource.take().expect("operations on a topic or on a group");
                let operations = list.trim_matches(['[', ']']).split(", ");
                rights.extend(operations.map(|name| Right { resource, operation: number(name) }));
            }
            _ => {}
        }
    }
    assert!(!rights.is_empty(), "the manifest gives rights");
    rights
}

fn number(operation: &str) -> u8 {
    match operation {
        "Read" => 3,
        "Write" => 4,
        "Describe" => 8,
        other => panic!("{other} is no operation that is known here"),
    }
}

/// Gives `user` these rights to the topic and to the group of this name. `address` is a listener at
/// which everything is allowed.
pub(super) async fn give(address: &str, user: &str, name: &str, rights: &[Right]) {
    let mut stream = TcpStream::connect(address).await.expect("Kafka listens");
    stream.write_all(&request(user, name, rights)).await.expect("it reads");
    let length = stream.read_i32().await.expect("it answers");
    let mut answer = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut answer).await.expect("a whole answer");
    // Correlation and throttling, the number of results; then each one's error and its text.
    let mut rest = answer.get(8..).expect("a head");
    assert_eq!(take(&mut rest, 4), u32::try_from(rights.len()).expect("some").to_be_bytes());
    for right in rights {
        let error = take(&mut rest, 2);
        assert_eq!(error, [0, 0], "{right:?}: {}", String::from_utf8_lossy(rest));
        let length = i16::from_be_bytes(take(&mut rest, 2).try_into().expect("two bytes"));
        take(&mut rest, usize::try_from(length).unwrap_or_default());
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(length).expect("there is more");
    *rest = left;
    taken
}

/// `CreateAcls`, version 1, without a client's name. <https://kafka.apache.org/protocol>
fn request(user: &str, name: &str, rights: &[Right]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u16::try_from(text.len()).expect("it is short").to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    let mut body = vec![0, 30, 0, 1, 0, 0, 0, 1, 0xff, 0xff];
    body.extend(u32::try_from(rights.len()).expect("some").to_be_bytes());
    for Right { resource, operation } in rights {
        body.push(*resource);
        body.extend(text(name));
        body.push(LITERAL);
        body.extend(text(&format!("User:{user}")));
        body.extend(text("*"));
        body.extend([*operation, ALLOW]);
    }
    let length = u32::try_from(body.len()).expect("it is short").to_be_bytes();
    [&length[..], &body].concat()
}
