//! Tokens are seen nowhere: not in the log at its most talkative, not in an answer, not in what `check` prints.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;

use super::{TAIL, token};
use crate::harness::bridge::pump;
use crate::harness::causeway::{causeway, configure, serving};
use crate::harness::http::{Http, Reply, raw};

const SECRETS: [&str; 6] = [
    "inline-0123456789abcdef",
    "in-a-file-0123456789abcdef",
    "expired-0123456789abcdef",
    "nobodys-0123456789abcdef",
    "malformed-0123456789abcdef\"",
    "twice-0123456789abcdef",
];

/// A GET of a path that is none, over HTTP/2 from the first byte on (RFC 9113 §3.3), and the end of the connection.
fn http2(path: &str) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [
            length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
        ];
        [&head[..], payload].concat()
    };
    // RFC 7541, appendix A: 2 is `:method: GET`, 6 is `:scheme: http`, 4 is the name `:path`.
    let mut fields = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend_from_slice(path.as_bytes());
    let go_away = [0; 8];
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 5, 1, &fields),
        frame(7, 0, 0, &go_away),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), format!("{}\n", SECRETS[1])).unwrap();
    let mut config = pump("127.0.0.1:1".parse().unwrap());
    config += &token("inline", &["downlink", "devices:read"], "max_streams = 1");
    config += &token("expired", &["downlink"], "expires = 2020-01-01T00:00:00Z");
    config += "[access.tokens.in-a-file]\ntoken_file = \"token\"\nscopes = [\"devices:read\"]\n";
    configure(folder.path(), &config);

    let mut said = String::new();
    let mut check = causeway(folder.path(), &["check"], &[]);
    assert!(check.exit().await.success(), "{:?}", check.stderr().all());
    said += &[check.stdout().all(), check.stderr().all()]
        .concat()
        .join("\n");

    let mut bridge = causeway(folder.path(), &["serve"], &[("RUST_LOG", "trace")]);
    let address = serving(&bridge).await;
    let http = Http::new(address);
    let paths = [
        "/v1/devices",
        "/v1/devices/pump-1",
        "/v1/devices/pump-1/downlinks?wait=0",
        "/v1/nothing",
    ];
    let mut answers = Vec::new();
    for secret in SECRETS {
        for path in paths {
            let request = http.with_token(secret).request(Method::GET, path);
            answers.push(Reply::to(request.header("accept", "application/json")).await);
            let and = if path.contains('?') { '&' } else { '?' };
            for query in [
                format!("access_token={secret}"),
                format!("access_token={secret}&access_token={secret}"),
                format!("access_token={secret}%FF&topic=%23%23"),
                format!("topic={secret}/%23/x"),
            ] {
                let request = http.request(Method::GET, &format!("{path}{and}{query}"));
                answers.push(Reply::to(request.header("accept", "application/json")).await);
            }
        }
        // What no proper client sends.
        for head in [
            format!(
                "GET /v1/devices/pump-1/downlinks?access_token={secret}\u{7f}\u{1} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ),
            format!(
                "GET /v1/devices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\u{1}\r\nconnection: close\r\n\r\n"
            ),
            format!("GET /v1/devices HTTP/1.1\r\nhost: x\r\nauthorization {secret}\r\n\r\n"),
        ] {
            said += &raw(address, head.as_bytes()).await;
        }
        said += &raw(
            address,
            &http2(&format!("/v1/devices?access_token={secret} x")),
        )
        .await;
    }
    assert_eq!(bridge.terminate().await.code(), Some(0));
    assert!(answers.iter().any(|answer| answer.status == 200));
    assert!(answers.iter().any(|answer| answer.status == 401));
    for answer in answers {
        said += &format!("{:?} {}\n", answer.headers, answer.text());
    }
    let log = bridge.stderr().all().join("\n");
    assert!(log.contains("h2::"), "HTTP/2 was not spoken: {log}");
    assert!(log.contains("DEBUG") && log.contains("/downlinks"), "{log}");
    said += &log;
    for secret in SECRETS {
        let core = secret.trim_end_matches('"');
        let forms = [
            core.to_owned(),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        for line in said.lines() {
            // A token that was given for a topic is told back as the topic that it is not.
            let leaks = forms.iter().any(|form| line.contains(form.as_str()));
            assert!(!leaks, "{secret} is told: {line}");
        }
    }
    assert!(SECRETS.iter().all(|secret| secret.contains(TAIL)));
}
