//! Client certificates in every form in which platforms hand them out, at a Mosquitto that takes their names for user
//! names and lets nobody write another's topic.

use std::fs;
use std::path::Path;

use causeway::bridge;
use tempfile::TempDir;

use crate::harness::bridge::{TestBridge, config};
use crate::harness::certificates::Authority;
use crate::harness::http::Reply;
use crate::harness::keys::{KeyForm, PASSPHRASE, openssl};
use crate::harness::mosquitto::{CertificateUse, Mosquitto};
use crate::harness::subscriber::Subscriber;

/// Whoever connects writes as who the certificate says.
const ACL: &str = "pattern read devices/#\npattern write devices/%u/up\n";

/// How a private key is written down, from an unencrypted one: openssl's command, and whether it encrypts.
const KEY_FORMS: [(&str, &str, bool); 10] = [
    // As SAP hands it out.
    ("sap", "pkcs8 -topk8 -v1 PBE-SHA1-3DES", true),
    ("aes", "pkcs8 -topk8 -v2 aes-256-cbc", true),
    ("scrypt", "pkcs8 -topk8 -scrypt", true),
    ("des3", "pkcs8 -topk8 -v2 des3", true),
    ("traditional-aes128", "rsa -traditional -aes128", true),
    ("traditional-aes256", "rsa -traditional -aes256", true),
    ("traditional-des3", "rsa -traditional -des3", true),
    ("pkcs8", "pkcs8 -topk8 -nocrypt", false),
    ("pkcs1", "rsa -traditional", false),
    ("apart", "pkcs8 -topk8 -v1 PBE-SHA1-3DES", true),
];

/// A broker's listener and the files of its clients.
struct Bench {
    authority: Authority,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        Self {
            authority: Authority::new("Device CA"),
            folder,
        }
    }

    async fn broker(&self) -> Mosquitto {
        let builder = Mosquitto::builder().tls(&self.authority).acl(ACL);
        let builder = builder.client_certificates(CertificateUse::UserName);
        builder.start().await
    }

    /// The configuration of devices that connect as themselves; each brings its keys.
    fn config(&self, broker: &str, devices: &[(String, String)]) -> String {
        let mut text = format!(
            "[connectors.gateway]\nprofile = \"plain\"\nurl = \"{broker}\"\nca_file = {:?}\n\
             override.session = \"device\"\noverride.connect.client_id = \"{{device}}\"\n\
             override.connect.tls_identity = \"optional\"\noverride.downlink = []\n",
            self.authority.ca_file()
        );
        for (device, keys) in devices {
            text += &format!("[devices.{device}]\nconnector = \"gateway\"\n{keys}\n");
        }
        text
    }

    /// The file of a new identity, its key unencrypted: `NAME.pem`, key first.
    fn identity(&self, name: &str, days: u32) {
        let key = KeyForm::RsaPkcs8.make(self.folder.path());
        let certificate = self.authority.certify(&key, name, days);
        self.join(&format!("{name}.pem"), &[&key, &certificate]);
    }

    fn join(&self, name: &str, parts: &[&Path]) {
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|part| fs::read(part).unwrap())
            .collect();
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn warnings(&self, devices: &[(String, String)]) -> Result<Vec<String>, Vec<String>> {
        fn shown<T: ToString>(all: Vec<T>) -> Vec<String> {
            all.iter().map(T::to_string).collect()
        }
        let text = self.config("mqtts://localhost", devices);
        bridge::verify(&config(&text, self.folder.path()))
            .map(shown)
            .map_err(shown)
    }
}

fn run(arguments: &[&str]) {
    let (ok, said) = openssl(arguments);
    assert!(ok, "openssl {arguments:?}: {said}");
}

#[tokio::test]
async fn every_form_of_identity_connects_as_whom_it_names() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let key = KeyForm::RsaPkcs8.make(folder);
    let (plain, pass) = (key.to_str().unwrap(), format!("pass:{PASSPHRASE}"));
    let mut devices = Vec::new();
    for (number, (name, command, encrypted)) in KEY_FORMS.into_iter().enumerate() {
        let form = folder.join("form.key");
        let mut arguments: Vec<_> = command.split(' ').collect();
        arguments.extend(["-in", plain, "-out", form.to_str().unwrap()]);
        if encrypted {
            arguments.extend(["-passout", &pass]);
        }
        run(&arguments);
        let certificate = bench.authority.certify(&key, name, 365);
        let mut keys = format!("identity_file = \"{name}.pem\"\n");
        if name == "apart" {
            bench.join("apart.pem", &[&certificate]);
            bench.join("apart.key", &[&form]);
            keys += "identity_key_file = \"apart.key\"\n";
        } else if number % 2 == 0 {
            bench.join(&format!("{name}.pem"), &[&form, &certificate]);
        } else {
            bench.join(&format!("{name}.pem"), &[&certificate, &form]);
        }
        if encrypted {
            keys += "passphrase_file = \"passphrase\"\n";
        }
        devices.push((name.to_owned(), keys));
    }
    let old = [
        "-keypbe",
        "PBE-SHA1-3DES",
        "-certpbe",
        "PBE-SHA1-3DES",
        "-macalg",
        "sha1",
    ];
    for (name, how) in [("pkcs12", &[][..]), ("pkcs12-old", &old)] {
        let certificate = bench.authority.certify(&key, name, 365);
        let store = folder.join(format!("{name}.p12"));
        let files = ["-inkey", plain, "-in", certificate.to_str().unwrap()];
        let output = ["-out", store.to_str().unwrap(), "-passout", &pass];
        run(&[&["pkcs12", "-export"], &files[..], &output, how].concat());
        let keys = format!("identity_file = \"{name}.p12\"\npassphrase_file = \"passphrase\"\n");
        devices.push((name.to_owned(), keys));
    }

    let broker = bench.broker().await;
    let text = bench.config(&format!("mqtts://{}", broker.tls_addr()), &devices);
    let observer = bench.authority.client("observer");
    let observer = broker.tls_access().identity(observer);
    let observer = Subscriber::start(&observer, &["devices/#"]).await;
    let bridge = TestBridge::start_in(bench.folder, &text).await;
    for (device, _) in &devices {
        let path = format!("/v1/devices/{device}/uplinks");
        let reply = bridge.http.post(&path, "text/plain", device.clone()).await;
        assert_eq!(reply.status, 200, "{device}: {}", reply.text());
    }
    for message in observer.wait_count(devices.len()).await {
        assert_eq!(message.topic, format!("devices/{}/up", message.text()));
    }
}

