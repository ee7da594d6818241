//! The file on this machine that an unlock key is written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::fleet::{Fault, FaultKind};

/// How many bytes are written for a try: more than a key has.
const TRY: [u8; 512] = [0; 512];

/// A file that is there, empty and for its owner alone, before the key that is to go into it. Where it is
/// still empty in the end it is taken away again.
#[derive(Debug)]
pub struct Reserved {
    path: PathBuf,
    made: bool,
}

impl Reserved {
    /// Makes the file and tries whether its folder takes a file. One that holds something stays as it is:
    /// with `or_same` that is left to [`write`] to judge, which knows the key.
    ///
    /// # Errors
    ///
    /// What keeps the key from being written there, for people.
    pub fn new(path: &Path, or_same: bool) -> Result<Self, String> {
        let told = |error: io::Error| error.to_string();
        let mut attempt = NamedTempFile::new_in(folder(path)).map_err(told)?;
        let tried = attempt.write_all(&TRY);
        tried
            .and_then(|()| attempt.as_file().sync_all())
            .map_err(told)?;
        let made = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(told)?;
                true
            }
            Err(error) => return Err(told(error)),
            Ok(about) if !about.is_file() => return Err("it is no plain file".to_owned()),
            Ok(about) if about.len() > 0 && !or_same => {
                return Err(
                    "it is not empty, and a key in it may still be needed: an unlock key is never written over another"
                        .to_owned(),
                );
            }
            Ok(_) => false,
        };
        Ok(Self {
            path: path.to_owned(),
            made,
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let empty = |about: fs::Metadata| about.len() == 0;
        if self.made && fs::symlink_metadata(&self.path).is_ok_and(empty) {
            // An empty file is a nuisance and no danger.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// Writes the key whole, on the disk when it returns, never over another one.
pub(super) fn write(path: &Path, key: &SecretString) -> Result<(), Fault> {
    let line = Zeroizing::new(format!("{}\n", key.expose_secret()));
    match fs::read(path).map(Zeroizing::new) {
        Ok(there) if there.as_slice() == line.as_bytes() => {
            return fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                .map_err(|error| cannot(path, &error));
        }
        Ok(there) if !there.is_empty() => {
            let shown = path.display();
            let why = format!("`{shown}` holds something else, which may still be needed");
            return Err(Fault::new(FaultKind::Refused, why)
                .hint("Name another file: `skep unlock-key --save FILE` saves the present key."));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(path, &error)),
    }
    put(path, line.as_bytes()).map_err(|error| cannot(path, &error))
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // It is 0600 from its first moment.
    let mut file = NamedTempFile::new_in(folder(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder(path))?.sync_all()
}

fn cannot(path: &Path, error: &io::Error) -> Fault {
    let why = format!("cannot write `{}`: {error}", path.display());
    Fault::new(FaultKind::Failed, why)
        .hint("The managers have the key: `skep unlock-key --save FILE` saves it elsewhere.")
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().unwrap_or(Path::new("."));
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn a_key_is_written_for_its_owner_alone_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let reserved = Reserved::new(&path, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        write(&path, &key("SWMKEY-1-new")).unwrap();
        drop(reserved);
        assert_eq!(fs::read_to_string(&path).unwrap(), "SWMKEY-1-new\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Repeated, it is well; another key is refused, before and after.
        write(&path, &key("SWMKEY-1-new")).unwrap();
        let fault = write(&path, &key("SWMKEY-1-other")).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Refused);
        assert!(!fault.message.contains("SWMKEY"));
        assert!(
            Reserved::new(&path, false)
                .unwrap_err()
                .contains("not empty")
        );
        drop(Reserved::new(&path, true).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "SWMKEY-1-new\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_only_reserved_is_taken_away_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        drop(Reserved::new(&path, false).unwrap());
        assert!(!path.exists());
        assert!(Reserved::new(&folder.path().join("no/key"), false).is_err());
        assert!(Reserved::new(folder.path(), false).is_err());
        fs::write(&path, "").unwrap();
        drop(Reserved::new(&path, false).unwrap());
        assert!(path.exists(), "it was there before");
    }
}
