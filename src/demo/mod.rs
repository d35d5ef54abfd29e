//! `causeway demo`: pretended platforms that check what the real ones check, and sample devices to try them with.

pub mod akenza;
pub mod broker;
pub mod platform;

#[cfg(test)]
mod tests;
