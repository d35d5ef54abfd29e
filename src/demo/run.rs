//! The demo from its options to its end: folder, listeners, platform, bridge, and the lines to paste.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::akenza::Akenza;
use super::announce;
use super::broker::{Broker, Faults};
use super::console::Console;
use super::folder::{Addresses, Folder, FolderError};
use super::platform::Records;
use super::sap::Sap;

/// What a user can choose. A port of 0 is any free one; everything listens on 127.0.0.1.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The folder for everything that the demo makes. Default `causeway-demo`.
    pub dir: PathBuf,
    /// Port of the bridge. Default 8080.
    pub http: u16,
    /// Port of the bridge's management listener. Default 9090.
    pub management: u16,
    /// Port of the platform's broker. Default 1883.
    pub mqtt: u16,
    /// The same with TLS. Default 8883.
    pub mqtts: u16,
    /// Port of the pretended SAP gateway, with TLS. Default 8884.
    pub sap: u16,
    /// Port of the platform's console. Default 8090.
    pub console: u16,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            dir: "causeway-demo".into(),
            http: 8080,
            management: 9090,
            mqtt: 1883,
            mqtts: 8883,
            sap: 8884,
            console: 8090,
        }
    }
}

/// What the demo hands to the bridge.
pub struct BridgeParts {
    /// The configuration's file; paths in it are relative to it. Its ports may be 0.
    pub config_file: PathBuf,
    /// Asks the bridge to drain and end.
    pub shutdown: CancellationToken,
}

/// Any error of the bridge.
pub type BridgeError = Box<dyn std::error::Error + Send + Sync>;

/// A bridge that is bound to its addresses.
pub struct RunningBridge {
    /// Where it listens.
    pub http: SocketAddr,
    /// Where its management listener is.
    pub management: SocketAddr,
    /// Runs it; resolves when it has drained and ended.
    pub run: Pin<Box<dyn Future<Output = Result<(), BridgeError>> + Send>>,
}

/// A demo that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A port that something else has.
    #[error(
        "port {port} of 127.0.0.1 is taken: choose another with `{option} PORT`, or any free one with `{option} 0`"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
    },
    /// A port that cannot be bound for another reason.
    #[error(
        "port {port} of 127.0.0.1 cannot be used ({error}): choose another with `{option} PORT`"
    )]
    Bind {
        /// The port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder's making was interrupted.
    #[error("the demo's folder could not be prepared: {0}")]
    Prepare(#[from] tokio::task::JoinError),
    /// The bridge did not start, or broke off.
    #[error("the bridge: {0}")]
    Bridge(BridgeError),
}

/// Runs the demo until `shutdown`, or until the bridge ends. `start_bridge` resolves when the bridge is bound.
pub async fn run<B, R>(
    options: DemoOptions,
    start_bridge: B,
    shutdown: CancellationToken,
) -> Result<(), DemoError>
where
    B: FnOnce(BridgeParts) -> R,
    R: Future<Output = Result<RunningBridge, BridgeError>>,
{
    // Ports first: a demo that cannot run leaves no folder behind.
    let listeners = Listeners::bind(&options).await?;
    let mut addresses = listeners.addresses;
    let dir = options.dir;
    // Making an RSA key takes a while.
    let mut folder = tokio::task::spawn_blocking(move || Folder::open(&dir)).await??;

    // The platform outlives the bridge, which drains against it.
    let platform_shutdown = CancellationToken::new();
    let _ends_in_any_case = platform_shutdown.clone().drop_guard();
    let records = Records::default();
    let akenza = Arc::new(std::mem::take(&mut folder.registry));
    let gate = Akenza::new(Arc::clone(&akenza), records.clone());
    let broker = Broker::new(gate, Faults::default(), platform_shutdown.clone());
    broker.listen(listeners.mqtt, None);
    broker.listen(listeners.mqtts, Some(folder.servers.for_anybody.clone()));
    let sap = Sap::new([folder.sap_device.clone()], records.clone());
    let sap = Broker::new(sap, Faults::default(), platform_shutdown.clone());
    sap.listen(listeners.sap, Some(folder.servers.for_certificates.clone()));
    let console = Console {
        records,
        akenza,
        brokers: vec![broker.clone(), sap.clone()],
        devices: folder.devices.iter().map(|d| d.id.clone()).collect(),
    };
    let tasks = TaskTracker::new();
    tasks.spawn(console.serve(listeners.console, platform_shutdown.clone()));

    let bridge_shutdown = CancellationToken::new();
    let bridge = start_bridge(BridgeParts {
        config_file: folder.write_config(&addresses)?,
        shutdown: bridge_shutdown.clone(),
    });
    let bridge = bridge.await.map_err(DemoError::Bridge)?;
    (addresses.http, addresses.management) = (bridge.http, bridge.management);
    let mut running = tokio::spawn(bridge.run);

    folder.write_config(&addresses)?;
    let summary = folder.summary(&addresses);
    folder.write_summary(&summary)?;
    print!("{}", announce::text(folder.dir(), &summary));

    let ended = tokio::select! {
        ended = &mut running => ended,
        () = shutdown.cancelled() => {
            bridge_shutdown.cancel();
            running.await
        }
    };
    folder.remove_summary()?;
    platform_shutdown.cancel();
    broker.closed().await;
    sap.closed().await;
    tasks.close();
    tasks.wait().await;
    match ended {
        Ok(ended) => ended.map_err(DemoError::Bridge),
        Err(panicked) => Err(DemoError::Bridge(panicked.into())),
    }
}

/// The platform's listeners. The bridge binds its own.
struct Listeners {
    addresses: Addresses,
    console: TcpListener,
    mqtt: TcpListener,
    mqtts: TcpListener,
    sap: TcpListener,
}

impl Listeners {
    async fn bind(options: &DemoOptions) -> Result<Self, DemoError> {
        // Bound for a moment, so that a port that is taken is named with its option.
        drop(bind(options.http, "--http").await?);
        drop(bind(options.management, "--management").await?);
        let (console, console_address) = bind(options.console, "--console").await?;
        let (mqtt, mqtt_address) = bind(options.mqtt, "--mqtt").await?;
        let (mqtts, mqtts_address) = bind(options.mqtts, "--mqtts").await?;
        let (sap, sap_address) = bind(options.sap, "--sap").await?;
        let of_bridge = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            addresses: Addresses {
                http: of_bridge(options.http),
                management: of_bridge(options.management),
                console: console_address,
                mqtt: mqtt_address,
                mqtts: mqtts_address,
                sap: sap_address,
            },
            console,
            mqtt,
            mqtts,
            sap,
        })
    }
}

async fn bind(port: u16, option: &'static str) -> Result<(TcpListener, SocketAddr), DemoError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound
        .and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => DemoError::PortTaken { port, option },
            _ => DemoError::Bind {
                port,
                option,
                error,
            },
        })
}
