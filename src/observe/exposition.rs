//! Prometheus's text format, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write};
use std::time::Duration;

/// What the samples of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from zero at the start of the bridge. Its name ends with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counted by size: `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What all samples of one name have in common.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The labels of each sample, in this order.
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// A text that grows family by family, so that a family's samples always stand together.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a family.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let help = family.help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing into a `String` cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {} {help}", family.name);
        let _ = writeln!(self.0, "# TYPE {} {}", family.name, family.kind.name());
        Samples {
            text: &mut self.0,
            family,
        }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, family: &'static Family, value: impl Display) {
        self.family(family).sample(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A family whose samples are being added.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    text: &'a mut String,
    family: &'static Family,
}

impl Samples<'_> {
    /// Adds a sample with these values of the family's labels; no two samples have the same ones.
    pub(super) fn sample(&mut self, values: &[&str], value: impl Display) {
        self.line("", values, None, value);
    }

    /// Adds a histogram. Each bucket holds what is above the bound before it and not above its own, in microseconds;
    /// the last one has no bound.
    pub(super) fn histogram(
        &mut self,
        values: &[&str],
        bounds: &[u64],
        buckets: &[u64],
        sum: Duration,
    ) {
        let mut total = 0;
        let bounds = bounds.iter().map(|micros| seconds(*micros));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(buckets) {
            total += count;
            self.line("_bucket", values, Some(&bound), total);
        }
        self.line("_sum", values, None, sum.as_secs_f64());
        self.line("_count", values, None, total);
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: impl Display) {
        debug_assert_eq!(self.family.labels.len(), values.len(), "{:?}", self.family);
        let _ = write!(self.text, "{}{suffix}", self.family.name);
        let labels = self
            .family
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied());
        let mut open = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(value));
            open = ',';
        }
        let close = if open == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

/// `0.00025`: never with an exponent.
fn seconds(micros: u64) -> String {
    (micros as f64 / 1e6).to_string()
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_labels_are_escaped() {
        const A: Family = Family {
            name: "a_total",
            kind: Kind::Counter,
            labels: &["x", "y"],
            help: "a \\ \"b\"\nc",
        };
        const B: Family = Family {
            name: "b",
            kind: Kind::Gauge,
            labels: &[],
            help: "none",
        };
        let mut text = Exposition::default();
        let mut family = text.family(&A);
        family.sample(&["1", "\\ \"\n"], 7);
        family.sample(&["2", ""], u64::MAX);
        text.single(&B, 0.5);
        let expected = r#"# HELP a_total a \\ "b"\nc
# TYPE a_total counter
a_total{x="1",y="\\ \"\n"} 7
a_total{x="2",y=""} 18446744073709551615
# HELP b none
# TYPE b gauge
b 0.5
"#;
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn buckets_add_up() {
        const T: Family = Family {
            name: "t_seconds",
            kind: Kind::Histogram,
            labels: &["of"],
            help: "took",
        };
        let mut text = Exposition::default();
        let sum = Duration::from_micros(6_002_900);
        text.family(&T)
            .histogram(&["x"], &[250, 5_000, 60_000_000], &[2, 1, 0, 1], sum);
        let expected = r#"# HELP t_seconds took
# TYPE t_seconds histogram
t_seconds_bucket{of="x",le="0.00025"} 2
t_seconds_bucket{of="x",le="0.005"} 3
t_seconds_bucket{of="x",le="60"} 3
t_seconds_bucket{of="x",le="+Inf"} 4
t_seconds_sum{of="x"} 6.0029
t_seconds_count{of="x"} 4
"#;
        assert_eq!(text.finish(), expected);
    }
}
