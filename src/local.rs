//! Programs on this machine, each with a deadline. The only user of `tokio::process`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// What a program may print before the rest is dropped, in bytes of one stream.
const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;

/// How many of a program's last lines an error shows.
const TAIL_LINES: usize = 12;

/// How long a stream that a grandchild keeps open is read on after the program ended.
const GRACE: Duration = Duration::from_secs(2);

/// A program to run: its arguments, what it reads, and how long it may take.
// Its environment may hold a secret, so that it cannot be printed.
#[derive(Clone)]
pub struct Program {
    name: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    stdin: Option<Vec<u8>>,
    directory: Option<PathBuf>,
    deadline: Duration,
}

/// How a program ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output, at most 16 MiB of it. What is not UTF-8 is replaced.
    pub stdout: String,
    /// Its standard error, at most 16 MiB of it. What is not UTF-8 is replaced.
    pub stderr: String,
}

/// Why a program on this machine did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There is no such program.
    #[error("`{program}` is not installed")]
    NotFound {
        /// Its name.
        program: String,
    },
    /// It could not be started or talked to.
    #[error("cannot run `{program}`: {source}")]
    Io {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time, and was ended.
    #[error("`{command}` did not end within {} s{}", deadline.as_secs(), shown(tail))]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it had.
        deadline: Duration,
        /// The last lines that it printed.
        tail: Vec<String>,
    },
    /// It ended with another status than 0.
    #[error("`{command}` ended with {}{}", ending(*status), shown(tail))]
    Failed {
        /// The command line.
        command: String,
        /// The exit status; `None` when a signal ended it.
        status: Option<i32>,
        /// The last lines of its standard error; of its standard output when that is empty.
        tail: Vec<String>,
    },
}

fn ending(status: Option<i32>) -> String {
    status.map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"))
}

fn shown(tail: &[String]) -> String {
    if tail.is_empty() {
        String::new()
    } else {
        format!(": {}", tail.join("\n  "))
    }
}

impl LocalError {
    /// The last lines that the program printed.
    pub fn tail(&self) -> &[String] {
        match self {
            Self::TimedOut { tail, .. } | Self::Failed { tail, .. } => tail,
            _ => &[],
        }
    }
}

