//! The console over HTTP.

use std::sync::Arc;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::publish;
use super::setup::{Setup, connect, generate, spec, token};
use crate::broker::MqttVersion;
use crate::demo::console::Console;
use crate::identity::Algorithm;

struct Page {
    base: String,
    http: Client,
    _shutdown: DropGuard,
}

impl Page {
    async fn open(setup: &Setup) -> Self {
        let shutdown = CancellationToken::new();
        let console = Console {
            records: setup.records.clone(),
            akenza: Arc::clone(&setup.registry),
            brokers: vec![setup.broker.clone()],
            devices: vec!["rsa".to_owned(), "ec".to_owned()],
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(console.serve(listener, shutdown.clone()));
        Self {
            base,
            http: Client::new(),
            _shutdown: shutdown.drop_guard(),
        }
    }

    async fn call(&self, method: Method, path: &str, body: &'static str) -> (StatusCode, Value) {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let json = request
            .header("content-type", "application/json")
            .body(body);
        let response = json.send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, "").await
    }
}

#[tokio::test]
async fn uplinks_and_refusals_are_listed() {
    let setup = Setup::start().await;
    let page = Page::open(&setup).await;
    let mut client = setup.ec_client(MqttVersion::V5).await;
    for (pkid, payload) in [(1, "1"), (2, "2"), (3, "{")] {
        client
            .publish(publish("/up/device/id/ec/a/b", pkid, payload))
            .await;
    }
    let (status, uplinks) = page.get("/uplinks?device=ec").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(uplinks.as_array().unwrap().len(), 2);
    assert_eq!(uplinks[0]["topic"], "a_b");
    assert_eq!(uplinks[0]["payload"], json!(1));
    assert!(uplinks[0]["received_at"].as_str().unwrap().ends_with('Z'));
    let (_, rest) = page.get("/uplinks?device=ec&after=1&limit=5").await;
    assert_eq!(rest[0]["payload"], json!(2));
    assert_eq!(page.get("/uplinks?device=rsa").await.1, json!([]));

    let (_, refused) = page.get("/refused").await;
    assert_eq!(refused[0]["client_id"], "ec");
    assert_eq!(refused[0]["action"], "publish");
    assert_eq!(refused[0]["reason"], "payload format invalid (0x99)");
}

#[tokio::test]
async fn a_downlink_is_sent_and_what_becomes_of_it_is_told() {
    let setup = Setup::start().await;
    let page = Page::open(&setup).await;
    let path = "/devices/ec/downlinks/settings/valve";
    let (status, lost) = page.call(Method::POST, path, "{}").await;
    assert_eq!(
        (status, &lost["connected"]),
        (StatusCode::ACCEPTED, &json!(0))
    );

    let mut client = setup.ec_client(MqttVersion::V5).await;
    client.subscribe("/down/device/id/ec/#").await;
    let (status, sent) = page.call(Method::POST, path, r#"{"open": true}"#).await;
    assert_eq!(
        (status, &sent["connected"]),
        (StatusCode::ACCEPTED, &json!(1))
    );
    let message = client.message().await;
    assert_eq!(message.topic, "/down/device/id/ec/settings/valve");
    assert_eq!(message.payload, r#"{"open": true}"#);
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn mistakes_are_answered_with_what_to_do() {
    let setup = Setup::start().await;
    let page = Page::open(&setup).await;
    for (method, path, expected) in [
        (Method::GET, "/uplinks?device=other", StatusCode::NOT_FOUND),
        (Method::GET, "/uplinks?limit=many", StatusCode::BAD_REQUEST),
        (Method::GET, "/uplinks?devcie=ec", StatusCode::BAD_REQUEST),
        (Method::DELETE, "/uplinks", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/nothing", StatusCode::NOT_FOUND),
        (
            Method::POST,
            "/devices/other/downlinks/a",
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/devices/a%2Fb/downlinks/a",
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/devices/ec/downlinks/a/+",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let (status, problem) = page.call(method, path, "{}").await;
        assert_eq!(status, expected, "{path}");
        for field in ["error", "hint"] {
            assert!(!problem[field].as_str().unwrap().is_empty(), "{path}");
        }
    }
    let help = page.http.get(&page.base).send().await.unwrap();
    let text = help.text().await.unwrap();
    assert!(text.contains(&format!("{}/refused", page.base)));
}

#[tokio::test]
async fn public_keys_come_and_go() {
    let setup = Setup::start().await;
    let page = Page::open(&setup).await;
    let key = generate(Algorithm::Es256);
    let connect = || connect("new", "unused", token(&key, &spec("new")));
    let mut client = setup.client(MqttVersion::V5).await;
    assert!(client.connect(connect()).await.reason.is_error());

    let pem: &'static str = key.public_pem().to_owned().leak();
    let (status, added) = page.call(Method::POST, "/devices/new/keys", pem).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(added["kid"], key.spki_sha256());
    // The same once more is the same.
    page.call(Method::POST, "/devices/new/keys", pem).await;
    let (_, listed) = page.get("/devices/new/keys").await;
    assert_eq!(listed, json!([added]));
    assert_eq!(page.get("/uplinks?device=new").await.1, json!([]));
    let mut client = setup.client(MqttVersion::V5).await;
    client.connected(connect()).await;

    let path = format!("/devices/new/keys/{}", key.spki_sha256());
    let url = format!("{}{path}", page.base);
    let removed = page.http.delete(&url).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let mut client = setup.client(MqttVersion::V5).await;
    assert!(client.connect(connect()).await.reason.is_error());

    for (path, body, expected) in [
        ("/devices/new/keys", "no key", StatusCode::BAD_REQUEST),
        ("/devices/a+b/keys", pem, StatusCode::BAD_REQUEST),
        ("/devices/s1/keys", pem, StatusCode::CONFLICT),
    ] {
        let (status, problem) = page.call(Method::POST, path, body).await;
        assert_eq!(status, expected, "{problem}");
        assert!(problem["hint"].is_string());
    }
    let again = page.call(Method::DELETE, &path, "").await;
    assert_eq!(again.0, StatusCode::NOT_FOUND);
    assert_eq!(
        page.get("/devices/nobody/keys").await.0,
        StatusCode::NOT_FOUND
    );
}
