//! Every operation that the served description has, with every kind of token: a new one cannot be forgotten.

use serde_json::Value;

use super::calls::{Call, Foreign, call};
use super::{TAIL, World, token};
use crate::harness::http::{Http, Reply};

const SCOPES: [&str; 5] = [
    "uplink",
    "downlink",
    "devices:read",
    "devices:write",
    "keys",
];

/// What anybody may read. Everything else asks for a scope.
const OPEN: [&str; 3] = ["GET /", "GET /docs", "GET /openapi.json"];

/// One operation of the main listener.
struct Operation {
    /// `GET /v1/devices/{device}`.
    name: String,
    /// Absent where anybody may call it.
    scope: Option<String>,
    /// Takes the token in its query too.
    takes_query: bool,
    answers: Vec<String>,
}

async fn operations(http: &Http) -> Vec<Operation> {
    let description = http.get("/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().iter();
        // What stands beside them is about all of them.
        for (method, operation) in methods.filter(|(key, _)| *key != "servers") {
            let name = format!("{} {path}", method.to_uppercase());
            // Beside the operations stands where they are, for those of the management listener.
            if method == "servers" || operation["tags"][0] == "management" {
                continue;
            }
            let parameters = operation["parameters"].as_array();
            let mut names = parameters.into_iter().flatten().map(|p| &p["name"]);
            operations.push(Operation {
                scope: scope(&name, operation),
                takes_query: names.any(|name| name == "access_token"),
                answers: operation["responses"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect(),
                name,
            });
        }
    }
    assert!(operations.len() > 9, "only {} operations", operations.len());
    operations
}

fn scope(name: &str, operation: &Value) -> Option<String> {
    let Some(ways) = operation["security"].as_array() else {
        assert!(OPEN.contains(&name), "{name} asks for no scope");
        return None;
    };
    let [token, certificate] = &**ways else {
        panic!("{name}: {ways:?}");
    };
    assert_eq!(token["token"], certificate["certificate"], "{name}");
    let [scope] = &**token["token"].as_array().unwrap() else {
        panic!("{name}: {token}");
    };
    Some(scope.as_str().unwrap().to_owned())
}

/// `only-SCOPE` and `but-SCOPE` for each scope, all for pumps alone, and some special ones.
fn tokens() -> String {
    let pumps = "devices = [\"pump-*\"]";
    let mut text = token("admin", &SCOPES, "");
    text += &token("valves", &SCOPES, "devices = [\"valve-*\", \"other\"]");
    text += &token("expired", &SCOPES, "expires = 2020-01-01T00:00:00Z");
    for scope in SCOPES {
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let name = scope.replace(':', "-");
        text += &token(&format!("only-{name}"), &[scope], pumps);
        text += &token(&format!("but-{name}"), &others, pumps);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_with_every_kind_of_token() {
    let world = World::start(&tokens()).await;
    for operation in operations(&world.bridge.http).await {
        let name = &operation.name;
        let Some(scope) = &operation.scope else {
            let path = name.split_once(' ').unwrap().1;
            assert_eq!(world.bridge.http.get(path).await.status, 200, "{name}");
            continue;
        };
        assert!(SCOPES.contains(&&**scope), "{name}: {scope}");
        for status in ["401", "403", "429"] {
            let is_described = operation.answers.iter().any(|answer| answer == status);
            assert!(is_described, "{name} does not describe {status}");
        }
        let call = async || {
            let call = call(name, &world).await;
            call.unwrap_or_else(|| panic!("calls.rs does not say how to call {name}"))
        };
        scopes(&world, name, scope, &call).await;
        let refused = strangers(&world, name, &call().await, operation.takes_query).await;
        foreign(&world, name, &call).await;
        assert!(refused > 10, "{name}");
    }
}

/// Exactly the one scope lets a request through.
async fn scopes(world: &World, name: &str, scope: &str, call: &impl AsyncFn() -> Call) {
    for other in SCOPES {
        let (only, but) = (other.replace(':', "-"), scope.replace(':', "-"));
        let what = format!("{name} with {other} alone");
        let request = call().await;
        let reply = request.send(&world.as_(&format!("only-{only}"))).await;
        if other == scope {
            assert_eq!(reply.status, request.status, "{what}: {}", reply.text());
        } else {
            lacks_scope(&what, &reply, scope);
        }
        let reply = request.send(&world.as_(&format!("but-{but}"))).await;
        lacks_scope(&format!("{name} with all but {scope}"), &reply, scope);
    }
}

fn lacks_scope(what: &str, reply: &Reply, scope: &str) {
    let problem = problem(what, reply, 403, "insufficient-scope");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("the scope {scope},")),
        "{what}: {detail}"
    );
    assert_eq!(
        reply.header("www-authenticate"),
        format!("Bearer realm=\"causeway\", error=\"insufficient_scope\", scope=\"{scope}\""),
        "{what}"
    );
}

/// Missing, malformed, unknown, expired and doubled tokens. Gives how many ways were tried.
async fn strangers(world: &World, name: &str, call: &Call, takes_query: bool) -> usize {
    let http = &world.bridge.http;
    let admin = format!("admin{TAIL}");
    let challenge = "Bearer realm=\"causeway\"";
    let invalid = "Bearer realm=\"causeway\", error=\"invalid_token\"";
    let cases = [
        (String::new(), challenge),
        ("Basic YWRtaW46YWRtaW4=".to_owned(), challenge),
        (admin.clone(), challenge),
        ("Bearer".to_owned(), invalid),
        ("Bearer ".to_owned(), invalid),
        ("Bearer unknown-0123456789abcdef".to_owned(), invalid),
        (format!("Bearer {admin}x"), invalid),
        (format!("Bearer {}", &admin[..admin.len() - 1]), invalid),
        (format!("Bearer {}", admin.to_uppercase()), invalid),
        (format!("Bearer {admin}, {admin}"), invalid),
        (format!("Bearer \"{admin}\""), invalid),
        (format!("Bearer expired{TAIL}"), invalid),
        (format!("Bearer {}", "x".repeat(20_000)), invalid),
    ];
    let count = cases.len();
    for (authorization, expected) in cases {
        let what = format!("{name} with {authorization:.80}");
        let mut request = call.request(http);
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        let reply = Reply::to(request).await;
        let kind = if expected == challenge {
            "unauthenticated"
        } else {
            "invalid-token"
        };
        problem(&what, &reply, 401, kind);
        assert_eq!(reply.header("www-authenticate"), expected, "{what}");
    }
    let request = call.request(&world.as_("admin"));
    let reply = Reply::to(request.header("authorization", format!("Bearer {admin}"))).await;
    twice(&format!("{name} with two headers"), &reply);
    in_query(world, name, call, takes_query).await;
    count
}

fn twice(what: &str, reply: &Reply) {
    problem(what, reply, 400, "malformed");
    let challenge = reply.header("www-authenticate");
    assert!(
        challenge.ends_with("error=\"invalid_request\""),
        "{what}: {challenge}"
    );
}

/// The token in the address: only of what a browser's `EventSource` asks for.
async fn in_query(world: &World, name: &str, call: &Call, takes_query: bool) {
    let http = &world.bridge.http;
    let admin = format!("access_token=admin{TAIL}");
    let right = call.and(&admin);
    let reply = right.send(http).await;
    if !takes_query {
        let what = format!("{name}, which does not describe access_token,");
        problem(&what, &reply, 401, "unauthenticated");
        return;
    }
    let wrong = call.and("access_token=unknown").send(http).await;
    problem(name, &wrong, 401, "invalid-token");
    assert_eq!(reply.status, call.status, "{name}: {}", reply.text());
    for reply in [reply, wrong] {
        assert_eq!(reply.header("cache-control"), "no-store", "{name}");
    }
    twice(name, &right.and(&admin).send(http).await);
    twice(name, &right.send(&world.as_("admin")).await);
}

/// A token of other devices. Whether a device is registered makes no difference to it.
async fn foreign(world: &World, name: &str, call: &impl AsyncFn() -> Call) {
    let valves = world.as_("valves");
    let request = call().await;
    let reply = request.send(&valves).await;
    match request.foreign {
        Foreign::Refused => {
            let seen = other_device(name, &reply, request.device());
            let reply = request.about("pump-9").send(&valves).await;
            let unseen = other_device(name, &reply, "pump-9");
            assert_eq!(seen, unseen, "{name} tells whether there is a device");
        }
        Foreign::Unknown => {
            assert_eq!(reply.status, 404, "{name}: {}", reply.text());
            let id = request.path.rsplit('/').next().unwrap();
            let never = "01900000-0000-7000-8000-000000000000";
            let path = request.path.replace(id, never);
            let unseen = valves.get(&path).await;
            assert_eq!(
                reply.text().replace(id, "ID"),
                unseen.text().replace(never, "ID"),
                "{name}"
            );
        }
        Foreign::Hidden => {
            assert_eq!(reply.status, request.status, "{name}: {}", reply.text());
            assert!(!reply.text().contains("pump-1"), "{name}: {}", reply.text());
            assert!(reply.text().contains("valve-1"), "{name}: {}", reply.text());
        }
        Foreign::Lines => {
            assert_eq!(reply.status, request.status, "{name}: {}", reply.text());
            for line in reply.text().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["status"], 403, "{name}: {line}");
                assert_eq!(line["problem"]["type"], "/docs#problem-other-device");
            }
        }
    }
}

