use super::*;
use crate::profile::{Profile, builtin};

fn sap() -> Envelope {
    let profile = Profile::parse(builtin("sap-iot").unwrap()).unwrap();
    profile.uplink.envelope.unwrap()
}

fn wrap(envelope: &Envelope, query: &[(&str, &str)], body: &str) -> Result<String, String> {
    let query = query
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let body = Bytes::copy_from_slice(body.as_bytes());
    match envelope.wrap(&query.collect(), &body) {
        Ok(wrapped) => Ok(String::from_utf8(wrapped.to_vec()).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

const ROOF: [(&str, &str); 2] = [("capability", "weather"), ("sensor", "roof")];

#[test]
fn a_measure_is_put_into_its_envelope() {
    let measures = |body: &str| {
        let whole = wrap(&sap(), &ROOF, body).unwrap();
        let front = "{\"capabilityAlternateId\":\"weather\",\"measures\":";
        let back = ",\"sensorAlternateId\":\"roof\"}";
        whole
            .strip_prefix(front)
            .and_then(|rest| rest.strip_suffix(back))
            .unwrap()
            .to_owned()
    };
    assert_eq!(measures(" {\"t\": 1.10}\n"), "[{\"t\": 1.10}]");
    assert_eq!(measures("[{\"t\":1},{\"t\":2}]"), "[{\"t\":1},{\"t\":2}]");
    assert_eq!(
        measures("[[20.5, 12345678901234567890]]"),
        "[[20.5, 12345678901234567890]]"
    );
    // The properties of one measure in their order.
    assert_eq!(measures("[20.5, \"x\"]"), "[[20.5, \"x\"]]");
}

#[test]
fn what_is_wrapped_is_what_would_be_taken_whole() {
    let query = [
        ("capability", "we\"a\\ther\n"),
        ("sensor_type", "ü"),
        ("timestamp", "1767225600000"),
    ];
    let whole = wrap(&sap(), &query, "{}").unwrap();
    let value: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let expected = serde_json::json!({
        "capabilityAlternateId": "we\"a\\ther\n", "sensorTypeAlternateId": "ü",
        "timestamp": 1_767_225_600_000_i64, "measures": [{}],
    });
    assert_eq!(value, expected);
    assert_eq!(wrap(&sap(), &[], &whole), Ok(whole));
}

#[test]
fn a_whole_message_stays_as_it_is() {
    let body = " {\"measures\" : [[1.10]], \"sensorAlternateId\":\"s\",\n\"more\": null, \"capabilityAlternateId\":\"c\"}";
    assert_eq!(wrap(&sap(), &[], body).as_deref(), Ok(body));
}

#[test]
fn wrong_parameters_are_named_with_an_example() {
    let example = "?capability=weather&sensor=roof";
    let roof = "capability=weather&sensor=roof";
    let cases: [(&str, &str, &[&str]); 9] = [
        (
            "sensor=roof",
            "{}",
            &["\"capability\"", "alternate id", example],
        ),
        (
            "capability=c",
            "{}",
            &["exactly one", "sensor or sensor_type", example],
        ),
        (
            "capability=c&sensor=s&sensor_type=t",
            "{}",
            &["exactly one", "sensor or sensor_type"],
        ),
        (
            "capability=c&sensor=s&timestamp=now",
            "{}",
            &["\"timestamp\"", "an integer", "milliseconds"],
        ),
        (
            "capability=&sensor=s",
            "{}",
            &["\"capability\"", "not empty"],
        ),
        (
            "sensr=x",
            "{}",
            &["\"sensr\"", "capability, sensor, sensor_type, timestamp"],
        ),
        (
            roof,
            "21.5",
            &[
                "\"measures\"",
                "an object or an array",
                "[{\"temperature\": 21.5}]",
            ],
        ),
        (roof, "[]", &["\"measures\"", "at least one element"]),
        (roof, "{} {}", &["not JSON"]),
    ];
    for (query, body, expected) in cases {
        let pairs: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let error = wrap(&sap(), &pairs, body).unwrap_err();
        for word in expected {
            assert!(error.contains(word), "{query} {body}: {error} lacks {word}");
        }
    }
    let whole = "{\"capabilityAlternateId\":\"c\",\"sensorAlternateId\":\"s\",\"measures\":[{}]}";
    assert!(wrap(&sap(), &ROOF, whole).unwrap_err().contains("already"));
}

#[test]
fn wrong_members_are_named_with_an_example() {
    let example = "{\"capabilityAlternateId\": \"weather\", \"measures\": [{\"temperature\": 21.5}], \"sensorAlternateId\": \"roof\"}";
    let cases: [(&str, &[&str]); 9] = [
        (
            "{\"temperature\": 21.5}",
            &[
                "capabilityAlternateId",
                "a string",
                example,
                "?capability=weather&sensor=roof",
            ],
        ),
        ("[{}]", &["not a JSON object", example]),
        (
            "{\"capabilityAlternateId\": 7}",
            &["capabilityAlternateId", "must be a string", "\"weather\""],
        ),
        (
            "{\"capabilityAlternateId\":\"c\"}",
            &["no member \"measures\"", "at least one element"],
        ),
        (
            "{\"capabilityAlternateId\":\"c\",\"measures\":[]}",
            &["\"measures\" must be", "at least one"],
        ),
        (
            "{\"capabilityAlternateId\":\"c\",\"measures\":[1]}",
            &["each an object or an array"],
        ),
        (
            "{\"capabilityAlternateId\":\"c\",\"measures\":[{}]}",
            &["exactly one of sensorAlternateId or sensorTypeAlternateId"],
        ),
        (
            "{\"capabilityAlternateId\":\"c\",\"measures\":[{}],\"sensorAlternateId\":\"s\",\"timestamp\":1.5}",
            &["timestamp", "an integer"],
        ),
        (
            "{\"capabilityAlternateId\":\"c\",\"capabilityAlternateId\":\"d\"}",
            &["twice"],
        ),
    ];
    for (body, expected) in cases {
        let error = wrap(&sap(), &[], body).unwrap_err();
        for word in expected {
            assert!(error.contains(word), "{body}: {error} lacks {word}");
        }
    }
}

#[test]
fn other_platforms_have_other_envelopes() {
    let envelope: Envelope = toml::from_str(
        "ts = { type = \"integer\", parameter = \"ts\" }\nok = { type = \"boolean\", parameter = \"ok\" }\n\
         share = { type = \"number\", parameter = \"share\" }\nvalues = { type = \"object\", body = true, required = true }",
    )
    .unwrap();
    assert_eq!(
        wrap(
            &envelope,
            &[("ts", "+7"), ("ok", "true"), ("share", "1.50")],
            "{\"a\":1}"
        )
        .as_deref(),
        Ok("{\"ok\":true,\"share\":1.50,\"ts\":7,\"values\":{\"a\":1}}")
    );
    for wrong in [
        ("ok", "yes"),
        ("share", "\"1\""),
        ("share", "NaN"),
        ("ts", "1e3"),
    ] {
        assert!(
            wrap(&envelope, &[wrong], "{}").is_err(),
            "{wrong:?} was taken"
        );
    }
    assert!(
        wrap(&envelope, &[("ts", "1")], "[1]")
            .unwrap_err()
            .contains("must be an object")
    );
}

#[test]
fn envelopes_that_cannot_work_are_refused() {
    let cases = [
        (
            "a = { type = \"string\", items = [\"string\"] }",
            "an array's",
        ),
        (
            "a = { type = \"object\", parameter = \"a\" }",
            "text, a number or a boolean",
        ),
        ("a = { type = \"string\", parameter = \"A\" }", "a-z"),
        (
            "a = { type = \"string\", parameter = \"qos\" }",
            "every uplink",
        ),
        (
            "a = { type = \"string\", parameter = \"a\", body = true }",
            "not both",
        ),
        (
            "a = { type = \"string\", parameter = \"a\" }",
            "body = true",
        ),
        (
            "a = { type = \"object\", body = true }",
            "needs a member with a parameter",
        ),
        (
            "a = { type = \"string\", required = true, one_of = \"a\" }",
            "one_of",
        ),
        (
            "a = { type = \"integer\", example = \"x\" }",
            "not of this type",
        ),
        ("a = { type = \"text\" }", "integer"),
        (
            "a = { type = \"string\", parameter = \"x\" }\nb = { type = \"string\", parameter = \"x\" }",
            "same parameter",
        ),
        (
            "a = { type = \"array\", body = true }\nb = { type = \"array\", body = true }",
            "the body already",
        ),
        (
            "a = { type = \"string\", parameter = \"a\" }\nb = { type = \"array\", body = true }\nc = { type = \"string\", required = true }",
            "uplink.envelope.c: is required",
        ),
    ];
    for (text, expected) in cases {
        let error = toml::from_str::<Envelope>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
