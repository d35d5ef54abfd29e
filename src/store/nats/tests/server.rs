//! A real nats-server with its files in a temporary folder.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::store::{Holding, HoldsAll, Limits, Nats, NatsServers};

/// A running server. Dropping it ends it.
pub(crate) struct TestServer {
    folder: TempDir,
    child: Child,
    url: String,
    args: Vec<String>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// With arguments of its own.
    pub(super) async fn start_with(args: Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let (child, url) = run(&folder, "-1", &args).await;
        Self {
            folder,
            child,
            url,
            args,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn servers(&self) -> NatsServers {
        NatsServers {
            urls: vec![self.url.clone()],
            login: None,
            ca_file: None,
            replicas: 1,
            prefix: "causeway".to_owned(),
        }
    }

    pub(crate) async fn open(&self, limits: Limits) -> Arc<Nats> {
        self.open_for(limits, Arc::new(HoldsAll)).await
    }

    /// For a process that holds some devices.
    pub(crate) async fn open_for(&self, limits: Limits, holding: Arc<dyn Holding>) -> Arc<Nats> {
        let patience = Duration::from_secs(30);
        let store = Nats::open(&self.servers(), limits, patience, holding).await;
        Arc::new(store.unwrap())
    }

    /// Ends it as a power cut of its process would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it stand still, with all its connections, until it [goes on](Self::go_on).
    pub(super) fn stand_still(&self) {
        self.signal("STOP");
    }

    pub(super) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        // The shell's own `kill`: the safe standard library only knows SIGKILL.
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}: {status}");
    }

    /// Starts it again, where it was.
    pub(crate) async fn restart(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().to_owned();
        (self.child, self.url) = run(&self.folder, &port, &self.args).await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn run(folder: &TempDir, port: &str, args: &[String]) -> (Child, String) {
    let mut command = Command::new("nats-server");
    // Debian keeps daemons where the PATH of an ordinary user does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
        .args(["-js", "-a", "127.0.0.1", "-p", port, "-sd"])
        .arg(folder.path())
        .arg("--ports_file_dir")
        .arg(folder.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            panic!("nats-server: {error}; install it with: apt-get install nats-server")
        }
    };
    let ports = folder
        .path()
        .join(format!("nats-server_{}.ports", child.id()));
    for _ in 0..3000 {
        if let Ok(text) = std::fs::read_to_string(&ports)
            && let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text)
        {
            let url = ports["nats"][0].as_str().unwrap().to_owned();
            return (child, url);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nats-server does not start");
}
