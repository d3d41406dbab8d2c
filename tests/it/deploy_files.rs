//! What alerts, dashboards and scalers ask for is what we tell: every metric that is named in `deploy/`,
//! and every label that is used with one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use calendar_sync::ops::metrics::table;

/// The names of ours begin so.
const PREFIX: &str = "calendar_sync_";

/// What a histogram's samples, and a counter's in `OpenMetrics`, have after its name.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Labels that Prometheus adds to whatever it scrapes, or to what it alerts of; and a bucket's bound.
const ADDED: [&str; 9] =
    ["namespace", "pod", "job", "instance", "container", "endpoint", "node", "severity", "le"];

/// A metric as it is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    name: String,
    labels: Vec<String>,
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics that a file names, with the labels of their selectors. What is followed by `:` and a letter
/// is the name of a rule, which is its file's own.
fn asked(text: &str) -> Vec<Asked> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(PREFIX) {
        if text[..at].chars().next_back().is_some_and(|c| is_of_name(c) || c == ':') {
            continue;
        }
        let rest = &text[at..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let mut next = rest.chars();
        if next.next() == Some(':') && next.next().is_some_and(is_of_name) {
            continue;
        }
        let selector = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = selector.map(|(selector, _)| labels(selector)).unwrap_or_default();
        found.push(Asked { name: name.to_owned(), labels });
    }
    found
}

/// The names of labels in a selector: what stands before `=`, `!=`, `=~`, `!~`, outside of quotes (which
/// JSON escapes).
fn labels(selector: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_quoted = false;
    let mut name = String::new();
    for c in selector.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '=' | '!' if !name.is_empty() => names.push(std::mem::take(&mut name)),
            c if is_of_name(c) => name.push(c),
            _ => name.clear(),
        }
    }
    names
}

/// The labels by which a file groups or joins: in the brackets after these words.
fn grouped(text: &str) -> Vec<String> {
    const WORDS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let mut found = Vec::new();
    for (at, _) in text.match_indices('(') {
        let before = text[..at].trim_end_matches(' ');
        let word = before.rsplit(|c| !is_of_name(c)).next().unwrap_or_default();
        let inside = text[at + 1..].split_once(')').map(|(inside, _)| inside);
        if let Some(inside) = inside.filter(|_| WORDS.contains(&word))
            && inside.chars().all(|c| is_of_name(c) || c == ',' || c == ' ')
        {
            found.extend(inside.split(',').map(|name| name.trim().to_owned()));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// What is wrong with a file's questions.
fn wrong(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let asked = asked(text);
    for Asked { name, labels } in &asked {
        let base = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_it = |it: &&table::Described| it.name == name || Some(it.name) == base;
        let Some(described) = table::ALL.iter().find(is_it) else {
            wrong.push(format!("there is no metric {name}"));
            continue;
        };
        let has = |label: &String| {
            described.labels.contains(&label.as_str()) || ADDED.contains(&label.as_str())
        };
        let strange = labels.iter().filter(|label| !has(label));
        wrong.extend(strange.map(|label| format!("{name} has no label {label}")));
    }
    if !asked.is_empty() {
        let ours: BTreeSet<&str> = table::ALL.iter().flat_map(|it| it.labels).copied().collect();
        let strange = grouped(text)
            .into_iter()
            .filter(|label| !ours.contains(label.as_str()) && !ADDED.contains(&label.as_str()));
        wrong.extend(strange.map(|label| format!("nothing of ours has a label {label}")));
    }
    wrong
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    // There may be no such folder.
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json") {
            found.push(path);
        }
    }
}

#[test]
fn whatever_is_asked_for_in_deploy_is_told() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"), &mut files);
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        let file = file.display();
        all.extend(wrong(&text).into_iter().map(|wrong| format!("{file}: {wrong}")));
    }
    assert_eq!(all, [""; 0]);
}

#[test]
fn a_name_or_label_that_we_do_not_have_is_found() {
    let rules = r#"
      - record: calendar_sync_partitions_read:count
        expr: sum by (namespace, calendar_provider) (rate(calendar_sync_effects_total{verb="create"}[5m]))
      - expr: histogram_quantile(0.9, sum by (le) (calendar_sync_publish_to_applied_seconds_bucket))
      - expr: calendar_sync_partitions_read:count > 0 and on (pod) calendar_sync_connections{state=~"a|b", namespace!="x"}
    "#;
    assert_eq!(wrong(rules), [""; 0]);
    let board =
        r#"{"expr": "sum(calendar_sync_dead_letters_total{namespace=~\"$n\", class=\"a=b\"})"}"#;
    assert_eq!(wrong(board), [""; 0]);
    for (text, problem) in [
        ("calendar_sync_effects", "there is no metric calendar_sync_effects"),
        ("calendar_sync_lag_bucket > 1", "there is no metric calendar_sync_lag_bucket"),
        (
            r#"calendar_sync_effects_total{outcom="dead"}"#,
            "calendar_sync_effects_total has no label outcom",
        ),
        (
            r#"{"expr": "calendar_sync_connections{state=\"x\", partition=\"3\"}"}"#,
            "calendar_sync_connections has no label partition",
        ),
        ("sum by (tenant) (calendar_sync_runs_total)", "nothing of ours has a label tenant"),
    ] {
        assert_eq!(wrong(text), [problem], "{text}");
    }
}
