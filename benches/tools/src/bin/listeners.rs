//! Many server-sent-event listeners of one device, and downlinks to all of them.
//!
//! `listeners HTTP_ADDRESS MQTT_ADDRESS DEVICE COUNT [--token T] [--downlinks 20]`
//! Prints `ready` when all listen, waits for a line on standard input, sends, and reports from publish to event.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_bench_tools::{http, mqtt, number, option, report};
use tokio::sync::mpsc;
use tokio::time::Instant;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    let (address, broker, device) = (&arguments[1], &arguments[2], &arguments[3]);
    let count: usize = arguments[4].parse().expect("COUNT");
    let downlinks = number("--downlinks", 20);
    let token =
        option("--token").map_or(String::new(), |t| format!("authorization: Bearer {t}\r\n"));
    let request = Arc::new(format!(
        "GET /v1/devices/{device}/downlinks HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{token}\r\n"
    ));
    let start = Instant::now();
    let sent_at = Arc::new(AtomicU64::new(0));
    let (events, mut arrived) = mpsc::unbounded_channel();
    let (opened, mut open) = mpsc::unbounded_channel();
    for number in 0..count {
        if number % 200 == 199 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut connection = http::Connection::open(address).await?;
        let (request, events, opened) = (Arc::clone(&request), events.clone(), opened.clone());
        let sent_at = Arc::clone(&sent_at);
        tokio::spawn(async move {
            connection.write(request.as_bytes()).await.expect("written");
            let mut told = false;
            loop {
                let bytes = connection.read().await.expect("the stream goes on");
                if !told {
                    assert!(bytes.starts_with(b"HTTP/1.1 200"), "refused");
                    told = true;
                    let _ = opened.send(());
                }
                for _ in 0..bytes
                    .windows(14)
                    .filter(|w| w == b"event:downlink" || w == b"event: downlin")
                    .count()
                {
                    let sent = sent_at.load(Ordering::Acquire);
                    let _ = events.send(start.elapsed().as_micros() as u64 - sent);
                }
            }
        });
    }
    for _ in 0..count {
        open.recv().await;
    }
    println!("ready");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next()).await?;
    let mut publisher = mqtt::Connection::open(broker, "downlinks").await?;
    let topic = format!("devices/{device}/down/x");
    let mut latencies = Vec::new();
    for _ in 0..downlinks {
        sent_at.store(start.elapsed().as_micros() as u64, Ordering::Release);
        publisher.publish(&topic, r#"{"led":"on"}"#).await?;
        for _ in 0..count {
            let one = tokio::time::timeout(Duration::from_secs(30), arrived.recv()).await;
            latencies.push(one.expect("every listener hears").expect("a latency"));
        }
    }
    report(latencies, 0);
    Ok(())
}
