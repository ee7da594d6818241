//! The seal that autolock puts on a manager's state: the node's key, and in headers of the same file the
//! keys of the raft log, are encrypted with the unlock key.
//!
//! No engine can force a new cluster from a state that is sealed: it forgets the unlock key that it was
//! given when it stops its node for that, and ends in no swarm. So a restore takes the seal away before the
//! engine sees the state. A manager puts it on again, with the same key, when it has a leader and autolock
//! is on: after the new cluster was forced, or at once where it is the only one and none must be.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use crypto_secretbox::aead::{AeadInPlace as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, Tag, XSalsa20Poly1305};
use pkcs8::EncryptedPrivateKeyInfoRef;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// The file in an archive.
pub const FILE: &str = "swarm/certificates/swarm-node.key";

const SEALED: &str = "ENCRYPTED PRIVATE KEY";
const OPEN: &str = "PRIVATE KEY";

/// What every unlock key begins with; 32 bytes follow.
const PREFIX: &str = "SWMKEY-1-";

/// The headers that hold keys of the raft log.
const OF_RAFT: [&str; 2] = ["raft-dek", "raft-dek-pending"];

/// The number of the unlock key that sealed it. Without it the swarm's own is newer, and is taken.
const VERSION: &str = "kek-version";

/// How many characters of base64 a line of PEM has.
const LINE: usize = 64;

/// Why a seal cannot be taken away. Nothing of a secret is in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is no unlock key.
    #[error("that is no unlock key: one begins with `SWMKEY-1-`")]
    NoKey,
    /// Another key sealed it.
    #[error("the unlock key is not the one that held when the backup was taken")]
    WrongKey,
    /// The file is of a kind that no engine of today writes.
    #[error("the node's key in the backup cannot be read: {0}")]
    Unreadable(&'static str),
}

fn unreadable(why: &'static str) -> SealError {
    SealError::Unreadable(why)
}

/// The 32 bytes of an unlock key.
fn bytes(key: &SecretString) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let text = key.expose_secret().trim();
    let text = text.strip_prefix(PREFIX).ok_or(SealError::NoKey)?;
    let decoded = STANDARD_NO_PAD.decode(text).map_err(|_| SealError::NoKey)?;
    let decoded = Zeroizing::new(decoded);
    let bytes = <[u8; 32]>::try_from(&decoded[..]).map_err(|_| SealError::NoKey)?;
    Ok(Zeroizing::new(bytes))
}

/// Whether it takes the unlock key to read the file.
pub fn is_sealed(pem: &str) -> bool {
    pem.contains("ENCRYPTED")
}

/// The file without its seal; as it is where it has none.
///
/// # Errors
///
/// The key is none or another one, or the file is not of the kind that engines write.
pub fn open(pem: &str, key: &SecretString) -> Result<Zeroizing<String>, SealError> {
    let key = bytes(key)?;
    let begin = format!("-----BEGIN {SEALED}-----");
    let end = format!("-----END {SEALED}-----");
    let Some((_, inside)) = pem.split_once(&begin) else {
        let is_open =
            pem.contains(&format!("-----BEGIN {OPEN}-----")) || pem.contains("EC PRIVATE KEY");
        if is_open && !pem.contains("ENCRYPTED") {
            return Ok(Zeroizing::new(pem.to_owned()));
        }
        return Err(unreadable("it is of another kind"));
    };
    let (inside, _) = inside.split_once(&end).ok_or(unreadable("it is cut off"))?;
    // Headers end with an empty line; where there are none, there is none.
    let (headers, body) = inside
        .trim_start()
        .split_once("\n\n")
        .unwrap_or(("", inside));
    let body: String = body.split_whitespace().collect();
    let body = STANDARD
        .decode(body)
        .map_err(|_| unreadable("it is no base64"))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(&body[..])
        .map_err(|_| unreadable("it is no PKCS #8"))?;
    let opened = sealed.decrypt(&key[..]).map_err(|_| SealError::WrongKey)?;

    let mut text = Zeroizing::new(format!("-----BEGIN {OPEN}-----\n"));
    for line in headers.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line
            .split_once(':')
            .ok_or(unreadable("a header has no value"))?;
        let (name, value) = (name.trim(), value.trim());
        if name == VERSION {
            continue;
        }
        let value = if OF_RAFT.contains(&name) {
            of_raft(value, &key)?
        } else {
            Zeroizing::new(value.to_owned())
        };
        // The buffer grows; what it leaves behind is in this process alone.
        text.push_str(name);
        text.push_str(": ");
        text.push_str(&value);
        text.push('\n');
    }
    if !headers.is_empty() {
        text.push('\n');
    }
    let body = Zeroizing::new(STANDARD.encode(opened.as_bytes()));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(OPEN);
    text.push_str("-----\n");
    Ok(text)
}

