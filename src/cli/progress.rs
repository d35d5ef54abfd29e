//! A line on the terminal while something takes long; nothing where nobody watches.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is quicker than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(250);

/// Shows what is being done, and for how long already, until it is dropped.
pub(super) struct Progress {
    /// Dropped, it ends the thread.
    ended: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show `what` on standard error, if that is a terminal.
    pub(super) fn show(what: impl Into<String>) -> Self {
        if !io::stderr().is_terminal() {
            return Self {
                ended: None,
                thread: None,
            };
        }
        let (ended, is_over) = mpsc::channel();
        let what = what.into();
        let thread = std::thread::spawn(move || draw(&what, &is_over, io::stderr()));
        Self {
            ended: Some(ended),
            thread: Some(thread),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            // It only draws; when it has panicked, the line stays.
            let _ = thread.join();
        }
    }
}

fn draw(what: &str, is_over: &mpsc::Receiver<()>, mut to: impl Write) {
    let (began, mut pause, mut drawn) = (Instant::now(), PATIENCE, false);
    while is_over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let seconds = began.elapsed().as_secs();
        // To the line's beginning; what stood there is erased.
        let _ = write!(to, "\r\x1b[K{what} … {seconds} s");
        let _ = to.flush();
        (pause, drawn) = (TICK, true);
    }
    if drawn {
        let _ = write!(to, "\r\x1b[K");
        let _ = to.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_shown_and_taken_away() {
        let (ended, is_over) = mpsc::channel();
        let drawing = std::thread::spawn(move || {
            let mut text = Vec::new();
            draw("counting", &is_over, &mut text);
            String::from_utf8(text).unwrap()
        });
        // As long as the first line takes to come, and a little more.
        std::thread::sleep(PATIENCE + TICK / 2);
        drop(ended);
        let text = drawing.join().unwrap();
        assert!(text.starts_with("\r\x1b[Kcounting … 0 s"), "{text:?}");
        assert!(text.ends_with("\r\x1b[K"), "{text:?}");
    }

    #[test]
    fn what_is_quick_is_not() {
        let (ended, is_over) = mpsc::channel();
        drop(ended);
        let mut text = Vec::new();
        draw("counting", &is_over, &mut text);
        assert!(text.is_empty());
    }
}
