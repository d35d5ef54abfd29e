//! The demo's SAP gateway: by the lines that are printed, and by a client as in SAP's tutorials.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::demo::Demo;
use crate::harness::python::paho;
use crate::harness::shell::{begin, paste_json};

const DEVICE: &str = "demo-sap";

#[tokio::test]
async fn the_printed_lines_work_as_printed() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let printed = demo.printed().await;
    let lines: Vec<_> = printed
        .iter()
        .skip_while(|line| !line.starts_with("demo-sap: "))
        .skip(1)
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("curl "))
        .collect();
    let [whole, short, malformed, listen, command, received] = lines[..] else {
        panic!("{printed:#?}");
    };
    for line in [whole, short] {
        let receipt = paste_json(line).await;
        assert_eq!(receipt["status"], "delivered", "{line}: {receipt}");
        let accepted = json!({"status": "accepted", "code": 202});
        assert_eq!(receipt["platform"], accepted, "{line}");
    }
    let problem = paste_json(malformed).await;
    assert_eq!(problem["status"], 422, "{problem}");
    assert_eq!(problem["platform"]["code"], 400);
    let reason = problem["platform"]["messages"][0].as_str().unwrap();
    assert!(reason.contains("measures[0]"), "{reason}");

    let listener = begin(listen);
    listener.stdout().wait_for("retry: ").await;
    let sent = paste_json(command).await;
    assert_eq!(sent["connected"], 1, "{sent}");
    let data = listener.stdout().wait_for("data: ").await;
    let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(event["device"], DEVICE);
    assert_eq!(event["payload"]["command"], json!({"open": true}));

    let received = paste_json(received).await;
    let measures: Vec<_> = received.as_array().unwrap().iter().collect();
    assert_eq!(measures.len(), 2, "{received}");
    for measure in measures {
        assert_eq!(measure["topic"], "measures");
        assert_eq!(measure["payload"]["capabilityAlternateId"], "climate");
        assert_eq!(
            measure["payload"]["measures"],
            json!([{"temperature": 21.5}])
        );
    }
    assert_eq!(demo.complaints(), [""; 0]);
    assert_eq!(demo.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_as_in_the_tutorials_is_judged_as_the_platform_judges_it() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let file = |key: &str| demo.device(DEVICE)[key].as_str().unwrap().to_owned();
    let port = demo.addr("sap").port();
    let bare = format!(
        "--port {port} --ca {} --device {DEVICE}",
        demo.text("ca_file")
    );
    let own = format!(
        "{bare} --certificate {} --passphrase-file {}",
        file("identity_file"),
        file("passphrase_file")
    );
    for version in ["3.1.1", "5"] {
        for (accepted, what) in [
            (true, own.clone()),
            (false, format!("{own} --payload []")),
            (false, bare.clone()),
            (false, format!("{own} --client-id other")),
            (false, format!("{own} --topic measures/other")),
            (false, format!("{own} --device other")),
        ] {
            let args = format!("{what} --mqtt {version}");
            let args: Vec<_> = args.split_whitespace().map(str::to_owned).collect();
            let output = paho("sap_iot.py", &args).await;
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.success(), accepted, "{args:?}: {output:?}");
            let word = if accepted { "accepted: " } else { "refused: " };
            assert!(said.starts_with(word), "{args:?}: {output:?}");
        }
    }
    assert_eq!(demo.taken(DEVICE, 0).await.len(), 2);
    assert_eq!(demo.stop().await.code(), Some(0));
}
