//! Where a store on NATS JetStream is; plain data, known to every build.

use std::path::PathBuf;

use crate::secret::Secret;

/// A NATS JetStream account, and what of it is this store.
#[derive(Debug, Clone)]
pub struct NatsServers {
    /// `nats://host:port` or `tls://host:port`, at least one; all of a cluster: others are not looked for.
    pub urls: Vec<String>,
    /// Who the bridge is there. Default: nobody.
    pub login: Option<NatsLogin>,
    /// The roots that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How many servers keep each message: 1, 3 or 5.
    pub replicas: usize,
    /// What names of streams and subjects begin with.
    pub prefix: String,
}

/// How a bridge shows who it is.
#[derive(Debug, Clone)]
pub enum NatsLogin {
    /// The text of a `.creds` file: a token, and the key that signs for it.
    Credentials(Secret),
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}