/// A key of the raft log without its seal. It is a message of protobuf, swarmkit's `MaybeEncryptedRecord`:
/// how it is sealed (1; 0 is not at all), the data (2), the nonce (3).
fn of_raft(value: &str, key: &[u8; 32]) -> Result<Zeroizing<String>, SealError> {
    let wrong = unreadable("a key of its raft log is of another kind");
    let message = STANDARD.decode(value).map_err(|_| wrong)?;
    let record = Record::read(&message).ok_or(wrong)?;
    let plain = match record.sealed {
        0 => Zeroizing::new(record.data.to_vec()),
        // NaCl's secretbox, the tag in front.
        1 if record.data.len() > TAG && record.nonce.len() == NONCE => {
            let (tag, data) = record.data.split_at(TAG);
            let mut plain = Zeroizing::new(data.to_vec());
            let cipher = XSalsa20Poly1305::new(Key::from_slice(key));
            let (nonce, tag) = (Nonce::from_slice(record.nonce), Tag::from_slice(tag));
            cipher
                .decrypt_in_place_detached(nonce, b"", &mut plain, tag)
                .map_err(|_| SealError::WrongKey)?;
            plain
        }
        _ => return Err(wrong),
    };
    let length = u8::try_from(plain.len())
        .ok()
        .filter(|it| *it < 0x80)
        .ok_or(wrong)?;
    let mut message = Zeroizing::new(Vec::with_capacity(plain.len() + 2));
    message.extend([DATA, length]);
    message.extend_from_slice(&plain);
    Ok(Zeroizing::new(STANDARD.encode(&message[..])))
}

const TAG: usize = 16;
const NONCE: usize = 24;

/// The tags of the message's fields.
const SEALED_BY: u8 = 0x08;
const DATA: u8 = 0x12;
const OF_NONCE: u8 = 0x1a;

#[derive(Default)]
struct Record<'a> {
    sealed: u8,
    data: &'a [u8],
    nonce: &'a [u8],
}

impl<'a> Record<'a> {
    /// All numbers in it are small: one byte each.
    fn read(mut message: &'a [u8]) -> Option<Self> {
        let mut record = Self::default();
        while let [tag, number, rest @ ..] = message {
            if *number >= 0x80 {
                return None;
            }
            if *tag == SEALED_BY {
                record.sealed = *number;
                message = rest;
                continue;
            }
            let (field, rest) = rest.split_at_checked(usize::from(*number))?;
            match *tag {
                DATA => record.data = field,
                OF_NONCE => record.nonce = field,
                _ => return None,
            }
            message = rest;
        }
        (message.is_empty() && !record.data.is_empty()).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Docker 20.10.24 on a manager of a test.
    const FILE_OF_AN_ENGINE: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
kek-version: 11
raft-dek: CAESMA9U4S9z6iJ9Khbey0qQJ4trAX+feorrv6M++G1BByCDzg0IeznfgKFxF+kCcDXbphoYtuIKB9Eog3Hw2D7kCXfKVBsoNvZo/BBD

MIHeMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAiAyzZ+EuCzhQICCAAw
HQYJYIZIAWUDBAEqBBDUsdOqTFyKfOS5AVTCTa4EBIGQgAgCu2zjDA/aSkEyzUSQ
ZN7vpeHD0d+vOn9c+gH0t5GKw48gX1HjMxXvWW48wAo8Rj4yKHAbM06CEAU7gi35
mSBfmmhi5avDDlAB8xGQVGDqoIZqgt6nVa9jsIK2Hc2RpxOUdP266rOVrzPsRfPH
4TpiGoK06CsDoS4kpN+av79HT3VaP+cxwQNiEqQQapo0
-----END ENCRYPTED PRIVATE KEY-----
";

    fn key(text: &str) -> SecretString {
        SecretString::from(text)
    }

    const KEY: &str = "SWMKEY-1-V8LKuj6pzGpwaYBd1f7bRxswFI7ca1NIo03J0Ei7qhY";

    #[test]
    fn the_seal_of_an_engine_is_taken_away_by_its_key() {
        let opened = open(FILE_OF_AN_ENGINE, &key(KEY)).unwrap();
        let lines: Vec<&str> = opened.lines().collect();
        assert_eq!(lines[0], "-----BEGIN PRIVATE KEY-----");
        // 32 bytes that are not sealed.
        let raft = lines[1].strip_prefix("raft-dek: ").unwrap();
        let message = STANDARD.decode(raft).unwrap();
        assert_eq!((message[0], message[1], message.len()), (DATA, 32, 34));
        assert_eq!(lines[2], "");
        // An ECDSA key of P-256, in DER.
        let body = STANDARD.decode(lines[3..lines.len() - 1].concat()).unwrap();
        assert!(pkcs8::PrivateKeyInfoRef::try_from(&body[..]).is_ok());
        assert_eq!(*lines.last().unwrap(), "-----END PRIVATE KEY-----");
        // What has no seal stays as it is.
        assert_eq!(*open(&opened, &key(KEY)).unwrap(), *opened);
    }

    #[test]
    fn another_key_or_none_opens_nothing() {
        let with = |text: &str| open(FILE_OF_AN_ENGINE, &key(text)).unwrap_err();
        let other = KEY.replace("V8LK", "W8LK");
        assert_eq!(with(&other), SealError::WrongKey);
        for bad in ["", "hunter2", "SWMKEY-1-", "SWMKEY-1-V8LK", "SWMKEY-1-!"] {
            assert_eq!(with(bad), SealError::NoKey, "{bad}");
        }
    }

    #[test]
    fn what_no_engine_writes_is_told() {
        for bad in [
            String::new(),
            FILE_OF_AN_ENGINE.replace("MIHeMEk", "!"),
            FILE_OF_AN_ENGINE.replace("-----END", "-----"),
            FILE_OF_AN_ENGINE.replace("raft-dek:", "raft-dek"),
            FILE_OF_AN_ENGINE.replace("CAESMA9U", "CAISMA9U"),
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n".to_owned(),
        ] {
            let error = open(&bad, &key(KEY)).unwrap_err();
            assert!(matches!(error, SealError::Unreadable(_)), "{bad}");
        }
    }
}
