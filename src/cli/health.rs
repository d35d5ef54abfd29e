//! `causeway health`: asks a running bridge whether it is well; for images without a shell or curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::error::CliError;

/// Below the time limit that container engines give to a health check.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The longest answer that is looked at: the status line is at its beginning.
const MAX_ANSWER_BYTES: usize = 1024;

/// Ask a running bridge whether it is well
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to ask
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:9090/livez"
    )]
    url: String,
}

impl Args {
    pub(super) fn run(self) -> Result<String, CliError> {
        let failed = |problem| CliError::Failed(format!("{}: {problem}", self.url));
        let (authority, path) =
            split(&self.url).ok_or_else(|| failed("must be http://HOST[:PORT]/PATH".to_owned()))?;
        let status =
            get(&authority, path, TIME_LIMIT).map_err(|error| failed(error.to_string()))?;
        match status {
            200..=299 => Ok(format!("{}: {status}\n", self.url)),
            _ => Err(failed(format!("answered {status}"))),
        }
    }
}

/// Host with port, and path.
fn split(url: &str) -> Option<(String, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fits = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if authority.is_empty() || authority.contains('@') || !fits(url) {
        return None;
    }
    let host = authority.rsplit(']').next().unwrap_or(authority);
    let port = if host.contains(':') { "" } else { ":80" };
    let path = if path.is_empty() { "/" } else { path };
    Some((format!("{authority}{port}"), path))
}

/// The status of the answer to a GET, all of it within the time limit.
fn get(authority: &str, path: &str, limit: Duration) -> io::Result<u16> {
    let end = Instant::now() + limit;
    let left = || match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in authority.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, left()?) {
            Ok(stream) => stream,
            Err(error) => {
                refused = error;
                continue;
            }
        };
        stream.set_write_timeout(Some(left()?))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut buffer = [0; MAX_ANSWER_BYTES];
        while !answer.contains(&b'\n') && answer.len() < MAX_ANSWER_BYTES {
            stream.set_read_timeout(Some(left()?))?;
            match stream.read(&mut buffer)? {
                0 => break,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
        return status(&answer).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1")
        });
    }
    Err(refused)
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|b| *b == b'\n').next()?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split([' ', '\r']).next()?;
    (version.starts_with("HTTP/1.") && code.len() == 3)
        .then(|| code.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers one request with `answer`, and gives what was asked.
    fn ask(answer: &'static str) -> (Result<String, CliError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/livez?x=1", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            while !asked.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let outcome = Args { url }.run();
        (outcome, server.join().unwrap())
    }

    #[test]
    fn a_success_is_healthy_and_everything_else_is_not() {
        let (outcome, asked) = ask("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        assert!(outcome.unwrap().ends_with("/livez?x=1: 200\n"));
        assert!(asked.starts_with("GET /livez?x=1 HTTP/1.1\r\nhost: 127.0.0.1:"));
        assert!(ask("HTTP/1.1 204\r\n\r\n").0.is_ok());
        for (answer, said) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 503"),
            ("SSH-2.0-x\r\n", "not HTTP/1.1"),
            ("", "not HTTP/1.1"),
        ] {
            let error = ask(answer).0.unwrap_err();
            assert_eq!(error.exit_code(), 1);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn nobody_there_or_nobody_answering_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert!(get(&address, "/", Duration::from_millis(50)).is_err());
        drop(listener);
        let error = get(&address, "/", TIME_LIMIT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn urls() {
        let some = |authority: &str, path| Some((authority.to_owned(), path));
        for (url, expected) in [
            (
                "http://127.0.0.1:9090/livez",
                some("127.0.0.1:9090", "/livez"),
            ),
            ("http://[::1]:9090/readyz", some("[::1]:9090", "/readyz")),
            ("http://[::1]", some("[::1]:80", "/")),
            ("http://localhost", some("localhost:80", "/")),
            ("https://localhost", None),
            ("http:///livez", None),
            ("http://a@b/", None),
            ("http://a/ b", None),
            ("http://a/\r\nx: y", None),
        ] {
            assert_eq!(
                split(url),
                expected.as_ref().map(|(a, p)| (a.clone(), *p)),
                "{url}"
            );
        }
    }
}
