//! The swarm as this machine saw it last.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use super::{State, make_private_directory};
use crate::error::{Error, Result};
use crate::swarm::LastSeen;

impl State {
    /// The swarm as it was seen last from this machine, if it was.
    ///
    /// # Errors
    ///
    /// When what is written of it cannot be read.
    pub fn last_seen(&self) -> Result<Option<LastSeen>> {
        let path = self.last_seen_file();
        let read = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from)),
        };
        read.map(Some).map_err(|error| {
            Error::failed(format!("cannot read `{}`", path.display()))
                .because(error)
                .hint("It says of which managers the swarm was. Remove it if you know that there is none.")
        })
    }

    /// Remembers the swarm as it is now.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn remember(&self, seen: &LastSeen) -> io::Result<()> {
        make_private_directory(&self.directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        let mut text = serde_json::to_vec(seen)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        let kept = file.persist(self.last_seen_file());
        kept.map(drop).map_err(|error| error.error)
    }

    /// Forgets it: the swarm was taken apart.
    ///
    /// # Errors
    ///
    /// When its file cannot be removed.
    pub fn forget_swarm(&self) -> io::Result<()> {
        match fs::remove_file(self.last_seen_file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn last_seen_file(&self) -> PathBuf {
        self.directory.join("swarm.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::LastManager;

    #[test]
    fn what_was_seen_is_remembered_until_it_is_to_be_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path().join("a"));
        assert_eq!(state.last_seen().unwrap(), None);
        state.forget_swarm().unwrap();
        let seen = LastSeen {
            cluster_id: "c".to_owned(),
            managers: vec![LastManager {
                node: "n1".to_owned(),
                name: "m1".to_owned(),
                address: "198.18.0.1".to_owned(),
            }],
        };
        state.remember(&seen).unwrap();
        state.remember(&seen).unwrap();
        assert_eq!(state.last_seen().unwrap().as_ref(), Some(&seen));
        state.forget_swarm().unwrap();
        assert_eq!(state.last_seen().unwrap(), None);
        fs::write(state.last_seen_file(), "torn").unwrap();
        let error = state.last_seen().unwrap_err().to_string();
        assert!(error.contains("swarm.json"), "{error}");
    }
}
