//! What is read from a configuration.

use std::time::Duration;

use super::{Folder, ROUTER};
use crate::broker::MqttVersion;
use crate::config::{ConnectWhen, LogFormat};
use crate::profile::TlsIdentity;

#[test]
fn an_empty_file_has_all_defaults() {
    let config = Folder::new().read("", &[]).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert!(!config.http.allow_anonymous);
    assert_eq!(config.http.max_body, 1_048_576);
    assert_eq!(config.http.wait, Duration::from_secs(5));
    assert_eq!(config.http.max_wait, Duration::from_secs(60));
    assert!(config.http.https.is_none());
    let connections = &config.http.connections;
    assert_eq!(connections.max, 10_000);
    assert_eq!(connections.per_address, None);
    assert_eq!(connections.max_head, 32 * 1024);
    assert_eq!(connections.max_headers, 100);
    assert_eq!(connections.head_timeout, Duration::from_secs(20));
    assert_eq!(connections.idle_timeout, Duration::from_secs(75));
    assert_eq!(connections.body_timeout, Duration::from_secs(20));
    assert_eq!(connections.min_body_rate, 500);
    assert_eq!(config.management.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.log.format, LogFormat::Human);
    assert_eq!(config.log.level, "info");
    assert_eq!(config.limits.connects_per_second, 100);
    assert_eq!(config.limits.concurrent_connects, 64);
    assert_eq!(config.limits.queued_uplinks, 1000);
    assert_eq!(config.limits.queued_bytes, 64 * 1_048_576);
    assert_eq!(config.downlinks.history, 1000);
    assert_eq!(config.downlinks.history_bytes, 1_048_576);
    assert!(config.connectors.is_empty() && config.devices.is_empty());
    assert!(config.warnings.is_empty());
}

#[test]
fn everything_that_is_written_down_arrives() {
    let text = r#"
        [http]
        listen = "0.0.0.0:80"
        allow_anonymous = true
        max_body = 2048
        wait = "1m"
        max_wait = "2m"
        [management]
        listen = "[::1]:0"
        [log]
        format = "json"
        level = "info,causeway::session=debug"
        [limits]
        connects_per_second = 1
        concurrent_connects = 2
        queued_uplinks = 3
        queued_bytes = "2KiB"
        [downlinks]
        history = 0
        history_bytes = "1 kB"
        [connectors.one-2_3]
        profile = "akenza-device"
        url = "mqtts://Private.example:443"
        ca_file = "ca.pem"
        mqtt_version = "3.1.1"
        connect = "eager"
        variables = { audience_host = "private.example" }
        [connectors.one-2_3.override]
        token.lifetime = "20s"
        token.kid = "cert-sha1"
        [devices.0102]
        connector = "one-2_3"
        private_key_file = "key.pem"
        passphrase_file = "secret"
        certificate_file = "ca.pem"
        variables = { audience_host = "other.example" }
        "#;
    let config = Folder::new().read(text, &[]).unwrap();
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.http.max_body, 2048);
    assert_eq!(config.http.wait, Duration::from_secs(60));
    assert_eq!(config.management.listen.port(), 0);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.limits.connects_per_second, 1);
    assert_eq!(config.limits.queued_bytes, 2048);
    assert_eq!(config.downlinks.history, 0);
    assert_eq!(config.downlinks.history_bytes, 1000);

    let connector = &config.connectors["one-2_3"];
    assert_eq!(connector.profile_name, "akenza-device");
    assert_eq!(connector.url.to_string(), "mqtts://private.example:443");
    assert_eq!(*connector.ca.as_ref().unwrap().bytes, b"a certificate");
    assert_eq!(connector.mqtt_version, Some(MqttVersion::V311));
    assert_eq!(connector.connect, ConnectWhen::Eager);
    assert_eq!(connector.variables["audience_host"], "private.example");
    let token = connector.profile.token.as_ref().unwrap();
    assert_eq!(token.lifetime, Duration::from_secs(20));

    let device = &config.devices["0102"];
    assert_eq!(device.connector.as_str(), "one-2_3");
    assert_eq!(*device.private_key.as_ref().unwrap().bytes, b"a key");
    assert_eq!(
        device.passphrase.as_ref().unwrap().expose(),
        "s3cret-in-file"
    );
    assert!(device.certificate.is_some());
    assert_eq!(device.variables["audience_host"], "other.example");
}

#[test]
fn https_and_the_limits_of_connections() {
    let text = r#"
        [http]
        listen = "0.0.0.0:443"
        tls_certificate_file = "ca.pem"
        tls_key_file = "key.pem"
        tls_key_passphrase_file = "secret"
        client_ca_file = "ca.pem"
        max_connections = 1
        max_connections_per_address = 2
        max_head = "4KiB"
        max_headers = 9
        head_timeout = "3s"
        idle_timeout = "4s"
        body_timeout = "5s"
        min_body_rate = "6kB"
        "#;
    let folder = Folder::new();
    let http = folder.read(text, &[]).unwrap().http;
    let https = http.https.unwrap();
    assert_eq!(*https.identity.file.bytes, b"a certificate");
    assert_eq!(*https.identity.key.unwrap().bytes, b"a key");
    assert_eq!(
        https.identity.passphrase.unwrap().expose(),
        "s3cret-in-file"
    );
    let clients = https.clients.unwrap();
    assert!(clients.required);
    assert_eq!(*clients.authorities.bytes, b"a certificate");
    let connections = http.connections;
    assert_eq!((connections.max, connections.per_address), (1, Some(2)));
    assert_eq!((connections.max_head, connections.max_headers), (4096, 9));
    assert_eq!(connections.head_timeout, Duration::from_secs(3));
    assert_eq!(connections.idle_timeout, Duration::from_secs(4));
    assert_eq!(connections.body_timeout, Duration::from_secs(5));
    assert_eq!(connections.min_body_rate, 6000);

    let text = format!("{text}client_certificates = \"optional\"\nallow_anonymous = true\n");
    let config = folder.read(&text, &[]).unwrap();
    assert!(!config.http.https.unwrap().clients.unwrap().required);
}

