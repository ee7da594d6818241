//! A place of its own for each test: nothing of the machine's settings gets in, nothing gets out.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The built program.
pub(crate) const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// A directory in which commands run, with a home of its own.
pub(crate) struct Environment {
    directory: tempfile::TempDir,
}

/// What a command did.
#[must_use = "either snapshot the output or assert the exit code"]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Environment {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program in this environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(SKEP);
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("home/state"))
            .env("PATH", "/usr/bin:/bin")
            .env("COLUMNS", "100")
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[], arguments)
    }

    pub(crate) fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.envs(environment.iter().copied()).args(arguments);
        self.finish(&mut command)
    }

    /// Runs with a stdout that nobody reads any more.
    pub(crate) fn run_into_closed_pipe(&self, arguments: &[&str]) -> Output {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        // The pipe is really broken, or the test would prove nothing. A child of another test holds a
        // copy of the reader between its fork and its exec.
        let broken = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            (&writer).write_all(b"x").is_err()
        });
        assert!(broken);
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        self.output(&output)
    }

    fn finish(&self, command: &mut Command) -> Output {
        self.output(&command.output().unwrap())
    }

    fn output(&self, output: &std::process::Output) -> Output {
        Output {
            code: output.status.code(),
            stdout: self.plain(&output.stdout),
            stderr: self.plain(&output.stderr),
        }
    }

    /// Paths of this test are shown as `$DIR`.
    fn plain(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let real = fs::canonicalize(self.directory.path()).unwrap();
        let replace = |text: String, path: &Path| text.replace(&*path.to_string_lossy(), "$DIR");
        replace(replace(text, &real), self.directory.path())
    }
}

impl Output {
    /// Asserts that all went well, and gives what went to stdout.
    pub(crate) fn success(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.show());
        &self.stdout
    }

    /// All of it, for a snapshot.
    pub(crate) fn show(&self) -> String {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        let mut text = format!("exit code: {code}\n");
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                let _infallible = write!(text, "----- {name} -----\n{stream}");
            }
        }
        text
    }
}
