//! The README's tables are the program's own: of settings, and of metrics.

use calendar_sync::config;
use calendar_sync::ops::metrics::table;

/// The README's table between these markers is this one.
#[track_caller]
fn assert_stands(markers: (&str, &str), expected: &str, maker: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("there is a README");
    let (_, rest) = readme.split_once(markers.0).expect("the table begins");
    let (table, _) = rest.split_once(markers.1).expect("and ends");
    let advice = format!("paste the table of `{maker}` between the two markers");
    assert_eq!(table.trim(), expected.trim(), "{advice}");
}

#[test]
fn the_readme_has_exactly_the_settings_that_there_are() {
    let markers = (config::MARKER_BEGIN, config::MARKER_END);
    let maker = "calendar_sync::config::table_markdown";
    assert_stands(markers, &config::table_markdown(), maker);
}

#[test]
fn the_readme_has_exactly_the_metrics_that_there_are() {
    let markers = (table::MARKER_BEGIN, table::MARKER_END);
    let maker = "calendar_sync::ops::metrics::table::table_markdown";
    assert_stands(markers, &table::table_markdown(), maker);
}