#[test]
fn what_lies_between_a_connection_and_its_broker() {
    let text = r#"
        [connectors.gateway]
        profile = "plain"
        url = "wss://10.0.0.1/gateway"
        server_name = "Gateway.example"
        proxy = "http://proxy:3128"
        proxy_username = "plant"
        proxy_password_file = "secret"
        identity_file = "ca.pem"
        identity_key_file = "key.pem"
        passphrase = "hunter2"
        override.session = "device"
        override.connect.alpn = ["x-amzn-mqtt-ca"]
        override.connect.tls_identity = "required"
        override.connect.client_id = "{device}"
        [devices.inherits]
        connector = "gateway"
        [devices.own]
        connector = "gateway"
        identity_file = "key.pem"
        "#;
    let config = Folder::new().read(text, &[]).unwrap();
    let connector = &config.connectors["gateway"];
    assert_eq!(connector.url.to_string(), "wss://10.0.0.1:443/gateway");
    let name = connector.server_name.as_ref().unwrap();
    assert_eq!(name.as_str(), "gateway.example");
    let proxy = connector.proxy.as_ref().unwrap();
    assert_eq!(proxy.to_string(), "proxy:3128");
    let credentials = proxy.credentials.as_ref().unwrap();
    assert_eq!(credentials.username(), "plant");
    assert_eq!(credentials.password().expose(), "s3cret-in-file");
    let identity = connector.identity.as_ref().unwrap();
    assert_eq!(*identity.file.bytes, b"a certificate");
    assert_eq!(*identity.key.as_ref().unwrap().bytes, b"a key");
    assert_eq!(identity.passphrase.as_ref().unwrap().expose(), "hunter2");
    let connect = &connector.profile.connect;
    assert_eq!(connect.tls_identity, TlsIdentity::Required);
    assert_eq!(connect.alpn, ["x-amzn-mqtt-ca"]);
    assert!(config.devices["inherits"].identity.is_none());
    let own = config.devices["own"].identity.as_ref().unwrap();
    assert_eq!(*own.file.bytes, b"a key");
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("hunter2"));
}

#[test]
fn a_device_behind_a_router_has_no_connection_of_its_own() {
    let config = Folder::new().read(ROUTER, &[]).unwrap();
    assert_eq!(config.devices["a"].via.as_ref().unwrap().as_str(), "router");
    assert!(config.devices["a"].identity.is_none());
    assert!(config.devices["router"].via.is_none());
    // The client id of a connection that it does not have is nobody's.
    let text = ROUTER.replace(
        "key.pem\"\n",
        "key.pem\"\nvariables = { client_id = \"a\" }\n",
    );
    assert!(Folder::new().read(&text, &[]).is_ok());
}

#[test]
fn a_store_on_nats_needs_a_build_that_has_it() {
    let folder = Folder::new();
    let text = "[store]\nurl = [\"nats://a:4222\", \"tls://b\"]\ncredentials_file = \"secret\"\n\
                ca_file = \"ca.pem\"\nreplicas = 3\nprefix = \"plant-1\"\n";
    let read = folder.read(text, &[]);
    if cfg!(not(feature = "nats")) {
        let error = read.unwrap_err().to_string();
        let named = error.starts_with("causeway.toml:2: store.url: ");
        assert!(named && error.contains("--features nats"), "{error}");
        return;
    }
    let store = read.unwrap().store;
    assert!(store.path.is_none() && store.is_enabled());
    let servers = store.servers.unwrap();
    assert_eq!(servers.urls, ["nats://a:4222", "tls://b"]);
    assert_eq!((servers.replicas, &*servers.prefix), (3, "plant-1"));
    assert!(servers.ca_file.is_some() && servers.login.is_some());
    assert!(!format!("{servers:?}").contains("s3cret"), "{servers:?}");
}

#[test]
fn a_replica_has_a_name_and_a_lease() {
    let config = Folder::new().read("", &[]).unwrap();
    assert!(!config.cluster.name.is_empty());
    assert_eq!(config.cluster.lease, Duration::from_secs(6));
    if cfg!(feature = "nats") {
        let text = "[store]\nurl = \"nats://a:4222\"\n[cluster]\nname = \"K\u{fc}che 1\"\nlease = \"1m\"\n";
        let cluster = Folder::new().read(text, &[]).unwrap().cluster;
        assert_eq!(
            (&*cluster.name, cluster.lease.as_secs()),
            ("K\u{fc}che 1", 60)
        );
    }
}
