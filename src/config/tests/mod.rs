//! Configurations that are refused, and what the tests of this part share.

mod access;
mod digest;
mod files;
mod overrides;
mod values;

use super::*;

/// A folder with the files that the configurations below name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("key.pem", "a key");
        folder.write("ca.pem", "a certificate");
        folder.write("secret", "s3cret-in-file\n");
        folder.write("empty", "\n");
        folder.write("wild", "s3cret+\n");
        folder.write("token", "s3cret-in-a-file-0123456789\n");
        folder.write("binary", [0xff, 0xfe]);
        folder.write("seal.key", SEAL_KEY);
        folder.write("short.key", "MDEyMzQ1Njc4OWFiY2RlZg==\n");
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        self.set_mode(name, 0o600);
    }

    #[cfg(unix)]
    fn set_mode(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.0.path().join(name), mode).unwrap();
    }

    fn read(&self, text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_text(text, "causeway.toml", self.0.path(), env)
    }
}

const SEAL_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

const AKENZA: &str = r#"[connectors.akenza]
profile = "akenza-device"
url = "mqtts://mqtt.akenza.io"

[devices."pump 1"]
connector = "akenza"
private_key_file = "key.pem"
"#;

const PLAIN: &str = r#"[connectors.plant]
profile = "plain"
url = "mqtt://localhost"
"#;

const TLS: &str = r#"[connectors.tls]
profile = "plain"
url = "wss://broker"
"#;

const SECRET: &str = r#"[connectors.shared]
profile = "akenza-secret"
url = "mqtts://mqtt.akenza.io"
secret_file = "secret"
variables = { connector_id = "abc" }

[devices.a]
connector = "shared"
"#;

const ROUTER: &str = r#"[connectors.sap]
profile = "sap-iot"
url = "mqtts://sap"
[devices.router]
connector = "sap"
identity_file = "key.pem"
[devices.a]
connector = "sap"
via = "router"
"#;

const TOKENS: &str = r#"[access.tokens.ci]
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
scopes = ["uplink"]
"#;

/// Every case of refused.txt is one mistake: the one error names its place, and shows no secret.
#[test]
fn what_is_wrong_is_named_by_file_key_and_line() {
    let folder = Folder::new();
    let (mut text, mut env) = (String::new(), Vec::new());
    let mut cases = 0;
    for line in include_str!("refused.txt").lines().skip(2) {
        if let Some(file) = line.strip_prefix("use ") {
            text = [PLAIN, AKENZA, SECRET, TLS, ROUTER, TOKENS]
                .into_iter()
                .find(|text| {
                    text.contains(&format!("{file:?}")) || text.contains(&format!(".{file}]"))
                })
                .unwrap()
                .to_owned();
        } else if let Some(variable) = line.strip_prefix("env ") {
            env.push(variable.split_once('=').unwrap());
        } else if let Some(expected) = line.strip_prefix("=> ") {
            let (place, message) = expected.split_once("… ").unwrap();
            let error = match folder.read(&text, &env) {
                Ok(_) => panic!("taken: {text}{env:?}"),
                Err(error) => error.to_string(),
            };
            let named = error.starts_with(place) && error.contains(message);
            let one = error.lines().count() == 1;
            assert!(
                named && one,
                "expected {expected}\nin {error}\nof {text}{env:?}"
            );
            assert!(
                !error.contains("hunter2") && !error.contains("s3cret"),
                "{error}"
            );
            (text, env) = Default::default();
            cases += 1;
        } else if !(text.is_empty() && line.is_empty()) {
            text += line;
            text += "\n";
        }
    }
    assert!(
        text.is_empty() && cases > 110,
        "{cases} cases, and {text:?} without =>"
    );
}

#[test]
fn one_mistake_is_one_error_and_all_of_them_are_told_in_the_order_of_the_file() {
    let text =
        format!("[http]\nwait = 1\n{SECRET}colour = 1\n[devices.b]\nconnector = \"sharde\"\n");
    let error = Folder::new()
        .read(&text, &[("CAUSEWAY__LOG__LEVEL", "loud")])
        .unwrap_err();
    let keys: Vec<_> = error.problems().iter().map(Problem::key).collect();
    assert_eq!(
        keys,
        [
            "http.wait",
            "devices.a.colour",
            "devices.b.connector",
            "log.level"
        ]
    );
    let lines: Vec<_> = error.problems().iter().map(Problem::line).collect();
    assert_eq!(lines, [Some(2), Some(11), Some(13), None]);

    // A connector that is not sound says so once, and not again for each of its devices.
    let broken = SECRET.replace("connector_id", "conector_id");
    let error = Folder::new().read(&broken, &[]).unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
}

#[test]
fn an_unknown_key_is_told_the_keys_that_there_are() {
    let text = format!("{PLAIN}colour = 1\n");
    let error = Folder::new().read(&text, &[]).unwrap_err().to_string();
    let (_, known) = error.split_once("there are: ").unwrap();
    let known: Vec<_> = known.split(", ").collect();
    assert!(
        known.is_sorted() && known.contains(&"ca_file") && known.contains(&"url"),
        "{error}"
    );
    assert_eq!(
        known.iter().filter(|key| **key == "override").count(),
        1,
        "{error}"
    );
}
