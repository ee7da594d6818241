//! What can go wrong on the way to a host.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a host could not be reached, or did not do what it was asked over SSH.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// No connection to the address, or it broke before anybody logged in.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// `host:port` that was tried.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// Connecting and logging in took too long.
    #[error("no login at {address} within {} s", after.as_secs())]
    Timeout {
        /// `host:port` that was tried.
        address: String,
        /// How long it was tried.
        after: Duration,
        /// What the last attempt said, if one failed before the time was up.
        last: Option<String>,
    },
    /// The connection to a bastion failed.
    #[error("cannot go through the jump host `{bastion}`: {source}")]
    Jump {
        /// The bastion as it was asked for.
        bastion: String,
        /// What failed there.
        source: Box<SshError>,
    },
    /// The host showed a key that nobody vouched for.
    #[error("the host key of {host} is not known: {fingerprint}")]
    HostKeyUnknown {
        /// The name under which the key was looked for.
        host: String,
        /// The key's type and SHA-256 fingerprint.
        fingerprint: String,
        /// The file that would have to hold it.
        file: PathBuf,
    },
    /// The host showed another key than the known one.
    #[error("the host key of {host} has changed: it shows {fingerprint}, {}:{line} has another", file.display())]
    HostKeyChanged {
        /// The name under which the key was looked for.
        host: String,
        /// The type and SHA-256 fingerprint of the key that the host shows.
        fingerprint: String,
        /// The file that holds another key.
        file: PathBuf,
        /// The line in that file, from 1.
        line: usize,
    },
    /// The host showed a key that is marked `@revoked`.
    #[error("the host key of {host} is revoked by {}:{line}", file.display())]
    HostKeyRevoked {
        /// The name under which the key was looked for.
        host: String,
        /// The file that revokes it.
        file: PathBuf,
        /// The line in that file, from 1.
        line: usize,
    },
    /// The host showed a certificate of a known authority that does not hold.
    #[error("the host certificate of {host} does not hold: {reason}")]
    HostCertificate {
        /// The name under which the key was looked for.
        host: String,
        /// Which check failed.
        reason: String,
    },
    /// A known-hosts file could not be read or written.
    #[error("cannot use `{}`: {reason}", file.display())]
    KnownHosts {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The host let nobody in.
    #[error("{user}@{address} refuses the login (tried {})", list(tried))]
    Auth {
        /// The login name.
        user: String,
        /// `host:port`.
        address: String,
        /// What was offered, in order.
        tried: Vec<String>,
        /// Which methods the host would still take.
        methods: Vec<String>,
        /// Key files that could not be used because their passphrase is not known.
        locked: Vec<PathBuf>,
    },
    /// A key file that was named could not be used.
    #[error("cannot use the key `{}`: {reason}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The SSH settings make no sense.
    #[error("{0}")]
    Config(String),
    /// The host is connected but opens no channel of this kind.
    #[error("the host refuses {what}: {reason}")]
    Channel {
        /// What was asked for.
        what: String,
        /// What the host said.
        reason: String,
    },
    /// The connection was lost: what the command did is unknown.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The command did not begin within its deadline.
    #[error("the host did not begin the command within {} s", .0.as_secs())]
    NotStarted(Duration),
    /// The far side ended before our command began.
    #[error("the login shell ended before the command began: {0}")]
    Shell(String),
    /// sudo refused the password.
    #[error("sudo refuses the password of `{0}`")]
    SudoWrongPassword(String),
    /// sudo wants a password and none was given.
    #[error("sudo wants a password of `{0}`")]
    SudoPasswordRequired(String),
    /// sudoers does not allow the user to do this.
    #[error("sudo does not allow `{user}` to run commands as root: {reason}")]
    SudoNotAllowed {
        /// The login name.
        user: String,
        /// What sudo said.
        reason: String,
    },
    /// sudoers has `requiretty`.
    #[error("sudo wants a terminal (`requiretty` is set)")]
    SudoRequiresTty,
    /// There is no sudo on the host.
    #[error("there is no sudo on the host")]
    SudoMissing,
    /// What was sent to the host could not be read here.
    #[error("cannot read what is to be sent: {0}")]
    Input(String),
    /// A file did not arrive as it was sent.
    #[error("cannot write `{path}` on the host: {reason}")]
    Upload {
        /// The path on the host.
        path: String,
        /// What the host said.
        reason: String,
    },
}

