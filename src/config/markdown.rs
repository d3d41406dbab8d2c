//! The README's table of settings, made from the same list as the settings themselves.

use std::fmt::Write as _;

use super::table::{self, Key};

/// Stands in the README before the table.
pub const MARKER_BEGIN: &str = "<!-- settings: made from src/config/table.rs, begin -->";
/// Stands in the README after the table.
pub const MARKER_END: &str = "<!-- settings: end -->";

const HEAD: &str = "\
| Setting | Environment | Default | Allowed | Meaning |
|---|---|---|---|---|
";

/// The whole table in Markdown, with a line break at its end.
pub fn table_markdown() -> String {
    let mut text = HEAD.to_owned();
    for key in table::keys() {
        line(&mut text, key);
    }
    let properties = "| `kafka.properties.*` | `KAFKA_PROPERTIES_*` | | a property of librdkafka \
        | Passed on as it is, unless the service depends on its own value. |\n";
    text.push_str(properties);
    text
}

fn line(text: &mut String, key: &Key) {
    let default = match key.default {
        None | Some("") => String::new(),
        Some(default) => format!("`{default}`"),
    };
    let secret = if key.secret { " *Secret.*" } else { "" };
    let allowed = key.allowed.to_string().replace('|', "\\|");
    writeln!(
        text,
        "| `{}` | `{}` | {default} | {allowed} | {}{secret} |",
        key.name,
        key.variable(),
        key.meaning,
    )
    .expect("a String takes any text");
}
