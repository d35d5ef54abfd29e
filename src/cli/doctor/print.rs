//! What the doctor shows: a line for each step as it comes to something, what to do beneath it, and colours where a
//! terminal wants them (it decides by NO_COLOR and TERM).

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anstream::AutoStream;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use super::cluster::Cluster;
use super::{Report, has_details};
use crate::cli::error::CliError;
use crate::device::DeviceId;
use crate::doctor::{Diagnosis, Examiner, Patient, Step, StepName, Verdict};

/// The width of text where there is no terminal, and the widest that is read with ease.
const WIDTH: usize = 100;
/// The narrowest that is wrapped to.
const NARROW: usize = 40;
/// Columns before a step's text: the mark, and the longest of the names.
const INDENT: usize = 19;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Shows one examination after another.
pub(super) struct Printer {
    out: AutoStream<io::Stdout>,
    /// Whether anything is shown at all.
    shows: bool,
    verbose: bool,
    /// Whether a line can be written over again.
    overwrites: bool,
    /// Whether somebody sits before it.
    terminal: bool,
    width: usize,
}

impl Printer {
    pub(super) fn new(shows: bool, verbose: bool) -> Self {
        let out = AutoStream::auto(io::stdout());
        let terminal = io::stdout().is_terminal();
        let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            overwrites: terminal && out.current_choice() != anstream::ColorChoice::Never,
            out,
            shows,
            verbose,
            terminal,
            width: match columns.filter(|_| terminal) {
                Some(columns) => columns.saturating_sub(1).clamp(NARROW, WIDTH),
                None => WIDTH,
            },
        }
    }

    /// Whether what is shown is read as it comes, so that nothing has to be said twice.
    pub(super) fn is_read(&self) -> bool {
        self.shows && self.terminal
    }

    /// Who is examined here.
    pub(super) fn head(&mut self, patient: &Patient) -> Result<(), CliError> {
        let device = patient.device.as_ref();
        let text = head(
            device,
            patient.connector.as_str(),
            &patient.broker,
            &patient.profile,
        );
        self.write(&text)
    }

    /// The replicas that share the store.
    pub(super) fn cluster(&mut self, cluster: &Cluster) -> Result<(), CliError> {
        let (mark, style) = mark(cluster.verdict);
        let mut text = format!("  {style}{mark} {:<15}{style:#}", "cluster");
        wrap(
            &mut text,
            &cluster.seen,
            self.width,
            INDENT,
            INDENT,
            Style::new(),
        );
        if let Some(hint) = cluster.hint {
            let _ = write!(text, "{:INDENT$}{BOLD}→{BOLD:#} ", "");
            wrap(&mut text, hint, self.width, INDENT + 2, INDENT + 2, BOLD);
        }
        text.push('\n');
        self.write(&text)
    }

    /// Somebody else is asked, which may take a while.
    pub(super) fn asking(&mut self, device: &DeviceId, url: &str) -> Result<(), CliError> {
        match self.overwrites {
            true => self.write(&format!(
                "{DIM}asking the bridge at {url} about {device} …{DIM:#}\r"
            )),
            false => Ok(()),
        }
    }

    /// A whole examination that was made elsewhere.
    pub(super) fn all(&mut self, diagnosis: &Diagnosis, url: &str) -> Result<(), CliError> {
        let device = diagnosis.device.as_ref();
        let text = head(
            device,
            diagnosis.connector.as_str(),
            &diagnosis.broker,
            &diagnosis.profile,
        );
        self.clear()?;
        self.write(&text)?;
        if diagnosis.by == Examiner::Bridge {
            self.write(&format!(
                "{DIM}as the running bridge at {url} sees it{DIM:#}\n\n"
            ))?;
        }
        for step in &diagnosis.steps {
            self.ends(step)?;
        }
        self.foot(diagnosis)
    }

    /// A step is under way.
    pub(super) fn begins(&mut self, step: StepName) -> Result<(), CliError> {
        match self.overwrites {
            true => self.write(&format!("{DIM}  … {step}{DIM:#}")),
            false => Ok(()),
        }
    }

    /// A step has come to something.
    pub(super) fn ends(&mut self, step: &Step) -> Result<(), CliError> {
        self.clear()?;
        let text = lines(step, self.verbose, self.width);
        self.write(&text)
    }

    /// What it comes to.
    pub(super) fn foot(&mut self, diagnosis: &Diagnosis) -> Result<(), CliError> {
        let text = foot(diagnosis, self.width);
        self.write(&text)
    }

    fn clear(&mut self) -> Result<(), CliError> {
        match self.overwrites {
            true => self.write("\r\u{1b}[2K"),
            false => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        if !self.shows {
            return Ok(());
        }
        let written = self.out.write_all(text.as_bytes());
        finished(written.and_then(|()| self.out.flush()))
    }
}

