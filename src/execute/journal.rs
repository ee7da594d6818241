//! The journal of a run: its events as lines of JSON in a file of their own.
//!
//! It is for people and for `skep`'s own reports afterwards; nothing is decided from it. A run
//! never fails because its journal cannot be written.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::execute::Record;
use crate::state::{State, make_private_directory, prune};

/// How many journals of a cluster are kept.
pub const KEPT: usize = 100;

/// What the names of journals end in.
const SUFFIX: &str = ".jsonl";

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    warning: Option<String>,
}

impl Journal {
    /// Begins the journal of a run of `command` that starts now, and deletes the oldest ones.
    ///
    /// Where it cannot be written, [`Journal::warning`] says so, once.
    pub fn begin(state: &State, command: &str, now: Timestamp) -> Self {
        let directory = state.runs();
        let stamp = now.strftime("%Y%m%dT%H%M%S%.3fZ");
        let path = directory.join(format!("{stamp}-{command}{SUFFIX}"));
        let opened = make_private_directory(&directory)
            // One less, for the journal that is about to be made.
            .and_then(|()| prune(&directory, SUFFIX, KEPT - 1))
            .and_then(|()| open(&path));
        let mut journal = Self {
            path,
            file: None,
            warning: None,
        };
        match opened {
            Ok(file) => journal.file = Some(file),
            Err(error) => journal.give_up(&error),
        }
        journal
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds `record`, and hands it to the kernel before it returns: it survives a kill of skep.
    pub fn write(&mut self, record: &Record) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(record)
            .map_err(std::io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                // One write per line, so that a line is there whole or not at all.
                file.write_all(&line)
            });
        if let Err(error) = written {
            self.give_up(&error);
        }
    }

    /// Why there is no journal, the first time that it is asked for: a lower-case fragment.
    pub fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn give_up(&mut self, error: &std::io::Error) {
        self.file = None;
        let path = self.path.display();
        self.warning = Some(format!(
            "this run has no journal: cannot write `{path}`: {error}"
        ));
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::Event;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn record() -> Record {
        Record {
            time: Timestamp::UNIX_EPOCH,
            event: Event::ExecuteStarted { changes: 3 },
        }
    }

    #[test]
    fn each_record_is_a_private_line() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path());
        let mut journal = Journal::begin(&state, "up", Timestamp::UNIX_EPOCH);
        journal.write(&record());
        journal.write(&record());
        assert_eq!(journal.warning(), None);
        let text = fs::read_to_string(journal.path()).unwrap();
        let records: Vec<Record> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(records, [record(), record()]);
        let mode = fs::metadata(journal.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let name = journal.path().file_name().unwrap();
        assert_eq!(name, "19700101T000000.000Z-up.jsonl");
    }

    #[test]
    fn the_newest_hundred_stay() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path());
        for second in 0..105 {
            let now = Timestamp::from_second(second).unwrap();
            assert_eq!(Journal::begin(&state, "up", now).warning(), None);
        }
        let mut names: Vec<_> = fs::read_dir(state.runs())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names.len(), KEPT);
        assert_eq!(names[0], "19700101T000005.000Z-up.jsonl");
    }

    #[test]
    fn a_run_goes_on_without_a_journal() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("runs"), "not a directory").unwrap();
        let mut journal = Journal::begin(&State::at(directory.path()), "up", Timestamp::now());
        journal.write(&record());
        assert!(journal.warning().unwrap().contains("has no journal"));
        journal.write(&record());
        assert_eq!(journal.warning(), None);
    }
}
