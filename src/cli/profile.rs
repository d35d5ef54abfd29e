//! `causeway profile`: the platforms that are built in.

use std::fmt::Write as _;

use super::error::CliError;
use crate::profile::{BUILTIN, Profile, ProfileError, builtin};

/// Show the platforms that are built in
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the built-in profiles
    #[command(
        after_help = "Example:\n  causeway profile list      what each needs in variables, and where its documentation is"
    )]
    List,
    /// Print a built-in profile: a file of the same form works as `profile = "./my.toml"`
    #[command(
        after_help = "Example:\n  causeway profile show plain > my.toml      a start for a profile of your own"
    )]
    Show {
        /// The profile's name
        name: String,
    },
}

impl Command {
    pub(super) fn run(self) -> Result<String, CliError> {
        match self {
            Self::List => list().map_err(|error| CliError::Failed(error.to_string())),
            Self::Show { name } => show(&name),
        }
    }
}

fn list() -> Result<String, ProfileError> {
    let width = BUILTIN.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (name, source) in BUILTIN {
        let profile = Profile::parse(source)?;
        let _ = writeln!(text, "{name:width$}  {}", profile.title);
        if let Some(documentation) = &profile.documentation {
            let _ = writeln!(text, "{:width$}  {documentation}", "");
        }
        for (variable, about) in &profile.variables {
            let default = match &about.default {
                Some(default) => format!("default {:?}", default.source()),
                None => "must be given".to_owned(),
            };
            let _ = writeln!(
                text,
                "{:width$}  variables.{variable}: {} ({default})",
                "", about.about
            );
        }
    }
    Ok(text)
}

fn show(name: &str) -> Result<String, CliError> {
    let names = || BUILTIN.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    builtin(name).map(str::to_owned).ok_or_else(|| {
        CliError::Failed(format!(
            "there is no built-in profile {name:?}; there are: {}",
            names().join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_listed_and_shown_as_it_is_read() {
        let list = list().unwrap();
        for (name, _) in BUILTIN {
            assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
            assert!(Profile::parse(&show(name).unwrap()).is_ok());
        }
        assert!(list.contains("variables.connector_id: ") && list.contains("(must be given)"));
    }

    #[test]
    fn an_unknown_profile_is_an_error_that_names_the_known_ones() {
        let error = show("akenza").unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(
            error
                .to_string()
                .contains("akenza-device, akenza-secret, plain")
        );
    }
}