impl SshError {
    /// What to do about it: a sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { address, .. } => Some(format!(
                "Check that the machine is up, that its address is right and that {} is open.",
                port_of(address)
            )),
            Self::Timeout { last, .. } => last
                .as_ref()
                .map(|last| format!("The last attempt said: {last}.")),
            Self::Jump { source, .. } => source.hint(),
            Self::HostKeyUnknown { host, file, .. } => Some(format!(
                "Compare the fingerprint with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then add the key of {host} to `{}`, or set `host-key-check = \"accept-new\"` to trust keys at first sight.",
                file.display()
            )),
            Self::HostKeyChanged { host, file, .. } => Some(format!(
                "If the machine was reinstalled, remove the old key with `{}`; if not, somebody may be listening.",
                forget_command(host, file)
            )),
            Self::HostKeyRevoked { .. } => Some(
                "This key was withdrawn on purpose: give the host a new key, and do not connect until it has one."
                    .to_owned(),
            ),
            Self::HostCertificate { .. } => {
                Some("Have the host's certificate signed again by its authority.".to_owned())
            }
            Self::Auth { locked, methods, .. } => Some(auth_hint(locked, methods)),
            Self::Channel { .. } => Some(
                "Look at `MaxSessions`, `AllowTcpForwarding` and `AllowStreamLocalForwarding` in the host's sshd_config, and at whether the user may open it."
                    .to_owned(),
            ),
            Self::Lost(_) => Some(
                "What was running may have been done or not; run the command again to see."
                    .to_owned(),
            ),
            Self::NotStarted(_) | Self::Shell(_) => Some(
                "Log in with plain `ssh` and look at what the login shell's start-up files do."
                    .to_owned(),
            ),
            Self::SudoWrongPassword(_) => {
                Some("Give the right sudo password; nothing was changed.".to_owned())
            }
            Self::SudoPasswordRequired(_) => Some(
                "Give the sudo password, or allow the user `NOPASSWD` in sudoers.".to_owned(),
            ),
            Self::SudoNotAllowed { user, .. } => Some(format!(
                "Add `{user}` to the group `sudo` or `wheel`, or log in as a user who may use sudo."
            )),
            Self::SudoRequiresTty => {
                Some("Remove `Defaults requiretty` from the host's sudoers.".to_owned())
            }
            Self::SudoMissing => Some("Install sudo there, or log in as root.".to_owned()),
            Self::KnownHosts { .. }
            | Self::Key { .. }
            | Self::Config(_)
            | Self::Input(_)
            | Self::Upload { .. } => None,
        }
    }

    /// Whether nothing was done because the host could not be reached.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Jump { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }

    /// Whether what was asked for may or may not have been done.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Whether it is of no use to wait and log in again.
    ///
    /// A sshd of version 9.8 or later bans addresses that fail to log in again and again.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Lost(_) => false,
            Self::Jump { source, .. } => source.is_final(),
            _ => true,
        }
    }
}

/// The port of `host:port`, for people. A bastion's may be without.
fn port_of(address: &str) -> String {
    let port = address.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| port.parse::<u16>().is_ok());
    port.map_or_else(|| "its SSH port".to_owned(), |port| format!("port {port}"))
}

/// The command that takes the keys of `host` out of `file`.
pub(super) fn forget_command(host: &str, file: &Path) -> String {
    format!(
        "ssh-keygen -f {} -R {}",
        crate::shell::quote(&file.display().to_string()),
        crate::shell::quote(host)
    )
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "nothing: there is neither key nor password".to_owned()
    } else {
        items.join(", ")
    }
}

fn auth_hint(locked: &[PathBuf], methods: &[String]) -> String {
    if let Some(path) = locked.first() {
        return format!(
            "The key `{}` is encrypted: give its passphrase, or add it to an agent with `ssh-add`.",
            path.display()
        );
    }
    if methods.iter().any(|method| method == "publickey") {
        "Put your public key into the user's `authorized_keys` on the host, or name the right key with `identity`.".to_owned()
    } else {
        format!(
            "The host takes only these methods: {}.",
            if methods.is_empty() {
                "none".to_owned()
            } else {
                methods.join(", ")
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_port_that_was_tried() {
        let hint = |address: &str| {
            let error = SshError::Unreachable {
                address: address.to_owned(),
                reason: "connection refused".to_owned(),
            };
            error.hint().unwrap_or_default()
        };
        assert!(hint("10.0.0.11:22").contains("port 22 is open"));
        assert!(hint("10.0.0.11:2222").contains("port 2222 is open"));
        assert!(hint("[2001:db8::1]:2222").contains("port 2222 is open"));
        assert!(hint("2001:db8::zz").contains("its SSH port is open"));
    }
}
