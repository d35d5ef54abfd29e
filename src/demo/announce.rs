//! What the demo prints once everything answers: addresses and lines to paste.

use std::fmt::Write as _;
use std::path::Path;

use super::folder::{EC_DEVICE, RSA_DEVICE, SECRET_DEVICES, Summary};

/// The text to print.
pub(super) fn text(dir: &Path, summary: &Summary) -> String {
    let Summary {
        http,
        management,
        console,
        mqtt,
        mqtts,
        ..
    } = summary;
    let mut text = format!(
        "Causeway demo: a bridge, and a pretended platform that checks what akenza checks.\n\n\
         \x20 bridge      {http}  (management: {management})\n\
         \x20 platform    {mqtt}  {mqtts}\n\
         \x20 console     {console}\n\
         \x20 folder      {}\n",
        dir.display()
    );
    for (device, about) in [
        (RSA_DEVICE, "a device with an RSA key"),
        (EC_DEVICE, "a device with an EC key"),
        (
            SECRET_DEVICES[0],
            "a device of a connector with an uplink secret",
        ),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{device}: {about}\n{}", lines(summary, device));
    }
    let _ = write!(
        text,
        "\nWhat the platform refused:  curl -sS {console}/refused\nStop with Ctrl-C.\n"
    );
    text
}

/// An uplink, one with a sub-topic, a listener, a downlink from the platform, and what the platform has.
fn lines(summary: &Summary, device: &str) -> String {
    let Summary { http, console, .. } = summary;
    let json = "-H 'Content-Type: application/json'";
    format!(
        "\x20 curl -sS {json} -d '{{\"temperature\": 21.5}}' {http}/v1/devices/{device}/uplinks\n\
         \x20 curl -sS {json} -d '{{\"level\": \"high\"}}' {http}/v1/devices/{device}/uplinks/alerts/critical\n\
         \x20 curl -N -H 'Accept: text/event-stream' {http}/v1/devices/{device}/downlinks\n\
         \x20 curl -sS {json} -d '{{\"valve\": \"open\"}}' {console}/devices/{device}/downlinks/settings\n\
         \x20 curl -sS '{console}/uplinks?device={device}'\n"
    )
}
