//! Connections: opened within limits that sshd bears, shared where they are bastions.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use russh::client::{self, Handle};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::auth::{Failure, Offers, ROUNDS, Round};
use super::config::{self, HostConfig, Jump, Surroundings};
use super::peer::{HandlerError, Notes, Verifier, is_reset, say};
use super::session::Session;
use super::target::{Become, Resolved, Target};
use super::trust::Trust;
use super::{SshError, wrap};

/// Logins under way at one address at a time: sshd drops at random from 10 on (`MaxStartups`).
const OPENING_PER_ADDRESS: usize = 8;

/// `ssh -G` processes at a time.
const QUERIES: usize = 16;

/// Session channels at a time on one connection: sshd allows 10 (`MaxSessions`), and other
/// programs of the same user share nothing with us, but a bastion's multiplexer may.
const CHANNELS: usize = 4;

/// Bastions that may lead to bastions.
const DEPTH: usize = 8;

const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: usize = 3;

/// Settings of a [`Client`] that are not one host's.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `~/.ssh/config` is read, where `ssh` is installed.
    pub ssh_config: bool,
    /// After how much silence the host is asked whether it is still there; it is given up after
    /// three questions without an answer.
    pub keepalive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ssh_config: true,
            keepalive: KEEPALIVE,
        }
    }
}

type ConfigKey = (String, Option<String>, Option<u16>, Option<PathBuf>);
type Shared<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// Opens connections to hosts. One for the whole program; cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    around: Surroundings,
    queries: Semaphore,
    configs: Shared<ConfigKey, OnceCell<HostConfig>>,
    bastions: Shared<String, tokio::sync::Mutex<Option<Arc<Connection>>>>,
    opening: Shared<String, Semaphore>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// One connection, logged in.
pub(super) struct Connection {
    pub(super) handle: Handle<Verifier>,
    pub(super) notes: Notes,
    pub(super) channels: Arc<Semaphore>,
    pub(super) host: Resolved,
    /// Held so that the connection below lives as long as this one.
    _via: Option<Arc<Connection>>,
}

