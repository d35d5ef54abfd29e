//! Takeover, keep-alive, and what the broker does to connections.

use super::setup::{BOTH, Setup, spec, token};
use crate::broker::MqttVersion;
use crate::demo::broker::Ending;
use crate::mqtt::packet::{Connect, Packet};
use crate::mqtt::reason::Reason;

#[tokio::test]
async fn a_second_connection_takes_over() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut first = setup.ec_client(version).await;
        let mut second = setup.ec_client(version).await;
        first.ended_with(Reason::SESSION_TAKEN_OVER).await;
        second.ping().await;
    }
}

#[tokio::test]
async fn a_connector_does_not_take_a_devices_session() {
    let setup = Setup::start().await;
    let mut device = setup.ec_client(MqttVersion::V5).await;
    let mut connector = setup.client(MqttVersion::V5).await;
    let secret = crate::secret::Secret::new(super::setup::SECRET);
    connector
        .connected(super::setup::connect("ec", "connector", secret))
        .await;
    device.ping().await;
    connector.ping().await;
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut client = setup.client(version).await;
        let connect = Connect {
            keep_alive: 1,
            ..setup.ec_connect()
        };
        client.connected(connect).await;
        client.ended_with(Reason::KEEP_ALIVE_TIMEOUT).await;
    }
}

#[tokio::test]
async fn connections_are_ended_on_demand_and_at_shutdown() {
    let setup = Setup::start().await;
    let broker = setup.broker.clone();
    for version in BOTH {
        let mut client = setup.ec_client(version).await;
        let busy = Reason(0x89);
        assert_eq!(broker.end_connections(Some("other"), Ending::Cut), 0);
        assert_eq!(broker.end_connections(Some("ec"), Ending::Say(busy)), 1);
        client.ended_with(busy).await;
        let mut client = setup.ec_client(version).await;
        assert_eq!(broker.end_connections(None, Ending::Cut), 1);
        assert_eq!(client.receive().await, None);
    }
    let mut client = setup.ec_client(MqttVersion::V5).await;
    drop(setup);
    client.ended_with(Reason::SERVER_SHUTTING_DOWN).await;
    broker.closed().await;
}

#[tokio::test]
async fn the_session_is_announced_when_it_is_there() {
    let setup = Setup::start().await;
    for version in BOTH {
        let connect = || Connect {
            clean_start: false,
            session_expiry: 3600,
            password: Some(token(&setup.ec, &spec("ec"))),
            ..setup.ec_connect()
        };
        let present = |connect| {
            let setup = &setup;
            async move {
                let mut client = setup.client(version).await;
                let present = client.connected(connect).await;
                let text = None;
                let reason = Reason::SUCCESS;
                client.send(&Packet::Disconnect { reason, text }).await;
                assert_eq!(client.receive().await, None);
                present
            }
        };
        assert!(!present(connect()).await);
        assert!(present(connect()).await);
        assert!(!present(setup.ec_connect()).await, "a clean start");
        assert!(!present(connect()).await);
        setup.broker.forget_sessions();
        assert!(!present(connect()).await);
        // The next version starts from nothing.
        setup.broker.forget_sessions();
    }
}
