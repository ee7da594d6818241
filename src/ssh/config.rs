//! `~/.ssh/config`, as `ssh -G` reads it: exact about `Match`, `Include` and tokens.
//!
//! The parser is pure; [`query`] is the only thing here that starts a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::SshError;
use super::target::{CONNECT_TIMEOUT, HostKeyCheck, Resolved, Target};

/// What `ssh -G` says about a host. Everything may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostConfig {
    hostname: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    identity: Vec<PathBuf>,
    certificates: Vec<PathBuf>,
    jump: Vec<String>,
    proxy_command: Option<String>,
    known_hosts: Vec<PathBuf>,
    host_key_check: Option<HostKeyCheck>,
    host_key_alias: Option<String>,
    identities_only: bool,
    agent: Option<String>,
    connect_timeout: Option<Duration>,
}

/// What the process's surroundings say, so that the rest stays pure.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    pub(super) home: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) agent: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            home: text("HOME").map(PathBuf::from),
            user: text("USER").or_else(|| text("LOGNAME")),
            agent: text("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }

    fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }
}

impl HostConfig {
    /// Reads the `key value` lines of `ssh -G`.
    pub(super) fn parse(text: &str, around: &Surroundings) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once(char::is_whitespace) else {
                continue;
            };
            config.set(key, value.trim(), around);
        }
        config
    }

    fn set(&mut self, key: &str, value: &str, around: &Surroundings) {
        let is_none = value.eq_ignore_ascii_case("none");
        let text = || (!is_none && !value.is_empty()).then(|| value.to_owned());
        match key.to_ascii_lowercase().as_str() {
            "hostname" => self.hostname = text(),
            "user" => self.user = text(),
            "port" => self.port = value.parse().ok(),
            "identityfile" if !is_none => self.identity.push(around.expand(value)),
            "certificatefile" if !is_none => self.certificates.push(around.expand(value)),
            "proxyjump" if !is_none => self.jump = split_jump(value),
            "proxycommand" => self.proxy_command = text(),
            "userknownhostsfile" | "globalknownhostsfile" if !is_none => self
                .known_hosts
                .extend(split_words(value).iter().map(|path| around.expand(path))),
            "stricthostkeychecking" => self.host_key_check = Some(host_key_check(value)),
            "hostkeyalias" => self.host_key_alias = text(),
            "identitiesonly" => self.identities_only = matches!(value, "yes" | "true"),
            "identityagent" => self.agent = Some(value.to_owned()),
            "connecttimeout" => {
                self.connect_timeout = value.parse().ok().map(Duration::from_secs);
            }
            _ => {}
        }
    }
}

/// `no` and `off` would take changed keys as well; here they mean the same as `accept-new`.
fn host_key_check(value: &str) -> HostKeyCheck {
    match value {
        "accept-new" | "no" | "off" | "false" => HostKeyCheck::AcceptNew,
        _ => HostKeyCheck::Strict,
    }
}

/// File lists may be quoted where a path holds a blank.
fn split_words(value: &str) -> Vec<String> {
    shell_words::split(value)
        .unwrap_or_else(|_| value.split_whitespace().map(str::to_owned).collect())
}

/// Splits `a,b` of `ProxyJump`.
pub(super) fn split_jump(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|jump| !jump.is_empty() && !jump.eq_ignore_ascii_case("none"))
        .map(|jump| jump.strip_prefix("ssh://").unwrap_or(jump).to_owned())
        .collect()
}