/// The problem, with the device's id left out.
fn other_device(name: &str, reply: &Reply, device: &str) -> String {
    let problem = problem(name, reply, 403, "other-device").to_string();
    assert!(
        problem.contains(&format!("\\\"{device}\\\"")),
        "{name}: {problem}"
    );
    let challenge = reply.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{name}");
    problem.replace(device, "DEVICE")
}

fn problem(what: &str, reply: &Reply, status: u16, kind: &str) -> Value {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    let problem = reply.json();
    assert_eq!(problem["type"], format!("/docs#problem-{kind}"), "{what}");
    assert_eq!(
        reply.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    problem
}

#[tokio::test]
async fn lists_and_batches_have_the_devices_of_the_token() {
    let world = World::start(&tokens()).await;
    let ids = async |name: &str, query: &str| -> Vec<String> {
        let page = world
            .as_(name)
            .get(&format!("/v1/devices{query}"))
            .await
            .json();
        let devices = page["devices"].as_array().unwrap().iter();
        let ids = devices.map(|device| device["id"].as_str().unwrap().to_owned());
        ids.chain(page["next"].as_str().map(|next| format!("next {next}")))
            .collect()
    };
    assert_eq!(ids("admin", "").await, ["pump-1", "valve-1"]);
    assert_eq!(ids("admin", "?limit=1").await, ["pump-1", "next pump-1"]);
    assert_eq!(ids("valves", "?limit=1").await, ["valve-1"]);
    assert_eq!(ids("only-devices-read", "").await, ["pump-1"]);

    let lines = "{\"device\":\"valve-1\",\"payload\":1,\"id\":1}\n{\"device\":\"pump-1\",\"payload\":2}\n{\"device\":\"valve-9\",\"payload\":1}\n";
    let reply = world
        .as_("only-uplink")
        .post("/v1/uplinks", "application/x-ndjson", lines)
        .await;
    let results: Vec<Value> = reply
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [403, 200, 403], "{}", reply.text());
    assert_eq!(results[0]["ref"], 1);

    // One device of several that is another's.
    let path = "/v1/downlinks?device=pump-1&device=valve-1";
    let reply = world.as_("only-downlink").get(path).await;
    other_device(path, &reply, "valve-1");
}

#[tokio::test]
async fn without_tokens_nobody_needs_one() {
    let world = World::start("").await;
    for http in [&world.bridge.http, &world.as_("whoever")] {
        assert_eq!(http.get("/v1/devices").await.status, 200);
    }
    let path = "/v1/devices/pump-1/downlinks?wait=0&access_token=whatever";
    let request = world.bridge.http.request(reqwest::Method::GET, path);
    let reply = Reply::to(request.header("accept", "application/json")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