impl Client {
    /// A client that has no connection yet.
    pub fn new(options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                around: Surroundings::of_process(),
                queries: Semaphore::new(QUERIES),
                configs: Mutex::default(),
                bastions: Mutex::default(),
                opening: Mutex::default(),
            }),
        }
    }

    /// Asks `~/.ssh/config` and the defaults for what `target` leaves open.
    pub async fn resolve(&self, target: &Target) -> Result<Resolved, SshError> {
        let inner = &*self.inner;
        let config = if inner.options.ssh_config {
            let key = (
                target.address.clone(),
                target.user.clone(),
                target.port,
                target.config.clone(),
            );
            let cell = entry(&inner.configs, key, OnceCell::new);
            cell.get_or_try_init(|| async {
                let _turn = inner.queries.acquire().await;
                config::query(
                    &target.address,
                    target.user.as_deref(),
                    target.port,
                    target.config.as_deref(),
                    &inner.around,
                )
                .await
            })
            .await?
            .clone()
        } else {
            HostConfig::default()
        };
        config::resolve(target, config, &inner.around)
    }

    /// Connects to `target` and logs in: all within its connect timeout.
    pub async fn connect(&self, target: &Target) -> Result<Session, SshError> {
        let host = self.resolve(target).await?;
        let connection = self.open(target, host, 0).await?;
        Ok(Session::new(Arc::new(connection), target.root.clone()))
    }

    /// Logs in at a machine that is still starting: again and again until `deadline` has passed,
    /// with pauses of 1, 2, 4 and then 8 seconds.
    ///
    /// A refused login or host key ends it at once, because sshd bans whoever keeps failing.
    pub async fn wait_for_login(
        &self,
        target: &Target,
        deadline: Duration,
    ) -> Result<Session, SshError> {
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_secs(1);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.connect(target)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) if error.is_final() => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => {
                    return Err(SshError::Timeout {
                        address: target.address.clone(),
                        after: deadline,
                        last: None,
                    });
                }
            };
            if Instant::now() + pause >= end {
                return Err(SshError::Timeout {
                    address: target.address.clone(),
                    after: deadline,
                    last: Some(error.to_string()),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(8));
        }
    }

    /// Opens a connection, over bastions where there are any.
    fn open<'a>(
        &'a self,
        target: &'a Target,
        host: Resolved,
        depth: usize,
    ) -> BoxFuture<'a, Result<Connection, SshError>> {
        async move {
            let via = match host.jump.clone().as_slice() {
                [] => None,
                jumps => Some(self.bastion(target, jumps, depth + 1).await?),
            };
            let endpoint = host.endpoint();
            let opening = entry(&self.inner.opening, endpoint.clone(), || {
                Semaphore::new(OPENING_PER_ADDRESS)
            });
            // Waiting for one's turn is not the host's fault: the time starts after it.
            let _turn = opening.acquire().await;
            let after = host.connect_timeout;
            let end = Instant::now() + after;
            let mut last = None;
            match tokio::time::timeout_at(end, self.login(target, host, via, &mut last)).await {
                Ok(result) => result,
                Err(_) => Err(SshError::Timeout {
                    address: endpoint,
                    after,
                    last,
                }),
            }
        }
        .boxed()
    }

    /// The shared connection to the last of `jumps`, opened if it is not there or has ended.
    fn bastion<'a>(
        &'a self,
        target: &'a Target,
        jumps: &'a [String],
        depth: usize,
    ) -> BoxFuture<'a, Result<Arc<Connection>, SshError>> {
        async move {
            let Some((last, before)) = jumps.split_last() else {
                return Err(SshError::Config("no jump host is named".to_owned()));
            };
            if depth > DEPTH {
                return Err(SshError::Config(format!(
                    "more than {DEPTH} jump hosts lead to `{}`: is there a ring?",
                    target.name
                )));
            }
            let fail = |source| SshError::Jump {
                bastion: last.clone(),
                source: Box::new(source),
            };
            let jump = jump_target(target, last, before)?;
            let host = self.resolve(&jump).await.map_err(fail)?;
            let key = format!("{} {}@{}", host.jump.join(","), host.user, host.endpoint());
            let slot = entry(&self.inner.bastions, key, tokio::sync::Mutex::default);
            let mut slot = slot.lock().await;
            if let Some(open) = slot.as_ref().filter(|open| !open.handle.is_closed()) {
                return Ok(open.clone());
            }
            let connection = Arc::new(self.open(&jump, host, depth).await.map_err(fail)?);
            *slot = Some(connection.clone());
            Ok(connection)
        }
        .boxed()
    }

    /// Connects and logs in, anew where sshd hangs up on us for being busy and where more keys
    /// are to be offered than one connection bears.
    async fn login(
        &self,
        target: &Target,
        host: Resolved,
        via: Option<Arc<Connection>>,
        last: &mut Option<String>,
    ) -> Result<Connection, SshError> {
        let read = host.clone();
        let trust = tokio::task::spawn_blocking(move || Trust::read(&read))
            .await
            .map_err(|error| SshError::Config(error.to_string()))??;
        let trust = Arc::new(trust);
        let config = Arc::new(self.protocol(&trust));
        let offers = Offers::gather(target, &host).await?;
        let mut from = 0;
        let mut rounds = 0;
        let mut pause = Duration::from_millis(200);
        loop {
            let notes = Notes::default();
            let verifier = Verifier {
                trust: trust.clone(),
                notes: notes.clone(),
            };
            let attempt = async {
                let mut handle =
                    connect_once(&host, via.as_deref(), config.clone(), verifier).await?;
                let round = offers
                    .round(
                        &mut handle,
                        &host.user,
                        target.password.as_ref(),
                        from,
                        rounds + 1 == ROUNDS,
                    )
                    .await
                    .map_err(HandlerError::Protocol)?;
                Ok((handle, round))
            };
            match attempt.await {
                Ok((handle, Round::Done)) => {
                    return Ok(Connection {
                        handle,
                        notes,
                        channels: Arc::new(Semaphore::new(CHANNELS)),
                        host,
                        _via: via,
                    });
                }
                Ok((_, Round::Again(next))) => {
                    rounds += 1;
                    from = next;
                    continue;
                }
                Ok((_, Round::Failed(failure))) => return Err(refused(&host, failure, &notes)),
                Err(HandlerError::Trust(error)) => return Err(error),
                Err(HandlerError::Protocol(error)) if is_reset(&error) => {
                    *last = Some(notes.ended().unwrap_or_else(|| say(&error)));
                }
                Err(HandlerError::Protocol(error)) => {
                    return Err(SshError::Unreachable {
                        address: host.endpoint(),
                        reason: say(&error),
                    });
                }
            }
            let jitter = Duration::from_millis(wrap::random() % 300);
            tokio::time::sleep(pause + jitter).await;
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }

    fn protocol(&self, trust: &Trust) -> client::Config {
        let mut preferred = russh::Preferred::DEFAULT;
        let algorithms = trust.algorithms(&preferred.key);
        if trust.wants_certificates() {
            preferred.host_key_certificates = algorithms.clone().into();
        }
        preferred.key = algorithms.into();
        client::Config {
            preferred,
            nodelay: true,
            keepalive_interval: Some(self.inner.options.keepalive),
            keepalive_max: KEEPALIVES,
            ..client::Config::default()
        }
    }
}

