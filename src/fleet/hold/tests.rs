//! Sessions that come and go faster than they can be opened and closed.

use std::path::Path;

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::config::Config;
use crate::downlink::{Hub, Limits};
use crate::fleet::{Parts, Share};
use crate::registry::{Device, Registry};
use crate::session::Shared;
use crate::uplink::Uplinks;

/// Far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// A member with one device, and a broker that says nothing.
struct Bench {
    holder: Holder,
    registry: Arc<Registry>,
    broker: TcpListener,
}

impl Bench {
    async fn start() -> Self {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = format!(
            "[connectors.own]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
             override.session = \"device\"\noverride.connect.client_id = \"own-{{device}}\"\n\
             [devices.pump]\nconnector = \"own\"\n",
            broker.local_addr().unwrap()
        );
        let config = Config::from_text(&text, "test.toml", Path::new("."), []).unwrap();
        let registry = Arc::new(Registry::new([]));
        let parts = Parts {
            registry: Arc::clone(&registry),
            share: Arc::new(Share::of_member()),
            uplinks: Uplinks::new(Arc::clone(&registry), None, 10),
            hub: Arc::new(Hub::new(Limits::default())),
            store: None,
            vault: None,
            keyring: None,
        };
        let draft = Fleet::plan(&config, parts, Shared::for_tests()).await;
        let holder = Holder(draft.unwrap().run().await);
        Self {
            holder,
            registry,
            broker,
        }
    }

    fn take(&self) -> BoxFuture<'static, ()> {
        let take = self.holder.take(Partitions::ALL);
        Box::pin(async { timeout(DEADLINE, take).await.unwrap() })
    }

    fn lose(&self) {
        self.holder.lose(Partitions::ALL);
    }

    fn device(&self) -> Option<Arc<Device>> {
        self.registry.get(&DeviceId::parse("pump").unwrap())
    }

    /// The next connection that the device's session opens.
    async fn connection(&self) -> TcpStream {
        let accepted = timeout(DEADLINE, self.broker.accept()).await;
        accepted.unwrap().unwrap().0
    }
}

/// Waits until the session has closed a connection.
async fn closed(mut connection: TcpStream) {
    let read = async { while matches!(connection.read(&mut [0; 64]).await, Ok(1..)) {} };
    timeout(DEADLINE, read).await.unwrap();
}

#[tokio::test]
async fn what_is_lost_is_gone_at_once_and_runs_again_when_it_is_taken_in_the_next_moment() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        bench.take().await;
        let connection = bench.connection().await;
        let device = bench.device().unwrap();
        assert!(!device.tenure.is_over());
        bench.lose();
        assert!(bench.device().is_none());
        assert!(device.tenure.is_over());
        // Nothing has had the time to do anything about it.
        bench.take().await;
        closed(connection).await;
        drop(bench.connection().await);
        assert!(!bench.device().unwrap().tenure.is_over());
        bench.lose();
    }
}

#[tokio::test]
async fn what_is_taken_again_waits_for_what_was_on_its_way_when_it_was_lost() {
    let bench = Bench::start().await;
    bench.take().await;
    let lost = bench.device().unwrap();
    assert!(lost.tenure.enter());
    bench.lose();
    let mut take = bench.take();
    // It would be over long before.
    let early = timeout(Duration::from_millis(200), &mut take).await;
    assert!(early.is_err() && bench.device().is_none());
    lost.tenure.leave();
    take.await;
    assert!(!bench.device().unwrap().tenure.is_over());
}

#[tokio::test]
async fn what_is_lost_while_it_is_being_taken_can_be_taken_again() {
    let bench = Bench::start().await;
    let mut take = bench.take();
    assert!((&mut take).now_or_never().is_none(), "it takes a while");
    bench.lose();
    take.await;
    assert!(bench.device().is_none());
    bench.take().await;
    assert!(bench.device().is_some());
    bench.connection().await;
}
