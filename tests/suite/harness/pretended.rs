//! A pretended akenza inside the test's own process: the demo's broker, with its faults at hand.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use causeway::demo::akenza::{Akenza, Registry};
use causeway::demo::broker::{Broker, Faults};
use causeway::demo::platform::Records;
use causeway::device::DeviceId;
use causeway::identity::{SigningKey, VerifyingKey};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::keys::KeyForm;

/// A running one that knows devices by their public keys. Dropping it ends it.
pub struct Pretended {
    /// What goes wrong on command.
    pub faults: Faults,
    /// What it took and refused.
    pub records: Records,
    addr: SocketAddr,
    broker: Broker,
    _end: DropGuard,
}

impl Pretended {
    /// One that knows these devices. Their private keys are made in `folder`, as `DEVICE.pem`.
    pub async fn start(folder: &Path, devices: &[&str]) -> Self {
        let registry = Arc::new(Registry::default());
        for device in devices {
            let public = make_key(folder, device);
            let key = VerifyingKey::from_pem("public.pem".as_ref(), public.as_bytes()).unwrap();
            registry.add_key(DeviceId::parse(device).unwrap(), key);
        }
        let (records, faults, end) = (
            Records::default(),
            Faults::default(),
            CancellationToken::new(),
        );
        let platform = Akenza::new(registry, records.clone());
        let broker = Broker::new(platform, faults.clone(), end.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        broker.listen(listener, None);
        Self {
            faults,
            records,
            addr,
            broker,
            _end: end.drop_guard(),
        }
    }

    /// Where it listens, without TLS.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The broker itself.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }
}

/// Makes a key for a device in `folder`, and gives the public half as PEM.
pub fn make_key(folder: &Path, device: &str) -> String {
    let file = KeyForm::EcSec1.make(folder);
    let pem = std::fs::read(&file).unwrap();
    std::fs::rename(&file, folder.join(format!("{device}.pem"))).unwrap();
    let key = SigningKey::from_pem(&file, &pem, None).unwrap();
    key.public_pem().to_owned()
}
