//! A real observer: `mosquitto_sub`, so that what the bridge sent is seen through somebody else's eyes.

use std::process::Command;

use super::access::{Access, INSTALL_MOSQUITTO, Message};
use super::lines::Lines;
use super::program::Program;

/// Marks a message among the client's debug output; what follows are the fields, parted by tabs.
const FORMAT: &str = r"message\t%t\t%x\t%q\t%r\t%C\t%P";

/// A subscription that collects what arrives.
#[derive(Debug)]
pub struct Subscriber {
    program: Program,
}

impl Subscriber {
    /// Subscribes to `filters` at QoS 1; returns once the broker has granted it.
    pub async fn start(access: &Access, filters: &[&str]) -> Self {
        Self::run(access, filters, &[]).await
    }

    /// The same with a session that outlives the connection, so that nothing is missed while the broker is away, as long
    /// as it persists. The access needs a client id.
    pub async fn persistent(access: &Access, filters: &[&str]) -> Self {
        Self::run(access, filters, &["-c"]).await
    }

    /// What has arrived, in order.
    pub fn messages(&self) -> Vec<Message> {
        parse_all(&self.program.stdout().all())
    }

    /// Waits until `condition` holds for what has arrived, and returns that.
    pub async fn wait_until(
        &self,
        what: &str,
        mut condition: impl FnMut(&[Message]) -> bool,
    ) -> Vec<Message> {
        let lines = self.lines();
        let lines = lines
            .wait_until(what, |lines| condition(&parse_all(lines)))
            .await;
        parse_all(&lines)
    }

    /// Waits until `count` messages have arrived, and returns all that have.
    pub async fn wait_count(&self, count: usize) -> Vec<Message> {
        let enough = |lines: &[String]| lines.iter().filter(|line| is_message(line)).count();
        let lines = self.lines();
        let what = format!("{count} messages");
        let lines = lines
            .wait_until(&what, |lines| enough(lines) >= count)
            .await;
        parse_all(&lines)
    }

    fn lines(&self) -> Lines {
        self.program.stdout().clone()
    }

    async fn run(access: &Access, filters: &[&str], more: &[&str]) -> Self {
        // Into a pipe mosquitto_sub holds its lines back; stdbuf makes it hand over each.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "mosquitto_sub"])
            .args(access.args())
            .args(["-d", "-q", "1", "-F", FORMAT])
            .args(more);
        for filter in filters {
            command.args(["-t", filter]);
        }
        let program = Program::start(&mut command, INSTALL_MOSQUITTO);
        let granted = program.stdout().wait_for("Subscribed (mid").await;
        assert!(!granted.contains("128"), "{filters:?}: {granted}");
        Self { program }
    }
}

fn is_message(line: &str) -> bool {
    line.starts_with("message\t")
}

fn parse_all(lines: &[String]) -> Vec<Message> {
    lines.iter().filter_map(|line| parse(line)).collect()
}

fn parse(line: &str) -> Option<Message> {
    let fields: Vec<&str> = line.strip_prefix("message\t")?.split('\t').collect();
    let [topic, payload, qos, retain, content_type, properties] = fields[..] else {
        panic!("not the format that was asked for: {line:?}");
    };
    let content_type = (!content_type.is_empty()).then(|| content_type.to_owned());
    let property = |text: &str| {
        let (name, value) = text.split_once(':').unwrap();
        (name.to_owned(), value.to_owned())
    };
    Some(Message {
        topic: topic.to_owned(),
        payload: unhex(payload),
        qos: qos.parse().unwrap(),
        retain: retain == "1",
        content_type,
        user_properties: properties.split_whitespace().map(property).collect(),
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}
