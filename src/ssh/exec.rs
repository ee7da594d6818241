//! One command on one channel: started, fed, read to its end.
//!
//! Four rules, each measured against OpenSSH:
//! 1. Feeding stdin never holds up reading: a command that exits without reading its input leaves
//!    the feeding future waiting for ever.
//! 2. A command has ended when the channel has, not at its `eof` or `close`; and where neither a
//!    status nor a signal came, how it ended is unknown.
//! 3. Both outputs are always read: one channel that nobody reads stops all of its connection.
//! 4. Closing a channel does not end the process there: a deadline on the far side does, and a
//!    `kill` over another channel.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::SshError;
use super::connect::Connection;
use super::peer::say;
use super::session::Stream;
use super::sudo;
use super::wrap::{self, Input, KILL_AFTER, Preamble, Sudo, Wrapped};

/// How long the far side may take from the request to the script's first breath: a login shell's
/// start-up files and PAM's delay after a wrong password are in it.
const START: Duration = Duration::from_mins(1);

/// What the far side gets on top of its deadline before we stop waiting for its answer.
const GRACE: Duration = Duration::from_secs(KILL_AFTER + 10);

/// How long ending a process may take.
const END: Duration = Duration::from_secs(10);

/// The first pause where the host has too many sessions; the sixth and last one is 32 times it.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// One read of what is to be sent.
const PIECE: usize = 32 * 1024;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit status.
    Code(u32),
    /// By a signal, named as in `TERM`.
    Signal(String),
    /// It ran out of time and was ended.
    Deadline(Duration),
    /// The connection was lost: whether and how it ended is unknown.
    Lost(String),
}

impl Exit {
    /// Whether it is known to have done its work.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
            Self::Deadline(after) => write!(f, "not done within {} s", after.as_secs()),
            Self::Lost(reason) => write!(f, "the connection was lost: {reason}"),
        }
    }
}

/// A command whose script has begun.
pub(super) struct Running {
    pub(super) reader: ChannelReadHalf,
    pub(super) writer: Guard,
    /// What the script printed while the beginning was still looked for.
    pub(super) early: Vec<(Stream, Vec<u8>)>,
    pub(super) permit: OwnedSemaphorePermit,
    /// When it was asked for: before the far side began to count.
    asked_at: Instant,
    end: End,
}

/// Ends the far side's process when it is dropped before its time.
pub(super) struct Guard {
    writer: Option<ChannelWriteHalf<Msg>>,
    end: Option<Ending>,
}

/// How to end a process on the far side: by its number, over a channel of its own.
///
/// A signal sent through sshd is not enough: OpenSSH 9.2 did not deliver it for a login as root
/// (measured), and a process under sudo is not the login user's to signal.
struct Ending {
    connection: Arc<Connection>,
    process: u32,
    sudo: Sudo,
    password: Option<SecretString>,
}

impl Ending {
    /// Boxed, because what it starts has such a guard itself.
    fn run(self) -> BoxFuture<'static, ()> {
        async move {
            let script = format!("kill -TERM {}", self.process);
            let wrapped = wrap::wrap(&script, Input::Whole, self.sudo, Some(END));
            let started = start(&self.connection, wrapped, self.password.as_ref(), true).await;
            if let Ok(running) = started {
                // The connection may be gone; then there is nothing to be done.
                let _ = running
                    .finish(&self.connection, None, END, &mut |_, _| {})
                    .await;
            }
        }
        .boxed()
    }
}

impl Guard {
    pub(super) fn new(writer: ChannelWriteHalf<Msg>) -> Self {
        Self {
            writer: Some(writer),
            end: None,
        }
    }

    /// The command has ended: there is nothing left to end.
    pub(super) fn disarm(&mut self) {
        self.writer = None;
        self.end = None;
    }

    pub(super) async fn send(&self, data: Vec<u8>) -> Result<(), russh::Error> {
        match &self.writer {
            Some(writer) => writer.data_bytes(data).await,
            None => Err(russh::Error::SendError),
        }
    }

