//! Archives are written and read as streams: no more than a piece of one is ever in memory, and
//! nothing that is secret is written to this machine's disk in the clear.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use age::x25519::Recipient;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{FORMAT, FileSum, Head, MANIFEST, Manifest, file_name, store};
use crate::shell::hex;

/// The longest manifest, in bytes: a hundred bytes for each file.
const MANIFEST_MAX: u64 = 16 << 20;

/// The longest text that is read of an archive, in bytes. That with a node's key has some hundred.
const TEXT_MAX: u64 = 64 << 10;

/// What every file of age begins with.
const AGE: &[u8] = b"age-encryption.org/v1";

/// Why an archive cannot be written or read. Nothing of its contents is in the message.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file of this machine.
    #[error("`{}`: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A recipient that is none: its place, counted from 1. It may be a secret key.
    #[error("recipient {0} of those given is no age recipient")]
    Recipient(usize),
    /// It is encrypted, and no identity was given.
    #[error("the archive is encrypted, and there is no identity to open it with")]
    NoIdentity,
    /// None of the identities opens it.
    #[error("none of the identities opens the archive: it was encrypted to others")]
    WrongIdentity,
    /// A file of identities that holds none that can be used.
    #[error("`{}` holds no age identity that can be used: {why}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is not what it was: cut, changed, or no archive at all.
    #[error("the archive is damaged or none of skep's: {0}")]
    Damaged(String),
    /// It was written by a newer skep.
    #[error("the archive has format {0}, and this skep reads up to {FORMAT}")]
    Newer(u32),
}

impl ArchiveError {
    /// What to do about it, as a sentence.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::File { .. } => return None,
            Self::Recipient(_) => {
                "A recipient begins with `age1`; `age-keygen -o KEYFILE` makes a pair and prints it."
            }
            Self::NoIdentity => "Name the key file: `--identity KEYFILE`.",
            Self::WrongIdentity => {
                "`skep backup list` tells the recipients; `age-keygen -y KEYFILE` tells that of a key file."
            }
            Self::Identity { .. } => {
                "A key file has a line that begins with `AGE-SECRET-KEY-1`; one that is encrypted by a passphrase must be decrypted first (`age -d`)."
            }
            Self::Damaged(_) => "Take another backup; `skep backup list` shows them.",
            Self::Newer(_) => "Use a newer skep.",
        })
    }
}

/// What a failure to read means. The text of tar's own errors holds bytes of the archive.
fn damaged(error: &io::Error) -> ArchiveError {
    ArchiveError::Damaged(match error.kind() {
        _ if error.raw_os_error().is_some() => error.to_string(),
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => "it was cut or changed, or is no tar file".to_owned(),
    })
}

fn of_file(path: &Path) -> impl Fn(io::Error) -> ArchiveError + '_ {
    move |error| ArchiveError::File {
        path: path.to_owned(),
        error,
    }
}

/// Reads recipients from their texts.
///
/// # Errors
///
/// The first one that is none.
pub fn recipients(texts: &[String]) -> Result<Vec<Recipient>, ArchiveError> {
    let read = texts.iter().enumerate().map(|(place, text)| {
        let read = Recipient::from_str(text.trim());
        read.map_err(|_| ArchiveError::Recipient(place + 1))
    });
    read.collect()
}

/// What opens an archive.
pub struct Identities(Option<Zeroizing<String>>);

impl Identities {
    /// None: for archives that are not encrypted.
    pub fn none() -> Self {
        Self(None)
    }

    /// Those of a key file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no identity.
    pub fn read(path: &Path) -> Result<Self, ArchiveError> {
        let text = fs::read_to_string(path).map_err(of_file(path))?;
        let identities = Self(Some(Zeroizing::new(text)));
        let unusable = |why: &str| ArchiveError::Identity {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        match identities.parse() {
            // age's own message may hold the line that it could not read.
            None => Err(unusable("a line of it is no identity")),
            Some(all) if all.is_empty() => Err(unusable("it is empty")),
            Some(_) => Ok(identities),
        }
    }

    /// `None` where a line of the file is no identity.
    fn parse(&self) -> Option<Vec<Box<dyn age::Identity>>> {
        let Some(text) = &self.0 else {
            return Some(Vec::new());
        };
        let file = age::IdentityFile::from_buffer(text.as_bytes()).ok()?;
        file.into_identities().ok()
    }
}

/// Passes on what is read, and writes it down as well.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// Counts and hashes what is written.
struct Counted<W> {
    to: W,
    size: u64,
    sum: Sha256,
}

impl<W: Write> Counted<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            size: 0,
            sum: Sha256::new(),
        }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.to.write(buffer)?;
        self.size += written as u64;
        self.sum.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes the archive of `manifest` into `directory` and gives its path: `tree` is a tar stream of the
