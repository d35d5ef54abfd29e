//! A session against a broker that does what a test tells it to, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

mod answers;
mod bench;
mod downlinks;
mod goodbyes;
mod keys;
mod orders;
mod outages;
mod peer;
mod refusals;
mod suspects;
mod tenures;
mod turns;
mod uplinks;

use super::*;
use crate::broker::MqttVersion;
use crate::device::DeviceId;
use crate::identity::{Algorithm, SigningKey, TokenSpec};
use crate::message::{ContentType, Qos};
use crate::mqtt::packet::{self, Ack, AckKind, ConnAck, Packet};
use crate::mqtt::reason::Reason;
use bench::{Bench, DELIVERED, Given, publish, routes_of, spec};
use peer::{Peer, payload};

const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}
