//! Query parameters: named ones are read strictly, others are refused, so that a misspelt one is not ignored.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;

use super::problem::{Kind, Problem};

/// The decoded parameters of a request, in their order.
pub(super) fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    if uri.query().is_none_or(str::is_empty) {
        return Ok(Vec::new());
    }
    Query::try_from_uri(uri)
        .map(|Query(parameters)| parameters)
        .map_err(|_| Problem::new(Kind::Malformed, "the query is not name=value&…"))
}

/// A parameter that nobody knows here.
pub(super) fn unknown(name: &str, known: &str) -> Problem {
    Problem::new(
        Kind::Malformed,
        format!("there is no query parameter {name:?} here"),
    )
    .hint(format!("there are: {known}"))
}

/// A parameter with a value that it cannot have.
pub(super) fn bad(name: &str, expected: impl Display) -> Problem {
    Problem::new(
        Kind::Malformed,
        format!("the query parameter {name:?} is {expected}"),
    )
}

/// Puts a value in its place, which it must find empty.
pub(super) fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(name, "given more than once")),
    }
}

/// A whole number within limits.
pub(super) fn number<T>(name: &str, text: &str, least: T, most: T) -> Result<T, Problem>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && *number >= least && *number <= most)
        .ok_or_else(|| bad(name, format!("a whole number from {least} to {most}")))
}