impl Program {
    /// The program `name`, found in `PATH` or in the system's `sbin` directories. It may take 30 s.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            directory: None,
            deadline: Duration::from_secs(30),
        }
    }

    /// The program of the user's own that `words` name, with its arguments, to be run in `directory`:
    /// one with a slash is a file there, one without is found as ever.
    pub fn beside(directory: &Path, words: &[String]) -> Self {
        let name = words.first().map_or("", String::as_str);
        let program = if name.contains('/') {
            Self::new(directory.join(name))
        } else {
            Self::new(name)
        };
        program.args(words.iter().skip(1)).directory(directory)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.env.push((name.as_ref().to_owned(), value));
        self
    }

    /// Takes an environment variable away.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Gives it something to read. Without this, its standard input is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Sets the directory that it runs in; else it is that of skep.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The command line as a shell would read it, for messages.
    pub fn line(&self) -> String {
        let words: Vec<_> = std::iter::once(&self.name)
            .chain(&self.args)
            .map(|word| word.to_string_lossy())
            .collect();
        crate::shell::join(words.iter().map(AsRef::as_ref))
    }

    /// Runs it; any exit status is an answer.
    pub async fn output(&self) -> Result<Output, LocalError> {
        self.output_with(&|_| ()).await
    }

    /// Runs it; another status than 0 is an error.
    pub async fn run(&self) -> Result<Output, LocalError> {
        self.run_with(&|_| ()).await
    }

    /// Like [`run`](Self::run), and gives each line of both streams to `progress` as it comes.
    pub async fn run_with(
        &self,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Output, LocalError> {
        let output = self.output_with(progress).await?;
        if output.status == Some(0) {
            return Ok(output);
        }
        let text = match output.stderr.trim() {
            "" => &output.stdout,
            _ => &output.stderr,
        };
        Err(LocalError::Failed {
            command: self.line(),
            status: output.status,
            tail: tail(text),
        })
    }

    /// Like [`output`](Self::output), and gives each line of both streams to `progress` as it comes.
    pub async fn output_with(
        &self,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Output, LocalError> {
        let mut command = self.command();
        command
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.io(source))?;
        // The group goes with this future, however it ends.
        let mut group = Group::of(&child);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let feed = feed(child.stdin.take(), self.stdin.as_deref());
        let out = lines(child.stdout.take(), &mut stdout, progress);
        let err = lines(child.stderr.take(), &mut stderr, progress);
        let work = async {
            let reading = async { tokio::join!(feed, out, err) };
            tokio::pin!(reading);
            let status = tokio::select! {
                status = child.wait() => {
                    // A grandchild may hold a stream open for ever.
                    let _ = tokio::time::timeout(GRACE, &mut reading).await;
                    status
                }
                _ = &mut reading => child.wait().await,
            };
            status.map_err(|source| self.io(source))
        };
        let status = tokio::time::timeout(self.deadline, work).await;
        match status {
            Ok(status) => {
                let status: ExitStatus = status?;
                group.forget();
                Ok(Output {
                    status: status.code(),
                    stdout: String::from_utf8_lossy(&stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&stderr).into_owned(),
                })
            }
            Err(_) => Err(LocalError::TimedOut {
                command: self.line(),
                deadline: self.deadline,
                tail: tail(&String::from_utf8_lossy(if stderr.is_empty() {
                    &stdout
                } else {
                    &stderr
                })),
            }),
        }
    }

    /// Starts it in a session of its own, so that it outlives skep and its terminal; both its
    /// streams are appended to `log`. Returns when it has been started, not when it is ready.
    pub async fn start_detached(&self, log: &Path) -> Result<(), LocalError> {
        let open = || {
            let file = std::fs::File::options().append(true).create(true).open(log);
            file.map_err(|source| self.io(source))
        };
        let (out, err) = (open()?, open()?);
        let mut daemon = Self::new("setsid").arg("--fork").arg(&self.name);
        daemon.args.extend(self.args.iter().cloned());
        daemon.env.clone_from(&self.env);
        let status = daemon
            .command()
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .status()
            .await
            .map_err(|source| daemon.io(source))?;
        if status.success() {
            return Ok(());
        }
        Err(LocalError::Failed {
            command: self.line(),
            status: status.code(),
            tail: Vec::new(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.name);
        command
            .args(&self.args)
            .env("PATH", search_path())
            // Messages are matched in one language only.
            .env("LC_ALL", "C.UTF-8")
            // Ctrl-C is for skep: it decides what is still finished.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn io(&self, source: io::Error) -> LocalError {
        let program = self.name.to_string_lossy().into_owned();
        if source.kind() == io::ErrorKind::NotFound {
            LocalError::NotFound { program }
        } else {
            LocalError::Io { program, source }
        }
    }
}

/// Whether `name` is a program of this machine.
pub fn installed(name: &str) -> bool {
    let path = search_path();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// `PATH`, and the directories of system programs that a plain user's `PATH` lacks.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push("/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
    path
}

/// The last lines of `text` that are not blank.
fn tail(text: &str) -> Vec<String> {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].iter().map(|&line| line.to_owned()).collect()
}

async fn feed(stdin: Option<tokio::process::ChildStdin>, bytes: Option<&[u8]>) {
    if let (Some(mut stdin), Some(bytes)) = (stdin, bytes) {
        // A program that ends without reading all of it is judged by its status.
        let _ = stdin.write_all(bytes).await;
    }
}

async fn lines(
    stream: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
    progress: &(dyn Fn(&str) + Send + Sync),
) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
        progress(String::from_utf8_lossy(&line).trim_end());
        let room = OUTPUT_LIMIT.saturating_sub(into.len());
        into.extend_from_slice(&line[..line.len().min(room)]);
        line.clear();
    }
}

/// Ends a whole process group when it is dropped, unless it was forgotten.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn sh(script: &str) -> Program {
        Program::new("sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn both_streams_and_the_status_come_back() {
        let output = sh("cat; echo err >&2; exit 3").stdin("in").output().await;
        let output = output.unwrap();
        assert_eq!(output.stdout, "in");
        assert_eq!(output.stderr, "err\n");
        assert_eq!(output.status, Some(3));
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_lines() {
        let error = sh("seq 1 50 >&2; exit 1").run().await.unwrap_err();
        assert_eq!(error.tail().len(), TAIL_LINES);
        assert!(error.to_string().contains("ended with status 1"));
        assert_eq!(error.tail().last().unwrap(), "50");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alive");
        let script = format!("(sleep 1; touch {}) & echo begun; sleep 60", file.display());
        let program = sh(&script).deadline(Duration::from_millis(300));
        let error = program.run().await.unwrap_err();
        assert!(matches!(error, LocalError::TimedOut { .. }));
        assert_eq!(error.tail(), ["begun"]);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!file.exists(), "the child was left alive");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_apart() {
        let error = Program::new("skep-no-such-program")
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, LocalError::NotFound { .. }));
    }

    #[tokio::test]
    async fn lines_come_as_they_are_printed() {
        let seen = Mutex::new(Vec::new());
        let progress = |line: &str| seen.lock().unwrap().push(line.to_owned());
        sh("echo one; echo two").run_with(&progress).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), ["one", "two"]);
    }

    #[tokio::test]
    async fn more_input_than_a_pipe_holds_does_not_hang() {
        let output = sh("exit 0").stdin(vec![b'x'; 1 << 20]).run().await;
        assert_eq!(output.unwrap().status, Some(0));
    }
}
