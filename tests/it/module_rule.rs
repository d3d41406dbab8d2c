//! The one test that holds the module rule: what Cargo cannot hold, words in the source can.
#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

use std::path::{Path, PathBuf};

/// A source file: its path below the repository, and its text without comments.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    lines: usize,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place || (place.ends_with('/') && self.path.starts_with(place))
        })
    }

    /// The code that runs in production: what stands before the file's own tests.
    fn production(&self) -> &str {
        self.text.split("\n#[cfg(test)]\n").next().unwrap_or_default()
    }

    fn is_tests_alone(&self) -> bool {
        self.path.ends_with("tests.rs")
    }

    /// Which of these words stand in the production code, as whole words.
    fn says<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        let text = self.production();
        words.iter().copied().filter(|word| has_word(text, word)).collect()
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let begins = !word.starts_with(joins) || !before.is_some_and(joins);
        let ends = !word.ends_with(joins) || !after.is_some_and(joins);
        begins && ends
    })
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 50, "{} files", paths.len());
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        Source {
            path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
            lines: text.lines().count(),
            text: text.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect(),
        }
    };
    paths.into_iter().map(source).collect()
}

/// That only the files at `places` say any of `words`.
#[track_caller]
fn assert_only(words: &[&str], places: &[&str]) {
    let mut trespasses = Vec::new();
    let sources = sources(&["src"]);
    for place in places {
        let is_needed =
            sources.iter().any(|source| source.is_in(&[place]) && !source.says(words).is_empty());
        assert!(is_needed, "{place} may say {words:?} and does not: take it off the list");
    }
    for source in sources.iter().filter(|source| !source.is_tests_alone()) {
        let said = source.says(words);
        if !said.is_empty() && !source.is_in(places) {
            trespasses.push(format!("{} says {said:?}", source.path));
        }
    }
    assert!(trespasses.is_empty(), "only {places:?} may:\n{}", trespasses.join("\n"));
}

/// Decisions are data in, data out: whoever tries them needs no runtime, no disk and no hour.
#[test]
fn the_pure_modules_wait_for_nothing_and_ask_nobody() {
    const PURE: &[&str] = &[
        "src/booking/",
        "src/emit/outcome.rs",
        "src/emit/backoff.rs",
        "src/emit/decide.rs",
        "src/emit/drift.rs",
        "src/connection/refresh.rs",
        "src/connection/scopes.rs",
        "src/connection/returned.rs",
        "src/connection/id_token.rs",
        "src/connection/first_answer.rs",
        "src/calendar/ical.rs",
        "src/calendar/ical/",
        "src/trace_parent.rs",
        "src/calendar/http/networks.rs",
        "src/calendar/microsoft/event.rs",
        "src/calendar/zone.rs",
        "src/calendar/zone/windows.rs",
        "src/calendar/caldav/multistatus.rs",
        "src/calendar/caldav/list/members.rs",
        "src/calendar/caldav/xml.rs",
    ];
    const WORDS: &[&str] = &[
        "async",
        ".await",
        "tokio",
        "futures",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "reqwest",
        "sqlx",
        "rdkafka",
        "Instant",
        "SystemTime",
        "Utc::now",
        "Local",
        "Clock",
        "Dice",
        "rand",
        "new_v4",
        "now_v7",
        "sleep",
        "tracing",
        "println!",
        "eprintln!",
        "stdin",
        "stdout",
        "stderr",
    ];
    let mut seen = 0;
    for source in sources(&["src"]).iter().filter(|source| source.is_in(PURE)) {
        assert_eq!(source.says(WORDS), [""; 0], "{} is pure", source.path);
        seen += 1;
    }
    assert!(seen >= PURE.len() + 5, "only {seen} files");
}

#[test]
fn only_the_store_knows_sql() {
    // `StoreError` keeps the driver's error as its source: it is in `src/store`, and nobody else
    // looks inside. `dev` prints the runbook's query, for people.
    assert_only(
        &["sqlx", "INSERT INTO", "SELECT", "DELETE FROM", "PgPool", "SQLSTATE"],
        &["src/store/mod.rs", "src/store/postgres/", "src/store/sqlite/", "src/cli/dev/paste.rs"],
    );
}

/// A worker's prepared statements outlive the next version's migration: with `*` PostgreSQL refuses them
/// from the moment that a table has another column ("cached plan must not change result type").
#[test]
fn postgresql_is_asked_for_columns_by_their_names() {
    // These have the columns that the statement itself gives them.
    const OWN: [&str; 2] = ["SELECT * FROM UNNEST(", "SELECT * FROM ("];
    let mut asked = 0;
    for source in sources(&["src"]).iter().filter(|source| source.is_in(&["src/store/postgres/"])) {
        let words: Vec<&str> = source.text.split_whitespace().collect();
        let mut text = words.join(" ");
        asked += text.matches("SELECT ").count();
        for own in OWN {
            text = text.replace(own, "");
        }
        for all in ["SELECT *", "RETURNING *", ".*"] {
            assert!(!text.contains(all), "{} has `{all}`: name the columns", source.path);
        }
    }
    assert!(asked > 50, "only {asked} questions");
}

#[test]
fn only_the_consumer_and_those_who_publish_know_kafkas_client() {
    // The service itself only reads; the demonstration publishes, and telemetry names a log of
    // the client's.
    assert_only(
        &["rdkafka", "rdkafka_sys"],
        &[
            "src/consumer/",
            "src/cli/publish.rs",
            "src/cli/demo/",
            "src/cli/dev.rs",
            "src/cli/dev/",
            "src/telemetry.rs",
        ],
    );
}

#[test]
fn stores_and_calendars_do_not_know_each_other() {
    for (place, others) in [
        ("src/store/", ["calendar::", "consumer::", "emit::", "pipeline::", "cli::"]),
        ("src/calendar/", ["store::", "consumer::", "emit::", "pipeline::", "cli::"]),
        ("src/consumer/", ["calendar::", "emit::", "pipeline::", "booking::", "cli::"]),
        ("src/pipeline.rs", ["calendar::", "rdkafka", "emit::lane", "reqwest", "cli::"]),
        ("src/pipeline/", ["calendar::", "rdkafka", "emit::lane", "reqwest", "cli::"]),
        ("src/emit/", ["consumer::", "pipeline::", "rdkafka", "reqwest", "cli::"]),
    ] {
        for source in sources(&["src"]).iter().filter(|source| source.is_in(&[place])) {
            assert_eq!(source.says(&others), [""; 0], "{}", source.path);
        }
    }
}

#[test]
fn only_one_client_builds_requests() {
    // The others take its words for a method and a header's name.
    assert_only(
        &["reqwest::Client", "Client::builder", "reqwest::Request::new", "ClientBuilder"],
        &["src/calendar/http.rs", "src/calendar/http/"],
    );
    assert_only(&["reqwest"], &["src/calendar/", "src/registry.rs"]);
}

#[test]
fn no_source_file_is_long() {
    const LINES_MAX: usize = 500;
    for source in sources(&["src", "tests"]) {
        let Source { path, lines, .. } = source;
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines, and at most {LINES_MAX} are allowed"
        );
    }
}