/// Prints a report for scripts.
pub(super) fn json(report: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    text.push('\n');
    let mut out = io::stdout().lock();
    finished(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// One line for standard error: what failed.
pub(super) fn summary(report: &Report) -> String {
    let cluster = report.cluster.iter();
    let cluster = cluster.filter(|of| of.verdict == Verdict::Failed);
    let cluster = cluster.map(|of| format!("cluster: {}", of.seen));
    let failed = report
        .diagnoses
        .iter()
        .filter(|diagnosis| diagnosis.verdict == Verdict::Failed);
    let each = failed.map(|diagnosis| {
        let steps = of(diagnosis, Verdict::Failed).map(StepName::as_str);
        let steps = steps.collect::<Vec<_>>().join(", ");
        match &diagnosis.device {
            Some(device) => format!("{device}: {steps} failed"),
            None => format!("{}: {steps} failed", diagnosis.connector),
        }
    });
    cluster.chain(each).collect::<Vec<_>>().join("; ")
}

/// A reader that has seen enough, such as `head`, is no error.
fn finished(outcome: io::Result<()>) -> Result<(), CliError> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| CliError::Io("standard output".into(), error)),
    }
}

fn of(diagnosis: &Diagnosis, verdict: Verdict) -> impl Iterator<Item = StepName> {
    let steps = diagnosis.steps.iter();
    steps.filter_map(move |step| (step.finding.verdict == verdict).then_some(step.step))
}

fn head(device: Option<&DeviceId>, connector: &str, broker: &str, profile: &str) -> String {
    let who = match device {
        Some(device) => format!("{BOLD}{device}{BOLD:#} on {connector}"),
        None => format!("{BOLD}{connector}{BOLD:#}"),
    };
    format!("{who}  {DIM}{broker}  {profile}{DIM:#}\n\n")
}

fn mark(verdict: Verdict) -> (&'static str, Style) {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match verdict {
        Verdict::Ok => ("✓", colour(AnsiColor::Green)),
        Verdict::Skipped => ("–", DIM),
        Verdict::Warning => ("!", colour(AnsiColor::Yellow).bold()),
        Verdict::Failed => ("✗", colour(AnsiColor::Red).bold()),
    }
}

fn lines(step: &Step, verbose: bool, width: usize) -> String {
    let finding = &step.finding;
    let (mark, style) = mark(finding.verdict);
    let mut text = format!("  {style}{mark} {:<15}{style:#}", step.step);
    let seen = match finding.verdict {
        Verdict::Skipped => DIM,
        _ => Style::new(),
    };
    wrap(&mut text, &finding.seen, width, INDENT, INDENT, seen);
    if let Some(hint) = &finding.hint {
        let style = match finding.verdict {
            Verdict::Failed | Verdict::Warning => BOLD,
            _ => DIM,
        };
        let _ = write!(text, "{:INDENT$}{style}→{style:#} ", "");
        wrap(&mut text, hint, width, INDENT + 2, INDENT + 2, style);
    }
    let bad = matches!(finding.verdict, Verdict::Failed | Verdict::Warning);
    if verbose || bad || has_details(step.step) {
        for (name, value) in &finding.facts.0 {
            let label = format!("{name}: ");
            let _ = write!(text, "{:INDENT$}{DIM}{label}{DIM:#}", "");
            let indent = INDENT + 2;
            wrap(
                &mut text,
                value,
                width,
                INDENT + label.chars().count(),
                indent,
                DIM,
            );
        }
    }
    text
}

fn foot(diagnosis: &Diagnosis, width: usize) -> String {
    let failed: Vec<_> = of(diagnosis, Verdict::Failed).collect();
    let warnings = of(diagnosis, Verdict::Warning).count();
    let besides = match warnings {
        0 => String::new(),
        1 => " There is one warning besides.".to_owned(),
        count => format!(" There are {count} warnings besides."),
    };
    let (_, style) = mark(diagnosis.verdict);
    let words = match failed.as_slice() {
        [] if warnings == 0 => "Nothing is wrong.".to_owned(),
        [] if warnings == 1 => "It works. There is one warning.".to_owned(),
        [] => format!("It works. There are {warnings} warnings."),
        [first] => format!("{first} failed: that is where to begin.{besides}"),
        [first, ..] => format!(
            "{} steps failed. Begin with {first}: what follows may depend on it.{besides}",
            failed.len()
        ),
    };
    let mut text = String::from("\n");
    wrap(&mut text, &words, width, 0, 0, style);
    text.push('\n');
    text
}

/// Appends words in lines of at most `width` columns. The first line has `used` columns already, the others begin with
/// `indent` of them. A word that is longer than a line stays whole, so that it can be copied.
fn wrap(text: &mut String, words: &str, width: usize, used: usize, indent: usize, style: Style) {
    let _ = write!(text, "{style}");
    let mut column = used;
    let mut first = true;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if !first && column + 1 + length > width {
            let _ = write!(text, "{style:#}\n{:indent$}{style}", "");
            column = indent;
        } else if !first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        first = false;
    }
    let _ = writeln!(text, "{style:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_under_itself_and_long_words_stay_whole() {
        let mut text = "  x ".to_owned();
        let words = "one two three https://letsencrypt.org/certs/isrgrootx1.pem four";
        wrap(&mut text, words, 16, 4, 4, Style::new());
        assert_eq!(
            text,
            "  x one two\n    three\n    https://letsencrypt.org/certs/isrgrootx1.pem\n    four\n"
        );
    }
}
