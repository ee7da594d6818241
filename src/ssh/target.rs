//! Which host is meant, how to get there and as whom.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::shell;

/// The time for connecting and logging in where nobody says otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A host as the inventory names it.
///
/// What is `None` or empty here comes from `~/.ssh/config`, and what is not there either has the
/// default of OpenSSH: inventory over ssh config over default.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host's name in messages.
    pub name: String,
    /// The address or name to connect to; also the name under which `~/.ssh/config` is asked.
    pub address: String,
    /// The login name.
    pub user: Option<String>,
    /// The TCP port.
    pub port: Option<u16>,
    /// Private key files, tried in this order.
    pub identity: Vec<PathBuf>,
    /// Bastions on the way, the first one first: `[user@]host[:port]` each. `Some` of an empty
    /// list goes straight even where `~/.ssh/config` has a `ProxyJump`.
    pub jump: Option<Vec<String>>,
    /// The known-hosts file to read, and to write with [`HostKeyCheck::AcceptNew`].
    pub known_hosts: Option<PathBuf>,
    /// The name to look for in known-hosts files in place of the address.
    pub host_key_alias: Option<String>,
    /// What to do with a key that nobody vouched for.
    pub host_key_check: Option<HostKeyCheck>,
    /// The file to read in place of `~/.ssh/config`.
    pub config: Option<PathBuf>,
    /// The time for connecting and logging in, retries included.
    pub connect_timeout: Option<Duration>,
    /// How to become root after the login.
    pub root: Become,
    /// The login password, for `password` and `keyboard-interactive`.
    pub password: Option<SecretString>,
    /// The passphrase of encrypted key files.
    pub passphrase: Option<SecretString>,
}

impl Target {
    /// A host called `name` at `address`, with everything else left to `~/.ssh/config`.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            user: None,
            port: None,
            identity: Vec::new(),
            jump: None,
            known_hosts: None,
            host_key_alias: None,
            host_key_check: None,
            config: None,
            connect_timeout: None,
            root: Become::No,
            password: None,
            passphrase: None,
        }
    }
}

/// How to become root after the login.
#[derive(Debug, Clone, Default)]
pub enum Become {
    /// Stay the login user.
    #[default]
    No,
    /// Through sudo; a login as root stays as it is.
    Sudo {
        /// The password that sudo asks for; without it `sudo -n` is used.
        password: Option<SecretString>,
    },
}

/// What to do with a host key that nobody vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyCheck {
    /// Refuse it.
    #[default]
    Strict,
    /// Write it to the known-hosts file and go on. A changed key is refused all the same.
    AcceptNew,
}

/// A [`Target`] after `~/.ssh/config` and the defaults were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The host's name in messages.
    pub name: String,
    /// The address to connect to.
    pub address: String,
    /// The TCP port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// Private key files, tried in this order; they need not exist.
    pub identity: Vec<PathBuf>,
    /// Certificates of the user beside those that lie next to their keys.
    pub certificates: Vec<PathBuf>,
    /// Whether only the keys of [`identity`](Self::identity) may be offered, also from an agent.
    pub identities_only: bool,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Bastions on the way, the first one first.
    pub jump: Vec<String>,
    /// Known-hosts files; the first one is written to.
    pub known_hosts: Vec<PathBuf>,
    /// The name to look for in known-hosts files in place of the address, used without a port.
    pub host_key_alias: Option<String>,
    /// What to do with a key that nobody vouched for.
    pub host_key_check: HostKeyCheck,
    /// The file read in place of `~/.ssh/config`.
    pub config: Option<PathBuf>,
    /// The time for connecting and logging in.
    pub connect_timeout: Duration,
}

impl Resolved {
    /// `host:port`, with brackets around IPv6.
    pub fn endpoint(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// The name under which the host key is looked for, as OpenSSH writes it.
    pub fn host_key_name(&self) -> String {
        match &self.host_key_alias {
            Some(alias) => alias.to_lowercase(),
            None => super::known_hosts::lookup_name(&self.address, self.port),
        }
    }
}

/// The arguments with which the system's `ssh` goes to the same host, `ssh` itself first.
///
/// `command` is what to run there; empty for a login shell.
pub fn command_line(resolved: &Resolved, command: &[String]) -> Vec<String> {
    let mut argv = options(resolved);
    argv.extend(["-p".to_owned(), resolved.port.to_string()]);
    argv.extend(["-l".to_owned(), resolved.user.clone()]);
    if let Some(alias) = &resolved.host_key_alias {
        argv.extend(["-o".to_owned(), format!("HostKeyAlias={alias}")]);
    }
    let through = proxy(resolved, &resolved.jump, &resolved.endpoint());
    argv.extend(through.into_iter().flatten());
    argv.push("--".to_owned());
    argv.push(resolved.address.clone());
    argv.extend(command.iter().cloned());
    argv
}

/// `ssh` and the options that hold for the host and the bastions before it.
fn options(resolved: &Resolved) -> Vec<String> {
    let mut argv = vec!["ssh".to_owned()];
    if let Some(config) = &resolved.config {
        argv.extend(["-F".to_owned(), config.display().to_string()]);
    }
    for key in &resolved.identity {
        if key.exists() {
            argv.extend(["-i".to_owned(), key.display().to_string()]);
        }
    }
    let mut option = |name: &str, value: &str| {
        argv.extend(["-o".to_owned(), format!("{name}={value}")]);
    };
    if resolved.identities_only {
        option("IdentitiesOnly", "yes");
    }
    let files: Vec<String> = resolved
        .known_hosts
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    if !files.is_empty() {
        option("UserKnownHostsFile", &files.join(" "));
    }
    match resolved.host_key_check {
        HostKeyCheck::Strict => option("StrictHostKeyChecking", "yes"),
        HostKeyCheck::AcceptNew => option("StrictHostKeyChecking", "accept-new"),
    }
    option(
        "ConnectTimeout",
        &resolved.connect_timeout.as_secs().max(1).to_string(),
    );
    argv
}

/// The option that goes through `jumps` to `endpoint`. Not `-J`: the `ssh` that it starts for the
/// bastion knows nothing of the keys and known hosts that are given here.
fn proxy(resolved: &Resolved, jumps: &[String], endpoint: &str) -> Option<[String; 2]> {
    let (last, before) = jumps.split_last()?;
    let jump = super::config::Jump::parse(last).ok()?;
    let mut argv = options(resolved);
    if let Some(port) = jump.port {
        argv.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &jump.user {
        argv.extend(["-l".to_owned(), user.clone()]);
    }
    let port = jump.port.unwrap_or(22);
    let at = if jump.host.contains(':') {
        format!("[{}]:{port}", jump.host)
    } else {
        format!("{}:{port}", jump.host)
    };
    argv.extend(proxy(resolved, before, &at).into_iter().flatten());
    argv.extend(["-W".to_owned(), endpoint.to_owned()]);
    argv.extend(["--".to_owned(), jump.host]);
    // ssh replaces `%h` and the like in the command.
    let command = shell::join(argv.iter().map(String::as_str)).replace('%', "%%");
    Some(["-o".to_owned(), format!("ProxyCommand={command}")])
}