#[tokio::test]
async fn without_the_right_certificate_the_reason_is_told() {
    let bench = Bench::new();
    let stranger = Authority::new("Other CA");
    let key = KeyForm::EcPkcs8.make(bench.folder.path());
    bench.join(
        "stranger.pem",
        &[&key, &stranger.certify(&key, "stranger", 365)],
    );
    bench.identity("another", 365);
    let identity = |name: &str| format!("identity_file = \"{name}.pem\"\n");
    let devices = [
        ("nobody".to_owned(), String::new()),
        ("stranger".to_owned(), identity("stranger")),
        ("a-third".to_owned(), identity("another")),
    ];
    let broker = bench.broker().await;
    let url = format!("mqtts://{}", broker.tls_addr());
    let text = bench.config(&url, &devices);
    let bridge = TestBridge::start_in(bench.folder, &text).await;
    for (device, expected) in [
        (
            "nobody",
            "demands a client certificate; name it with identity_file",
        ),
        (
            "stranger",
            "does not trust the issuer of the client certificate",
        ),
    ] {
        let path = format!("/v1/devices/{device}/uplinks");
        let request = bridge.http.request(reqwest::Method::POST, &path);
        let reply = Reply::to(request.header("prefer", "wait=1").body("1")).await;
        assert_ne!(reply.status, 200, "{}", reply.text());
        bridge.until(device, "backing_off").await;
        let session = bridge.session(device).await;
        let message = session["last_error"]["what"].as_str().unwrap();
        assert!(message.contains(expected), "{device}: {message}");
    }
    // A certificate opens the door, and the name in it decides what may be written.
    let refused = bridge
        .http
        .post("/v1/devices/a-third/uplinks", "text/plain", "1")
        .await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(refused.json()["reason_code"], 135, "{}", refused.text());
}

#[test]
fn what_is_wrong_with_the_files_is_told_before_anything_runs() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let key = KeyForm::RsaPkcs8EncryptedPbe1.make(folder);
    let plain = folder.join("RsaPkcs8EncryptedPbe1.plain.pem");
    let certificate = bench.authority.certify(&plain, "a", 365);
    bench.join("encrypted.pem", &[&key, &certificate]);
    bench.join("no-certificate.pem", &[&key]);
    bench.identity("b", 365);
    bench.join(
        "mismatch.pem",
        &[&key, &folder.join("RsaPkcs8.certificate.pem")],
    );
    let camellia = folder.join("camellia.key");
    let pass = format!("pass:{PASSPHRASE}");
    let (from, to) = (plain.to_str().unwrap(), camellia.to_str().unwrap());
    let how = ["-topk8", "-v2", "camellia-256-cbc", "-passout", &pass];
    run(&[&["pkcs8", "-in", from, "-out", to], &how[..]].concat());
    bench.join("camellia.pem", &[&camellia, &certificate]);

    let right = "passphrase_file = \"passphrase\"\n";
    for (file, passphrase, expected) in [
        ("encrypted", "", "encrypted and no passphrase was given"),
        (
            "encrypted",
            "passphrase = \"wrong\"\n",
            "the passphrase is wrong",
        ),
        ("no-certificate", right, "holds no certificate"),
        ("mismatch", right, "the certificate of 'CN=b' in"),
        ("camellia", right, "1.2.392.200011.61.1.1.1.4"),
    ] {
        let keys = format!("identity_file = \"{file}.pem\"\n{passphrase}");
        let errors = bench.warnings(&[("a".to_owned(), keys)]).unwrap_err();
        let [error] = &errors[..] else {
            panic!("{errors:?}")
        };
        assert!(
            error.starts_with("devices.\"a\": ") && error.contains(expected),
            "{error}"
        );
        assert!(!error.contains(PASSPHRASE));
    }
}

#[test]
fn a_certificate_that_will_expire_is_warned_of_with_the_date() {
    let bench = Bench::new();
    for (name, days) in [("soon", 29), ("late", 31)] {
        bench.identity(name, days);
    }
    let keys = |name: &str| (name.to_owned(), format!("identity_file = \"{name}.pem\""));
    let warnings = bench.warnings(&[keys("late"), keys("soon")]).unwrap();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!(
        warning.starts_with("devices.\"soon\": ") && warning.contains("'CN=soon' expires on 20")
    );
}
