//! The dashboard and the alerts ask for figures that exist.

use std::collections::BTreeSet;

use super::documented;

/// Everything in a text that looks like the name of one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("causeway_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let file = |name: &str| {
        let path = format!("{}/docker/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let dashboard = file("grafana/dashboards/causeway.json");
    let json: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = json["panels"].as_array().unwrap();
    let queries: Vec<_> = (panels.iter())
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 40, "{} queries", queries.len());
    for query in &queries {
        assert!(
            !named(query).is_empty(),
            "it asks for nothing of ours: {query}"
        );
    }
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "twice: {panel}");
    }

    let documented = documented();
    let exists = |name: &str| {
        let suffixes = ["", "_bucket", "_sum", "_count"];
        let mut bases = suffixes
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix));
        bases.any(|base| documented.contains(base))
    };
    for text in [&dashboard, &file("prometheus-alerts.yml")] {
        for name in named(text) {
            assert!(exists(&name), "there is no metric {name}");
        }
    }
    // And what there is can be seen, but for two that say little.
    let shown = named(&dashboard);
    let unseen: Vec<_> = (documented.iter())
        .filter(|name| !shown.iter().any(|shown| shown.starts_with(name.as_str())))
        .collect();
    assert_eq!(unseen, ["process_threads", "process_virtual_memory_bytes"]);
}