    pub(super) async fn eof(&self) -> Result<(), russh::Error> {
        match &self.writer {
            Some(writer) => writer.eof().await,
            None => Err(russh::Error::SendError),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (Some(writer), Ok(runtime)) =
            (self.writer.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let end = self.end.take();
        runtime.spawn(async move {
            // The connection may be gone; then there is nothing to be done.
            let _ = writer.eof().await;
            let _ = writer.signal(Sig::TERM).await;
            let _ = writer.close().await;
            if let Some(end) = end {
                end.run().await;
            }
        });
    }
}

/// What was heard of the end so far.
#[derive(Debug, Default)]
struct End {
    status: Option<u32>,
    signal: Option<String>,
}

impl End {
    fn note(&mut self, message: &ChannelMsg) {
        match message {
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(*exit_status),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.signal = Some(signal(signal_name));
            }
            _ => {}
        }
    }

    fn exit(self, connection: &Connection) -> Exit {
        match (self.status, self.signal) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(name)) => Exit::Signal(name),
            (None, None) => Exit::Lost(lost(connection)),
        }
    }
}

fn signal(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

fn lost(connection: &Connection) -> String {
    connection
        .notes
        .ended()
        .unwrap_or_else(|| "the host did not say how the command ended".to_owned())
}

/// Opens a session channel, in turn with the others of this connection.
async fn open(connection: &Connection) -> Result<(Channel<Msg>, OwnedSemaphorePermit), SshError> {
    let permit = connection
        .channels
        .clone()
        .acquire_owned()
        .await
        .map_err(|_| SshError::Lost("the session is closed".to_owned()))?;
    let mut pause = FULL_PAUSE;
    loop {
        match connection.handle.channel_open_session().await {
            Ok(channel) => return Ok((channel, permit)),
            // Sessions that have just ended may still count there.
            Err(russh::Error::ChannelOpenFailure(_)) if pause < FULL_PAUSE * 64 => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => return Err(not_opened(connection, "a session", &error)),
        }
    }
}

/// Why a channel was not opened. Nothing was run.
pub(super) fn not_opened(connection: &Connection, what: &str, error: &russh::Error) -> SshError {
    if matches!(
        error,
        russh::Error::ChannelOpenFailure(_) | russh::Error::RequestDenied
    ) {
        return SshError::Channel {
            what: what.to_owned(),
            reason: say(error),
        };
    }
    SshError::Unreachable {
        address: connection.host.endpoint(),
        reason: connection.notes.ended().unwrap_or_else(|| say(error)),
    }
}

/// Starts a command and brings it to where its script runs: past the login shell's noise and past
/// sudo's question. With `eof` nothing follows the script on its stdin.
pub(super) async fn start(
    connection: &Arc<Connection>,
    wrapped: Wrapped,
    password: Option<&SecretString>,
    eof: bool,
) -> Result<Running, SshError> {
    tokio::time::timeout(START, handshake(connection, wrapped, password, eof))
        .await
        .unwrap_or(Err(SshError::NotStarted(START)))
}

async fn handshake(
    connection: &Arc<Connection>,
    wrapped: Wrapped,
    password: Option<&SecretString>,
    eof: bool,
) -> Result<Running, SshError> {
    let (channel, permit) = open(connection).await?;
    let broken = |error| not_opened(connection, "to run a command", &error);
    let asked_at = Instant::now();
    channel.exec(true, wrapped.command).await.map_err(broken)?;
    let (mut reader, writer) = channel.split();
    let mut guard = Guard::new(writer);

    let mut out = Preamble::new(&wrapped.begin);
    let mut err = Preamble::new(&wrapped.begin);
    let mut early = Vec::new();
    let mut end = End::default();
    // Where sudo reads a password first, the script waits until sudo is past.
    let (begun, may_feed) = tokio::sync::oneshot::channel::<()>();
    let mut begun = password.map(|_| begun);
    let waits = password.is_some();
    {
        let feed = async {
            if waits && may_feed.await.is_err() {
                return Ok(());
            }
            guard.send(wrapped.script).await?;
            if eof { guard.eof().await } else { Ok(()) }
        };
        tokio::pin!(feed);
        let mut is_fed = false;
        let mut asked = false;
        while !(out.is_over() && err.is_over() && is_fed) {
            let message = tokio::select! {
                result = &mut feed, if !is_fed => {
                    is_fed = true;
                    // Whatever went wrong shows when the channel ends.
                    let _: Result<(), russh::Error> = result;
                    continue;
                }
                message = reader.wait() => message,
            };
            match message {
                None => {
                    if out.is_over() && err.is_over() {
                        break;
                    }
                    return Err(failed_start(
                        connection,
                        &out,
                        &err,
                        &end,
                        password.is_some(),
                    ));
                }
                Some(ChannelMsg::Data { data }) => {
                    keep(&mut early, Stream::Stdout, out.feed(&data));
                }
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    keep(&mut early, Stream::Stderr, err.feed(&data));
                }
                Some(ChannelMsg::Failure) => {
                    return Err(broken(russh::Error::RequestDenied));
                }
                Some(message) => end.note(&message),
            }
            if let Some(password) = password.filter(|_| !err.is_over()) {
                match err.noise().matches(&wrapped.prompt).count() {
                    0 => {}
                    1 if asked => {}
                    1 => {
                        asked = true;
                        let line = format!("{}\n", password.expose_secret()).into_bytes();
                        guard.send(line).await.map_err(broken)?;
                    }
                    _ => return Err(SshError::SudoWrongPassword(connection.host.user.clone())),
                }
            }
            if out.is_over()
                && let Some(begun) = begun.take()
            {
                // The other end lives as long as `feed` does.
                let _ = begun.send(());
            }
        }
    }
    if end.status.is_some() || end.signal.is_some() {
        guard.disarm();
    } else if let Some(process) = out.process() {
        guard.end = Some(Ending {
            connection: connection.clone(),
            process,
            sudo: wrapped.sudo,
            password: password.cloned(),
        });
    }
    Ok(Running {
        reader,
        writer: guard,
        early,
        permit,
        asked_at,
        end,
    })
}

