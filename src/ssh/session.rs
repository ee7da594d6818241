//! What can be done on a host once somebody is logged in.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncRead;

use super::SshError;
use super::connect::Connection;
use super::exec::{self, Exit};
use super::stream::{SshStream, StreamTo};
use super::target::{Become, Resolved};
use super::wrap::{self, CUT_OFF, Input, Sudo};
use crate::shell::quote;

/// What is kept of a script's standard output, in bytes.
const STDOUT_KEPT: usize = 16 << 20;

/// What is kept of the end of a script's standard error, in bytes.
const STDERR_KEPT: usize = 64 << 10;

/// The longest line that is handed out in one piece, in bytes.
const LINE: usize = 64 << 10;

/// Which output a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How to run a script.
#[derive(Debug, Clone)]
pub struct ScriptOptions {
    /// After how long the far side ends it.
    pub deadline: Duration,
    /// Whether it runs as root, in the way that the target's [`Become`] says.
    pub root: bool,
}

/// What a script did.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: Exit,
    /// What it printed, up to 16 MiB.
    pub stdout: Vec<u8>,
    /// Whether it printed more than that.
    pub truncated: bool,
    /// The last 64 KiB of its standard error.
    pub stderr_tail: String,
}

/// A file to write on the host.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its absolute path there. The directory must exist.
    pub path: String,
    /// Its permissions, such as `0o644`.
    pub mode: u32,
    /// Its owner as `chown` takes it, such as `root:docker`; else whoever writes it.
    pub owner: Option<String>,
    /// Its size in bytes: what arrives must have exactly this size.
    pub size: u64,
    /// Whether it is written as root.
    pub root: bool,
    /// After how long the far side gives up.
    pub deadline: Duration,
}

/// A host where somebody is logged in. Cheap to clone; the connection ends with the last clone.
#[derive(Clone)]
pub struct Session {
    connection: Arc<Connection>,
    root: Become,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("host", &self.connection.host.name)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(connection: Arc<Connection>, root: Become) -> Self {
        Self { connection, root }
    }

    /// The login name.
    pub fn user(&self) -> &str {
        &self.connection.host.user
    }

    /// How the host was found.
    pub fn resolved(&self) -> &Resolved {
        &self.connection.host
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.handle.is_closed()
    }

    /// Runs `script` by `sh` and waits for its end. Each line that it prints goes to `on_line` as
    /// it comes. Its stdin is empty, its locale is `C`.
    ///
    /// The script begins only once all of it has arrived. Dropping the future ends it on the host
    /// as well, as long as the connection and the runtime are there.
    pub async fn script(
        &self,
        script: &str,
        options: &ScriptOptions,
        on_line: &(dyn Fn(Stream, &str) + Send + Sync),
    ) -> Result<Output, SshError> {
        let (sudo, password) = self.sudo(options.root);
        let wrapped = wrap::wrap(script, Input::Whole, sudo, Some(options.deadline));
        let running = exec::start(&self.connection, wrapped, password, true).await?;
        let mut collect = Collect::new(on_line);
        let status = running
            .finish(
                &self.connection,
                None,
                options.deadline,
                &mut |stream, data| {
                    collect.take(stream, data);
                },
            )
            .await?;
        collect.finish(status)
    }

    /// Writes a file whole or not at all: into a temporary one beside it, which takes its place
    /// once everything has arrived and is on disk.
    pub async fn upload(
        &self,
        file: &Upload,
        mut data: impl AsyncRead + Send + Unpin,
    ) -> Result<(), SshError> {
        let (sudo, password) = self.sudo(file.root);
        let script = upload_script(file);
        let wrapped = wrap::wrap(&script, Input::Beginning, sudo, Some(file.deadline));
        let running = exec::start(&self.connection, wrapped, password, false).await?;
        let mut collect = Collect::new(&|_, _| {});
        let status = running
            .finish(
                &self.connection,
                Some(&mut data),
                file.deadline,
                &mut |stream, data| collect.take(stream, data),
            )
            .await?;
        let output = collect.finish(status)?;
        match output.status {
            Exit::Code(0) => Ok(()),
            Exit::Lost(reason) => Err(SshError::Lost(reason)),
            status => Err(SshError::Upload {
                path: file.path.clone(),
                reason: output
                    .stderr_tail
                    .trim()
                    .lines()
                    .next_back()
                    .map_or_else(|| status.to_string(), str::to_owned),
            }),
        }
    }

