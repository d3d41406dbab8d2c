//! The demo, as a visitor runs it: a binary, its exit code, and one line of figures.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// How long it may take on a busy machine, in a slow build.
const DEMO_MAX: Duration = Duration::from_mins(3);

async fn demo(arguments: &[&str]) -> std::process::Output {
    let child = Command::new(env!("CARGO_BIN_EXE_calendar-sync"))
        .arg("demo")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(DEMO_MAX, child).await.expect("it ends in time").expect("it starts")
}

#[tokio::test]
async fn a_day_of_killed_workers_and_lost_answers_ends_in_the_calendars_that_were_intended() {
    let output = demo(&["--exit", "--json", "--seed", "20260104"]).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let figures: Value = serde_json::from_str(&text).unwrap();
    let count = |name: &str| figures[name].as_u64().unwrap_or_else(|| panic!("{name}: {figures}"));
    for none in ["duplicates", "lost", "out_of_order"] {
        assert_eq!(count(none), 0, "{none}: {figures}");
    }
    assert_eq!(figures["calendars_equal_expected"], true, "{figures}");
    assert_eq!(count("worker_kills"), 2, "{figures}");
    assert_eq!(count("dead_letters"), 1, "{figures}");
    assert!(count("lost_answers") >= 10, "{figures}");
    assert!(count("bookings") >= 200 && count("events") > 2 * count("bookings"), "{figures}");
    let effect = |name: &str| figures["effects"][name].as_u64().unwrap_or_default();
    let effects = [effect("create"), effect("update"), effect("delete")];
    assert!(effects.iter().all(|count| *count > 20), "{figures}");
    assert!(count("attempts") > effects.iter().sum(), "{figures}");
    assert!(figures["seconds"].as_f64().unwrap() > 0.0, "{figures}");
    assert!(told.contains("seed 20260104"), "{told}");
    assert!(!told.contains('\u{1b}'), "no terminal, no escape sequences: {told}");
}