/// One bastion: `[user@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jump {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Jump {
    pub(super) fn parse(text: &str) -> Result<Self, SshError> {
        let bad = || {
            SshError::Config(format!(
                "`{text}` is no jump host: expected `[user@]host[:port]`"
            ))
        };
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            let (host, after) = inner.split_once(']').ok_or_else(bad)?;
            (host, after.strip_prefix(':'))
        } else if rest.matches(':').count() == 1 {
            let (host, port) = rest.split_once(':').ok_or_else(bad)?;
            (host, Some(port))
        } else {
            (rest, None)
        };
        if host.is_empty() || host.starts_with('-') || user.as_deref() == Some("") {
            return Err(bad());
        }
        let port = port.map(str::parse).transpose().map_err(|_| bad())?;
        Ok(Self {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

/// Puts the three layers together: inventory over ssh config over default.
pub(super) fn resolve(
    target: &Target,
    config: HostConfig,
    around: &Surroundings,
) -> Result<Resolved, SshError> {
    let jump = match &target.jump {
        Some(jump) => jump.iter().flat_map(|jump| split_jump(jump)).collect(),
        None => config.jump,
    };
    if let (Some(command), true, None) = (&config.proxy_command, jump.is_empty(), &target.jump) {
        return Err(SshError::Config(format!(
            "the ssh config of `{}` has `ProxyCommand {command}`, which is not supported: use `ProxyJump`, or `jump` in the inventory",
            target.address
        )));
    }
    let user = target
        .user
        .clone()
        .or(config.user)
        .or_else(|| around.user.clone())
        .ok_or_else(|| {
            SshError::Config(format!(
                "no login name is known for `{}`: set `user`",
                target.name
            ))
        })?;
    let identity = if target.identity.is_empty() {
        or_default(config.identity, || {
            ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"]
                .map(|path| around.expand(path))
                .to_vec()
        })
    } else {
        target
            .identity
            .iter()
            .map(|path| around.expand(&path.display().to_string()))
            .collect()
    };
    let known_hosts = match &target.known_hosts {
        Some(file) => vec![around.expand(&file.display().to_string())],
        None => or_default(config.known_hosts, || {
            [
                "~/.ssh/known_hosts",
                "~/.ssh/known_hosts2",
                "/etc/ssh/ssh_known_hosts",
            ]
            .map(|path| around.expand(path))
            .to_vec()
        }),
    };
    let agent = match config.agent.as_deref() {
        None | Some("SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK") => around.agent.clone(),
        Some("none") => None,
        Some(variable) if variable.starts_with('$') => {
            std::env::var_os(&variable[1..]).map(PathBuf::from)
        }
        Some(path) => Some(around.expand(path)),
    };
    Ok(Resolved {
        name: target.name.clone(),
        address: config.hostname.unwrap_or_else(|| target.address.clone()),
        port: target.port.or(config.port).unwrap_or(22),
        user,
        identity,
        certificates: config.certificates,
        identities_only: config.identities_only,
        agent,
        jump,
        known_hosts,
        host_key_alias: target.host_key_alias.clone().or(config.host_key_alias),
        host_key_check: target
            .host_key_check
            .or(config.host_key_check)
            .unwrap_or_default(),
        config: target.config.clone(),
        connect_timeout: target
            .connect_timeout
            .or(config.connect_timeout)
            .unwrap_or(CONNECT_TIMEOUT),
    })
}

fn or_default<T>(list: Vec<T>, default: impl FnOnce() -> Vec<T>) -> Vec<T> {
    if list.is_empty() { default() } else { list }
}

/// Asks `ssh -G` about a host; an empty answer where no `ssh` is installed.
pub(super) async fn query(
    address: &str,
    user: Option<&str>,
    port: Option<u16>,
    file: Option<&Path>,
    around: &Surroundings,
) -> Result<HostConfig, SshError> {
    if address.starts_with('-') {
        return Err(SshError::Config(format!("`{address}` is no host name")));
    }
    let mut command = tokio::process::Command::new("ssh");
    command.arg("-G");
    if let Some(file) = file {
        command.arg("-F").arg(file);
    }
    if let Some(user) = user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = port {
        command.arg("-p").arg(port.to_string());
    }
    command
        .arg("--")
        .arg(address)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match command.output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(HostConfig::default());
        }
        Err(error) => return Err(SshError::Config(format!("cannot run `ssh -G`: {error}"))),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(SshError::Config(format!(
            "`ssh -G {address}` failed: {}",
            said.trim().lines().last().unwrap_or("it said nothing")
        )));
    }
    Ok(HostConfig::parse(
        &String::from_utf8_lossy(&output.stdout),
        around,
    ))
}

#[cfg(test)]
mod tests;
