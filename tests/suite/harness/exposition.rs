//! A strict reader of Prometheus's text format. It also holds names, texts and types to what `promtool check metrics` asks
//! for (client_golang's `promlint`).

use std::collections::{BTreeMap, BTreeSet};

/// What one scrape gave.
#[derive(Debug, Clone)]
pub struct Exposition {
    /// By series, as `name{label="value",…}`.
    samples: BTreeMap<String, f64>,
    /// The names of metrics, those without samples included.
    families: BTreeSet<String>,
}

impl Exposition {
    /// Reads a whole answer; panics with the line that is wrong.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end: {text:?}");
        let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut family) = ("", "");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect(line);
                assert!(!help.is_empty(), "{line}");
                helped = name;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect(line);
                assert_eq!(name, helped, "HELP comes before TYPE: {line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                check_name(name, kind, line);
                assert!(kinds.insert(name, kind).is_none(), "twice: {line}");
                family = name;
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let (name, labels) = split(series);
                let suffix = name.strip_prefix(family).expect(line);
                let suffixes: &[_] = match kinds.get(family) {
                    Some(&"histogram") => &["_bucket", "_sum", "_count"],
                    Some(_) => &[""],
                    None => panic!("no TYPE before {line}"),
                };
                assert!(suffixes.contains(&suffix), "{line}");
                check_labels(labels, suffix == "_bucket", line);
                let value: f64 = value.parse().expect(line);
                assert!(value >= 0.0, "{line}");
                let twice = samples.insert(series.to_owned(), value);
                assert!(twice.is_none(), "twice: {line}");
            }
        }
        for (name, _) in kinds.iter().filter(|(_, kind)| **kind == "histogram") {
            check_histogram(name, text, &samples);
        }
        Self {
            samples,
            families: kinds.into_keys().map(str::to_owned).collect(),
        }
    }

    /// A series' value; `None` when it is absent.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// The series' names and labels.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }

    /// The names of metrics, those without samples included.
    pub fn families(&self) -> &BTreeSet<String> {
        &self.families
    }
}

fn check_name(name: &str, kind: &str, line: &str) {
    /// A unit has a name, and it is a base unit.
    const NOT_UNITS: [&str; 30] = [
        "s",
        "ms",
        "us",
        "ns",
        "sec",
        "secs",
        "b",
        "kb",
        "mb",
        "gb",
        "tb",
        "pb",
        "m",
        "h",
        "d",
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "minutes",
        "hours",
        "days",
        "weeks",
        "kilobytes",
        "megabytes",
        "gigabytes",
        "terabytes",
        "kibibytes",
        "mebibytes",
        "gibibytes",
        "percent",
    ];
    assert!(is_name(name), "{line}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
    let words: Vec<_> = name.split('_').collect();
    for word in &words {
        assert!(
            !NOT_UNITS.contains(word),
            "no base unit in its own words: {line}"
        );
        let type_names = ["counter", "gauge", "histogram", "summary"];
        assert!(
            !type_names.contains(word),
            "the type is no part of the name: {line}"
        );
    }
    for suffix in ["_bucket", "_sum", "_count"] {
        assert!(!name.ends_with(suffix), "reserved: {line}");
    }
    let unit = name.trim_end_matches("_total");
    for base in ["seconds", "bytes"] {
        let inside = words.contains(&base) && !unit.ends_with(base);
        assert!(!inside, "a unit stands at the end: {line}");
    }
    assert!(
        kind != "histogram" || unit.ends_with("_seconds") || unit.ends_with("_bytes"),
        "a histogram has a unit: {line}"
    );
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn split(series: &str) -> (&str, &str) {
    let at = series.find('{').unwrap_or(series.len());
    series.split_at(at)
}

fn check_labels(labels: &str, is_bucket: bool, line: &str) {
    let mut names = BTreeSet::new();
    let inside = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
    let mut rest = match labels {
        "" => "",
        _ => inside.filter(|inside| !inside.is_empty()).expect(line),
    };
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").expect(line);
        assert!(is_name(name) && name != "quantile", "{line}");
        assert!(names.insert(name), "a label twice: {line}");
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().expect(line) {
                (end, '"') => break end,
                (_, '\\') => assert!(
                    matches!(chars.next(), Some((_, '\\' | '"' | 'n'))),
                    "{line}"
                ),
                _ => {}
            }
        };
        rest = match &value[end + 1..] {
            "" => "",
            more => more
                .strip_prefix(',')
                .filter(|more| !more.is_empty())
                .expect(line),
        };
    }
    assert_eq!(names.contains("le"), is_bucket, "{line}");
}

