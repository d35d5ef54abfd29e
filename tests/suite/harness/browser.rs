//! A real browser: Debian's Chromium without a screen, driven by its WebDriver (W3C WebDriver, § 6 to § 17).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::DEADLINE;
use super::eventually::eventually;
use super::program::Program;

const INSTALL: &str = "apt-get install chromium chromium-driver";

const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// One at a time: each is several processes.
static ONE: Mutex<()> = Mutex::const_new(());

/// The key that an element reference has in answers (§ 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The tabulator key; keys without a character have a code of their own (§ 17.4.2).
pub const TAB: &str = "\u{e004}";
/// The enter key.
pub const ENTER: &str = "\u{e007}";
/// The escape key.
pub const ESCAPE: &str = "\u{e00c}";

/// What it looks like.
#[derive(Debug, Clone, Copy)]
pub enum Screen {
    /// 1400 points wide.
    Wide,
    /// A telephone, held upright: 390 points wide, with a finger for a mouse.
    Phone,
}

/// A browser with one empty window. Dropping it ends it.
pub struct Browser {
    client: Client,
    port: u16,
    session: String,
    _driver: Program,
    /// Goes when the browser has ended.
    profile: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts it; fails with the command that installs it when it is not there.
    pub async fn start(screen: Screen) -> Self {
        let one = ONE.lock().await;
        let (driver, port) = start_driver().await;
        let mut browser = Self {
            client: Client::builder().no_proxy().build().unwrap(),
            port,
            session: String::new(),
            _driver: driver,
            profile: tempfile::tempdir().unwrap(),
            _one: one,
        };
        let session = browser
            .call(
                Method::POST,
                "",
                capabilities(screen, browser.profile.path()),
            )
            .await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", json!({ "url": url })).await;
    }

    /// Whether pages are told that the system is dark.
    pub async fn prefer_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let body =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.call(Method::POST, "/goog/cdp/execute", body).await;
    }

    /// Runs the body of a function in the page and gives what it returns.
    pub async fn script(&self, body: &str, arguments: &[Value]) -> Value {
        let call = json!({ "script": body, "args": arguments });
        self.call(Method::POST, "/execute/sync", call).await
    }

    /// What an expression is in the page.
    pub async fn value(&self, expression: &str) -> Value {
        self.script(&format!("return {expression};"), &[]).await
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, what: &str, expression: &str) {
        eventually(what, DEADLINE, async || {
            self.value(&format!("Boolean({expression})")).await == true
        })
        .await;
    }

    /// The text of the first element that a CSS selector finds, as it is read.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        let path = format!("/element/{element}/text");
        let text = self.call(Method::GET, &path, Value::Null).await;
        text.as_str().unwrap().to_owned()
    }

    /// Waits until an element's text contains this.
    pub async fn until_text(&self, selector: &str, text: &str) {
        let has = format!("document.querySelector({selector:?})?.innerText.includes({text:?})");
        self.until(&format!("{text:?} in {selector}"), &has).await;
    }

    /// Clicks an element as a user does: it must be there, visible, and not covered.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        let path = format!("/element/{element}/click");
        self.call(Method::POST, &path, json!({})).await;
    }

    /// Presses keys while an element has the focus.
    pub async fn press(&self, selector: &str, keys: &str) {
        let element = self.find(selector).await;
        let path = format!("/element/{element}/value");
        self.call(Method::POST, &path, json!({ "text": keys }))
            .await;
    }

    /// Presses a key wherever the focus is, as a user does who has no mouse.
    pub async fn key(&self, key: &str) {
        let strokes =
            json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.call(Method::POST, "/actions", body).await;
    }

    /// Writes into a field in place of what it has.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        let path = format!("/element/{element}/clear");
        self.call(Method::POST, &path, json!({})).await;
        self.press(selector, text).await;
    }

    /// What was written to the console since the last look, by pages and by the browser itself.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let entries = entries.into_iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The addresses that were asked for since the last look.
    pub async fn requested(&self) -> Vec<String> {
        let entries = self.log("performance").await;
        let urls = entries.iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).unwrap();
            let event = &event["message"];
            let sent = event["method"] == "Network.requestWillBeSent";
            let url = event["params"]["request"]["url"].as_str()?;
            sent.then(|| url.to_owned())
        });
        urls.collect()
    }

    /// What is to be seen, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        use base64::Engine as _;
        let data = self.call(Method::GET, "/screenshot", Value::Null).await;
        let engine = base64::engine::general_purpose::STANDARD;
        engine.decode(data.as_str().unwrap()).unwrap()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self
            .call(Method::POST, "/se/log", json!({ "type": kind }))
            .await;
        entries.as_array().unwrap().clone()
    }

    async fn find(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let element = self.call(Method::POST, "/element", wanted).await;
        element[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let session = match self.session.as_str() {
            "" => String::new(),
            session => format!("/{session}"),
        };
        let url = format!("http://127.0.0.1:{}/session{session}{path}", self.port);
        let mut request = self.client.request(method, &url).timeout(DEADLINE);
        if body != Value::Null {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        let complaint = &answer["value"]["message"];
        // Without a session yet, what is wrong is the browser.
        let cure = match self.session.as_str() {
            "" => format!("; install it with: {INSTALL}"),
            _ => String::new(),
        };
        assert!(status.is_success(), "{path}: {complaint}{cure}");
        answer["value"].clone()
    }
}

impl Drop for Browser {
    /// The driver would leave the browser behind.
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

/// Starts a driver on a free port of its own.
async fn start_driver() -> (Program, u16) {
    let started = "was started successfully on port ";
    // It looks for a port that is free on IPv6 and hopes that it is on IPv4, too; where it is not, it ends.
    for _ in 0..10 {
        let arguments = ["--port=0", "--log-level=WARNING"];
        let driver = Program::start(Command::new("chromedriver").args(arguments), INSTALL);
        let has_started = |lines: &[String]| lines.iter().any(|line| line.contains(started));
        let lines = driver.stdout().wait_until_or_end(has_started).await;
        let mut ports = lines.iter().filter_map(|line| line.split_once(started));
        if let Some((_, port)) = ports.next() {
            return (driver, port.trim_end_matches('.').parse().unwrap());
        }
        let no_port = lines.iter().any(|line| line.contains("port not available"));
        assert!(no_port, "{lines:?}, {:?}", driver.stderr().all());
    }
    panic!("chromedriver found no free port");
}

fn capabilities(screen: Screen, profile: &Path) -> Value {
    let mut flags: Vec<_> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push("--window-size=1400,1000".to_owned());
    flags.push(format!("--user-data-dir={}", profile.display()));
    let mut options = json!({ "args": flags });
    if let Screen::Phone = screen {
        let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 2.0, "mobile": true, "touch": true });
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    }}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_is_opened_used_and_watched() {
        let browser = Browser::start(Screen::Wide).await;
        let page = "data:text/html,<title>a</title><input id=i><button onclick='console.error(i.value)'>b</button>";
        browser.open(page).await;
        assert_eq!(browser.value("document.title").await, "a");
        browser.fill("input", "typed").await;
        browser.click("button").await;
        assert_eq!(browser.text("button").await, "b");
        let said = browser.console().await;
        assert!(said.iter().any(|line| line.contains("typed")), "{said:?}");
        assert!(browser.screenshot().await.starts_with(b"\x89PNG"));
        browser.requested().await;
        browser.script("return fetch('data:,asked')", &[]).await;
        assert_eq!(browser.requested().await, ["data:,asked"]);
    }
}
