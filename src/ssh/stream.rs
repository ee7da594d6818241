//! Streams of bytes to sockets and commands on a host.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::{ChannelMsg, ChannelReadHalf};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf,
    WriteHalf,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::SshError;
use super::connect::Connection;
use super::exec::{Guard, Running, not_opened};
use super::session::Stream;

/// What is held for a reader that is slower than the host, in bytes.
const HELD: usize = 4 << 20;

/// What is kept of the end of a command's standard error, in bytes.
const STDERR_KEPT: usize = 16 << 10;

/// How long what was written before the stream was dropped may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// Where a stream leads.
#[derive(Debug, Clone)]
pub enum StreamTo {
    /// A Unix socket, opened by sshd as the login user.
    Socket(String),
    /// The standard input and output of a script that `sh` runs, such as
    /// `exec docker system dial-stdio`.
    Command {
        /// The script. What is written to the stream is its standard input.
        script: String,
        /// Whether it runs as root, in the way that the target's `Become` says.
        root: bool,
    },
}

/// A stream of bytes to something on a host.
///
/// Dropping it ends what is at the other end: its input ends, and a command gets TERM.
#[derive(Debug)]
pub struct SshStream {
    local: DuplexStream,
    stderr: Arc<Mutex<Vec<u8>>>,
    _dropped: oneshot::Sender<()>,
}

impl SshStream {
    /// The last 16 KiB that a command printed to its standard error.
    pub fn stderr_tail(&self) -> String {
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.local).poll_read(cx, buf)
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.local).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.local).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.local).poll_shutdown(cx)
    }
}

/// Opens a stream to a Unix socket.
pub(super) async fn socket(connection: Arc<Connection>, path: &str) -> Result<SshStream, SshError> {
    let channel = connection
        .handle
        .channel_open_direct_streamlocal(path)
        .await
        .map_err(|error| not_opened(&connection, &format!("the socket `{path}`"), &error))?;
    let (reader, writer) = channel.split();
    Ok(carry(
        connection,
        reader,
        Guard::new(writer),
        Vec::new(),
        None,
    ))
}

/// Makes a stream of a command that has begun.
pub(super) fn command(connection: Arc<Connection>, running: Running) -> SshStream {
    carry(
        connection,
        running.reader,
        running.writer,
        running.early,
        Some(running.permit),
    )
}

/// Carries bytes both ways in a task of its own, so that the channel is always read.
fn carry(
    connection: Arc<Connection>,
    reader: ChannelReadHalf,
    mut guard: Guard,
    early: Vec<(Stream, Vec<u8>)>,
    permit: Option<OwnedSemaphorePermit>,
) -> SshStream {
    let (local, far) = tokio::io::duplex(HELD);
    let (dropped, mut gone) = oneshot::channel::<()>();
    let stderr = Arc::new(Mutex::new(Vec::new()));
    let kept = stderr.clone();
    tokio::spawn(async move {
        let _alive = (connection, permit);
        let (from_user, to_user) = tokio::io::split(far);
        let has_ended = {
            let out = outwards(from_user, &guard);
            let back = inwards(reader, to_user, early, &kept);
            tokio::pin!(out, back);
            let mut writing = true;
            loop {
                tokio::select! {
                    () = &mut out, if writing => writing = false,
                    ended = &mut back => break ended,
                    // The sender is never used: this is its drop.
                    _ = &mut gone => {
                        if writing {
                            let _ = tokio::time::timeout(FLUSH, &mut out).await;
                        }
                        break false;
                    }
                }
            }
        };
        if has_ended {
            guard.disarm();
        }
    });
    SshStream {
        local,
        stderr,
        _dropped: dropped,
    }
}

async fn outwards(mut from: ReadHalf<DuplexStream>, guard: &Guard) {
    let mut piece = vec![0; 32 * 1024];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if guard.send(piece[..length].to_vec()).await.is_err() {
                    return;
                }
            }
        }
    }
    // A channel that is gone shows in the other direction.
    let _ = guard.eof().await;
}

/// Whether the far side ended by itself.
async fn inwards(
    mut reader: ChannelReadHalf,
    mut to: WriteHalf<DuplexStream>,
    early: Vec<(Stream, Vec<u8>)>,
    stderr: &Mutex<Vec<u8>>,
) -> bool {
    for (stream, data) in early {
        match stream {
            Stream::Stdout => {
                if to.write_all(&data).await.is_err() {
                    return false;
                }
            }
            Stream::Stderr => keep_tail(stderr, &data),
        }
    }
    loop {
        match reader.wait().await {
            None => break,
            Some(ChannelMsg::Data { data }) => {
                if to.write_all(&data).await.is_err() {
                    return false;
                }
            }
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => keep_tail(stderr, &data),
            // The reader may see the end before the channel closes.
            Some(ChannelMsg::Eof) => {
                let _ = to.shutdown().await;
            }
            Some(_) => {}
        }
    }
    let _ = to.shutdown().await;
    true
}

fn keep_tail(stderr: &Mutex<Vec<u8>>, data: &[u8]) {
    let mut kept = stderr.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend_from_slice(data);
    if kept.len() > STDERR_KEPT {
        let surplus = kept.len() - STDERR_KEPT;
        kept.drain(..surplus);
    }
}
