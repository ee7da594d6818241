//! What the other side says while a connection is made and until it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::client::{self, DisconnectReason};
use russh::keys::PublicKeyOrCertificate;

use super::SshError;
use super::trust::Trust;

/// What the host said beside the protocol: kept for messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<NotesInner>>);

#[derive(Debug, Default)]
struct NotesInner {
    ended: Option<String>,
    banner: String,
}

impl Notes {
    /// Why the connection ended, if it did.
    pub(super) fn ended(&self) -> Option<String> {
        lock(&self.0).ended.clone()
    }

    /// Whether the host says that it is still starting.
    pub(super) fn is_booting(&self) -> bool {
        // pam_nologin's text, see systemd-user-sessions.service(8).
        let text = &lock(&self.0).banner;
        text.contains("booting up") || text.contains("nologin")
    }
}

/// russh's view of us: it asks about the host key and tells how the connection ends.
pub(super) struct Verifier {
    pub(super) trust: Arc<Trust>,
    pub(super) notes: Notes,
}

/// Why a connection failed, as russh hands it through.
#[derive(Debug)]
pub(super) enum HandlerError {
    Protocol(russh::Error),
    Trust(SshError),
}

impl From<russh::Error> for HandlerError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl client::Handler for Verifier {
    type Error = HandlerError;

    async fn auth_banner(
        &mut self,
        banner: &str,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        let mut notes = lock(&self.notes.0);
        if notes.banner.len() < 4096 {
            notes.banner.push_str(banner);
        }
        Ok(())
    }

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        if let Some(new) = self.trust.check(shown).map_err(HandlerError::Trust)? {
            let trust = self.trust.clone();
            // It writes a file and may wait for its lock.
            tokio::task::spawn_blocking(move || trust.learn(&new))
                .await
                .unwrap_or_else(|error| Err(SshError::Config(error.to_string())))
                .map_err(HandlerError::Trust)?;
        }
        Ok(true)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (info.message, Ok(())),
            DisconnectReason::Error(error) => {
                let text = match &error {
                    HandlerError::Protocol(error) => say(error),
                    HandlerError::Trust(error) => error.to_string(),
                };
                (text, Err(error))
            }
        };
        lock(&self.notes.0).ended.get_or_insert(text);
        result
    }
}

/// Whether sshd hung up without a word, as it does when too many log in at once.
pub(super) fn is_reset(error: &russh::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::SendError
        | russh::Error::RecvError => true,
        russh::Error::IO(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
        _ => false,
    }
}

/// What a protocol error means, for people.
pub(super) fn say(error: &russh::Error) -> String {
    match error {
        russh::Error::KeepaliveTimeout => "the host does not answer any more".to_owned(),
        russh::Error::HUP | russh::Error::Disconnect => "the host hung up".to_owned(),
        russh::Error::SendError | russh::Error::RecvError => "the connection is closed".to_owned(),
        russh::Error::ChannelOpenFailure(reason) => format!("{reason:?}"),
        other => other.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
