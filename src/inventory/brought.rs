//! The files that an inventory names and that go to hosts: read when a command needs them, so that
//! checking an inventory needs none of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

use super::{DockerSource, Inventory};

impl Inventory {
    /// Reads the signing keys and lists the package files that hosts are to get.
    ///
    /// # Errors
    ///
    /// A usage error when one cannot be read, or when a folder of packages has none.
    pub fn read_brought_files(&mut self) -> Result<()> {
        let mut keys: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut folders: BTreeMap<PathBuf, BTreeMap<String, String>> = BTreeMap::new();
        for host in &mut self.hosts {
            let docker = &mut host.docker;
            if let Some(path) = &docker.repository_key {
                if !keys.contains_key(path) {
                    keys.insert(path.clone(), key(path)?);
                }
                docker.repository_key_text = keys.get(path).cloned();
            }
            let offline = docker.source == DockerSource::Offline;
            if let Some(path) = docker.packages.as_ref().filter(|_| offline) {
                if !folders.contains_key(path) {
                    let files = packages(path).map_err(|error| cannot(path, error))?;
                    folders.insert(path.clone(), files);
                }
                docker.package_files = folders.get(path).cloned().unwrap_or_default();
                if docker.package_files.is_empty() {
                    let shown = path.display();
                    return Err(Error::usage(format!("no `.deb` files are in `{shown}`")).hint(
                        "On a machine of the same release: `apt-get install --download-only docker.io`, then copy `/var/cache/apt/archives/*.deb`.",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The text of a signing key. APT reads it armoured only under the name that it gets on hosts.
fn key(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| cannot(path, error))?;
    match String::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") => Ok(text),
        _ => Err(
            Error::usage(format!("`{}` is no armoured OpenPGP key", path.display()))
                .hint("`gpg --export --armor` writes such a file."),
        ),
    }
}

fn cannot(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("cannot read `{}`", path.display())).because(error)
}

/// The package files of a folder with their SHA-256.
fn packages(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, digest(&path)?);
        }
    }
    Ok(files)
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok(crate::shell::hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}
