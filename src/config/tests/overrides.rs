//! Environment variables laid over the file, and a user's own profile.

use super::{Folder, PLAIN};
use crate::broker::MqttVersion;
use crate::profile::PasswordSource;

#[test]
fn environment_variables_go_before_the_file() {
    let env = [
        ("CAUSEWAY__HTTP__LISTEN", "0.0.0.0:0"),
        ("CAUSEWAY__HTTP__ALLOW_ANONYMOUS", "true"),
        ("CAUSEWAY__HTTP__MAX_BODY", "4096"),
        ("CAUSEWAY__LIMITS__QUEUED_UPLINKS", "7"),
        ("CAUSEWAY__CONNECTORS__PLANT__URL", "mqtts://broker"),
        // All digits, and still text where text is asked for.
        ("CAUSEWAY__CONNECTORS__PLANT__SECRET", "12345"),
        ("CAUSEWAY__CONNECTORS__PLANT__MQTT_VERSION", "5"),
        ("CAUSEWAY__CONNECTORS__PLANT__VARIABLES__USERNAME", "777"),
        (
            "CAUSEWAY__CONNECTORS__PLANT__OVERRIDE__UPLINK__MAX_QOS",
            "2",
        ),
        (
            "CAUSEWAY__CONNECTORS__PLANT__OVERRIDE__UPLINK__RETAIN",
            "false",
        ),
        ("CAUSEWAY__DEVICES__PUMP-A__CONNECTOR", "plant"),
        ("CAUSEWAY__DEVICES__NEW__CONNECTOR", "plant"),
        ("CAUSEWAY_HTTP_LISTEN", "another program's"),
        ("PATH", "/bin"),
    ];
    let text = format!("{PLAIN}secret_file = \"secret\"\n[devices.Pump-A]\nconnector = \"x\"\n");
    let config = Folder::new().read(&text, &env).unwrap();
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:0");
    assert_eq!(config.http.max_body, 4096);
    assert_eq!(config.limits.queued_uplinks, 7);
    let plant = &config.connectors["plant"];
    assert_eq!(plant.url.to_string(), "mqtts://broker:8883");
    assert_eq!(plant.secret.as_ref().unwrap().expose(), "12345");
    assert_eq!(plant.mqtt_version, Some(MqttVersion::V5));
    assert_eq!(plant.variables["username"], "777");
    assert_eq!(plant.profile.uplink.max_qos.level(), 2);
    assert!(!plant.profile.uplink.retain);
    let devices: Vec<_> = config.devices.keys().map(|id| id.as_str()).collect();
    assert_eq!(devices, ["Pump-A", "new"]);
}

#[test]
fn rust_log_goes_before_the_file_and_our_own_variable_before_both() {
    let folder = Folder::new();
    let text = "[log]\nlevel = \"warn\"\n";
    let rust_log = ("RUST_LOG", "hyper=off,causeway");
    let ours = ("CAUSEWAY__LOG__LEVEL", "debug");
    for (env, expected) in [
        (vec![], "warn"),
        (vec![rust_log], rust_log.1),
        (vec![ours, rust_log], "debug"),
        (vec![rust_log, ours], "debug"),
        (vec![("RUST_LOG", "")], "warn"),
        // Nothing at all, as those understand it whose variable it is.
        (vec![("RUST_LOG", " ,")], "error"),
        (vec![("RUST_LOG", "info, hyper=off,")], "info,hyper=off"),
    ] {
        assert_eq!(folder.read(text, &env).unwrap().log.level, expected);
    }
}

#[test]
fn an_override_from_a_profile_file_of_the_users_own() {
    let folder = Folder::new();
    let own = crate::profile::builtin("plain")
        .unwrap()
        .replace("optional-secret", "none");
    folder.write("own.toml", own);
    let text = PLAIN.replace("\"plain\"", "\"./own.toml\"");
    let connector = folder.read(&text, &[]).unwrap().connectors["plant"].clone();
    assert_eq!(connector.profile_name, "./own.toml");
    assert_eq!(connector.profile.connect.password, PasswordSource::None);
}
