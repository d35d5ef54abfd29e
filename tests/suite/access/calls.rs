//! How each operation is called so that it succeeds, and what a token of another device gets from it.

use reqwest::{Method, RequestBuilder};
use tokio::time::timeout;

use super::World;
use crate::harness::DEADLINE;
use crate::harness::http::{Http, Reply};

/// One request.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    pub(super) path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    /// The status of its success.
    pub(super) status: u16,
    pub(super) foreign: Foreign,
    /// Its answer does not end by itself, and is read up to this text.
    endless: Option<&'static str>,
}

/// What becomes of it in the name of a token that is for another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// 403, which names the device, whether it is registered or not. Its path begins with the device.
    Refused,
    /// 404, as for something that never was.
    Unknown,
    /// It succeeds, and says nothing of the device.
    Hidden,
    /// It succeeds as a whole, and each line is refused with 403.
    Lines,
}

impl Call {
    fn new(operation: &str, path: impl Into<String>, status: u16, foreign: Foreign) -> Self {
        let (method, _) = operation.split_once(' ').unwrap();
        Self {
            method: method.parse().unwrap(),
            path: path.into(),
            headers: Vec::new(),
            body: "",
            status,
            foreign,
            endless: None,
        }
    }

    fn until(self, text: &'static str) -> Self {
        let endless = Some(text);
        Self { endless, ..self }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn body(self, content_type: &'static str, body: &'static str) -> Self {
        let call = self.header("content-type", content_type);
        Self { body, ..call }
    }

    /// The device that it is about.
    pub(super) fn device(&self) -> &'static str {
        let mut others = [REGISTERED, WITH_KEYS].into_iter();
        let other = others.find(|device| self.path.contains(device));
        other.unwrap_or("pump-1")
    }

    /// The same about another device.
    pub(super) fn about(mut self, device: &str) -> Self {
        self.path = self.path.replace(self.device(), device);
        self
    }

    /// The same with a further query parameter.
    pub(super) fn and(&self, parameter: &str) -> Self {
        let mut call = self.clone();
        call.path
            .push(if call.path.contains('?') { '&' } else { '?' });
        call.path += parameter;
        call
    }

    pub(super) fn request(&self, http: &Http) -> RequestBuilder {
        let mut request = http
            .request(self.method.clone(), &self.path)
            .body(self.body);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request
    }

    pub(super) async fn send(&self, http: &Http) -> Reply {
        match self.endless {
            None => Reply::to(self.request(http)).await,
            Some(text) => {
                let beginning = beginning(self.request(http), text);
                timeout(DEADLINE, beginning).await.expect("its beginning")
            }
        }
    }
}

/// An answer up to a text, or whole.
async fn beginning(request: RequestBuilder, text: &str) -> Reply {
    let mut answer = request.send().await.unwrap();
    let (version, status) = (answer.version(), answer.status().as_u16());
    let headers = answer.headers().clone();
    let mut body = Vec::new();
    while !String::from_utf8_lossy(&body).contains(text)
        && let Some(chunk) = answer.chunk().await.unwrap()
    {
        body.extend_from_slice(&chunk);
    }
    Reply {
        version,
        status,
        headers,
        body: body.into(),
    }
}

/// A device that is not in the configuration.
const REGISTERED: &str = "pump-2";
const LOCAL: &str = "{\"connector\":\"local\"}";

/// One that signs its tokens with keys that are made here.
const WITH_KEYS: &str = "pump-3";
const CLOUD: &str = "{\"connector\":\"cloud\"}";
const KEYS: &str = "/v1/devices/pump-3/keys";
const NEW_KEY: &str = "{\"algorithm\":\"ES256\"}";

/// Prepares something in the name of somebody who may.
async fn prepare(world: &World, method: Method, path: &str, body: &'static str) -> Reply {
    let request = world.as_("admin").request(method, path);
    let request = request.header("content-type", "application/json");
    let reply = Reply::to(request.body(body)).await;
    assert!(reply.status < 300, "{path}: {}", reply.text());
    reply
}

