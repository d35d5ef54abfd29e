//! The `causeway` program.
fn main() {}
