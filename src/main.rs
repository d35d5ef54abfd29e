//! The `causeway` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything opens TLS. It fails only where a provider is installed already, and then there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    causeway::cli::main()
}
