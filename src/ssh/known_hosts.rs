//! `known_hosts` files, as OpenSSH reads them (sshd(8), on the format of that file).
//!
//! Pure: text in, verdict out. Keys are compared by their data, never by their comment.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

/// The name under which OpenSSH writes a host: lower case, with the port unless it is 22.
pub(super) fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    /// From 1, comments counted.
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    CertAuthority,
    Revoked,
}

#[derive(Debug, Clone)]
struct Line {
    place: Place,
    marker: Marker,
    hosts: String,
    key: KeyData,
}

/// What the files say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The key is the known one.
    Known,
    /// No line names the host with a key of any type.
    Unknown,
    /// The host is known, but by another key; `same_type` tells whether it is of the same type.
    Changed { place: Place, same_type: bool },
    /// A line marks the key, or the authority that signed it, as revoked.
    Revoked { place: Place },
    /// A known authority signed the certificate, and it holds for this host now.
    ByAuthority,
    /// A known authority signed the certificate, but it does not hold.
    BadCertificate { reason: String },
}

/// The lines of all known-hosts files that are read for one host.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
}

impl KnownHosts {
    /// Adds the lines of one file. Lines that cannot be read are left out, as OpenSSH does.
    pub(super) fn add(&mut self, file: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let place = Place {
                file: file.to_owned(),
                line: index + 1,
            };
            self.lines.extend(parse_line(line, place));
        }
    }

    /// Judges a plain key. `name` comes from [`lookup_name`].
    pub(super) fn judge_key(&self, name: &str, key: &KeyData) -> Verdict {
        if let Some(place) = self.revoked(name, key) {
            return Verdict::Revoked { place };
        }
        let mut other: Option<(Place, bool)> = None;
        for line in self.matching(name, Marker::None) {
            if same_key(&line.key, key) {
                return Verdict::Known;
            }
            let same_type = line.key.algorithm() == key.algorithm();
            if other.as_ref().is_none_or(|(_, same)| same_type && !same) {
                other = Some((line.place.clone(), same_type));
            }
        }
        match other {
            Some((place, same_type)) => Verdict::Changed { place, same_type },
            None => Verdict::Unknown,
        }
    }

    /// Judges a host certificate. Where no authority covers the host, the key inside is judged as
    /// a plain one.
    pub(super) fn judge_certificate(
        &self,
        name: &str,
        host: &str,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Verdict {
        for key in [certificate.public_key(), certificate.signature_key()] {
            if let Some(place) = self.revoked(name, key) {
                return Verdict::Revoked { place };
            }
        }
        // As OpenSSH, an authority given for the plain name also covers the host's other ports.
        let covered = [name, host].iter().any(|name| {
            self.matching(name, Marker::CertAuthority)
                .any(|line| same_key(&line.key, certificate.signature_key()))
        });
        if !covered {
            return self.judge_key(name, certificate.public_key());
        }
        match check_certificate(host, certificate, now) {
            Ok(()) => Verdict::ByAuthority,
            Err(reason) => Verdict::BadCertificate { reason },
        }
    }

    /// The types of the keys by which the host is known, in the order of the lines.
    pub(super) fn algorithms(&self, name: &str) -> Vec<Algorithm> {
        let mut types = Vec::new();
        for line in self.matching(name, Marker::None) {
            let algorithm = line.key.algorithm();
            if !types.contains(&algorithm) {
                types.push(algorithm);
            }
        }
        types
    }

    /// Whether an authority covers the host.
    pub(super) fn has_authority(&self, name: &str, host: &str) -> bool {
        [name, host]
            .iter()
            .any(|name| self.matching(name, Marker::CertAuthority).next().is_some())
    }

    fn matching<'a>(&'a self, name: &'a str, marker: Marker) -> impl Iterator<Item = &'a Line> {
        self.lines
            .iter()
            .filter(move |line| line.marker == marker && hosts_match(&line.hosts, name))
    }

    fn revoked(&self, name: &str, key: &KeyData) -> Option<Place> {
        self.matching(name, Marker::Revoked)
            .find(|line| same_key(&line.key, key))
            .map(|line| line.place.clone())
    }
}

fn same_key(one: &KeyData, other: &KeyData) -> bool {
    one == other
}

fn parse_line(line: &str, place: Place) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace();
    let mut hosts = fields.next()?;
    let marker = match hosts {
        "@cert-authority" => Marker::CertAuthority,
        "@revoked" => Marker::Revoked,
        other if other.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        hosts = fields.next()?;
    }
    let key = format!("{} {}", fields.next()?, fields.next()?);
    let key = PublicKey::from_openssh(&key).ok()?;
    Some(Line {
        place,
        marker,
        hosts: hosts.to_owned(),
        key: key.key_data().clone(),
    })
}

/// Whether the first field of a line covers `name`: one pattern must match, no negated one may.
fn hosts_match(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return hash_matches(hashed, name);
    }
    let mut found = false;
    for pattern in hosts.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if wildcard(pattern.to_lowercase().as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

fn hash_matches(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else {
        return false;
    };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(&salt) else {
        return false;
    };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// `*` and `?`, nothing else: brackets stand for themselves. Linear memory, no recursion.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn check_certificate(host: &str, certificate: &Certificate, now: SystemTime) -> Result<(), String> {
    if certificate.cert_type() != CertType::Host {
        return Err("it is a user's certificate, not a host's".to_owned());
    }
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if now < certificate.valid_after() {
        return Err("it is not valid yet (are the clocks right?)".to_owned());
    }
    if now >= certificate.valid_before() {
        return Err("it has expired".to_owned());
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate
        .validate_at(now, [&authority])
        .map_err(|error| format!("its signature is wrong ({error})"))?;
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return Err(format!(
            "it has the critical option `{option}`, which is not known"
        ));
    }
    let principals = certificate.valid_principals();
    let host = host.to_lowercase();
    if principals.is_empty()
        || principals
            .iter()
            .any(|name| wildcard(name.to_lowercase().as_bytes(), host.as_bytes()))
    {
        return Ok(());
    }
    Err(format!(
        "it is for {}, not for {host}",
        principals.join(", ")
    ))
}

#[cfg(test)]
mod tests;
