//! `causeway doctor` as a shell sees it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::plain;
use crate::harness::bridge::TestBridge;
use crate::harness::causeway::causeway;
use crate::harness::certificates::Authority;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::pretended::{Pretended, make_key};
use crate::harness::program::Program;

#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

async fn doctor(folder: &Path, args: &str) -> Done {
    let mut all = vec!["doctor"];
    all.extend(args.split_whitespace());
    let mut program = causeway(folder, &all, &[]);
    let code = program.exit().await.code().unwrap();
    Done {
        code,
        out: program.stdout().all().join("\n"),
        err: program.stderr().all().join("\n"),
    }
}

impl Done {
    /// What was printed, on one line: where it is wrapped is no test's business.
    fn flat(&self) -> String {
        self.out.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A folder with a configuration whose listener is at `http`.
fn folder(http: &str, connectors: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!("[http]\nlisten = \"{http}\"\n{connectors}");
    fs::write(folder.path().join("causeway.toml"), text).unwrap();
    folder
}

/// Where nobody listens.
fn nowhere() -> (Port, String) {
    let port = Port::reserve();
    let addr = port.addr().to_string();
    (port, addr)
}

#[tokio::test]
async fn text_for_people_and_an_exit_code_for_scripts() {
    let broker = Mosquitto::start().await;
    let (_port, http) = nowhere();
    let good = folder(&http, &plain(&format!("mqtt://{}", broker.addr()), ""));
    let done = doctor(good.path(), "--watch 0s").await;
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    for line in [
        "pump-1 on local",
        "  ✓ connect",
        "  – publish",
        "Nothing is wrong.",
    ] {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
    assert!(
        !done.out.contains('\u{1b}'),
        "colours without a terminal: {}",
        done.out
    );

    let (closed, address) = nowhere();
    let bad = folder(&http, &plain(&format!("mqtt://{}", closed.addr()), ""));
    let done = doctor(bad.path(), "pump-1").await;
    assert_eq!(
        (done.code, done.err.as_str()),
        (1, "pump-1: tcp failed"),
        "{done:?}"
    );
    assert!(
        done.out
            .contains(&format!("  ✗ tcp            {address} refuses connections")),
        "{}",
        done.out
    );
    assert!(done.flat().contains("→ start the broker"), "{}", done.out);
    assert!(
        done.flat().contains("tcp failed: that is where to begin."),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn json_for_scripts() {
    let (closed, _) = nowhere();
    let (_port, http) = nowhere();
    let bad = folder(&http, &plain(&format!("mqtt://{}", closed.addr()), ""));
    let done = doctor(bad.path(), "--json").await;
    assert_eq!(done.code, 1, "{done:?}");
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["verdict"], "failed");
    let diagnosis = &report["diagnoses"][0];
    assert_eq!(
        (&diagnosis["device"], &diagnosis["by"]),
        (&"pump-1".into(), &"command".into())
    );
    let steps = diagnosis["steps"].as_array().unwrap();
    let tcp = steps.iter().find(|step| step["step"] == "tcp").unwrap();
    assert_eq!(tcp["cause"], "port-closed");

    fs::write(bad.path().join("causeway.toml"), "[http]\nlisten = 1\n").unwrap();
    let done = doctor(bad.path(), "--json").await;
    assert_eq!(done.code, 78, "{done:?}");
    let report: Value = serde_json::from_str(&done.out).unwrap();
    let problem = report["problems"][0].as_str().unwrap();
    assert!(
        problem.starts_with("causeway.toml:2: http.listen: "),
        "{problem}"
    );
}

#[tokio::test]
async fn wrong_usage_and_unknown_devices() {
    let (_port, http) = nowhere();
    let good = folder(&http, &plain("mqtt://localhost:1", ""));
    for (args, code, says) in [
        ("nobody", 1, "no device nobody; it has: pump-1"),
        ("a/b", 2, "contains '/'"),
        ("--publish={}", 2, "DEVICE"),
        ("pump-1 --subtopic x", 2, "--publish"),
        ("pump-1 --publish={} --subtopic +", 2, "'+' or '#'"),
        ("pump-1 --watch 1h", 2, "10min at the most"),
        ("pump-1 --token-file x --alone", 2, "cannot be used with"),
        ("pump-1 --token-file nowhere", 1, "nowhere"),
        ("--config nowhere.toml", 78, "nowhere.toml"),
    ] {
        let done = doctor(good.path(), args).await;
        assert_eq!(done.code, code, "{args}: {done:?}");
        assert!(done.err.contains(says), "{args}: {done:?}");
    }
    let nothing = folder(&http, "");
    let done = doctor(nothing.path(), "").await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("no connectors"), "{done:?}");
}

#[tokio::test]
async fn every_connector_is_examined_with_one_of_its_devices() {
    let broker = Mosquitto::start().await;
    let (_port, http) = nowhere();
    let connectors = format!(
        "{}[devices.pump-2]\nconnector = \"local\"\n\
         [connectors.empty]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nvariables = {{ client_id = \"x\" }}\n",
        plain(&format!("mqtt://{}", broker.addr()), ""),
        broker.addr()
    );
    let folder = folder(&http, &connectors);
    let done = doctor(folder.path(), "--json --watch 0s").await;
    assert_eq!(done.code, 0, "{done:?}");
    let report: Value = serde_json::from_str(&done.out).unwrap();
    let all = report["diagnoses"].as_array().unwrap();
    let who: Vec<_> = all
        .iter()
        .map(|d| (d["connector"].as_str(), d["device"].as_str()))
        .collect();
    assert_eq!(
        who,
        [(Some("empty"), None), (Some("local"), Some("pump-1"))]
    );
    assert!(
        all[0].to_string().contains("no device is registered"),
        "{}",
        all[0]
    );
}

#[tokio::test]
async fn a_running_bridge_is_asked_and_keeps_its_connection() {
    let broker = Mosquitto::start().await;
    let connectors = plain(&format!("mqtt://{}", broker.addr()), "");
    let bridge = TestBridge::start(&connectors).await;
    let http = bridge.addr().to_string();
    let beside = folder(&http, &connectors);
    for _ in 0..3 {
        let done = doctor(beside.path(), "pump-1 --publish").await;
        assert_eq!(done.code, 0, "{done:?}");
        let line = format!("as the running bridge at http://{http} sees it");
        assert!(done.flat().contains(&line), "{}", done.out);
        assert!(
            done.out
                .contains("the bridge has been connected as causeway-local"),
            "{}",
            done.out
        );
    }
    let session = bridge.session("pump-1").await;
    assert_eq!(session["counters"]["connects"], 1, "{session:#}");
    assert_eq!(session["counters"]["delivered"], 3, "{session:#}");

    // A device that the bridge does not have yet is not connected behind its back.
    let newer = folder(&http, &connectors.replace("pump-1", "pump-2"));
    let done = doctor(newer.path(), "pump-2").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.flat().contains("does not know pump-2 yet"),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn a_bridge_that_wants_a_token_gets_one() {
    let broker = Mosquitto::start().await;
    let connectors = plain(&format!("mqtt://{}", broker.addr()), "");
    let token = "cw_a-token-for-the-doctor-0123456789abcdef";
    let files = TempDir::new().unwrap();
    fs::write(files.path().join("token"), token).unwrap();
    let access = format!(
        "{connectors}[access.tokens.doctor]\ntoken_file = {:?}\nscopes = [\"devices:write\"]\ndevices = [\"*\"]\n",
        files.path().join("token")
    );
    let bridge = TestBridge::start(&access).await;
    let beside = folder(&bridge.addr().to_string(), &access);
    let done = doctor(beside.path(), "pump-1").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.flat().contains("! connect") && done.flat().contains("--token-file"),
        "{}",
        done.out
    );
    let with = format!(
        "pump-1 --token-file {}",
        files.path().join("token").display()
    );
    let done = doctor(beside.path(), &with).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.out.contains("✓ connect") && !done.out.contains(token),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn a_bridge_that_does_not_answer_is_known_by_its_store() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let connectors = format!(
        "[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{}\"\n\
         [devices.pump-1]\nconnector = \"akenza\"\nprivate_key_file = \"pump-1.pem\"\n",
        broker.addr()
    );
    let (_port, http) = nowhere();
    let text = format!("[http]\nlisten = \"{http}\"\n{connectors}");
    fs::write(folder.path().join("causeway.toml"), text).unwrap();
    // Nothing of the bridge is where the configuration says, but its store.
    let path = folder.path().to_owned();
    let bridge = TestBridge::start_in(
        folder,
        &format!("[store]\npath = \"causeway.redb\"\n{connectors}"),
    )
    .await;
    let done = doctor(&path, "pump-1").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.flat()
            .contains("causeway.redb open and does not answer"),
        "{}",
        done.out
    );
    assert_eq!(broker.faults.connects_of("pump-1"), 0);
    // Whoever insists takes the connection over.
    let done = doctor(&path, "pump-1 --alone --watch 0s").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(broker.faults.connects_of("pump-1"), 1);
    drop(bridge);
}

/// The machine's clock, as the program sees it, is off by more than a minute.
#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let authority = Authority::new("Plant CA");
    let broker = Mosquitto::builder()
        .tls_with(&authority, authority.fresh_server())
        .start()
        .await;
    let (_port, http) = nowhere();
    let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
    let connector = plain(&url, &format!("ca_file = {:?}", authority.ca_file()));
    let folder = folder(&http, &connector);
    for (shift, code, step, says) in [
        ("+0", 0, "clock", "the broker's certificate is valid then"),
        (
            "-2m",
            1,
            "clock",
            "before the broker's certificate begins to be valid",
        ),
        ("-2m", 1, "tls", "is not valid yet"),
        (
            "+2d",
            1,
            "clock",
            "after the broker's certificate has ended",
        ),
        ("+2d", 1, "tls", "has expired"),
        // A board without a battery.
        ("-50y", 1, "clock", "it is not set"),
    ] {
        let mut program = Program::start(
            Command::new("faketime")
                .args(["-f", shift, env!("CARGO_BIN_EXE_causeway")])
                .args(["doctor", "pump-1", "--json", "--watch", "0s"])
                .current_dir(folder.path()),
            "apt-get install faketime",
        );
        let ended = program.exit().await.code();
        let out = program.stdout().all().join("\n");
        assert_eq!(ended, Some(code), "{shift}: {out}");
        let report: Value = serde_json::from_str(&out).unwrap();
        let steps = report["diagnoses"][0]["steps"].as_array().unwrap();
        let found = steps.iter().find(|found| found["step"] == step).unwrap();
        let seen = found["seen"].as_str().unwrap();
        assert!(seen.contains(says), "{shift}: {step}: {seen}");
        let is_off = found["cause"] == "clock-off";
        assert_eq!(is_off, step == "clock" && code == 1, "{shift}: {found}");
    }
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    make_key(folder.path(), "pump-2");
    let (_port, http) = nowhere();
    let text = format!(
        "[http]\nlisten = \"{http}\"\n\
         [connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{0}\"\n\
         [connectors.secret]\nprofile = \"akenza-secret\"\nurl = \"mqtt://{0}\"\nsecret = \"hunter2\"\n\
         variables = {{ connector_id = \"conn-1\" }}\n\
         [devices.pump-1]\nconnector = \"akenza\"\nprivate_key_file = \"pump-1.pem\"\n\
         [devices.pump-3]\nconnector = \"secret\"\n",
        broker.addr()
    );
    fs::write(folder.path().join("causeway.toml"), text).unwrap();
    let key = fs::read_to_string(folder.path().join("pump-1.pem")).unwrap();
    for args in ["--verbose --watch 0s", "--json --watch 0s"] {
        let done = doctor(folder.path(), args).await;
        let printed = done.out + &done.err;
        assert!(
            printed.contains("pump-1") && printed.contains("pump-3"),
            "{printed}"
        );
        assert!(!printed.contains("hunter2"), "{printed}");
        // A token begins like this, whatever it says.
        assert!(!printed.contains("eyJ"), "{printed}");
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!printed.contains(line), "{printed}");
        }
    }
}