async fn connect_once(
    host: &Resolved,
    via: Option<&Connection>,
    config: Arc<client::Config>,
    verifier: Verifier,
) -> Result<Handle<Verifier>, HandlerError> {
    match via {
        None => {
            let stream = TcpStream::connect((host.address.as_str(), host.port))
                .await
                .map_err(|error| HandlerError::Protocol(error.into()))?;
            // Worth having, not worth failing for.
            let _ = stream.set_nodelay(true);
            client::connect_stream(config, stream, verifier).await
        }
        Some(bastion) => {
            let channel = bastion
                .handle
                .channel_open_direct_tcpip(&host.address, u32::from(host.port), "127.0.0.1", 0)
                .await?;
            client::connect_stream(config, channel.into_stream(), verifier).await
        }
    }
}

/// The bastion as a target of its own. It has the keys of the host behind it, but never its
/// password: the two are different machines.
fn jump_target(behind: &Target, jump: &str, before: &[String]) -> Result<Target, SshError> {
    let jump = Jump::parse(jump)?;
    Ok(Target {
        user: jump.user,
        port: jump.port,
        identity: behind.identity.clone(),
        // The first bastion may have one of its own in the ssh config.
        jump: (!before.is_empty()).then(|| before.to_vec()),
        known_hosts: behind.known_hosts.clone(),
        host_key_check: behind.host_key_check,
        config: behind.config.clone(),
        connect_timeout: behind.connect_timeout,
        root: Become::No,
        passphrase: behind.passphrase.clone(),
        ..Target::new(&jump.host, &jump.host)
    })
}

fn refused(host: &Resolved, failure: Failure, notes: &Notes) -> SshError {
    if notes.is_booting() {
        return SshError::Unreachable {
            address: host.endpoint(),
            reason: "the system is still starting and lets nobody in yet".to_owned(),
        };
    }
    SshError::Auth {
        user: host.user.clone(),
        address: host.endpoint(),
        tried: failure.tried,
        methods: failure.methods,
        locked: failure.locked,
    }
}

fn entry<K: std::hash::Hash + Eq, V>(
    map: &Shared<K, V>,
    key: K,
    new: impl FnOnce() -> V,
) -> Arc<V> {
    map.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(key)
        .or_insert_with(|| Arc::new(new()))
        .clone()
}

/// Raises the number of files that this process may open to what the system allows it.
///
/// Every connection is one, and the usual soft limit of 1024 is too small for a thousand hosts.
pub fn raise_open_files() -> std::io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
