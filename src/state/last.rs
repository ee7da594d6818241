//! What this machine saw last: whole files, or none.

use std::fs;
use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{State, make_private_directory};
use crate::error::{Error, Result};
use crate::swarm::{Held, LastSeen};

/// The swarm, and what it holds.
const SWARM: &str = "swarm.json";
const HELD: &str = "held.json";

impl State {
    /// The swarm as it was seen last from this machine, if it was.
    ///
    /// # Errors
    ///
    /// When what is written of it cannot be read.
    pub fn last_seen(&self) -> Result<Option<LastSeen>> {
        self.read(SWARM).map_err(|error| {
            error.hint("It says of which managers the swarm was. Remove it if you know that there is none.")
        })
    }

    /// Remembers the swarm as it is now.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn remember(&self, seen: &LastSeen) -> io::Result<()> {
        self.replace(SWARM, seen)
    }

    /// What the swarm held when it was looked at last from this machine.
    ///
    /// # Errors
    ///
    /// When what is written of it cannot be read.
    pub fn held(&self) -> Result<Option<Held>> {
        self.read(HELD)
            .map_err(|error| error.hint("Remove it: the next run writes it anew."))
    }

    /// Remembers what the swarm holds now.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn remember_held(&self, held: &Held) -> io::Result<()> {
        self.replace(HELD, held)
    }

    /// Forgets it: the swarm was taken apart.
    ///
    /// # Errors
    ///
    /// When its files cannot be removed.
    pub fn forget_swarm(&self) -> io::Result<()> {
        for file in [SWARM, HELD] {
            match fs::remove_file(self.directory.join(file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// What is in a file of the directory, if that is there.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn read<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        let path = self.directory.join(file);
        let read = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from)),
        };
        read.map(Some).map_err(|error| {
            Error::failed(format!("cannot read `{}`", path.display())).because(error)
        })
    }

    /// Puts `content` into a file of the directory.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was there is there still.
    pub(crate) fn replace(&self, file: &str, content: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(content)?;
        text.push(b'\n');
        self.replace_text(file, &text)
    }

    /// The same for a text: the file is whole, whenever a run ends.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was there is there still.
    pub(crate) fn replace_text(&self, file: &str, text: &[u8]) -> io::Result<()> {
        make_private_directory(&self.directory)?;
        let mut new = tempfile::NamedTempFile::new_in(&self.directory)?;
        new.write_all(text)?;
        new.as_file().sync_all()?;
        let kept = new.persist(self.directory.join(file));
        kept.map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{Contents, LastManager};

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
        let held = Held {
            cluster_id: "c".to_owned(),
            at: "2026-11-21T00:00:00Z".parse().unwrap(),
            contents: Contents::default(),
        };
        state.remember_held(&held).unwrap();
        assert_eq!(state.held().unwrap(), Some(held));
        state.forget_swarm().unwrap();
        assert_eq!(state.last_seen().unwrap(), None);
        assert_eq!(state.held().unwrap(), None);
        for file in [SWARM, HELD] {
            fs::write(state.directory.join(file), "torn").unwrap();
        }
        let error = state.last_seen().unwrap_err().to_string();
        assert!(error.contains(SWARM), "{error}");
        let error = state.held().unwrap_err().to_string();
        assert!(error.contains(HELD), "{error}");
    }
}
