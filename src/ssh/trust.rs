//! Judges the key that a host shows, and writes down new ones where that is asked for.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::SshError;
use super::known_hosts::{KnownHosts, Verdict};
use super::target::{HostKeyCheck, Resolved};

/// What is known about one host before it is called.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    known: KnownHosts,
    name: String,
    host: String,
    check: HostKeyCheck,
    file: PathBuf,
}

impl Trust {
    /// Reads the known-hosts files of `host`. Missing files are empty.
    pub(super) fn read(host: &Resolved) -> Result<Self, SshError> {
        let mut known = KnownHosts::default();
        for file in &host.known_hosts {
            match fs::read(file) {
                Ok(bytes) => known.add(file, &String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot_use(file, &error)),
            }
        }
        Ok(Self {
            known,
            name: host.host_key_name(),
            host: host
                .host_key_alias
                .clone()
                .unwrap_or_else(|| host.address.clone())
                .to_lowercase(),
            check: host.host_key_check,
            file: host.known_hosts.first().cloned().unwrap_or_default(),
        })
    }

    /// The host key algorithms in the order of preference: those of known keys first, so that a
    /// host with several keys shows the one that is known.
    pub(super) fn algorithms(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let known = self.known.algorithms(&self.name);
        let is_known =
            |algorithm: &&Algorithm| known.iter().any(|known| same_type(known, algorithm));
        all.iter()
            .filter(is_known)
            .chain(all.iter().filter(|algorithm| !is_known(algorithm)))
            .cloned()
            .collect()
    }

    /// Whether certificates of hosts are of use: only where an authority covers this one.
    pub(super) fn wants_certificates(&self) -> bool {
        self.known.has_authority(&self.name, &self.host)
    }

    /// Judges what the host showed. Gives back a key that is new and to be learned.
    pub(super) fn check(
        &self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<Option<KeyData>, SshError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.settle(
                self.known.judge_key(&self.name, key.key_data()),
                key.key_data(),
            ),
            PublicKeyOrCertificate::Certificate(certificate) => self.check_certificate(certificate),
        }
    }

    /// Writes a new key down.
    pub(super) fn learn(&self, key: &KeyData) -> Result<(), SshError> {
        write_line(&self.file, &self.name, key).map_err(|error| cannot_use(&self.file, &error))?
    }

    fn check_certificate(&self, certificate: &Certificate) -> Result<Option<KeyData>, SshError> {
        let verdict =
            self.known
                .judge_certificate(&self.name, &self.host, certificate, SystemTime::now());
        self.settle(verdict, certificate.public_key())
    }

    fn settle(&self, verdict: Verdict, key: &KeyData) -> Result<Option<KeyData>, SshError> {
        let host = self.name.clone();
        match verdict {
            Verdict::Known | Verdict::ByAuthority => Ok(None),
            Verdict::Unknown if self.check == HostKeyCheck::AcceptNew => Ok(Some(key.clone())),
            Verdict::Unknown => Err(SshError::HostKeyUnknown {
                host,
                fingerprint: fingerprint(key),
                file: self.file.clone(),
            }),
            Verdict::Changed { place, .. } => Err(SshError::HostKeyChanged {
                host,
                fingerprint: fingerprint(key),
                file: place.file,
                line: place.line,
            }),
            Verdict::Revoked { place } => Err(SshError::HostKeyRevoked {
                host,
                file: place.file,
                line: place.line,
            }),
            Verdict::BadCertificate { reason } => Err(SshError::HostCertificate { host, reason }),
        }
    }
}

/// RSA keys are one type, whatever hash signs with them.
fn same_type(one: &Algorithm, other: &Algorithm) -> bool {
    match (one, other) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        _ => one == other,
    }
}

fn fingerprint(key: &KeyData) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Adds a line for `name`, unless somebody else did meanwhile: under a lock, by a temporary file
/// and a rename, so that neither two of us nor a crash can spoil the file.
fn write_line(
    file: &Path,
    name: &str,
    key: &KeyData,
) -> Result<Result<(), SshError>, std::io::Error> {
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(Path::new("."));
    if !folder.as_os_str().is_empty() && !folder.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let lock = File::options()
        .create(true)
        .append(true)
        .open(sibling(&file, "skep-lock"))?;
    lock.lock()?;

    let mut text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut known = KnownHosts::default();
    known.add(&file, &String::from_utf8_lossy(&text));
    match known.judge_key(name, key) {
        Verdict::Known => return Ok(Ok(())),
        Verdict::Changed { place, .. } => {
            return Ok(Err(SshError::HostKeyChanged {
                host: name.to_owned(),
                fingerprint: fingerprint(key),
                file: place.file,
                line: place.line,
            }));
        }
        _ => {}
    }
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let key = PublicKey::new(key.clone(), "")
        .to_openssh()
        .map_err(std::io::Error::other)?;
    writeln!(text, "{name} {}", key.trim())?;

    let temporary = sibling(&file, "skep-new");
    let mut new = File::create(&temporary)?;
    new.set_permissions(fs::metadata(&file).map_or_else(
        |_| fs::Permissions::from_mode(0o600),
        |old| old.permissions(),
    ))?;
    new.write_all(&text)?;
    new.sync_all()?;
    fs::rename(&temporary, &file)?;
    Ok(Ok(()))
}

fn sibling(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn cannot_use(file: &Path, error: &std::io::Error) -> SshError {
    SshError::KnownHosts {
        file: file.to_owned(),
        reason: error.to_string(),
    }
}