/// Each series of a histogram: its buckets stand together, bounds grow, counts do not fall, and the last one is all.
fn check_histogram(name: &str, text: &str, samples: &BTreeMap<String, f64>) {
    let prefix = format!("{name}_bucket{{");
    let mut all: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for bucket in text.lines().filter_map(|line| line.strip_prefix(&prefix)) {
        let (labels, rest) = bucket.split_once("le=\"").expect(bucket);
        let (bound, count) = rest.split_once("\"} ").expect(bucket);
        let bucket = (bound.parse().expect(bucket), count.parse().expect(bucket));
        all.entry(labels.trim_end_matches(','))
            .or_default()
            .push(bucket);
    }
    for (labels, buckets) in all {
        let grows = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(buckets.windows(2).all(grows), "{name}: {buckets:?}");
        let labels = match labels {
            "" => String::new(),
            some => format!("{{{some}}}"),
        };
        let count = samples[&format!("{name}_count{labels}")];
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
        assert!(
            samples.contains_key(&format!("{name}_sum{labels}")),
            "{name}"
        );
    }
    for series in samples.keys() {
        let labels = series
            .strip_prefix(name)
            .and_then(|s| s.strip_prefix("_count"));
        let first = labels.map(|labels| match labels.trim_matches(['{', '}']) {
            "" => format!("{prefix}le=\""),
            some => format!("{prefix}{some},le=\""),
        });
        assert!(
            first.is_none_or(|first| text.contains(&first)),
            "no buckets: {series}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# HELP a_total What.\n# TYPE a_total counter\na_total{x=\"1,\\\"}\",y=\"\"} 2\n";
    const HISTOGRAM: &str = "# HELP t_seconds T.\n# TYPE t_seconds histogram\n\
        t_seconds_bucket{a=\"b\",le=\"1\"} 1\nt_seconds_bucket{a=\"b\",le=\"+Inf\"} 2\n\
        t_seconds_sum{a=\"b\"} 1\nt_seconds_count{a=\"b\"} 2\n";

    #[test]
    fn what_is_right_is_read() {
        let read = Exposition::parse(&[GOOD, HISTOGRAM].concat());
        assert_eq!(read.get("a_total{x=\"1,\\\"}\",y=\"\"}"), Some(2.0));
        assert_eq!(read.get("a_total"), None);
        assert_eq!(read.get("t_seconds_count{a=\"b\"}"), Some(2.0));
        assert_eq!(Vec::from_iter(read.families()), ["a_total", "t_seconds"]);
    }

    #[test]
    fn what_is_wrong_is_noticed() {
        let twice = [GOOD, "a_total{x=\"1,\\\"}\",y=\"\"} 2\n"].concat();
        for bad in [
            GOOD.trim_end().to_owned(),
            GOOD.replace("_total", ""),
            GOOD.replace("counter", "gauge"),
            GOOD.replace("# HELP a_total What.\n", ""),
            GOOD.replace("What.", ""),
            GOOD.replace("\\\"", "\\x"),
            GOOD.replace("} 2", " 2"),
            GOOD.replace("} 2", "} two"),
            GOOD.replace("} 2", "} -2"),
            GOOD.replace("x=", "y="),
            GOOD.replace("x=", "le="),
            GOOD.replace("x=", "quantile="),
            GOOD.replace("a_total", "aA_total"),
            GOOD.replace("a_total", "a_ms_total"),
            GOOD.replace("a_total", "a_hours_total"),
            GOOD.replace("a_total", "a_counter_total"),
            GOOD.replace("a_total", "a_bytes_sent_total"),
            twice,
            HISTOGRAM.replace("t_seconds", "t"),
            HISTOGRAM.replace("t_seconds_count{a=\"b\"} 2", "t_seconds_count{a=\"b\"} 3"),
            HISTOGRAM.replace("t_seconds_sum{a=\"b\"} 1\n", ""),
            HISTOGRAM.replace("le=\"+Inf\"", "le=\"2\""),
            HISTOGRAM.replace("le=\"1\"} 1", "le=\"1\"} 3"),
            HISTOGRAM.replace(
                "t_seconds_count{a=\"b\"} 2\n",
                "t_seconds_count{a=\"c\"} 2\n",
            ),
            format!("{HISTOGRAM}t_seconds_sum{{a=\"c\"}} 0\nt_seconds_count{{a=\"c\"}} 0\n"),
        ] {
            let read = std::panic::catch_unwind(|| Exposition::parse(&bad));
            assert!(read.is_err(), "{bad}");
        }
    }
}
