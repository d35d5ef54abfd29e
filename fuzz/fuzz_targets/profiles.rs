//! Profile files, and what they make of bodies: the envelope, the id for the platform's answer, and the answer.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use causeway::profile::{Profile, builtin};
use libfuzzer_sys::fuzz_target;

// A profile's text, and a body, with a NUL between them; without a profile, the query of an uplink with SAP's.
fuzz_target!(|input: &[u8]| {
    let Some(nul) = input.iter().position(|byte| *byte == 0) else {
        return;
    };
    let (text, body) = (&input[..nul], &input[nul + 1..]);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let source = match text.contains('\n') {
        true => text,
        false => builtin("sap-iot").expect("it is built in"),
    };
    let Ok(profile) = Profile::parse(source) else {
        return;
    };
    let parameters: BTreeMap<_, _> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = Bytes::copy_from_slice(body);
    let shaped = match &profile.uplink.envelope {
        Some(envelope) => envelope.wrap(&parameters, &body).unwrap_or(body),
        None => body,
    };
    let Some(ack) = &profile.ack else {
        return;
    };
    if let Ok(marked) = ack.insert_id(&shaped, "an-id") {
        let again = ack.insert_id(&marked.body, "another");
        let again = again.expect("what was marked is read again");
        assert!(again.by_client);
        assert_eq!(again.id, marked.id);
    }
    let _ = ack.read(&shaped);
});
