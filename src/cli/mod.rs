//! The command line: arguments in, one function of another part called, text and an exit code out.

mod access;
mod check;
mod completions;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod error;
mod health;
mod keys;
mod logging;
mod man;
mod metrics;
mod openapi;
mod profile;
mod progress;
mod reload;
mod serve;
mod signals;
mod summary;
mod token;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, environment};
use error::CliError;

const EXAMPLES: &str = "\
Examples:
  causeway demo                                 try everything without an account or a file
  causeway keys new --algorithm es256 --out key.pem
  causeway access new press-7 --scopes uplink   a token for a program that uses the bridge
  causeway check --config causeway.toml
  causeway doctor pump-1                        why does it not get through?
  causeway serve --config causeway.toml

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 the configuration is not valid.";

/// What the program is called.
const NAME: &str = "causeway";

/// A local bridge between plain HTTP and an IoT platform's MQTT broker.
#[derive(Debug, Parser)]
#[command(name = NAME, version, about, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    #[command(subcommand)]
    Keys(keys::Command),
    Token(token::Args),
    #[command(subcommand)]
    Access(access::Command),
    #[command(subcommand)]
    Profile(profile::Command),
    Openapi(openapi::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Config(config::Command),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    Health(health::Args),
    #[command(hide = true)]
    Metrics(metrics::Args),
}

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
struct ConfigFile {
    /// The configuration file; CAUSEWAY__SECTION__KEY in the environment goes before what it says
    #[arg(long = "config", value_name = "FILE", default_value = "causeway.toml")]
    path: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path, environment())
    }
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => args.run().map(|()| String::new()),
        #[cfg(feature = "demo")]
        Command::Demo(args) => args.run().map(|()| String::new()),
        Command::Keys(command) => command.run(),
        Command::Token(args) => args.run(),
        Command::Access(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::Openapi(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Doctor(args) => args.run().map(|()| String::new()),
        Command::Config(command) => command.run(),
        Command::Completions(args) => Ok(args.run()),
        Command::Man(args) => args.run(),
        Command::Health(args) => args.run(),
        Command::Metrics(args) => args.run(),
    };
    match outcome.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::Shown) {
                eprintln!("{error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| CliError::Io("standard output".into(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A command that has others below it may leave the examples to them.
    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command) {
            let name = command.get_display_name().unwrap_or_default();
            let help = command.get_after_help().map(ToString::to_string);
            let shows = help.is_some_and(|help| help.contains("Example"));
            let others = || {
                (command.get_subcommands()).filter(|c| c.get_name() != "help" && !c.is_hide_set())
            };
            assert!(shows || others().next().is_some(), "{name} has no examples");
            assert!(
                command.get_about().is_some(),
                "{name} does not say what it does"
            );
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                let said = argument.get_help().or(argument.get_long_help());
                assert!(said.is_some(), "{name} {}", argument.get_id());
            }
            others().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
    }

    /// The words of an example's command, as a shell takes them apart: to the first sign of the shell's own, or to the
    /// wide gap before a remark.
    fn words(example: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        let mut signs = example.chars().peekable();
        while let Some(sign) = signs.next() {
            match (quote, sign) {
                (Some(open), sign) if sign == open => quote = None,
                (None, '\'' | '"') => quote = Some(sign),
                (None, '>') if word.parse::<u8>().is_ok() => word.clear(),
                (None, '|' | '>' | '<' | '&' | ';' | ')') => break,
                (None, ' ') if signs.peek() == Some(&' ') => break,
                (None, ' ') => words.push(std::mem::take(&mut word)),
                (_, sign) => word.push(sign),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_example_can_be_typed() {
        fn examples(command: &clap::Command, found: &mut Vec<String>) {
            let help = command.get_after_help().map(ToString::to_string);
            for line in help.unwrap_or_default().lines() {
                let at = line.starts_with("  ").then(|| line.find("causeway "));
                found.extend(at.flatten().map(|at| line[at..].to_owned()));
            }
            (command.get_subcommands()).for_each(|command| examples(command, found));
        }
        let mut found = Vec::new();
        examples(&Cli::command(), &mut found);
        assert!(found.len() > 30, "{found:#?}");
        for example in found {
            let parsed = Cli::try_parse_from(words(&example));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
        let pipe = r#"causeway doctor --publish='{"a": 1}' --json 2>>log | jq"#;
        let typed = ["causeway", "doctor", r#"--publish={"a": 1}"#, "--json"];
        assert_eq!(words(pipe), typed);
        assert_eq!(words("causeway demo    a remark"), ["causeway", "demo"]);
    }

    #[test]
    fn a_wrong_command_line_is_exit_code_2() {
        for wrong in [
            &["causeway"][..],
            &["causeway", "srve"],
            &["causeway", "serve", "--port", "1"],
            &["causeway", "token"],
            &[
                "causeway",
                "keys",
                "new",
                "--algorithm",
                "hs256",
                "--out",
                "x",
            ],
        ] {
            let error = Cli::try_parse_from(wrong).expect_err("it was taken");
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn an_invalid_configuration_is_exit_code_78() {
        let error = Config::from_text("x = 1", "causeway.toml", "".as_ref(), []).unwrap_err();
        let error = CliError::from(error);
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains("causeway.toml:1: x: "));
    }
}
