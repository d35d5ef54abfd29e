//! Files whose content is looked at now and then, so that a change is noticed: the configuration file and all that it names.
//!
//! Not by the system's notifications: those tell nothing of a network's file systems, and little where whole folders are
//! swapped by a symbolic link, as containers mount secrets and configurations. A look asks the system about each file, and
//! reads those of which it says something else than the last time.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::files::read_file;

/// A file that was read, or was to be read, and its content by its digest; none where it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub(super) path: PathBuf,
    pub(super) digest: Option<Digest>,
}

pub(super) type Digest = [u8; 32];

/// Watches files.
#[derive(Debug, Default)]
pub struct FileWatch(Vec<Place>);

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Every file is as it was read.
    Same,
    /// A file is being changed: it is another one than at the last look.
    Changing,
    /// Files are other ones than those that were read, and have been so since the last look.
    Changed,
}

#[derive(Debug)]
struct Place {
    observed: Observed,
    /// What the system said at the last look.
    stamp: Option<Stamp>,
    /// The content at the last look.
    current: Option<Digest>,
}

/// What the system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    identity: (u64, u64),
}

/// A file that was changed this lately may be changed once more without another time of change: those are coarse.
const FRESH: Duration = Duration::from_secs(2);

impl Observed {
    pub(super) fn new(path: &Path, content: Option<&[u8]>) -> Self {
        Self {
            path: path.to_owned(),
            // An empty one is like one that cannot be read.
            digest: content.filter(|content| !content.is_empty()).map(digest),
        }
    }
}

impl FileWatch {
    /// Watches files from what was read of them on.
    pub fn new(files: Vec<Observed>) -> Self {
        let place = |observed: Observed| Place {
            current: observed.digest,
            observed,
            stamp: None,
        };
        let mut places: Vec<_> = files.into_iter().map(place).collect();
        places.sort_by(|a: &Place, b| a.observed.path.cmp(&b.observed.path));
        places.dedup_by(|a, b| a.observed.path == b.observed.path);
        Self(places)
    }

    /// Looks at all files. Blocks.
    pub fn look(&mut self) -> Look {
        let now = SystemTime::now();
        let mut look = Look::Same;
        for place in &mut self.0 {
            let moved = place.look(now);
            look = match (moved, place.current == place.observed.digest) {
                (true, _) => Look::Changing,
                (false, false) if look == Look::Same => Look::Changed,
                _ => look,
            };
        }
        look
    }
}

impl Place {
    /// Whether the content is another one than at the last look.
    fn look(&mut self, now: SystemTime) -> bool {
        let stamp = fs::metadata(&self.observed.path)
            .ok()
            .and_then(|about| Stamp::of(&about));
        let fresh = |stamp: &Stamp| {
            let age = now.duration_since(stamp.modified);
            age.is_ok_and(|age| age < FRESH)
        };
        if self.stamp.is_some() && stamp == self.stamp {
            return false;
        }
        self.stamp = stamp.filter(|stamp| !fresh(stamp));
        let current = read_file(&self.observed.path).ok();
        let current = current.map(|file| digest(&file.bytes));
        let moved = current != self.current;
        self.current = current;
        moved
    }
}

impl Stamp {
    fn of(about: &Metadata) -> Option<Self> {
        Some(Self {
            modified: about.modified().ok()?,
            length: about.len(),
            identity: identity(about),
        })
    }
}

#[cfg(unix)]
fn identity(about: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

fn digest(content: &[u8]) -> Digest {
    Sha256::digest(content).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(path: &Path) -> FileWatch {
        let content = fs::read(path).ok();
        FileWatch::new(vec![Observed::new(path, content.as_deref())])
    }

    #[test]
    fn a_change_is_told_when_it_is_complete_and_until_it_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "one").unwrap();
        let mut watched = watch(&path);
        assert_eq!([watched.look(), watched.look()], [Look::Same; 2]);
        fs::write(&path, "tw").unwrap();
        assert_eq!(watched.look(), Look::Changing);
        fs::write(&path, "two").unwrap();
        assert_eq!(watched.look(), Look::Changing);
        assert_eq!([watched.look(), watched.look()], [Look::Changed; 2]);
        // Of the same length, and within the same tick of the clock that files are stamped with.
        assert_eq!(watch(&path).look(), Look::Same);
        fs::write(&path, "owt").unwrap();
        assert_eq!(
            [watched.look(), watched.look()],
            [Look::Changing, Look::Changed]
        );
        fs::write(&path, "one").unwrap();
        assert_eq!(
            [watched.look(), watched.look()],
            [Look::Changing, Look::Same]
        );
    }

    #[test]
    fn a_file_that_comes_or_goes_is_a_change_and_one_that_is_only_touched_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let mut watched = watch(&path);
        assert_eq!(watched.look(), Look::Same);
        fs::write(&path, "s").unwrap();
        assert_eq!(
            [watched.look(), watched.look()],
            [Look::Changing, Look::Changed]
        );
        let mut watched = watch(&path);
        fs::write(&path, "s").unwrap();
        assert_eq!([watched.look(), watched.look()], [Look::Same; 2]);
        fs::remove_file(&path).unwrap();
        assert_eq!(
            [watched.look(), watched.look()],
            [Look::Changing, Look::Changed]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_swapped_link_is_a_change() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["v1", "v2"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("key.pem"), name).unwrap();
        }
        symlink(at("v1"), at("data")).unwrap();
        let mut watched = watch(&at("data").join("key.pem"));
        assert_eq!(watched.look(), Look::Same);
        symlink(at("v2"), at("new")).unwrap();
        fs::rename(at("new"), at("data")).unwrap();
        assert_eq!(
            [watched.look(), watched.look()],
            [Look::Changing, Look::Changed]
        );
    }
}
