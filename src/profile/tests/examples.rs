use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::MqttVersion;
use crate::config::Config;
use crate::device::{ConnectorName, DeviceId};
use crate::message::Qos;
use crate::profile::{
    Binding, KidTemplate, PasswordSource, Profile, ScopeValues, SessionScope, TlsIdentity, builtin,
};
use crate::secret::Secret;
use crate::topic::SubTopic;

/// What a profile makes of the device `pump-1` with the secret `s3cret` on `broker.example`.
struct Rendered {
    profile: Profile,
    client_id: String,
    username: Option<String>,
    audience: Option<String>,
    claims: Value,
    /// Filter and prefix.
    downlinks: Vec<(String, String)>,
    ack: Option<String>,
    /// Sub-topic and topic.
    uplinks: Vec<(&'static str, Option<String>)>,
}

/// `sub-topics` that the profile is asked for; an empty one is none.
fn render(text: &str, variables: &[(&str, &str)], subtopics: &[&'static str]) -> Rendered {
    let profile = Profile::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let given: BTreeMap<_, _> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let values = ScopeValues {
        connector: &ConnectorName::parse("cloud").unwrap(),
        host: "broker.example",
        device: Some(&DeviceId::parse("pump-1").unwrap()),
        secret: Some(&Secret::new("s3cret")),
        connector_variables: &given,
        device_variables: &BTreeMap::new(),
    };
    let binding = Binding::new(&profile, values).unwrap();
    let token = binding.token().unwrap();
    let topic = binding.uplink_topic().unwrap();
    let exposed = |route: crate::profile::DownlinkRoute| {
        (
            route.filter.expose().to_owned(),
            route.prefix.expose().to_owned(),
        )
    };
    let uplinks = subtopics.iter().map(|subtopic| {
        let parsed = (!subtopic.is_empty()).then(|| SubTopic::parse(subtopic).unwrap());
        let topic = topic.of(parsed.as_ref());
        (*subtopic, topic.map(|topic| topic.expose().to_owned()))
    });
    Rendered {
        client_id: binding.client_id().unwrap(),
        username: binding.username().unwrap(),
        audience: token.as_ref().map(|token| token.audience.clone()),
        claims: token.map_or(Value::Null, |token| Value::Object(token.claims)),
        downlinks: binding
            .downlinks()
            .unwrap()
            .into_iter()
            .map(exposed)
            .collect(),
        ack: binding
            .ack_filter()
            .unwrap()
            .map(|filter| filter.expose().to_owned()),
        uplinks: uplinks.collect(),
        profile,
    }
}

impl Rendered {
    fn assert_uplinks(&self, expected: &[(&str, Option<&str>)]) {
        let uplinks: Vec<_> = self
            .uplinks
            .iter()
            .map(|(sub, topic)| (*sub, topic.as_deref()))
            .collect();
        assert_eq!(uplinks, expected);
    }

    fn assert_downlinks(&self, expected: &[(&str, &str)]) {
        let routes = self.downlinks.iter();
        let downlinks: Vec<_> = routes
            .map(|(filter, prefix)| (filter.as_str(), prefix.as_str()))
            .collect();
        assert_eq!(downlinks, expected);
    }

    fn assert_no_qos_2(&self) {
        assert_eq!(self.profile.uplink.max_qos, Qos::AtLeastOnce);
    }

    fn assert_certificate(&self) {
        assert_eq!(self.profile.connect.tls_identity, TlsIdentity::Required);
        assert_eq!(self.profile.connect.password, PasswordSource::None);
        assert_eq!((&self.audience, &self.claims), (&None, &Value::Null));
    }
}

#[test]
fn sap_iot() {
    let text = builtin("sap-iot").unwrap();
    let sap = render(text, &[], &["", "x"]);
    sap.assert_certificate();
    sap.assert_no_qos_2();
    assert_eq!(
        (sap.client_id.as_str(), sap.username.as_deref()),
        ("pump-1", None)
    );
    sap.assert_uplinks(&[("", Some("measures/pump-1")), ("x", None)]);
    sap.assert_downlinks(&[("commands/pump-1", "commands/pump-1")]);
    assert_eq!(sap.ack.as_deref(), Some("ack/pump-1"));
    assert_eq!(sap.profile.connect.mqtt_version, Some(MqttVersion::V311));
    assert!(!sap.profile.connect.session_expiry.is_zero() && sap.profile.router);

    let router = render(text, &[("client_id", "gateway")], &[""]);
    assert_eq!(router.client_id, "gateway");
    router.assert_uplinks(&[("", Some("measures/pump-1"))]);
    assert_eq!(router.ack.as_deref(), Some("ack/pump-1"));
}

#[test]
fn aws_iot_core() {
    let text = include_str!("../../../profiles/aws-iot-core.toml");
    let aws = render(text, &[], &["", "a/b"]);
    aws.assert_certificate();
    aws.assert_no_qos_2();
    assert_eq!(
        (aws.client_id.as_str(), aws.username.as_deref()),
        ("pump-1", None)
    );
    aws.assert_uplinks(&[
        ("", Some("devices/pump-1/up")),
        ("a/b", Some("devices/pump-1/up/a/b")),
    ]);
    aws.assert_downlinks(&[("devices/pump-1/down/#", "devices/pump-1/down/")]);
    assert_eq!(aws.profile.connect.alpn, ["x-amzn-mqtt-ca"]);

    let values = [
        ("client_id", "thing"),
        ("uplink_prefix", "dt/"),
        ("uplink_suffix", ""),
        ("downlink_prefix", "cmd/"),
    ];
    let own = render(text, &values, &["", "a"]);
    assert_eq!(own.client_id, "thing");
    own.assert_uplinks(&[("", Some("dt/pump-1")), ("a", Some("dt/pump-1/a"))]);
    own.assert_downlinks(&[("cmd/pump-1/down/#", "cmd/pump-1/down/")]);
}

#[test]
fn azure_iot_hub() {
    let text = include_str!("../../../profiles/azure-iot-hub-x509.toml");
    let azure = render(text, &[], &["", "level=high&zone=7"]);
    azure.assert_certificate();
    azure.assert_no_qos_2();
    assert_eq!(azure.client_id, "pump-1");
    assert_eq!(
        azure.username.as_deref(),
        Some("broker.example/pump-1/?api-version=2021-04-12")
    );
    azure.assert_uplinks(&[
        ("", Some("devices/pump-1/messages/events/")),
        (
            "level=high&zone=7",
            Some("devices/pump-1/messages/events/level=high&zone=7"),
        ),
    ]);
    let bound = "devices/pump-1/messages/devicebound/";
    azure.assert_downlinks(&[(&format!("{bound}#"), bound)]);
    assert_eq!(azure.profile.connect.mqtt_version, Some(MqttVersion::V311));
    assert!(!azure.profile.uplink.retain);

    let json = render(
        text,
        &[("properties", "$.ct=application%2Fjson&$.ce=utf-8")],
        &[""],
    );
    json.assert_uplinks(&[(
        "",
        Some("devices/pump-1/messages/events/$.ct=application%2Fjson&$.ce=utf-8"),
    )]);
}

#[test]
fn clearblade() {
    let text = include_str!("../../../profiles/clearblade.toml");
    let values = [
        ("project", "p"),
        ("region", "us-central1"),
        ("registry", "r"),
    ];
    let clearblade = render(text, &values, &["", "alerts/hot", "state", "state/x"]);
    clearblade.assert_no_qos_2();
    assert_eq!(
        clearblade.client_id,
        "projects/p/locations/us-central1/registries/r/devices/pump-1"
    );
    assert_eq!(clearblade.username.as_deref(), Some("unused"));
    assert_eq!(clearblade.profile.connect.password, PasswordSource::Jwt);
    assert_eq!(
        (clearblade.audience.as_deref(), &clearblade.claims),
        (Some("p"), &json!({}))
    );
    let token = clearblade.profile.token.as_ref().unwrap();
    assert!(
        token.lifetime <= Duration::from_secs(86_400) && matches!(token.kid, KidTemplate::None)
    );
    clearblade.assert_uplinks(&[
        ("", Some("/devices/pump-1/events")),
        ("alerts/hot", Some("/devices/pump-1/events/alerts/hot")),
        ("state", Some("/devices/pump-1/state")),
        ("state/x", None),
    ]);
    clearblade.assert_downlinks(&[
        ("/devices/pump-1/commands/#", "/devices/pump-1/"),
        ("/devices/pump-1/config", "/devices/pump-1/"),
    ]);
    assert_eq!(
        clearblade.profile.connect.mqtt_version,
        Some(MqttVersion::V311)
    );
}

#[test]
fn thingsboard() {
    let text = include_str!("../../../profiles/thingsboard.toml");
    let subtopics = [
        "",
        "attributes",
        "attributes/request/1",
        "rpc/response/7",
        "rpc/request/1",
        "other",
    ];
    let board = render(text, &[], &subtopics);
    board.assert_no_qos_2();
    assert_eq!(
        (board.client_id.as_str(), board.username.as_deref()),
        ("pump-1", Some("s3cret"))
    );
    assert_eq!(
        (board.profile.connect.password, board.audience.as_ref()),
        (PasswordSource::None, None)
    );
    board.assert_uplinks(&[
        ("", Some("v1/devices/me/telemetry")),
        ("attributes", Some("v1/devices/me/attributes")),
        (
            "attributes/request/1",
            Some("v1/devices/me/attributes/request/1"),
        ),
        ("rpc/response/7", Some("v1/devices/me/rpc/response/7")),
        ("rpc/request/1", Some("v1/devices/me/rpc/request/1")),
        ("other", None),
    ]);
    let me = "v1/devices/me/";
    board.assert_downlinks(&[
        ("v1/devices/me/rpc/request/+", me),
        ("v1/devices/me/rpc/response/+", me),
        ("v1/devices/me/attributes", me),
        ("v1/devices/me/attributes/response/+", me),
    ]);
}

#[test]
fn emqx() {
    let text = include_str!("../../../profiles/emqx-jwt.toml");
    let emqx = render(
        text,
        &[("client_id", "c-1"), ("audience", "plant")],
        &["", "a"],
    );
    assert_eq!(
        (emqx.client_id.as_str(), emqx.username.as_deref()),
        ("c-1", Some("pump-1"))
    );
    assert_eq!(emqx.profile.connect.password, PasswordSource::Jwt);
    assert_eq!(emqx.audience.as_deref(), Some("plant"));
    let claims = json!({
        "clientid": "c-1", "username": "pump-1",
        "acl": { "pub": ["devices/pump-1/up/#"], "sub": ["devices/pump-1/down/#"] },
    });
    assert_eq!(emqx.claims, claims);
    emqx.assert_uplinks(&[
        ("", Some("devices/pump-1/up")),
        ("a", Some("devices/pump-1/up/a")),
    ]);
    emqx.assert_downlinks(&[("devices/pump-1/down/#", "devices/pump-1/down/")]);
    assert_eq!(emqx.profile.uplink.max_qos, Qos::ExactlyOnce);

    let plain = render(text, &[], &[""]);
    assert_eq!(
        (plain.client_id.as_str(), plain.audience.as_deref()),
        ("pump-1", Some("emqx"))
    );
}

#[test]
fn every_example_has_a_test_here_and_a_row_in_the_readme() {
    let tested = include_str!("examples.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            found += 1;
            assert!(
                readme.contains(&format!("| [`{name}`]({name}) |")),
                "{name}"
            );
            assert!(tested.contains(&format!("profiles/{name}\");")), "{name}");
            let text = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
            let profile = Profile::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(profile.session, SessionScope::Device, "{name}");
        }
    }
    assert_eq!(found, 5);
}

/// The configuration that stands in an example's comments, with files where it names some.
fn configuration(text: &str, folder: &Path) -> String {
    let comments = text.lines().filter_map(|line| line.strip_prefix("# "));
    let from = comments.skip_while(|line| !line.starts_with("[connectors."));
    let lines: Vec<_> = from
        .take_while(|line| !line.starts_with("In "))
        .filter(|line| line.starts_with('[') || line.split(' ').nth(1) == Some("="))
        .collect();
    for name in lines.iter().filter_map(|line| line.split('"').nth(1)) {
        if name.starts_with("secrets/") || name.starts_with("keys/") {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "content").unwrap();
        }
    }
    lines.join("\n").replace(
        "./profiles/",
        concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/"),
    )
}

#[test]
fn the_configuration_in_every_examples_comments_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = configuration(&text, folder.path());
            let config = Config::from_text(&text, "causeway.toml", folder.path(), [])
                .unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()));
            assert_eq!(
                (config.connectors.len(), config.devices.len()),
                (1, 1),
                "{text}"
            );
        }
    }
}
