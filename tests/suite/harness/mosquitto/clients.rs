//! What a broker's log tells of its clients: who is connected, and who has taken another connection's place.

use std::collections::{BTreeMap, BTreeSet};

/// All clients of a broker, as its log has told of them so far. Nothing but lines goes in, so it can be read at any time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients {
    /// Their ids.
    pub connected: BTreeSet<String>,
    /// How often each id has connected.
    pub connects: BTreeMap<String, usize>,
    /// How often a connection of an id was ended because another one came with the same id.
    pub takeovers: BTreeMap<String, usize>,
}

/// A line that cannot be true if the lines before it are: a client id had two connections, or one that nobody saw begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The line.
    pub line: String,
}

/// What a line says of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Connected,
    /// Its connection is closed, because another one has come that is about to be taken.
    TakenOver,
    Ended,
}

impl Clients {
    /// Reads on: every line, in the broker's order, once.
    pub fn read<'l>(
        &mut self,
        lines: impl IntoIterator<Item = &'l str>,
    ) -> Result<(), Contradiction> {
        lines.into_iter().try_for_each(|line| self.read_one(line))
    }

    fn read_one(&mut self, line: &str) -> Result<(), Contradiction> {
        let Some((said, client)) = said(line) else {
            return Ok(());
        };
        let count =
            |of: &mut BTreeMap<String, usize>| *of.entry(client.to_owned()).or_default() += 1;
        let is_possible = match said {
            Said::Connected => {
                count(&mut self.connects);
                self.connected.insert(client.to_owned())
            }
            Said::TakenOver => {
                count(&mut self.takeovers);
                self.connected.remove(client)
            }
            // One that was refused is said to end without having been connected.
            Said::Ended => {
                self.connected.remove(client);
                true
            }
        };
        match is_possible {
            true => Ok(()),
            false => Err(Contradiction {
                line: line.to_owned(),
            }),
        }
    }
}

/// What a line of Mosquitto 2.0 says of a client, and its id, which must have no space in it.
fn said(line: &str) -> Option<(Said, &str)> {
    let (time, text) = line.split_once(": ")?;
    if !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Some(text) = text.strip_prefix("New client connected from ") {
        let (_, text) = text.split_once(" as ")?;
        return Some((Said::Connected, text.split(' ').next()?));
    }
    if let Some(text) = text.strip_prefix("Bad socket read/write on client ") {
        return Some((Said::Ended, text.split(':').next()?));
    }
    let (client, what) = text.strip_prefix("Client ")?.split_once(' ')?;
    let is = |beginning| what.starts_with(beginning);
    let said = if is("already connected, closing old connection") {
        Said::TakenOver
    } else if is("disconnected")
        || is("closed its connection")
        || is("has exceeded timeout")
        || is("been disconnected")
    {
        Said::Ended
    } else {
        return None;
    };
    Some((said, client))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::DEADLINE;
    use crate::harness::eventually::eventually;
    use crate::harness::mosquitto::Mosquitto;
    use crate::harness::subscriber::Subscriber;

    const CONNECTED: &str = "17: New client connected from 127.0.0.1:4574 as own-d3 (p5, c1, k60).";
    const TAKEN_OVER: &str = "17: Client own-d3 already connected, closing old connection.";
    const LOST: &str = "18: Client own-d3 closed its connection.";

    fn read(lines: &[&str]) -> Result<Clients, Contradiction> {
        let mut clients = Clients::default();
        clients.read(lines.iter().copied())?;
        Ok(clients)
    }

    fn counts(clients: &Clients) -> (bool, usize, usize) {
        let of = |counts: &BTreeMap<String, usize>| counts.get("own-d3").copied().unwrap_or(0);
        (
            clients.connected.contains("own-d3"),
            of(&clients.connects),
            of(&clients.takeovers),
        )
    }

    #[test]
    fn connections_are_counted_from_their_beginning_to_their_end() {
        let told = |lines: &[&str]| counts(&read(lines).unwrap());
        assert_eq!(told(&[]), (false, 0, 0));
        assert_eq!(told(&[CONNECTED]), (true, 1, 0));
        for end in [
            LOST,
            "18: Client own-d3 disconnected.",
            "18: Client own-d3 disconnected due to protocol error.",
            "18: Client own-d3 disconnected, not authorised.",
            "18: Client own-d3 disconnected: Broken pipe.",
            "18: Client own-d3 has exceeded timeout, disconnecting.",
            "18: Client own-d3 been disconnected by administrative action.",
            "18: Bad socket read/write on client own-d3: The connection was lost.",
        ] {
            assert_eq!(told(&[CONNECTED, end]), (false, 1, 0), "{end}");
            assert_eq!(told(&[CONNECTED, end, CONNECTED]), (true, 2, 0), "{end}");
        }
    }

    #[test]
    fn a_second_connection_is_a_takeover_and_the_first_one_is_over() {
        let lines = [CONNECTED, TAKEN_OVER, CONNECTED];
        assert_eq!(counts(&read(&lines).unwrap()), (true, 2, 1));
        let mut clients = Clients::default();
        // In pieces as well.
        for line in lines {
            clients.read([line]).unwrap();
        }
        assert_eq!(counts(&clients), (true, 2, 1));
        clients.read([LOST]).unwrap();
        assert_eq!(counts(&clients), (false, 2, 1));
    }

    #[test]
    fn two_connections_at_a_time_are_no_takeover_but_a_contradiction() {
        let twice = read(&[CONNECTED, CONNECTED]).unwrap_err();
        assert_eq!(twice.line, CONNECTED);
        let of_nobody = read(&[CONNECTED, LOST, TAKEN_OVER]).unwrap_err();
        assert_eq!(of_nobody.line, TAKEN_OVER);
    }

    #[test]
    fn what_else_there_is_in_a_log_changes_nothing() {
        let lines = [
            "17: New connection from 127.0.0.1:45746 on port 21883.",
            "17: Client <unknown> closed its connection.",
            "17: Client own-d3 disconnected, not authorised.",
            "17: Received PUBLISH from own-d3 (d0, q1, r0, m1, 'Client own-d3 disconnected.', ... (1 bytes))",
            "17: Received DISCONNECT from own-d3",
            "17: Sending CONNACK to own-d3 (0, 0)",
            "own-d3 0 x",
            "",
        ];
        assert_eq!(read(&lines).unwrap(), Clients::default());
    }

    #[tokio::test]
    async fn the_log_of_a_real_broker_is_understood() {
        let broker = Mosquitto::builder().config("log_type all").start().await;
        let access = broker.access().client_id("own-d3");
        // What is logged comes by another way than what clients hear.
        let until = async |expected| {
            eventually("the log to say so", DEADLINE, async || {
                let lines = broker.log().all();
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                counts(&read(&lines).unwrap()) == expected
            })
            .await;
        };
        let first = Subscriber::start(&access, &["x"]).await;
        until((true, 1, 0)).await;
        let second = Subscriber::start(&access, &["x"]).await;
        until((true, 2, 1)).await;
        drop((first, second));
        until((false, 2, 1)).await;
        let third = Subscriber::start(&access, &["x"]).await;
        until((true, 3, 1)).await;
        drop(third);
    }
}
