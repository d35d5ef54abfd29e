//! `[telemetry]`: where traces go, for those who want them.

use super::files::Files;
use super::model::{FileBytes, Telemetry};
use super::section::Section;
use crate::secret::Secret;
use crate::telemetry::CollectorUrl;

const WITHOUT: &str = "has no effect without otlp_url, which says where traces go";

/// `None` where nobody wants traces.
pub(super) fn telemetry(mut section: Section<'_>, files: &Files<'_>) -> Option<Telemetry> {
    let is_there = section.has("otlp_url");
    let url = section.parsed("otlp_url", str::parse::<CollectorUrl>);
    let sampling = section.ratio("sampling", 1.0);
    let headers = headers(&mut section, files);
    let ca = files.public(&mut section, "ca_file");
    let resource = section.texts("resource");
    if !is_there {
        let keys = ["sampling", "headers_file", "ca_file", "resource"];
        for key in keys.into_iter().filter(|key| section.has(key)) {
            section.error(key, WITHOUT);
        }
    }
    if let Some(url) = &url {
        if !url.is_tls && section.has("ca_file") {
            section.error("ca_file", "has no effect without https://");
        }
        if !url.is_tls && !url.host.is_loopback() && !headers.is_empty() {
            section.report().warning(
                &section.place_of("otlp_url"),
                "the headers in headers_file cross the network unencrypted; use https:// where the collector has it",
            );
        }
    }
    section.finish();
    Some(Telemetry {
        url: url?,
        ca,
        sampling,
        headers,
        resource,
    })
}

/// `Name: value`, one a line.
fn headers(section: &mut Section<'_>, files: &Files<'_>) -> Vec<(String, Secret)> {
    const KEY: &str = "headers_file";
    let Some(FileBytes { path, bytes }) = files.private(section, KEY) else {
        return Vec::new();
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        section.error(KEY, format_args!("{} is not UTF-8 text", path.display()));
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match header(line) {
            Ok(header) => headers.push(header),
            // The line itself may be a secret.
            Err(problem) => section.error(
                KEY,
                format_args!("line {} of {}: {problem}", number + 1, path.display()),
            ),
        }
    }
    headers
}

fn header(line: &str) -> Result<(String, Secret), &'static str> {
    const OWN: [&str; 4] = [
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
    ];
    let form = "a header is written Name: value";
    let (name, value) = line.split_once(':').ok_or(form)?;
    let (name, value) = (name.to_ascii_lowercase(), value.trim());
    // RFC 9110 §5.1 and §5.5.
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    let is_value = !value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !is_name || !is_value {
        return Err(form);
    }
    if OWN.contains(&name.as_str()) {
        return Err("this header is set by the bridge");
    }
    Ok((name, Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_visible_value() {
        let (name, value) = header("Authorization:  Bearer a:b c ").unwrap();
        assert_eq!((&*name, value.expose()), ("authorization", "Bearer a:b c"));
        for bad in [
            "",
            "Authorization",
            ": x",
            "a b: x",
            "a:",
            "a: \u{e4}",
            "Host: x",
            "a: b\u{7}c",
        ] {
            assert!(header(bad).is_err(), "{bad:?} was taken");
        }
    }
}