/// folder `swarm`, in which every file must be what the manifest says. It is written under a name that
/// ends in `.part`, synced, and renamed; its [`Head`] follows.
///
/// # Errors
///
/// The stream is not what the manifest says, or a file cannot be written. Then no archive is left.
pub fn write(
    manifest: &Manifest,
    tree: impl Read,
    to: &[String],
    directory: &Path,
) -> Result<PathBuf, ArchiveError> {
    crate::state::make_private_directory(directory).map_err(of_file(directory))?;
    let keys = recipients(to)?;
    let path = directory.join(file_name(manifest, !keys.is_empty()));
    let part = store::with_end(&path, ".part");
    let written = write_part(manifest, tree, &keys, &part);
    let (size, sum) = match written {
        Ok(written) => written,
        Err(error) => {
            // What is half written is of no use to anybody.
            let _gone = fs::remove_file(&part);
            return Err(error);
        }
    };
    fs::rename(&part, &path).map_err(of_file(&path))?;
    store::sync_directory(directory).map_err(of_file(directory))?;
    let head = Head::new(manifest, to, size, sum);
    store::write_head(&path, &head).map_err(of_file(&path))?;
    Ok(path)
}

fn write_part(
    manifest: &Manifest,
    tree: impl Read,
    keys: &[Recipient],
    part: &Path,
) -> Result<(u64, String), ArchiveError> {
    let failed = of_file(part);
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(&failed)?;
    let mut out = Counted::new(BufWriter::new(file));
    if keys.is_empty() {
        pack(manifest, tree, &mut out)?;
    } else {
        let keys = keys.iter().map(|key| key as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(keys);
        let encryptor = encryptor.map_err(|error| ArchiveError::Damaged(error.to_string()))?;
        let mut sealed = encryptor.wrap_output(&mut out).map_err(&failed)?;
        pack(manifest, tree, &mut sealed)?;
        sealed.finish().map_err(&failed)?;
    }
    let file = out.to.into_inner();
    let file = file.map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(&failed)?;
    Ok((out.size, hex(&out.sum.finalize())))
}

/// The manifest, then the tree as it comes, each file of which is looked at on its way.
fn pack(manifest: &Manifest, tree: impl Read, out: &mut dyn Write) -> Result<(), ArchiveError> {
    let text = serde_json::to_vec_pretty(manifest);
    let text = text.map_err(|error| ArchiveError::Damaged(error.to_string()))?;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(manifest.taken.as_second()).unwrap_or(0));
    let mut first = tar::Builder::new(Vec::new());
    let added = first.append_data(&mut header, MANIFEST, &text[..]);
    // The builder's end of the archive is left out: the tree has its own.
    let first = added.and_then(|()| {
        let size = 512 + text.len().div_ceil(512) * 512;
        let mut whole = first.into_inner()?;
        whole.truncate(size);
        Ok(whole)
    });
    let first = first.map_err(|error| damaged(&error))?;
    out.write_all(&first).map_err(|error| damaged(&error))?;
    let mut tee = Tee {
        from: tree,
        to: out,
    };
    compare(manifest, tar::Archive::new(&mut tee))?;
    // tar pads its end, which the reader has no use for.
    io::copy(&mut tee, &mut io::sink()).map_err(|error| damaged(&error))?;
    Ok(())
}

/// Compares the files of a tar stream with what the manifest says.
fn compare(manifest: &Manifest, mut tree: tar::Archive<impl Read>) -> Result<(), ArchiveError> {
    let entries = tree.entries().map_err(|error| damaged(&error))?;
    compare_entries(manifest, entries)
}

fn compare_entries<'a, R: Read + 'a>(
    manifest: &Manifest,
    entries: impl Iterator<Item = io::Result<tar::Entry<'a, R>>>,
) -> Result<(), ArchiveError> {
    let wrong = |why: String| Err(ArchiveError::Damaged(why));
    let mut left: BTreeMap<&str, &FileSum> = manifest
        .files
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    for entry in entries {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        let path = entry.path().map_err(|error| damaged(&error))?;
        let path = path.to_string_lossy().into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            if path.trim_end_matches('/') != "swarm" && !is_inside(&path) {
                return wrong(format!("`{path}` is no folder of a swarm"));
            }
            continue;
        }
        if !kind.is_file() || !is_inside(&path) {
            return wrong(format!("`{path}` is no file of a swarm"));
        }
        let Some(expected) = left.remove(path.as_str()) else {
            return wrong(format!("`{path}` is not in the manifest"));
        };
        let mut sum = Counted::new(io::sink());
        io::copy(&mut entry, &mut sum).map_err(|error| damaged(&error))?;
        if sum.size != expected.size || hex(&sum.sum.finalize()) != expected.sha256 {
            return wrong(format!("`{path}` is not what the manifest says"));
        }
    }
    match left.keys().next() {
        None => Ok(()),
        Some(path) => wrong(format!("`{path}` is missing")),
    }
}

/// Whether a path stays below `swarm/`.
fn is_inside(path: &str) -> bool {
    path.starts_with("swarm/") && path.split('/').all(|part| part != "..")
}

