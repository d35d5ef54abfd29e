//! Files that a configuration names: read, missing, or readable by others; and secrets that stay where they are.

use super::{AKENZA, Folder, PLAIN, SECRET};
use crate::config::Config;

#[test]
fn secrets_come_from_files_without_their_line_end() {
    let folder = Folder::new();
    for (content, expected) in [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        (" a \n\n", " a \n"),
    ] {
        folder.write("secret", content);
        let config = folder.read(&format!("{PLAIN}secret_file = \"secret\"\n"), &[]);
        let secret = config.unwrap().connectors["plant"].secret.clone().unwrap();
        assert_eq!(secret.expose(), expected, "{content:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load("/nonexistent/causeway.toml".as_ref(), []).unwrap_err();
    let expected = "/nonexistent/causeway.toml: cannot read /nonexistent/causeway.toml: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_file_is_loaded_with_paths_from_its_own_folder() {
    let folder = Folder::new();
    folder.write("causeway.toml", AKENZA);
    let config = Config::load(&folder.0.path().join("causeway.toml"), []).unwrap();
    assert!(config.devices["pump 1"].private_key.is_some());
}

#[cfg(unix)]
#[test]
fn private_files_that_others_may_read_are_warned_of_once() {
    let folder = Folder::new();
    folder.write(
        "causeway.toml",
        format!("{AKENZA}passphrase = \"hunter2\"\n"),
    );
    let path = folder.0.path().join("causeway.toml");
    assert!(Config::load(&path, []).unwrap().warnings.is_empty());

    folder.set_mode("key.pem", 0o640);
    folder.set_mode("ca.pem", 0o644);
    folder.set_mode("causeway.toml", 0o644);
    let warnings = Config::load(&path, []).unwrap().warnings;
    let shown: Vec<_> = warnings.iter().map(|w| w.to_string()).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown[0].contains(":7: devices.\"pump 1\".private_key_file: ")
            && shown[0].contains("chmod 600")
    );
    assert!(shown[1].contains("passphrase") || shown[1].contains("secret is written in it"));
}

#[test]
fn a_secret_or_token_in_plain_text_over_a_network_is_warned_of() {
    let folder = Folder::new();
    let warnings = |text: String| -> Vec<String> {
        let config = folder.read(&text, &[]).unwrap();
        config.warnings.iter().map(|w| w.to_string()).collect()
    };
    let away = |text: &str| {
        text.replace("mqtt://localhost", "mqtt://plant")
            .replace("mqtts:", "mqtt:")
    };
    let secret = format!("{PLAIN}secret_file = \"secret\"\n");
    assert_eq!(warnings(secret.clone()), [""; 0]);
    assert_eq!(warnings(away(PLAIN)), [""; 0]);
    for (text, expected) in [
        (
            away(&secret),
            "causeway.toml:3: connectors.plant.url: secrets cross",
        ),
        (
            away(AKENZA),
            "causeway.toml:3: connectors.akenza.url: tokens cross",
        ),
        (
            secret.replace("secret_file", "proxy = \"http://proxy:1\"\nsecret_file"),
            "causeway.toml:3: connectors.plant.url: secrets cross",
        ),
    ] {
        let found = warnings(text);
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{found:?}"
        );
    }
}

#[test]
fn nothing_secret_is_in_a_configurations_debug_output() {
    let text = format!(
        "{SECRET}[connectors.x]\nprofile = \"plain\"\nurl = \"mqtt://localhost\"\nsecret = \"hunter2\"\n"
    );
    let config = Folder::new().read(&text, &[]).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("hunter2"));
}
