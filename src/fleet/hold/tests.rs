//! Sessions that come and go faster than they can be opened and closed.

use std::path::Path;
use std::sync::Mutex;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::config::Config;
use crate::downlink::{Hub, Limits};
use crate::fleet::{Parts, Share};
use crate::message::Uplink;
use crate::registry::{Device, Registry};
use crate::session::Shared;
use crate::store::{Embedded, Engine};
use crate::uplink::{Fallback, Uplinks, Wishes};

/// Far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Devices beside the one that most tests look at.
const OTHERS: usize = 20;

/// A member with devices, and a broker that says nothing.
struct Bench {
    holder: Holder,
    registry: Arc<Registry>,
    uplinks: Uplinks,
    broker: Option<TcpListener>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut text = format!(
            "[connectors.own]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\n\
             override.session = \"device\"\noverride.connect.client_id = \"own-{{device}}\"\n\
             override.downlink = []\n[connectors.eager]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
             override.session = \"device\"\n[devices.pump]\nconnector = \"eager\"\n",
            broker.local_addr().unwrap(),
            broker.local_addr().unwrap()
        );
        for number in 0..OTHERS {
            text += &format!("[devices.d{number}]\nconnector = \"own\"\n");
        }
        let config = Config::from_text(&text, "test.toml", Path::new("."), []).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store: Arc<dyn Engine> = Arc::new(Embedded::open(path, Default::default()).unwrap());
        let registry = Arc::new(Registry::new([]));
        let uplinks = Uplinks::new(Arc::clone(&registry), Some(Arc::clone(&store)), 10);
        let parts = Parts {
            registry: Arc::clone(&registry),
            share: Arc::new(Share::of_member()),
            uplinks: uplinks.clone(),
            hub: Arc::new(Hub::new(Limits::default())),
            store: Some(store),
            vault: None,
            keyring: None,
        };
        let draft = Fleet::plan(&config, parts, Shared::for_tests()).await;
        let holder = Holder(draft.unwrap().run().await);
        Self {
            holder,
            registry,
            uplinks,
            broker: Some(broker),
            _folder: folder,
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
        self.registry.get(&id("pump"))
    }

    /// The next connection that the device's session opens.
    async fn connection(&self) -> TcpStream {
        let accepted = timeout(DEADLINE, self.broker.as_ref().unwrap().accept()).await;
        accepted.unwrap().unwrap().0
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

/// Waits until the session has closed a connection.
async fn closed(mut connection: TcpStream) {
    let read = async { while matches!(connection.read(&mut [0; 64]).await, Ok(1..)) {} };
    timeout(DEADLINE, read).await.unwrap();
}

/// Accepts a session's CONNECT, notes what it sends, and confirms its uplinks.
async fn welcome(mut connection: TcpStream, heard: Arc<Mutex<String>>) {
    const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
    let mut bytes = [0; 4096];
    let mut is_welcome = false;
    while let Ok(count @ 1..) = connection.read(&mut bytes).await {
        if !is_welcome {
            let _ = connection.write_all(&CONNACK).await;
            is_welcome = true;
        }
        let sent = &bytes[..count];
        heard
            .lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(sent));
        // Behind the topic stands the packet's number.
        let topic_end = sent.windows(3).position(|part| part == b"/up");
        if let Some([high, low, ..]) = topic_end.map(|end| &sent[end + 3..]) {
            let _ = connection.write_all(&[0x40, 2, *high, *low]).await;
        }
    }
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
    let done = (&mut take).now_or_never();
    bench.lose();
    // A machine may have been so fast, or so slow, that it was over before.
    if done.is_none() {
        take.await;
    }
    assert!(bench.device().is_none());
    bench.take().await;
    assert!(bench.device().is_some());
    bench.connection().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_while_its_device_comes_is_sent_and_not_overtaken() {
    let mut bench = Bench::start().await;
    let sent = Arc::new(Mutex::new(String::new()));
    let (broker, heard) = (bench.broker.take().unwrap(), Arc::clone(&sent));
    tokio::spawn(async move {
        while let Ok((connection, _)) = broker.accept().await {
            tokio::spawn(welcome(connection, Arc::clone(&heard)));
        }
    });
    for number in 0..OTHERS {
        let device = id(&format!("d{number}"));
        let uplink = Uplink {
            device: device.clone(),
            subtopic: None,
            payload: "x".into(),
            content_type: None,
            qos: None,
            retain: false,
            expiry: None,
            traceparent: None,
        };
        let wishes = Wishes {
            respond_async: true,
            ..Wishes::wait(DEADLINE)
        };
        let (taken, ()) = tokio::join!(bench.uplinks.store(uplink, wishes), bench.take());
        taken.unwrap();
        let found = async {
            while !sent
                .lock()
                .unwrap()
                .contains(&format!("devices/{device}/up"))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = timeout(DEADLINE, found).await;
        assert!(found.is_ok(), "what is stored for {device} is not sent");
        bench.lose();
    }
}