/// The archive in the clear, as a tar stream.
///
/// # Errors
///
/// It cannot be read, or none of the identities opens it.
pub fn open(path: &Path, identities: &Identities) -> Result<Box<dyn Read + Send>, ArchiveError> {
    let file = File::open(path).map_err(of_file(path))?;
    let mut file = BufReader::new(file);
    let begin = io::BufRead::fill_buf(&mut file).map_err(of_file(path))?;
    if !begin.starts_with(AGE) {
        return Ok(Box::new(file));
    }
    let identities = identities.parse().unwrap_or_default();
    if identities.is_empty() {
        return Err(ArchiveError::NoIdentity);
    }
    let of_age = |error: age::DecryptError| match error {
        age::DecryptError::NoMatchingKeys => ArchiveError::WrongIdentity,
        other => ArchiveError::Damaged(other.to_string()),
    };
    let sealed = age::Decryptor::new_buffered(file).map_err(of_age)?;
    let all = identities.iter().map(AsRef::as_ref);
    Ok(Box::new(sealed.decrypt(all).map_err(of_age)?))
}

/// What an archive was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The archive.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its size in the clear, in bytes.
    pub size: u64,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// Reads all of an archive, and compares every file with its checksum, and the whole with the head
/// beside it, where there is one.
///
/// # Errors
///
/// It cannot be opened, is cut or damaged, or was written by a newer skep.
pub fn check(path: &Path, identities: &Identities) -> Result<Checked, ArchiveError> {
    let (sha256, encrypted) = digest(path)?;
    if let Ok(Some(head)) = store::read_head(path)
        && head.sha256 != sha256
    {
        return Err(ArchiveError::Damaged(
            "its checksum is not the one in the file beside it".to_owned(),
        ));
    }
    let mut plain = Tee {
        from: open(path, identities)?,
        to: Counted::new(io::sink()),
    };
    let manifest = {
        let mut archive = tar::Archive::new(&mut plain);
        let mut entries = archive.entries().map_err(|error| damaged(&error))?;
        let first = entries.next();
        let first = first.ok_or_else(|| ArchiveError::Damaged("it is empty".to_owned()))?;
        let manifest = manifest(first.map_err(|error| damaged(&error))?)?;
        compare_entries(&manifest, entries)?;
        manifest
    };
    // Only at the very end is it known that nothing was cut off.
    io::copy(&mut plain, &mut io::sink()).map_err(|error| damaged(&error))?;
    Ok(Checked {
        path: path.to_owned(),
        manifest,
        size: plain.to.size,
        sha256,
        encrypted,
    })
}

/// The text of a small file of an archive; `None` where there is no such file.
///
/// # Errors
///
/// It cannot be opened, is damaged, or the file is none of text.
pub fn text_of(
    path: &Path,
    identities: &Identities,
    name: &str,
) -> Result<Option<Zeroizing<String>>, ArchiveError> {
    let mut archive = tar::Archive::new(open(path, identities)?);
    for entry in archive.entries().map_err(|error| damaged(&error))? {
        let entry = entry.map_err(|error| damaged(&error))?;
        let own = entry.path().map_err(|error| damaged(&error))?;
        if own.as_os_str() != name {
            continue;
        }
        // Never grows, so that no copy of a secret is left behind in freed memory.
        let most = usize::try_from(TEXT_MAX).unwrap_or_default();
        let mut text = Zeroizing::new(String::with_capacity(most));
        let read = entry.take(TEXT_MAX).read_to_string(&mut text);
        read.map_err(|error| damaged(&error))?;
        return Ok(Some(text));
    }
    Ok(None)
}

fn manifest(first: tar::Entry<'_, impl Read>) -> Result<Manifest, ArchiveError> {
    let no_manifest = || ArchiveError::Damaged(format!("it does not begin with `{MANIFEST}`"));
    let name = first.path().map_err(|error| damaged(&error))?;
    if name.as_os_str() != MANIFEST || first.size() > MANIFEST_MAX {
        return Err(no_manifest());
    }
    let mut text = String::new();
    let mut first = first;
    first
        .read_to_string(&mut text)
        .map_err(|error| damaged(&error))?;
    let format: serde_json::Value = serde_json::from_str(&text).map_err(|_| no_manifest())?;
    let format = format["format"].as_u64().ok_or_else(no_manifest)?;
    if format > u64::from(FORMAT) {
        return Err(ArchiveError::Newer(
            u32::try_from(format).unwrap_or(u32::MAX),
        ));
    }
    serde_json::from_str(&text)
        .map_err(|error| ArchiveError::Damaged(format!("its manifest: {error}")))
}

fn digest(path: &Path) -> Result<(String, bool), ArchiveError> {
    let mut file = File::open(path).map_err(of_file(path))?;
    let mut sum = Counted::new(io::sink());
    let mut begin = [0; AGE.len()];
    let length = file.read(&mut begin).map_err(of_file(path))?;
    sum.sum.update(&begin[..length]);
    io::copy(&mut file, &mut sum).map_err(of_file(path))?;
    Ok((hex(&sum.sum.finalize()), begin == AGE))
}
