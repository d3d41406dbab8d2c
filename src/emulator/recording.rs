//! What our own adapters send, written down for checkers outside: a line of JSON for each distinct
//! request, in a file of its own for each process.
//!
//! Only where [`DIRECTORY_VARIABLE`] names a folder that is there, as `tests/run` does for the suite
//! `rust`; its suite `requests` holds each line against what Google and Microsoft publish. Requests
//! of other clients (the providers' own, a test's own) are told by their `User-Agent`, and left out.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::Serialize;

use super::life::PREFER;
use crate::calendar::http;

/// The environment variable that names the folder of the recordings.
pub const DIRECTORY_VARIABLE: &str = "EMULATOR_RECORD_DIR";
/// So many lines are remembered, by their hashes: some megabytes. A later one may be written twice.
const REMEMBERED_MAX: usize = 1 << 18;

/// A request.
#[derive(Serialize)]
struct Line<'a> {
    api: &'static str,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    /// The scheme alone: whose token it is, is nobody's business.
    authorization: Option<&'a str>,
    content_type: Option<&'a str>,
    if_match: Option<&'a str>,
    /// All of them, each as it was sent.
    prefer: Vec<&'a str>,
    /// As it was sent, so that a reader can be stricter than the emulator. Bytes that are no text are
    /// escaped, and no JSON.
    body: Option<String>,
}

/// The recording of a process.
pub(super) struct Recording(Mutex<State>);

struct State {
    file: File,
    /// Hashes of lines.
    seen: HashSet<u64>,
    /// Why a line is missing.
    broken: Option<io::ErrorKind>,
}

impl Recording {
    /// Of this process, if it is to be recorded: one for all of its emulators, of which tests start
    /// thousands. Fails if the file cannot be made, and once a line could not be written: a recording
    /// with a gap would be taken for a whole one.
    pub(super) fn of_process() -> io::Result<Option<&'static Self>> {
        static OF_PROCESS: OnceLock<Result<Option<Recording>, io::ErrorKind>> = OnceLock::new();
        let begun = OF_PROCESS.get_or_init(|| {
            let directory = std::env::var_os(DIRECTORY_VARIABLE);
            let directory = directory.filter(|directory| !directory.is_empty());
            let begin = |directory| Self::begin(Path::new(&directory));
            directory.map(begin).transpose().map_err(|error| error.kind())
        });
        let recording = begun.as_ref().map_err(|kind| not_whole(*kind))?.as_ref();
        recording.map_or(Ok(()), Self::is_whole)?;
        Ok(recording)
    }

    fn begin(directory: &Path) -> io::Result<Self> {
        let path = directory.join(format!("{}.ndjson", std::process::id()));
        // Another process may have had this id before.
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Mutex::new(State { file, seen: HashSet::new(), broken: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_whole(&self) -> io::Result<()> {
        self.state().broken.map_or(Ok(()), |kind| Err(not_whole(kind)))
    }

    /// Writes a request down, if it is one of ours and new.
    pub(super) fn take(&self, api: &'static str, request: &Parts, body: &[u8]) {
        let Parts { method, uri, headers, .. } = request;
        if header(headers, &USER_AGENT) != Some(http::USER_AGENT) {
            return;
        }
        let line = Line {
            api,
            method: method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            authorization: header(headers, &AUTHORIZATION)
                .map(|value| value.split_once(' ').map_or("", |(scheme, _)| scheme)),
            content_type: header(headers, &CONTENT_TYPE),
            if_match: header(headers, &IF_MATCH),
            prefer: headers.get_all(&PREFER).iter().filter_map(|it| it.to_str().ok()).collect(),
            body: (!body.is_empty()).then(|| text_of(body)),
        };
        let written = serde_json::to_vec(&line).map_err(io::Error::from);
        self.state().write(written);
    }
}

impl State {
    fn write(&mut self, line: io::Result<Vec<u8>>) {
        let written = line.and_then(|mut line| {
            let mut hash = DefaultHasher::new();
            line.hash(&mut hash);
            let hash = hash.finish();
            if self.seen.contains(&hash) {
                return Ok(());
            }
            line.push(b'\n');
            // At once: a process that is killed has left all that it was sent.
            self.file.write_all(&line)?;
            if self.seen.len() < REMEMBERED_MAX {
                self.seen.insert(hash);
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, "a request was not recorded");
            self.broken.get_or_insert(error.kind());
        }
    }
}

fn not_whole(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, format!("{DIRECTORY_VARIABLE}: requests cannot be recorded ({kind})"))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn text_of(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("not UTF-8: {}", body.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::{Value, json};

    use super::*;

    fn request(agent: &str) -> Parts {
        let request = Request::patch("/v1.0/me/events/a%3D?%24top=1")
            .header("user-agent", agent)
            .header("authorization", "Bearer secret-token")
            .header("if-match", "W/\"1\"")
            .header("prefer", "IdType=\"ImmutableId\"")
            .body(());
        request.unwrap().into_parts().0
    }

    fn lines(directory: &Path) -> Vec<Value> {
        let path = directory.join(format!("{}.ndjson", std::process::id()));
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_distinct_request_of_ours_is_a_line_without_its_token() {
        let directory = tempfile::tempdir().unwrap();
        let recording = Recording::begin(directory.path()).unwrap();
        for body in ["{\"a\":1}", "{\"a\":1}", "", "{\"a\": 1}"] {
            recording.take("microsoft", &request(http::USER_AGENT), body.as_bytes());
        }
        recording.take("microsoft", &request("python-httpx/0.28"), b"{}");
        recording.take("microsoft", &request(http::USER_AGENT), b"\xff");
        let lines = lines(directory.path());
        let first = json!({
            "api": "microsoft", "method": "PATCH", "path": "/v1.0/me/events/a%3D",
            "query": "%24top=1", "authorization": "Bearer", "content_type": null,
            "if_match": "W/\"1\"", "prefer": ["IdType=\"ImmutableId\""], "body": "{\"a\":1}",
        });
        assert_eq!(lines[0], first);
        let bodies: Vec<_> = lines.iter().map(|line| line["body"].clone()).collect();
        let expected = [json!("{\"a\":1}"), json!(null), json!("{\"a\": 1}")];
        assert_eq!(bodies[..3], expected);
        assert_eq!(bodies[3..], [json!("not UTF-8: \\xff")]);
        assert!(recording.is_whole().is_ok());
    }

    #[test]
    fn a_line_that_cannot_be_written_is_told_to_who_starts_the_next_emulator() {
        let directory = tempfile::tempdir().unwrap();
        let recording = Recording::begin(directory.path()).unwrap();
        let path = directory.path().join(format!("{}.ndjson", std::process::id()));
        recording.state().file = File::open(path).unwrap();
        recording.take("google", &request(http::USER_AGENT), b"{}");
        let told = recording.is_whole().unwrap_err().to_string();
        assert!(told.starts_with(DIRECTORY_VARIABLE), "{told}");
        assert!(Recording::begin(&directory.path().join("missing")).is_err());
    }
}
