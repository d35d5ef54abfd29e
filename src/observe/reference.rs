//! The page about metrics in the documentation.

use super::exposition::Family;
use super::families::GROUPS;

/// All of them as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for (heading, group) in GROUPS {
        text +=
            &format!("\n## {heading}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for Family {
            name,
            kind,
            labels,
            help,
        } in group.iter().copied()
        {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let (kind, labels) = (kind.name(), labels.join(", "));
            text += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Metrics

<!-- Made from the code by `causeway metrics`; a test compares the two. -->

`GET /metrics` of the management listener (default `http://127.0.0.1:9090`) gives these, in Prometheus's text format.
Counters start at zero with the process. Labels are bounded: connectors, states, outcomes, causes, route templates; never a
device, a topic or an address. Every series of a connector is there from the start, so that the first event of its kind
shows in `rate()`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/metrics.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == markdown(),
            "docs/src/metrics.md differs from the code; run: cargo run -- metrics --out docs/src/metrics.md"
        );
    }
}
