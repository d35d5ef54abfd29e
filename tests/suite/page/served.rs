//! The files of the pages, as they are served to everybody.

use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;

use crate::harness::bridge::TestBridge;
use crate::harness::http::Reply;

/// A bridge that asks for a token, which the pages do not need.
async fn start() -> TestBridge {
    TestBridge::start("[access.tokens.somebody]\nscopes = [\"uplink\"]\nhash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n").await
}

/// What a page names in this attribute.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let attribute = format!(" {name}=\"");
    let parts = page.split(&*attribute).skip(1);
    let values: Vec<_> = parts.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(!values.is_empty(), "no {name}");
    values
}

/// The paths of everything that pages are made of.
async fn files(bridge: &TestBridge) -> Vec<String> {
    let mut paths: Vec<String> = vec!["/".into(), "/docs".into()];
    let mut at = 0;
    while at < paths.len() {
        let reply = bridge.http.get(&paths[at]).await;
        assert_eq!(reply.status, 200, "{}", paths[at]);
        let text = reply.text();
        let mut named: Vec<String> = Vec::new();
        match reply.header("content-type").split(';').next().unwrap() {
            "text/html" => {
                for name in ["src", "href"] {
                    let local = |link: &&str| link.starts_with("/page/");
                    named.extend(
                        attributes(text, name)
                            .into_iter()
                            .filter(local)
                            .map(str::to_owned),
                    );
                }
            }
            "text/javascript" => {
                let imports = text.split(" from \"./").skip(1);
                let names = imports.map(|rest| rest.split('"').next().unwrap());
                named.extend(names.map(|name| format!("/page/{name}")));
            }
            _ => {}
        }
        for path in named {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        at += 1;
    }
    paths
}

/// Addresses of other hosts that a file names where a browser may follow them.
fn elsewhere(text: &str, content_type: &str) -> Vec<String> {
    if content_type.starts_with("text/html") {
        // What it only tells of is text.
        let links = ["src", "href"].map(|name| attributes(text, name));
        let own =
            |link: &&str| link.starts_with('#') || link.starts_with('/') && !link.starts_with("//");
        let others = links.into_iter().flatten().filter(|link| !own(link));
        return others.map(str::to_owned).collect();
    }
    let addresses = text.split("//").skip(1).filter(|rest| {
        let is_of_host = |c: &char| c.is_ascii_alphanumeric() || ".-".contains(*c);
        let host: String = rest.chars().take_while(is_of_host).collect();
        // A name space is no address, and examples name this machine.
        host.contains('.') && !["www.w3.org", "127.0.0.1"].contains(&&*host)
    });
    let shown = |rest: &str| rest.chars().take(40).collect();
    addresses.map(shown).collect()
}

#[tokio::test]
async fn every_file_is_open_to_everybody_and_lets_pages_do_nothing_but_what_they_need() {
    let bridge = start().await;
    let files = files(&bridge).await;
    assert!(files.len() > 15, "{files:?}");
    for path in files {
        let reply = bridge.http.get(&path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(reply.header(name), value, "{path}: {name}");
        }
        let policy = reply.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|own| own == part), "{path}: {part}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        let others = elsewhere(reply.text(), reply.header("content-type"));
        assert!(others.is_empty(), "{path} names another host: {others:?}");
    }
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let bridge = start().await;
    for path in ["/", "/docs", "/page/live.js", "/page/base.css"] {
        let tag = bridge.http.get(path).await.header("etag").to_owned();
        assert!(
            tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10,
            "{tag}"
        );
        let ask = async |known: &str| {
            let request = bridge.http.request(Method::GET, path);
            Reply::to(request.header(IF_NONE_MATCH, known)).await
        };
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".into(),
        ] {
            let reply = ask(&known).await;
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
            assert_eq!(reply.header("etag"), tag);
        }
        assert_eq!(ask("\"other\"").await.status, 200);
        let head = Reply::to(bridge.http.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("etag"), tag);
    }
    let reply = bridge.http.post("/", "text/plain", "x").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_its_explanation() {
    let bridge = TestBridge::without_store("").await;
    let page = bridge.http.get("/docs").await;
    for (path, status) in [
        ("/v1/devices/nobody", 404),
        ("/v1/devices?x=1", 400),
        ("/nothing", 404),
    ] {
        let reply = bridge.http.get(path).await;
        assert_eq!(reply.status, status);
        let kind = reply.json()["type"].as_str().unwrap().to_owned();
        let anchor = kind.strip_prefix("/docs#").unwrap();
        assert!(
            page.text().contains(&format!("id=\"{anchor}\"")),
            "{anchor}"
        );
    }
}
