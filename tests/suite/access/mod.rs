//! Who may do what.
//!
//! - `matrix`: every operation that the served description has, with every kind of token
//! - `calls`: how each operation is called so that it succeeds; a new one is added there
//! - `streams`: what ends when a token expires, is removed or changed
//! - `certificates`: client certificates in the place of tokens
//! - `command`: tokens from the command line
//! - `limits`: rates, and requests and streams at a time
//! - `hidden`: tokens are seen nowhere

mod calls;
mod certificates;
mod command;
mod hidden;
mod limits;
mod matrix;
mod streams;

use crate::harness::bridge::TestBridge;
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;

/// A token of `[access.tokens.NAME]` is its name and this.
const TAIL: &str = "-0123456789abcdef";

/// A bridge to a real broker, with devices `pump-1` and `valve-1` on it, and a connector `cloud` that reaches none.
struct World {
    _broker: Mosquitto,
    bridge: TestBridge,
}

impl World {
    /// With these sections for tokens.
    async fn start(tokens: &str) -> Self {
        Self::with_http("", tokens).await
    }

    /// The same, with more lines under `[http]`.
    async fn with_http(lines: &str, tokens: &str) -> Self {
        let broker = Mosquitto::start().await;
        let bridge = TestBridge::start(&format!(
            "{lines}\n[connectors.cloud]\nprofile = \"akenza-device\"\nurl = \"mqtt://127.0.0.1:1\"\n\
             [connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\n\
             [devices.pump-1]\nconnector = \"local\"\n[devices.valve-1]\nconnector = \"local\"\n{tokens}",
            broker.addr()
        ))
        .await;
        Self {
            _broker: broker,
            bridge,
        }
    }

    /// A client with the token of this name.
    fn as_(&self, name: &str) -> Http {
        self.bridge.http.with_token(&format!("{name}{TAIL}"))
    }
}

/// A section for a token with scopes and further lines.
fn token(name: &str, scopes: &[&str], more: &str) -> String {
    format!("[access.tokens.{name}]\ntoken = \"{name}{TAIL}\"\nscopes = {scopes:?}\n{more}\n")
}
