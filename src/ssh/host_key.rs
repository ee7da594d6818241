//! Host keys for machines that skep makes: whoever gives a machine its key needs not believe one.

use std::fs::File;
use std::io::{self, Read as _};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};

use crate::plan::cloud::HostKey;

/// A new Ed25519 key pair for the host `name`.
///
/// # Errors
///
/// When the system gives no randomness.
pub fn new_host_key(name: &str) -> io::Result<HostKey> {
    let mut seed = [0; 32];
    // The system's own source; it is seeded long before anybody runs skep.
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, name).map_err(io::Error::other)?;
    let private = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    let mut public = key.public_key().clone();
    public.set_comment("");
    let public = public.to_openssh().map_err(io::Error::other)?;
    Ok(HostKey {
        private: private.as_str().to_owned().into(),
        public: public.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_key_is_new_and_its_halves_fit() {
        let (one, two) = (new_host_key("m1").unwrap(), new_host_key("m1").unwrap());
        assert_ne!(one.public, two.public);
        // Nova takes 255 characters of metadata.
        assert!(one.public.starts_with("ssh-ed25519 ") && one.public.len() < 255);
        let private = PrivateKey::from_openssh(one.private.expose_secret()).unwrap();
        let public = private.public_key().to_openssh().unwrap();
        assert!(public.starts_with(&one.public), "{public}");
    }
}
