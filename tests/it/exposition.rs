//! What `/metrics` says, read as Prometheus reads it.

use std::collections::BTreeSet;
use std::fmt;

/// An exposition in either format.
pub(crate) struct Exposition(String);

/// One sample: its name, its labels, and the rest of its line.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, &'t str)>,
    value: &'t str,
}

fn sample(line: &str) -> Sample<'_> {
    let (name, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = rest.split_once('}').expect("labels end");
            (name, labels, rest.trim_start())
        }
        None => line.split_once(' ').map(|(name, rest)| (name, "", rest)).expect("a value"),
    };
    // No value of ours holds a comma.
    let labels = labels.split(',').filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name, value.trim_matches('"')))
    });
    let value = rest.split(' ').next().expect("a value");
    Sample { name, labels: labels.collect(), value }
}

impl Exposition {
    /// This text.
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    /// As it was sent.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.0.lines().filter(|line| !line.starts_with('#')).map(sample)
    }

    /// The sample of this name and exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeSet<_> = labels.iter().copied().collect();
        let is_it = |sample: &Sample<'_>| {
            sample.name == name && sample.labels.iter().copied().collect::<BTreeSet<_>>() == wanted
        };
        self.samples().find(is_it).map(|sample| sample.value.parse().expect("a number"))
    }

    /// All samples of this name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, &[])
    }

    /// The same of those that have these labels, and any others.
    pub(crate) fn sum_where(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample<'_>| labels.iter().all(|label| sample.labels.contains(label));
        let found = self.samples().filter(|sample| sample.name == name && has(sample));
        found.fold(0.0, |sum, sample| sum + sample.value.parse::<f64>().expect("a number"))
    }

    /// Every label that there is, with its value.
    pub(crate) fn labels(&self) -> BTreeSet<(String, String)> {
        let labels = self.samples().flat_map(|sample| sample.labels);
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
