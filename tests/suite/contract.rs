//! The served OpenAPI description, held against the running bridge by schemathesis: whatever it makes up, no answer is a
//! 5xx of the bridge's own making or one that is not described.
//!
//! By hand, against a bridge at work (a test bridge: it posts, registers and deletes whatever it likes):
//!
//! ```sh
//! tests/run --prepare
//! PYTHONPATH=tests/contract SCHEMATHESIS_HOOKS=hooks target/python/bin/schemathesis run \
//!     http://127.0.0.1:8080/openapi.json -H "Authorization: Bearer …" --checks all \
//!     --exclude-checks positive_data_acceptance --exclude-path-regex '^/(livez|readyz|metrics)$' --request-timeout 2
//! ```

use std::process::Output;

use crate::harness::bridge::TestBridge;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::python::schemathesis;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The other listener's, and streams' operations are there too: a stream is read for as long as a request may take.
const ELSEWHERE: &str = "^/(livez|readyz|metrics)$";

fn config(broker: &Mosquitto) -> String {
    format!(
        "[access.tokens.all]\ntoken = \"{TOKEN}\"\n\
         scopes = [\"uplink\", \"downlink\", \"devices:read\", \"devices:write\", \"keys\"]\n\
         [connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n",
        broker.addr()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_a_surprise() {
    let broker = Mosquitto::start().await;
    let bridge =
        TestBridge::with_http("wait = \"1s\"\nmax_wait = \"1s\"\n", &config(&broker)).await;
    let token = format!("Authorization: Bearer {TOKEN}");
    // What a profile carries, and whether a key was used before, is not in any schema.
    let beyond_schemas = "positive_data_acceptance";
    let all = ["--exclude-checks", beyond_schemas];
    let but_batch = ["--exclude-path", "/v1/uplinks"];
    let some = check(&bridge, &token, &[&all[..], &but_batch].concat()).await;
    // A batch answers for each line: one that is refused is a 200 or 207 with that line's problem.
    let but_lines = "positive_data_acceptance,negative_data_rejection";
    let batch = [
        "--exclude-checks",
        but_lines,
        "--include-path",
        "/v1/uplinks",
    ];
    let batch = check(&bridge, &token, &batch).await;
    for output in [some, batch] {
        let said = String::from_utf8_lossy(&output.stdout);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{told}");
        // Not a run that tried nothing.
        assert!(said.contains(" generated, "), "{said}\n{told}");
    }
    bridge.stop().await;
}

async fn check(bridge: &TestBridge, token: &str, more: &[&str]) -> Output {
    let url = format!("http://{}/openapi.json", bridge.addr());
    let args = [
        "run",
        &url,
        "--header",
        token,
        "--checks",
        "all",
        "--exclude-path-regex",
        ELSEWHERE,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "8",
        "--request-timeout",
        "2",
        "--continue-on-failure",
        "--no-color",
    ];
    schemathesis(&[&args[..], more].concat()).await
}
