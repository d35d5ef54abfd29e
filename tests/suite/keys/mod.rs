//! Keys that are made in the bridge, with a pretended platform that checks tokens as akenza does.

mod first;
mod hidden;
mod restarts;
mod rotation;

use std::fmt::Write as _;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::causeway::{causeway, serving};
use crate::harness::demo::Demo;
use crate::harness::http::{Http, Reply};
use crate::harness::program::Program;

/// Devices without a key in the configuration.
fn devices(broker: &str, devices: &[&str]) -> String {
    let mut text =
        format!("[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{broker}\"\n");
    for device in devices {
        writeln!(text, "[devices.{device}]\nconnector = \"akenza\"").unwrap();
    }
    text
}

fn broker(demo: &Demo) -> String {
    demo.addr("mqtt").to_string()
}

async fn send(http: &Http, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = http.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::to(request).await
}

/// Makes a key pair and gives what is said of it.
async fn make(http: &Http, device: &str, algorithm: &str) -> Value {
    let body = json!({ "algorithm": algorithm }).to_string();
    let path = format!("/v1/devices/{device}/keys");
    let reply = http.post(&path, "application/json", body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let key = reply.json();
    let location = format!("{path}/{}", key["kid"].as_str().unwrap());
    assert_eq!(reply.header("location"), location);
    key
}

/// Pastes the public half into the platform.
async fn register(demo: &Demo, device: &str, key: &Value) {
    let path = format!("/devices/{device}/keys");
    let pem = key["public_key"].as_str().unwrap().to_owned();
    let reply = demo
        .console
        .post(&path, "application/x-pem-file", pem)
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.json()["kid"], key["kid"]);
}

async fn activate(http: &Http, device: &str, key: &Value) -> Reply {
    let kid = key["kid"].as_str().unwrap();
    let path = format!("/v1/devices/{device}/keys/{kid}/activate");
    send(http, Method::POST, &path, &[("prefer", "wait=30")]).await
}

/// A key that is made, registered and activated.
async fn set_up(demo: &Demo, http: &Http, device: &str, algorithm: &str) -> Value {
    let key = make(http, device, algorithm).await;
    register(demo, device, &key).await;
    let reply = activate(http, device, &key).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    key
}

async fn list(http: &Http, device: &str) -> Vec<Value> {
    let list = http.get(&format!("/v1/devices/{device}/keys")).await.json();
    assert_eq!(list["kept_here"], true);
    list["keys"].as_array().unwrap().clone()
}

fn states(list: &[Value]) -> Vec<&str> {
    list.iter()
        .map(|key| key["state"].as_str().unwrap())
        .collect()
}

async fn uplink(http: &Http, device: &str, body: &str) -> Reply {
    let path = format!("/v1/devices/{device}/uplinks");
    http.post(&path, "application/json", body.to_owned()).await
}

/// A served bridge: its HTTP client, and the program with its log.
async fn serve(folder: &Path) -> (Http, Program) {
    let bridge = causeway(folder, &["serve"], &[("RUST_LOG", "trace")]);
    (Http::new(serving(&bridge).await), bridge)
}
