//! The page that explains the console, and answers to what it does not know.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::Console;
use super::answer::Problem;

const HINT: &str = "GET / explains this console";

pub(super) async fn page(State(console): State<Arc<Console>>, headers: HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let base = format!("http://{}", host.unwrap_or("localhost"));
    let device = console.devices.first().map_or("ID", String::as_str);
    format!(
        "The console of the pretended platform of `causeway demo`.\n\n\
         What a device's uplinks became (device may be left out; after and limit page through):\n\
         \x20 curl -sS '{base}/uplinks?device={device}&after=0&limit=100'\n\n\
         A downlink to a device:\n\
         \x20 curl -sS -H 'Content-Type: application/json' -d '{{\"valve\":\"open\"}}' \
         {base}/devices/{device}/downlinks/settings\n\n\
         A public key of a device, as akenza's users paste it in (a device that is not known is registered with it):\n\
         \x20 curl -sS --data-binary @public.pem {base}/devices/{device}/keys\n\n\
         What was refused, and why:\n\
         \x20 curl -sS {base}/refused\n\n\
         Devices: {}\n",
        console.devices.join(", ")
    )
}

pub(super) async fn unknown(uri: Uri) -> Problem {
    let error = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, error, HINT)
}

pub(super) async fn wrong_method(uri: Uri) -> Problem {
    let error = format!("{} takes another method", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, error, HINT)
}
