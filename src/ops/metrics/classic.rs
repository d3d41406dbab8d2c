//! The older text format of Prometheus (0.0.4), made from that of `OpenMetrics`: counters are described by
//! their whole names, nothing has an exemplar or a unit, and what is of an unknown kind is `untyped`.
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>)

/// Whoever scrapes says what they understand (`Accept`); who says nothing of `OpenMetrics` gets this.
pub fn wants_openmetrics(accept: &str) -> bool {
    let refused = |range: &str| {
        let quality = range.split(';').find_map(|part| part.trim().strip_prefix("q="));
        quality.is_some_and(|quality| quality.trim().parse() == Ok(0.0))
    };
    accept.split(',').any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/openmetrics-text") && !refused(range)
    })
}

/// The same metrics in the older format.
pub fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            let kind = lines.next_if(|line| line.starts_with("# TYPE "));
            let kind = kind.and_then(|line| line.rsplit(' ').next()).unwrap_or("unknown");
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            for part in ["# HELP ", name, suffix, " ", help, "\n"] {
                text.push_str(part);
            }
            for part in ["# TYPE ", name, suffix, " ", kind, "\n"] {
                text.push_str(part);
            }
        } else if !line.starts_with('#') {
            // No label's value holds ` # `: they are of closed lists.
            let sample = line.split_once(" # ").map_or(line, |(sample, _)| sample);
            text.push_str(sample);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_their_whole_names_and_nothing_else_changes() {
        let openmetrics = "\
# HELP runs Drains.
# TYPE runs counter
runs_total 3
# HELP items Effects.
# TYPE items unknown
items 7
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_sum 1.5
wait_seconds_count 1
wait_seconds_bucket{le=\"60.0\"} 1 # {trace_id=\"ab\"} 1.5 1.7e9
wait_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        let expected = "\
# HELP runs_total Drains.
# TYPE runs_total counter
runs_total 3
# HELP items Effects.
# TYPE items untyped
items 7
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_sum 1.5
wait_seconds_count 1
wait_seconds_bucket{le=\"60.0\"} 1
wait_seconds_bucket{le=\"+Inf\"} 1
";
        assert_eq!(classic(openmetrics), expected);
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        // As Prometheus 3 asks.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert!(wants_openmetrics(prometheus));
        for plain in ["", "*/*", "text/plain", "application/openmetrics-text;q=0"] {
            assert!(!wants_openmetrics(plain), "{plain}");
        }
    }
}