/// Makes a key, in the place of those that were made for nothing: a device has only so many.
async fn fresh_key(world: &World) -> String {
    prepare(world, Method::PUT, "/v1/devices/pump-3", CLOUD).await;
    let list = prepare(world, Method::GET, KEYS, "").await.json();
    for key in list["keys"].as_array().unwrap() {
        if key["state"] == "new" {
            let path = format!("{KEYS}/{}", key["kid"].as_str().unwrap());
            prepare(world, Method::DELETE, &path, "").await;
        }
    }
    let key = prepare(world, Method::POST, KEYS, NEW_KEY).await.json();
    key["kid"].as_str().unwrap().to_owned()
}

/// How an operation of the description, `GET /v1/devices`, is called for `pump-1` so that it succeeds, by somebody who may
/// do everything. Whatever it needs to be there is made here, so each call succeeds as often as it is asked for.
///
/// A new operation is added here; until then the matrix fails.
pub(super) async fn call(operation: &str, world: &World) -> Option<Call> {
    let new = |path: &str, status, foreign| Call::new(operation, path, status, foreign);
    let poll = |path| new(path, 200, Foreign::Refused).header("accept", "application/json");
    let call = match operation {
        "POST /v1/devices/{device}/uplinks" => {
            new("/v1/devices/pump-1/uplinks", 200, Foreign::Refused).body("text/plain", "1")
        }
        "POST /v1/devices/{device}/uplinks/{subtopic}" => {
            new("/v1/devices/pump-1/uplinks/a/b", 200, Foreign::Refused).body("text/plain", "1")
        }
        "POST /v1/uplinks" => new("/v1/uplinks", 200, Foreign::Lines).body(
            "application/x-ndjson",
            "{\"device\":\"pump-1\",\"payload\":1}\n",
        ),
        "GET /v1/uplinks/{id}" => {
            let path = "/v1/devices/pump-1/uplinks";
            let receipt = world.as_("admin").post(path, "text/plain", "1").await;
            let id = receipt.json()["id"].as_str().unwrap().to_owned();
            new(&format!("/v1/uplinks/{id}"), 200, Foreign::Unknown)
        }
        "GET /v1/devices/{device}/downlinks" => poll("/v1/devices/pump-1/downlinks?wait=0"),
        "GET /v1/downlinks" => poll("/v1/downlinks?wait=0&device=pump-1"),
        "GET /v1/devices" => new("/v1/devices", 200, Foreign::Hidden),
        "GET /v1/devices/{device}" => new("/v1/devices/pump-1", 200, Foreign::Refused),
        "GET /v1/devices/{device}/session" => {
            new("/v1/devices/pump-1/session", 200, Foreign::Refused)
        }
        // The figures come when every device has been told.
        "GET /v1/events" => {
            new("/v1/events?figures=1", 200, Foreign::Hidden).until("event: figures")
        }
        "PUT /v1/devices/{device}" => {
            prepare(world, Method::PUT, "/v1/devices/pump-2", LOCAL).await;
            new("/v1/devices/pump-2", 200, Foreign::Refused).body("application/json", LOCAL)
        }
        "DELETE /v1/devices/{device}" => {
            prepare(world, Method::PUT, "/v1/devices/pump-2", LOCAL).await;
            new("/v1/devices/pump-2", 204, Foreign::Refused)
        }
        "POST /v1/devices/{device}/diagnosis" => {
            new("/v1/devices/pump-1/diagnosis", 200, Foreign::Refused)
        }
        "GET /v1/devices/{device}/keys" => {
            fresh_key(world).await;
            new(KEYS, 200, Foreign::Refused)
        }
        "POST /v1/devices/{device}/keys" => {
            fresh_key(world).await;
            new(KEYS, 201, Foreign::Refused).body("application/json", NEW_KEY)
        }
        "GET /v1/devices/{device}/keys/{kid}" => {
            let key = format!("{KEYS}/{}", fresh_key(world).await);
            new(&key, 200, Foreign::Refused)
        }
        "DELETE /v1/devices/{device}/keys/{kid}" => {
            let key = format!("{KEYS}/{}", fresh_key(world).await);
            new(&key, 204, Foreign::Refused)
        }
        // No broker is there to accept it.
        "POST /v1/devices/{device}/keys/{kid}/activate" => {
            let path = format!("{KEYS}/{}/activate", fresh_key(world).await);
            new(&path, 202, Foreign::Refused).header("prefer", "respond-async")
        }
        _ => return None,
    };
    Some(call)
}
