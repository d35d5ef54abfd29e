//! The example profiles and the description of the format, checked against the code.

mod examples;
mod reference;
