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
    /// The status of its success; that of an answer of the handler, at least.
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

    /// The same about another device.
    pub(super) fn about(mut self, device: &str) -> Self {
        self.path = self.path.replace("pump-1", device);
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

const KID: &str = "3a0c7d1b6f0e4d2f8f0d9d3f7d6f1f5c2b1a09f8e7d6c5b4a39281706f5e4d3c";

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
        // pump-1 is written in the configuration, which goes before: told to those alone who may change devices.
        "PUT /v1/devices/{device}" => new("/v1/devices/pump-1", 409, Foreign::Refused)
            .body("application/json", r#"{"connector":"local"}"#),
        "DELETE /v1/devices/{device}" => new("/v1/devices/pump-1", 409, Foreign::Refused),
        "GET /v1/devices/{device}/session" => {
            new("/v1/devices/pump-1/session", 200, Foreign::Refused)
        }
        "POST /v1/devices/{device}/diagnosis" => {
            new("/v1/devices/pump-1/diagnosis", 200, Foreign::Refused)
        }
        // The figures come when every device has been told.
        "GET /v1/events" => {
            new("/v1/events?figures=1", 200, Foreign::Hidden).until("event: figures")
        }
        // pump-1 signs no tokens: that it has no keys is only told to those who may know of them.
        "GET /v1/devices/{device}/keys" => new("/v1/devices/pump-1/keys", 200, Foreign::Refused),
        "POST /v1/devices/{device}/keys" => new("/v1/devices/pump-1/keys", 409, Foreign::Refused),
        "GET /v1/devices/{device}/keys/{kid}" | "DELETE /v1/devices/{device}/keys/{kid}" => new(
            &format!("/v1/devices/pump-1/keys/{KID}"),
            409,
            Foreign::Refused,
        ),
        "POST /v1/devices/{device}/keys/{kid}/activate" => new(
            &format!("/v1/devices/pump-1/keys/{KID}/activate"),
            409,
            Foreign::Refused,
        ),
        _ => return None,
    };
    Some(call)
}
