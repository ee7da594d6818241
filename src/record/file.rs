//! The record's file on this machine.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::{Record, RecordError};
use crate::state::make_private_directory;

/// Writes `record` to `path`, readable for the user alone: to a file beside it, synced, then renamed
/// over it, and the folder synced. Whoever reads it sees the old one or the new one, whole.
///
/// # Errors
///
/// Where it cannot be written.
pub fn save(path: &Path, record: &Record) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_private_directory(folder)?;
    let text = zeroize::Zeroizing::new(record.text()?);
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Reads the record at `path`; `None` where there is no such file.
///
/// # Errors
///
/// Where it cannot be read, or is no record.
pub fn load(path: &Path) -> io::Result<Option<Record>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record = Record::parse(&text);
    record
        .map(Some)
        .map_err(|error: RecordError| io::Error::new(io::ErrorKind::InvalidData, error))
}
