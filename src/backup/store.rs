//! The directory of archives on this machine.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Head;

/// What the file beside an archive is called: the archive's name, and this.
const HEAD: &str = ".json";

/// An archive of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: PathBuf,
    /// What the file beside it says; `None` where there is none that can be read.
    pub head: Option<Head>,
}

/// The archives of a directory, newest first; those without a head at the end. None where there is no
/// such directory.
///
/// # Errors
///
/// The directory cannot be read.
pub fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    let files = match fs::read_dir(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for file in files {
        let path = file?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".tar.age") || name.ends_with(".tar") {
            let head = read_head(&path).unwrap_or(None);
            entries.push(Entry { path, head });
        }
    }
    entries.sort_by_key(|entry| {
        let taken = entry.head.as_ref().map(|head| head.taken);
        (std::cmp::Reverse(taken), entry.path.clone())
    });
    Ok(entries)
}

/// The head of an archive; `None` where there is none.
///
/// # Errors
///
/// It cannot be read, or is no head.
pub fn read_head(archive: &Path) -> io::Result<Option<Head>> {
    match fs::read_to_string(with_end(archive, HEAD)) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the head of an archive, whole or not at all.
pub(super) fn write_head(archive: &Path, head: &Head) -> io::Result<()> {
    let path = with_end(archive, HEAD);
    let part = with_end(&path, ".part");
    let mut text = serde_json::to_string_pretty(head)?;
    text.push('\n');
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Deletes an archive: its head first, so that no head is left without one.
///
/// # Errors
///
/// One of the files cannot be deleted.
pub fn delete(entry: &Entry) -> io::Result<()> {
    if entry.head.is_some() {
        fs::remove_file(with_end(&entry.path, HEAD))?;
    }
    fs::remove_file(&entry.path)
}

/// Lets the names in a directory reach the disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(super) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
