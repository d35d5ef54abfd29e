//! The main listener with a few devices and without MQTT.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::cluster::Answerer;
use crate::device::DeviceId;
use crate::downlink::{Cursor, Hub, Limits};
use crate::fleet::{Fleet, Parts, Share};
use crate::http::{Api, HttpLimits, Members, answerer, router, serve};
use crate::keyring::Keyring;
use crate::message::{Downlink, Qos};
use crate::registry::{Device, Registry, Signing};
use crate::session::{Detached, Shared};
use crate::store::Engine;
use crate::uplink::Uplinks;

pub(super) const MAX_BODY: usize = 64 * 1024;

pub(super) struct Bridge {
    pub(super) address: SocketAddr,
    pub(super) hub: Arc<Hub>,
    pub(super) registry: Arc<Registry>,
    pub(super) shutdown: CancellationToken,
    pub(super) serving: JoinHandle<std::io::Result<()>>,
    /// What other members reach; absent in one process.
    pub(super) answerer: Option<Arc<dyn Answerer>>,
    sessions: BTreeMap<&'static str, Detached>,
}

impl Bridge {
    /// Device `akenza` on the profile `akenza-device`, devices `plain` and `other` on `plain`, each with a session of
    /// its own that takes two commands.
    pub(super) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(super) async fn start_with(window: Limits) -> Self {
        Self::start_on(window, None).await
    }

    /// With a store, which the test now looks after.
    pub(super) async fn start_stored(store: Arc<dyn Engine>) -> Self {
        Self::start_on(Limits::default(), Some(store)).await
    }

    /// The device `akenza` signs with keys that are kept in a store.
    pub(super) async fn start_with_keys(keyring: &Keyring) -> Self {
        let signing = |id: &DeviceId| match id.as_str() {
            "akenza" => Signing::Kept(keyring.of(id)),
            "plain" => Signing::File,
            _ => Signing::None,
        };
        Self::start_signing(Limits::default(), None, signing).await
    }

    async fn start_on(window: Limits, store: Option<Arc<dyn Engine>>) -> Self {
        Self::start_signing(window, store, |_| Signing::None).await
    }

    async fn start_signing(
        window: Limits,
        store: Option<Arc<dyn Engine>>,
        signing: impl Fn(&DeviceId) -> Signing,
    ) -> Self {
        let profiles = [
            ("akenza", "akenza-device"),
            ("plain", "plain"),
            ("other", "plain"),
        ];
        let devices = profiles.map(|(id, profile)| {
            let (mut device, session) = Device::detached(id, profile, 2);
            device.signing = signing(&device.id);
            (id, device, session)
        });
        let limits = HttpLimits {
            max_body: MAX_BODY,
            wait: Duration::from_millis(100),
            max_wait: Duration::from_secs(60),
            begin_wait: Duration::ZERO,
            ..HttpLimits::default()
        };
        Self::start_of(devices, limits, window, store, Access::open(), None).await
    }

    /// One of several members, without a device.
    pub(super) async fn start_member(access: Access, members: Members) -> Self {
        let limits = HttpLimits {
            max_body: MAX_BODY,
            wait: Duration::from_secs(2),
            ..HttpLimits::default()
        };
        Self::start_of([], limits, Limits::default(), None, access, Some(members)).await
    }

    async fn start_of(
        devices: impl IntoIterator<Item = (&'static str, Device, Detached)>,
        limits: HttpLimits,
        window: Limits,
        store: Option<Arc<dyn Engine>>,
        access: Access,
        members: Option<Members>,
    ) -> Self {
        let mut sessions = BTreeMap::new();
        let devices = devices.into_iter().map(|(id, device, session)| {
            sessions.insert(id, session);
            device
        });
        let registry = Arc::new(Registry::new(devices));
        let hub = Arc::new(Hub::new(window));
        let shutdown = CancellationToken::new();
        let uplinks = Uplinks::new(Arc::clone(&registry), store.clone(), 100);
        let parts = Parts {
            registry: Arc::clone(&registry),
            share: Arc::new(Share::alone()),
            uplinks: uplinks.clone(),
            hub: Arc::clone(&hub),
            store,
            vault: None,
            keyring: None,
        };
        let api = Api {
            access: Arc::new(access),
            uplinks,
            fleet: Fleet::empty(parts, Shared::for_tests()),
            registry: Arc::clone(&registry),
            hub: Arc::clone(&hub),
            limits,
            receipts: Default::default(),
            members,
            shutdown: shutdown.clone(),
        };
        let router = router(api.clone());
        let answerer = answerer(&api, router.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, router, shutdown.clone()));
        Self {
            address,
            hub,
            registry,
            shutdown,
            serving,
            answerer,
            sessions,
        }
    }

    /// The member gets a device, whose session the test plays.
    pub(super) fn gets(&self, id: &str) -> Detached {
        let (device, session) = Device::detached(id, "plain", 100);
        self.registry.insert(Arc::new(device));
        session
    }

    /// The member loses it.
    pub(super) fn loses(&self, id: &str) {
        let lost = self.registry.remove(&DeviceId::parse(id).unwrap());
        assert!(lost.is_some(), "{id} was not there");
    }

    /// The session of a device, which the test now plays.
    pub(super) fn session(&mut self, device: &str) -> Detached {
        self.sessions.remove(device).unwrap()
    }

    /// The session of a device, which stays with the bridge.
    pub(super) fn detached(&self, device: &str) -> &Detached {
        &self.sessions[device]
    }

    /// A downlink arrives.
    pub(super) fn arrives(&self, device: &str, topic: &str, payload: &str) -> Cursor {
        self.hub.accept(&Downlink {
            device: DeviceId::parse(device).unwrap(),
            topic: topic.into(),
            payload: payload.to_owned().into(),
            content_type: None,
            qos: Qos::AtLeastOnce,
            retained: false,
            received_at: SystemTime::now(),
        })
    }
}
