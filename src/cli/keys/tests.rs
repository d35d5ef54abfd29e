//! Keys in files and in the store.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::identity::SealingKey;
use crate::secret::Secret;

const CONFIG: &str = r#"
[connectors.akenza]
profile = "akenza-device"
url = "mqtts://mqtt.akenza.io"
[connectors.plant]
profile = "plain"
url = "mqtt://localhost"
[devices.pump-1]
connector = "akenza"
private_key_file = "key.pem"
[devices.other]
connector = "plant"
"#;

/// Runs a command line in a folder with a configuration and a key file.
fn keys(folder: &Path, line: &str) -> Result<String, CliError> {
    use clap::Parser;
    #[derive(clap::Parser)]
    struct Keys {
        #[command(subcommand)]
        command: Command,
    }
    let config = folder.join("causeway.toml");
    if !config.exists() {
        std::fs::write(&config, CONFIG).unwrap();
        new(folder.join("key.pem"), None);
    }
    let line = line.replace("DIR", folder.to_str().unwrap());
    let line = format!("keys {line}");
    let mut words: Vec<_> = line.split(' ').collect();
    if line.contains("--device") || line.contains("list") {
        words.extend(["--config", config.to_str().unwrap()]);
    }
    Keys::try_parse_from(words).unwrap().command.run()
}

fn refused(folder: &Path, line: &str) -> String {
    keys(folder, line).expect_err(line).to_string()
}

fn new(out: PathBuf, passphrase: Option<&Secret>) -> String {
    files::new(Algorithm::Es256, &out, passphrase).unwrap()
}

fn show(file: &Path, passphrase_file: Option<PathBuf>) -> Result<String, CliError> {
    Command::Show {
        key: file.to_owned(),
        passphrase_file,
        device: None,
        config: ConfigFile {
            path: PathBuf::new(),
        },
    }
    .run()
}

#[test]
fn a_new_key_is_its_owners_alone_and_is_shown_as_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = folder.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    for (algorithm, name, passphrase) in [
        (NewAlgorithm::Es256, "ES256", None),
        (NewAlgorithm::Rs256, "RS256", None),
        (NewAlgorithm::Es256, "ES256", Some(passphrase.clone())),
    ] {
        let out = folder
            .path()
            .join(format!("{name}-{}", passphrase.is_some()));
        let made = Command::New {
            algorithm,
            out: Some(out.clone()),
            device: None,
            config: ConfigFile {
                path: PathBuf::new(),
            },
            passphrase_file: passphrase.clone(),
        };
        let made = made.run().unwrap();
        assert!(made.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{made}");
        assert!(
            made.contains(&format!("\nalgorithm: {name}\nkid: ")),
            "{made}"
        );
        assert!(!made.contains("PRIVATE"));
        assert_eq!(show(&out, passphrase.clone()).unwrap(), made);

        let private = std::fs::read_to_string(&out).unwrap();
        let label = match passphrase {
            Some(_) => "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            None => "-----BEGIN PRIVATE KEY-----",
        };
        assert!(private.starts_with(label));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&out).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("key.pem");
    new(out.clone(), Some(&Secret::new("right")));
    let error = show(&out, None).unwrap_err().to_string();
    assert!(
        error.contains("key.pem") && error.contains("encrypted"),
        "{error}"
    );
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    let error = show(&out, Some(wrong)).unwrap_err().to_string();
    assert!(error.contains("passphrase is wrong"), "{error}");
}

#[test]
fn a_sealing_key_is_one_that_the_configuration_takes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("seal.key");
    let lines = Command::SealKey { out: out.clone() }.run().unwrap();
    let config = Config::from_text(&lines, "", "".as_ref(), []).unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    let key = SealingKey::from_text(&text).unwrap();
    assert_eq!(config.store.encryption_key.unwrap().id(), key.id());
    assert_eq!(config.warnings, [], "its owner alone can read it");
    assert!(!lines.contains(text.trim()));
    let error = Command::SealKey { out }.run().unwrap_err().to_string();
    assert!(error.contains("seal.key exists"), "{error}");
}

#[test]
fn a_file_that_exists_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("key.pem");
    std::fs::write(&out, "precious").unwrap();
    let error = files::new(Algorithm::Es256, &out, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("key.pem exists"), "{error}");
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
}

fn kid_of(printed: &str) -> &str {
    printed.split_once("kid: ").unwrap().1.trim_end()
}

#[test]
fn keys_of_a_device_are_kept_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert!(refused(dir, "list").contains("there is no store yet"));
    let made = keys(dir, "new --device pump-1 --algorithm es256").unwrap();
    assert!(made.starts_with("-----BEGIN PUBLIC KEY-----\n") && made.contains("algorithm: ES256"));
    let imported = keys(dir, "import --device pump-1 DIR/key.pem").unwrap();
    assert_eq!(imported, show(&dir.join("key.pem"), None).unwrap());
    assert!(refused(dir, "import --device pump-1 DIR/key.pem").contains("has this key already"));

    let (first, second) = (kid_of(&made), kid_of(&imported));
    let shown = keys(dir, &format!("show --device pump-1 {second}")).unwrap();
    assert_eq!(shown, imported);
    let list = keys(dir, &format!("activate --device pump-1 {}", &first[..12])).unwrap();
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[0], "pump-1");
    let active = format!("  {first}  ES256  active, not accepted by the broker yet  created 2");
    assert!(lines[1].starts_with(&active), "{list}");
    assert!(
        lines[2].starts_with(&format!("  {second}  ES256  new  created 2")),
        "{list}"
    );
    assert!(refused(dir, &format!("delete --device pump-1 {first}")).contains("is the active one"));
    let list = keys(dir, &format!("delete --device pump-1 {second}")).unwrap();
    assert_eq!(list.lines().count(), 2);
    assert_eq!(keys(dir, "list").unwrap(), list);
    assert_eq!(keys(dir, "list --device pump-1").unwrap(), list);

    for (line, says) in [
        (
            "new --device pump-2",
            "no device pump-2, neither in the configuration nor in the store",
        ),
        ("new --device other", "signs no tokens"),
        ("activate --device pump-1 x", "no key x"),
        ("delete --device pump-1 ", "not enough of an id"),
        ("import --device pump-1 DIR/causeway.toml", "not a PEM file"),
    ] {
        let error = refused(dir, line);
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn a_running_bridge_has_its_store_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("causeway.redb");
    let _store = crate::store::Embedded::open(path, Default::default()).unwrap();
    let error = refused(folder.path(), "list");
    assert!(
        error.contains("a running bridge has this store")
            && error.contains("/v1/devices/{device}/keys"),
        "{error}"
    );
}

#[test]
fn what_is_sealed_needs_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let lines = keys(dir, "seal-key --out DIR/seal.key").unwrap();
    let config = dir.join("causeway.toml");
    let sealed = std::fs::read_to_string(&config).unwrap() + &lines;
    std::fs::write(&config, sealed).unwrap();
    keys(dir, "new --device pump-1").unwrap();
    assert_eq!(keys(dir, "list").unwrap().lines().count(), 2);
    std::fs::write(&config, CONFIG).unwrap();
    let error = refused(dir, "list");
    assert!(error.contains("[store] encryption_key_file"), "{error}");
}