    /// Opens a stream of bytes to a socket or a command on the host. It lives until it is dropped.
    ///
    /// Read it or drop it: one that holds more than 4 MiB unread stops the whole connection.
    pub async fn stream(&self, to: &StreamTo) -> Result<SshStream, SshError> {
        match to {
            StreamTo::Socket(path) => super::stream::socket(self.connection.clone(), path).await,
            StreamTo::Command { script, root } => {
                let (sudo, password) = self.sudo(*root);
                let wrapped = wrap::wrap(script, Input::Beginning, sudo, None);
                let running = exec::start(&self.connection, wrapped, password, false).await?;
                Ok(super::stream::command(self.connection.clone(), running))
            }
        }
    }

    fn sudo(&self, root: bool) -> (Sudo, Option<&SecretString>) {
        match &self.root {
            Become::Sudo { password } if root && self.user() != "root" => match password {
                Some(password) => (Sudo::Password, Some(password)),
                None => (Sudo::Silent, None),
            },
            _ => (Sudo::No, None),
        }
    }
}

fn upload_script(file: &Upload) -> String {
    let path = quote(&file.path);
    let owner = file
        .owner
        .as_ref()
        .map(|owner| format!("chown {} \"$t\"\n", quote(owner)))
        .unwrap_or_default();
    format!(
        "set -eu\n\
         umask 077\n\
         if [ -d {path} ]; then echo 'it is a directory' >&2; exit 1; fi\n\
         t=$(mktemp {path}.skep-XXXXXX)\n\
         trap 'rm -f \"$t\"' EXIT\n\
         trap 'exit 143' TERM INT HUP\n\
         cat >\"$t\"\n\
         size=$(wc -c <\"$t\")\n\
         if [ \"$size\" -ne {size} ]; then echo \"only $size of {size} bytes arrived\" >&2; exit 1; fi\n\
         {owner}chmod {mode:o} \"$t\"\n\
         sync \"$t\" 2>/dev/null || sync\n\
         mv -f \"$t\" {path}\n\
         trap - EXIT\n",
        size = file.size,
        mode = file.mode & 0o7777,
    )
}

/// Keeps what a script prints within bounds, and hands it out by lines.
struct Collect<'a> {
    on_line: &'a (dyn Fn(Stream, &str) + Send + Sync),
    stdout: Vec<u8>,
    truncated: bool,
    stderr: Vec<u8>,
    lines: [Vec<u8>; 2],
}

impl<'a> Collect<'a> {
    fn new(on_line: &'a (dyn Fn(Stream, &str) + Send + Sync)) -> Self {
        Self {
            on_line,
            stdout: Vec::new(),
            truncated: false,
            stderr: Vec::new(),
            lines: [Vec::new(), Vec::new()],
        }
    }

    fn take(&mut self, stream: Stream, data: &[u8]) {
        match stream {
            Stream::Stdout => {
                let room = STDOUT_KEPT - self.stdout.len();
                self.truncated |= data.len() > room;
                self.stdout.extend_from_slice(&data[..data.len().min(room)]);
            }
            Stream::Stderr => {
                self.stderr.extend_from_slice(data);
                if self.stderr.len() > 2 * STDERR_KEPT {
                    self.stderr.drain(..self.stderr.len() - STDERR_KEPT);
                }
            }
        }
        let line = &mut self.lines[stream as usize];
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= LINE {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                (self.on_line)(stream, &String::from_utf8_lossy(text));
                line.clear();
            }
        }
    }

    fn finish(mut self, status: Exit) -> Result<Output, SshError> {
        for (stream, line) in [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .zip(&self.lines)
        {
            if !line.is_empty() {
                (self.on_line)(stream, &String::from_utf8_lossy(line));
            }
        }
        let surplus = self.stderr.len().saturating_sub(STDERR_KEPT);
        self.stderr.drain(..surplus);
        let stderr_tail = String::from_utf8_lossy(&self.stderr).into_owned();
        if status == Exit::Code(CUT_OFF) && stderr_tail.contains("cut off on the way") {
            return Err(SshError::Shell(
                "the script was cut off on the way and did nothing".to_owned(),
            ));
        }
        Ok(Output {
            status,
            stdout: self.stdout,
            truncated: self.truncated,
            stderr_tail,
        })
    }
}
