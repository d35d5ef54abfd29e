//! Requests at a fixed, low rate, and how long each took from when it was due.
//!
//! `steady http ADDRESS PATH [--token T]` or `steady mqtt ADDRESS`, both with `[--rate 200] [--seconds 10]`

use std::time::Duration;

use causeway_bench_tools::{http, mqtt, number, option, rate::Schedule, report};

const BODY: &str = r#"{"temperature":21.5,"pressure":1013.25,"pump":"on","seq":1000001}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    let (rate, seconds) = (number("--rate", 200), number("--seconds", 10));
    let (mut latencies, mut failed) = (Vec::new(), 0);
    let mut schedule = Schedule::new(rate, seconds, Duration::from_millis(100));
    match arguments[1].as_str() {
        "http" => {
            let mut connection = http::Connection::open(&arguments[2]).await?;
            let token = option("--token");
            let request = http::post(&arguments[2], &arguments[3], token.as_deref(), BODY);
            while let Some(due) = schedule.due().await {
                match connection.send(&request).await? {
                    200 => latencies.push(due.elapsed().as_micros() as u64),
                    _ => failed += 1,
                }
            }
        }
        "mqtt" => {
            let mut connection = mqtt::Connection::open(&arguments[2], "steady").await?;
            while let Some(due) = schedule.due().await {
                connection.publish("devices/bench-0/up", BODY).await?;
                latencies.push(due.elapsed().as_micros() as u64);
            }
        }
        other => panic!("{other}: http or mqtt"),
    }
    report(latencies, failed);
    Ok(())
}
