//! The README's configuration table is the settings' own.

use calendar_sync::config::{MARKER_BEGIN, MARKER_END, table_markdown};

#[test]
fn the_readme_has_exactly_the_settings_that_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (_, rest) = readme.split_once(MARKER_BEGIN).unwrap();
    let (table, _) = rest.split_once(MARKER_END).unwrap();
    assert_eq!(
        table.trim(),
        table_markdown().trim(),
        "paste the table of `calendar_sync::config::table_markdown` between the two markers"
    );
}
