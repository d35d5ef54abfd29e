//! Prometheus's text format, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

use crate::store::{TIMING_BOUNDS, Timings};

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from zero at the start of the bridge. Its name ends with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A text that grows family by family, so that a family's samples always stand together.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help);
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// Adds a histogram of one series, in seconds.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str, timings: &Timings) {
        self.head(name, "histogram", help);
        let mut total = 0;
        let bounds = TIMING_BOUNDS.map(|micros| (micros as f64 / 1e6).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (bound, count) in bounds.zip(timings.buckets) {
            total += count;
            line(&mut self.0, name, "_bucket", &[("le", bound)], total);
        }
        line(&mut self.0, name, "_sum", &[], timings.sum.as_secs_f64());
        line(&mut self.0, name, "_count", &[], total);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing into a `String` cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

/// A family whose samples are being added.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a sample; its labels differ from those of every other sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        line(self.text, self.name, "", labels, value);
    }
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, &str)],
    value: impl std::fmt::Display,
) {
    let _ = write!(text, "{name}{suffix}");
    for (index, (label, of)) in labels.iter().enumerate() {
        let open = if index == 0 { '{' } else { ',' };
        let _ = write!(text, "{open}{label}=\"{}\"", escaped(of));
    }
    let close = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{close} {value}");
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn help_and_labels_are_escaped() {
        let mut text = Exposition::default();
        let mut family = text.family("a_total", Kind::Counter, "a \\ \"b\"\nc");
        family.sample(&[("x", "1"), ("y", "\\ \"\n")], 7);
        family.sample(&[], u64::MAX);
        text.family("b", Kind::Gauge, "none");
        let expected = r#"# HELP a_total a \\ "b"\nc
# TYPE a_total counter
a_total{x="1",y="\\ \"\n"} 7
a_total 18446744073709551615
# HELP b none
# TYPE b gauge
"#;
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn buckets_add_up() {
        let mut timings = Timings::default();
        for micros in [400, 500, 2_000, 6_000_000] {
            timings.record(Duration::from_micros(micros));
        }
        let mut text = Exposition::default();
        text.histogram("t_seconds", "took", &timings);
        let expected = r#"# HELP t_seconds took
# TYPE t_seconds histogram
t_seconds_bucket{le="0.0005"} 2
t_seconds_bucket{le="0.001"} 2
t_seconds_bucket{le="0.0025"} 3
t_seconds_bucket{le="0.005"} 3
t_seconds_bucket{le="0.01"} 3
t_seconds_bucket{le="0.025"} 3
t_seconds_bucket{le="0.05"} 3
t_seconds_bucket{le="0.1"} 3
t_seconds_bucket{le="0.25"} 3
t_seconds_bucket{le="1"} 3
t_seconds_bucket{le="5"} 3
t_seconds_bucket{le="+Inf"} 4
t_seconds_sum 6.0029
t_seconds_count 4
"#;
        assert_eq!(text.finish(), expected);
    }
}
