//! The command line as a shell sees it: what is printed, and the exit code.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::causeway::{LISTENERS, causeway};
use crate::harness::demo::{Demo, PORTS};
use crate::harness::http::Http;
use crate::harness::program::Program;
use crate::harness::python::python;

/// What a command came to.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

async fn run(folder: &Path, args: &str, env: &[(&str, &str)]) -> Done {
    let args: Vec<&str> = args.split_whitespace().collect();
    let mut program = causeway(folder, &args, env);
    let code = program.exit().await.code().unwrap();
    Done {
        code,
        out: program.stdout().all().join("\n"),
        err: program.stderr().all().join("\n"),
    }
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).unwrap();
}

/// A bridge in a process of its own; it says where it listens.
struct Serving {
    program: Program,
    http: String,
    management: String,
}

impl Serving {
    async fn start(folder: &Path) -> Self {
        let program = causeway(folder, &["serve"], &[]);
        let line = program.stderr().wait_for("serving http://").await;
        let after = |word: &str| {
            let (_, rest) = line.split_once(word).unwrap();
            let end = rest.find([',', ' ']).unwrap_or(rest.len());
            rest[..end].to_owned()
        };
        Self {
            http: after("serving http://"),
            management: after("management http://"),
            program,
        }
    }
}

const BAD: &str = r#"[http]
listen = "127.0.0.1:0"

[connectors.akenza]
profile = "akenza-device"
url = "mqtts://broker.example"
mqt_version = "5"

[devices.pump-1]
connector = "akenza"
private_key_file = "nowhere.pem"
"#;

