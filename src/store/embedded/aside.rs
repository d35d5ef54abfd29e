//! What is done with a file that is not what it should be.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::open_error::OpenError;

/// Renames a corrupt file, and says so.
pub(super) fn set_aside(path: &Path, cause: &str) -> Result<(), OpenError> {
    let target = free_name(path);
    fs::rename(path, &target).map_err(|source| OpenError::NotSetAside {
        path: path.into(),
        source,
    })?;
    tracing::error!(
        store = %path.display(), set_aside = %target.display(), cause,
        "the store is corrupt: it was set aside, and an empty one was begun. Uplinks that waited in it are not \
         delivered; keep the file if they matter"
    );
    Ok(())
}

/// The version of the container, and the highest one that redb knows here, if it is newer: redb itself calls such a
/// file corrupt. It stands at the beginning of each of the two commit slots (redb's `docs/design.md`).
pub(super) fn newer_container(path: &Path) -> Option<(u32, u32)> {
    const KNOWN: u8 = 3;
    const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
    const SLOTS: [usize; 2] = [64, 192];
    /// Higher ones are damage rather than versions.
    const LIKELY: u8 = 32;
    let mut head = [0; 320];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    let version = head[SLOTS[usize::from(head[9] & 1)]];
    let newer = head.starts_with(MAGIC) && version > KNOWN && version < LIKELY;
    newer.then_some((version.into(), KNOWN.into()))
}

/// `<name>.corrupt-<time>`, with a number when there is one of this second already.
fn free_name(path: &Path) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time = time.replace([':', '-'], "");
    let mut name = path.to_path_buf().into_os_string();
    name.push(format!(".corrupt-{time}"));
    let mut target = PathBuf::from(&name);
    for number in 1.. {
        if !target.exists() {
            break;
        }
        let mut numbered = name.clone();
        numbered.push(format!("-{number}"));
        target = numbered.into();
    }
    target
}
