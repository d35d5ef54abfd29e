//! A strict reader of Prometheus's text format: it also holds names and types to what `promtool check metrics` asks for.

use std::collections::BTreeMap;

/// What one scrape gave.
#[derive(Debug, Clone)]
pub struct Exposition {
    /// By series, as `name{label="value",…}`.
    samples: BTreeMap<String, f64>,
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
                assert!(is_name(name), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(kinds.insert(name, kind).is_none(), "twice: {line}");
                family = name;
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let (name, labels) = split(series);
                check_labels(labels, line);
                let suffix = name.strip_prefix(family).expect(line);
                let suffixes: &[_] = match kinds.get(family) {
                    Some(&"histogram") => &["_bucket", "_sum", "_count"],
                    Some(_) => &[""],
                    None => panic!("no TYPE before {line}"),
                };
                assert!(suffixes.contains(&suffix), "{line}");
                let value: f64 = value.parse().expect(line);
                assert!(value >= 0.0, "{line}");
                let twice = samples.insert(series.to_owned(), value);
                assert!(twice.is_none(), "twice: {line}");
            }
        }
        let histograms = kinds.iter().filter(|(_, kind)| **kind == "histogram");
        for (name, _) in histograms {
            check_histogram(name, text, &samples);
        }
        Self { samples }
    }

    /// A series' value; `None` when it is absent.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// The series' names and labels.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }
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

fn check_labels(labels: &str, line: &str) {
    if labels.is_empty() {
        return;
    }
    let inside = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
    let mut rest = inside.expect(line);
    loop {
        let (name, value) = rest.split_once("=\"").expect(line);
        assert!(is_name(name), "{line}");
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
        match &value[end + 1..] {
            "" => return,
            more => rest = more.strip_prefix(',').expect(line),
        }
    }
}

/// The one series of a histogram: bounds grow, counts do not fall, and the last one is all.
fn check_histogram(name: &str, text: &str, samples: &BTreeMap<String, f64>) {
    let prefix = format!("{name}_bucket{{le=\"");
    let buckets = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let buckets: Vec<(f64, f64)> = buckets
        .map(|bucket| {
            let (bound, count) = bucket.split_once("\"} ").expect(bucket);
            (bound.parse().expect(bucket), count.parse().expect(bucket))
        })
        .collect();
    let grows = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
    assert!(buckets.windows(2).all(grows), "{name}: {buckets:?}");
    let count = samples[&format!("{name}_count")];
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
    assert!(samples.contains_key(&format!("{name}_sum")), "{name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# HELP a_total What.\n# TYPE a_total counter\na_total{x=\"1,\\\"}\",y=\"\"} 2\n";

    #[test]
    fn what_is_right_is_read() {
        let read = Exposition::parse(GOOD);
        assert_eq!(read.get("a_total{x=\"1,\\\"}\",y=\"\"}"), Some(2.0));
        assert_eq!(read.get("a_total"), None);
    }

    #[test]
    fn what_is_wrong_is_noticed() {
        let twice = [GOOD, "a_total{x=\"1,\\\"}\",y=\"\"} 2\n"].concat();
        let histogram = "# HELP t T.\n# TYPE t histogram\n";
        for bad in [
            GOOD.trim_end().to_owned(),
            GOOD.replace("_total", ""),
            GOOD.replace("counter", "gauge"),
            GOOD.replace("# HELP a_total What.\n", ""),
            GOOD.replace("\\\"", "\\x"),
            GOOD.replace("} 2", " 2"),
            GOOD.replace("} 2", "} two"),
            twice,
            format!("{histogram}t_bucket{{le=\"+Inf\"}} 1\nt_sum 1\nt_count 2\n"),
            format!("{histogram}t_bucket{{le=\"1\"}} 1\nt_sum 1\nt_count 1\n"),
        ] {
            let read = std::panic::catch_unwind(|| Exposition::parse(&bad));
            assert!(read.is_err(), "{bad}");
        }
    }
}
