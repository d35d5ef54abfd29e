//! The bridge under test, run inside the test's own process.