fn keep(early: &mut Vec<(Stream, Vec<u8>)>, stream: Stream, data: &[u8]) {
    if !data.is_empty() {
        early.push((stream, data.to_vec()));
    }
}

/// Why the script never began.
fn failed_start(
    connection: &Connection,
    out: &Preamble,
    err: &Preamble,
    end: &End,
    with_password: bool,
) -> SshError {
    if end.status.is_none() && end.signal.is_none() {
        return SshError::Unreachable {
            address: connection.host.endpoint(),
            reason: lost(connection),
        };
    }
    sudo::diagnose(&err.noise(), &connection.host.user, with_password).unwrap_or_else(|| {
        let noise = format!("{}\n{}", out.noise(), err.noise());
        let tail = noise.trim().lines().next_back().unwrap_or("").trim();
        let status = match (end.status, &end.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(name)) => format!("signal {name}"),
            (None, None) => "no status".to_owned(),
        };
        SshError::Shell(if tail.is_empty() {
            status
        } else {
            format!("{status}, `{tail}`")
        })
    })
}

impl Running {
    /// Feeds the script what follows on its stdin, hands out what it prints, and waits for its end.
    pub(super) async fn finish(
        mut self,
        connection: &Connection,
        mut input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        deadline: Duration,
        sink: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Exit, SshError> {
        for (stream, data) in std::mem::take(&mut self.early) {
            sink(stream, &data);
        }
        let mut feeding = input.is_some();
        let mut unread: Option<std::io::Error> = None;
        {
            let writer = &self.writer;
            let feed = async {
                let Some(input) = input.as_mut() else {
                    return Ok(());
                };
                let mut piece = vec![0; PIECE];
                loop {
                    let length = input.read(&mut piece).await?;
                    if length == 0 {
                        // An ended channel shows in the reader.
                        let _ = writer.eof().await;
                        return Ok(());
                    }
                    if writer.send(piece[..length].to_vec()).await.is_err() {
                        return Ok(());
                    }
                }
            };
            tokio::pin!(feed);
            let late = tokio::time::sleep(deadline.saturating_add(GRACE));
            tokio::pin!(late);
            loop {
                let message = tokio::select! {
                    result = &mut feed, if feeding => {
                        feeding = false;
                        if let Err(error) = result {
                            unread = Some(error);
                            break;
                        }
                        continue;
                    }
                    message = self.reader.wait() => message,
                    () = &mut late => return Ok(Exit::Deadline(deadline)),
                };
                match message {
                    None => break,
                    Some(ChannelMsg::Data { data }) => sink(Stream::Stdout, &data),
                    Some(ChannelMsg::ExtendedData { data, ext: 1 }) => sink(Stream::Stderr, &data),
                    Some(message) => self.end.note(&message),
                }
            }
        }
        if let Some(error) = unread {
            return Err(SshError::Input(error.to_string()));
        }
        self.writer.disarm();
        let exit = self.end.exit(connection);
        // `timeout` says 124, or 137 where it had to kill; our own watcher leaves 143.
        if self.asked_at.elapsed() >= deadline && matches!(exit, Exit::Code(124 | 137 | 143)) {
            return Ok(Exit::Deadline(deadline));
        }
        Ok(exit)
    }
}

#[cfg(test)]
mod tests;
