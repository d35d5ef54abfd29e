//! What the load tools share: percentiles, arguments, one HTTP connection, one MQTT connection.

pub mod http;
pub mod mqtt;
pub mod rate;

/// Prints latencies as one JSON object, in microseconds.
pub fn report(mut latencies: Vec<u64>, failed: u64) {
    latencies.sort_unstable();
    let at = |part: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies
            .get((last as f64 * part) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        r#"{{"count": {}, "failed": {failed}, "p50_us": {}, "p90_us": {}, "p99_us": {}, "max_us": {}}}"#,
        latencies.len(),
        at(0.50),
        at(0.90),
        at(0.99),
        at(1.0),
    );
}

/// The value behind `--name`.
pub fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// The number behind `--name`.
pub fn number(name: &str, default: u64) -> u64 {
    option(name).map_or(default, |text| text.parse().expect(name))
}
