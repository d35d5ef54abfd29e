//! What replicas compare of their configurations.

use super::{AKENZA, Folder, PLAIN, SECRET};

#[test]
fn a_digest_tells_what_was_configured_apart_and_tells_no_secret() {
    let folder = Folder::new();
    let digest = |text: &str| folder.read(text, &[]).unwrap().digest();
    let plain = digest(PLAIN);
    assert_eq!(plain.len(), 16);
    assert_eq!(
        plain,
        digest(&format!("[http]\nlisten = \"127.0.0.1:1\"\n{PLAIN}"))
    );
    let others = [
        digest(AKENZA),
        digest(""),
        digest(&format!(
            "{PLAIN}[devices.another]\nconnector = \"plant\"\n"
        )),
        digest(&PLAIN.replace("localhost", "elsewhere")),
        digest(&format!(
            "{PLAIN}[access.tokens.one]\ntoken = \"s3cret-0123456789-0123456789\"\nscopes = [\"uplink\"]\n"
        )),
    ];
    assert!(others.iter().all(|other| *other != plain), "{others:?}");
    // Another secret does not show.
    let secret = digest(SECRET);
    folder.write("secret", "t3cret-in-file\n");
    assert_eq!(secret, digest(SECRET));
    assert_ne!(secret, plain);
}
