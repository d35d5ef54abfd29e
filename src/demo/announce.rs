//! What the demo prints once everything answers: addresses and lines to paste.

use std::fmt::Write as _;
use std::path::Path;

use super::folder::{EC_DEVICE, RSA_DEVICE, SAP_DEVICE, SECRET_DEVICES, Summary};

/// The text to print.
pub(super) fn text(dir: &Path, summary: &Summary) -> String {
    let Summary {
        http,
        management,
        console,
        mqtt,
        mqtts,
        sap,
        ..
    } = summary;
    let mut text = format!(
        "Causeway demo: a bridge, and pretended platforms that check what akenza and SAP check.\n\n\
         \x20 bridge      {http}  (management: {management})\n\
         \x20 pages       {http}/ shows what goes on, {http}/docs what can be asked\n\
         \x20 akenza      {mqtt}  {mqtts}\n\
         \x20 SAP         {sap}\n\
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
        "\n{SAP_DEVICE}: a device with a client certificate, as SAP hands it out\n{}\
         \nWhat the platforms refused:  curl -sS {console}/refused\nStop with Ctrl-C.\n",
        sap_lines(summary)
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

/// A measure in SAP's form with the platform's answer, one in the short form, a malformed one that is refused, a listener, a command.
fn sap_lines(summary: &Summary) -> String {
    let Summary { http, console, .. } = summary;
    let json = "-H 'Content-Type: application/json'";
    let uplinks = format!("{http}/v1/devices/{SAP_DEVICE}/uplinks");
    let measure = r#"{"capabilityAlternateId": "climate", "sensorAlternateId": "s1", "measures": [{"temperature": 21.5}]}"#;
    let command = r#"{"capabilityAlternateId": "valve", "sensorAlternateId": "s1", "command": {"open": true}}"#;
    format!(
        "\x20 curl -sS {json} -d '{measure}' '{uplinks}?confirm=platform'\n\
         \x20 curl -sS {json} -d '{{\"temperature\": 21.5}}' '{uplinks}?capability=climate&sensor=s1&confirm=platform'\n\
         \x20 curl -sS {json} -d '{{}}' '{uplinks}?capability=climate&sensor=s1&confirm=platform'\n\
         \x20 curl -N -H 'Accept: text/event-stream' {http}/v1/devices/{SAP_DEVICE}/downlinks\n\
         \x20 curl -sS {json} -d '{command}' {console}/devices/{SAP_DEVICE}/downlinks/commands\n\
         \x20 curl -sS '{console}/uplinks?device={SAP_DEVICE}'\n"
    )
}