#[tokio::test]
async fn every_outcome_has_its_exit_code() {
    let folder = TempDir::new().unwrap();
    write(&folder, "good.toml", LISTENERS);
    write(&folder, "bad.toml", BAD);
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for (args, code) in [
        ("--version", 0),
        ("--help", 0),
        ("serve --help", 0),
        ("check --config good.toml", 0),
        ("profile list", 0),
        ("profile show akenza-device", 0),
        ("keys new --algorithm es256 --out key.pem", 0),
        ("keys show key.pem", 0),
        // A key is never overwritten.
        ("keys new --algorithm es256 --out key.pem", 1),
        ("keys show nowhere.pem", 1),
        ("keys show good.toml", 1),
        ("profile show nothing", 1),
        ("token --device nobody --config good.toml", 1),
        (&format!("health --url http://{nobody}/livez"), 1),
        ("", 2),
        ("srve", 2),
        ("serve --port 1", 2),
        ("demo --http x", 2),
        ("demo --http 65536", 2),
        ("keys new --algorithm hs256 --out x", 2),
        ("check --config bad.toml", 78),
        ("check --config nowhere.toml", 78),
        ("serve --config bad.toml", 78),
        ("token --device pump-1 --config bad.toml", 78),
    ] {
        let done = run(folder.path(), args, &[]).await;
        assert_eq!(done.code, code, "{args}: {done:?}");
        // What is wrong is said, and where a program that reads the output does not take it for a result.
        assert_eq!(done.err.is_empty(), code == 0, "{args}: {done:?}");
        assert_eq!(done.out.is_empty(), code != 0, "{args}: {done:?}");
        assert!(!done.err.contains("panicked"), "{args}: {done:?}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_named_by_file_key_and_line() {
    let folder = TempDir::new().unwrap();
    write(&folder, "bad.toml", BAD);
    for command in ["check", "serve"] {
        let done = run(folder.path(), &format!("{command} --config bad.toml"), &[]).await;
        let lines: Vec<_> = done.err.lines().collect();
        assert_eq!(lines.len(), 2, "{done:?}");
        assert!(
            lines[0].starts_with("bad.toml:7: connectors.akenza.mqt_version: "),
            "{done:?}"
        );
        assert!(
            lines[1].starts_with("bad.toml:11: devices.pump-1.private_key_file: "),
            "{done:?}"
        );
        assert!(lines[1].contains("nowhere.pem"), "{done:?}");
    }
    write(&folder, "good.toml", LISTENERS);
    let env = [("CAUSEWAY__HTTP__WAIT", "soon")];
    let done = run(folder.path(), "check --config good.toml", &env).await;
    assert_eq!(done.code, 78, "{done:?}");
    assert!(done.err.contains("CAUSEWAY__HTTP__WAIT"), "{done:?}");
}

#[tokio::test]
async fn strangers_are_not_served_by_accident() {
    let folder = TempDir::new().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        write(
            &folder,
            "causeway.toml",
            &format!("[http]\nlisten = \"{listen}\"\n"),
        );
        for command in ["check", "serve"] {
            let done = run(folder.path(), command, &[]).await;
            assert_eq!(done.code, 78, "{done:?}");
            assert!(
                done.err.starts_with("causeway.toml:2: http.listen: "),
                "{done:?}"
            );
            assert!(done.err.contains("allow_anonymous"), "{done:?}");
        }
        let env = [("CAUSEWAY__HTTP__ALLOW_ANONYMOUS", "true")];
        let done = run(folder.path(), "check", &env).await;
        assert_eq!(done.code, 0, "{done:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    write(&folder, "causeway.toml", LISTENERS);
    for (variable, key) in [
        ("CAUSEWAY__HTTP__LISTEN", "http.listen"),
        ("CAUSEWAY__MANAGEMENT__LISTEN", "management.listen"),
    ] {
        let done = run(folder.path(), "serve", &[(variable, &addr.to_string())]).await;
        assert_eq!(done.code, 1, "{done:?}");
        let last = done.err.lines().last().unwrap();
        assert!(
            last.contains(key) && last.contains(&addr.to_string()),
            "{done:?}"
        );
    }
    for option in PORTS {
        let mut args = "demo --dir made".to_owned();
        for each in PORTS {
            let port = if each == option { addr.port() } else { 0 };
            args += &format!(" {each} {port}");
        }
        let done = run(folder.path(), &args, &[]).await;
        assert_eq!(done.code, 1, "{done:?}");
        let said = [&addr.port().to_string(), option];
        assert!(said.iter().all(|text| done.err.contains(*text)), "{done:?}");
        assert!(!folder.path().join("made").exists(), "{option}");
    }
}

#[tokio::test]
async fn health_tells_how_a_running_bridge_is() {
    let folder = TempDir::new().unwrap();
    write(&folder, "causeway.toml", LISTENERS);
    let mut bridge = Serving::start(folder.path()).await;
    let ask = |path: &str| format!("health --url http://{}{path}", bridge.management);
    let (live, ready, nothing) = (ask("/livez"), ask("/readyz"), ask("/nothing"));
    assert_eq!(run(folder.path(), &live, &[]).await.code, 0);
    assert_eq!(run(folder.path(), &ready, &[]).await.code, 0);
    let done = run(folder.path(), &nothing, &[]).await;
    assert_eq!((done.code, done.err.contains("404")), (1, true), "{done:?}");

    let http = Http::new(bridge.http.parse().unwrap());
    assert_eq!(http.get("/v1/devices").await.status, 200);
    assert_eq!(bridge.program.terminate().await.code(), Some(0));
    assert_eq!(run(folder.path(), &live, &[]).await.code, 1);
}

/// Judges a token with the libraries that the platform's documentation uses.
const JUDGE: &str = r#"
import hashlib, sys, jwt
from Crypto.PublicKey import ECC, RSA
token, algorithm, audience, printed = sys.argv[1:]
public = printed.split("algorithm:")[0]
claims = jwt.decode(token, public, algorithms=[algorithm], audience=audience, options={"require": ["iat", "exp", "aud"]})
der = (RSA if algorithm == "RS256" else ECC).import_key(public).export_key(format="DER")
header = jwt.get_unverified_header(token)
assert header == {"typ": "JWT", "alg": algorithm, "kid": hashlib.sha256(der).hexdigest()}, header
assert claims["exp"] - claims["iat"] == 1200 and claims["aud"] == audience, claims
assert header["kid"] in printed, printed
print("good")
"#;

#[tokio::test]
async fn a_new_key_signs_tokens_that_other_libraries_take() {
    let folder = TempDir::new().unwrap();
    write(&folder, "passphrase", "correct horse battery staple\n");
    for algorithm in ["RS256", "ES256"] {
        let lower = algorithm.to_lowercase();
        let config = format!(
            "{LISTENERS}[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtts://broker.example\"\n\
             [devices.pump-1]\nconnector = \"akenza\"\nprivate_key_file = \"{lower}.pem\"\npassphrase_file = \"passphrase\"\n"
        );
        write(&folder, "causeway.toml", &config);
        let new =
            format!("keys new --algorithm {lower} --out {lower}.pem --passphrase-file passphrase");
        let made = run(folder.path(), &new, &[]).await;
        assert_eq!(made.code, 0, "{made:?}");
        assert!(!made.out.contains("PRIVATE KEY"), "{made:?}");
        let file = fs::read_to_string(folder.path().join(format!("{lower}.pem"))).unwrap();
        assert!(file.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let show = format!("keys show {lower}.pem --passphrase-file passphrase");
        let shown = run(folder.path(), &show, &[]).await;
        assert_eq!(shown.out, made.out);

        let token = run(folder.path(), "token --device pump-1", &[]).await;
        assert_eq!(token.code, 0, "{token:?}");
        let audience = "https://akenza.io/devices/pump-1";
        let args = [token.out.trim(), algorithm, audience, &*made.out];
        let judged = python(JUDGE, &args, folder.path()).await;
        assert_eq!(
            String::from_utf8_lossy(&judged.stdout).trim(),
            "good",
            "{judged:?}"
        );
    }
}

/// Publishes with a token that was printed.
const PUBLISH: &str = r#"
import sys, paho.mqtt.publish as publish
device, port, token = sys.argv[1:]
publish.single(f"/up/device/id/{device}", "[7]", qos=1, hostname="localhost", port=int(port), client_id=device,
               auth={"username": "unused", "password": token})
print("published")
"#;

#[tokio::test]
async fn a_printed_token_lets_any_client_in() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let port = demo.addr("mqtt").port().to_string();
    for device in ["demo-rsa", "demo-ec"] {
        let token = run(dir.path(), &format!("token --device {device}"), &[]).await;
        assert_eq!(token.code, 0, "{token:?}");
        let args = [device, &port, token.out.trim()];
        let done = python(PUBLISH, &args, dir.path()).await;
        assert_eq!(
            String::from_utf8_lossy(&done.stdout).trim(),
            "published",
            "{done:?}"
        );
        assert_eq!(demo.taken(device, 0).await.len(), 1);
    }
}
