//! Takes the cluster's lock on its managers and keeps it for as long as the guard lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fleet::lock::{Broken, HEARTBEAT, HELD, TAKEN, break_script, script};
use crate::fleet::{Fault, FaultKind};
use crate::ssh::{ScriptOptions, Session, SshStream, StreamTo};
use crate::state::{Owner, Token};

use super::{Live, Remote};

/// How long a host may take to say whether the lock is free.
const ANSWER: Duration = Duration::from_secs(30);

/// How long the hosts may take to let go when they are told to.
const LET_GO: Duration = Duration::from_secs(2);

/// How long breaking the lock may take on a host.
const BREAK: Duration = Duration::from_secs(30);

/// How long a connection may take to end after the shell on it has: a host that restarts ends both,
/// one after the other.
const BOTH_END: Duration = Duration::from_secs(5);
/// How long a host that reboots may take to come back, and how often it is tried.
const BACK: Duration = Duration::from_mins(25);
const BETWEEN: Duration = Duration::from_secs(5);

/// The lock, held until it is released or dropped.
#[derive(Debug)]
pub struct RemoteLock {
    hosts: Vec<String>,
    holders: Vec<JoinHandle<()>>,
    left: Arc<AtomicUsize>,
    lost: CancellationToken,
    done: CancellationToken,
}

impl RemoteLock {
    /// Lets go in peace: the shells see the end of their input and end by themselves. A lock that is
    /// dropped is free as soon, but costs each host a signal to the shell.
    pub async fn release(mut self) {
        self.done.cancel();
        let holders = std::mem::take(&mut self.holders);
        let _some_hosts_are_slow = timeout(LET_GO, join_all(holders)).await;
    }

    /// The hosts that it was taken on.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Ends when another skep may begin, so that this one must start nothing more: when no host
    /// holds the lock any more, or one has let go while we were connected, because somebody broke
    /// it. Of hosts whose connection was lost one that is left is enough: the other would ask it too.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    fn keep(&mut self, host: &str, session: Session, holder: Holder, again: Option<Again>) {
        self.hosts.push(host.to_owned());
        self.left.fetch_add(1, Ordering::SeqCst);
        let (left, lost) = (self.left.clone(), self.lost.clone());
        let done = self.done.clone();
        self.holders.push(tokio::spawn(async move {
            let (mut session, mut holder) = (session, holder);
            loop {
                if holder.hold(&done).await == Held::Released {
                    return;
                }
                // A host that reboots ends the shell some time before the connection: that is no sign of
                // a broken lock there, and whoever broke it has it when it is asked for again.
                let Some(again) = &again else { break };
                let taken = tokio::select! {
                    taken = again.take() => taken,
                    () = done.cancelled() => return,
                };
                match taken {
                    Some(taken) => (session, holder) = taken,
                    None => break,
                }
            }
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                lost.cancel();
                return;
            }
            let was_broken = async {
                // Where the host goes down, its end of the connection follows.
                sleep(BOTH_END).await;
                answers(&session).await
            };
            tokio::select! {
                broken = was_broken => if broken && again.is_none() { lost.cancel() },
                () = done.cancelled() => {}
            }
        }));
    }
}

impl Drop for RemoteLock {
    fn drop(&mut self) {
        for holder in &self.holders {
            holder.abort();
        }
    }
}

/// Why the lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("another skep works on this cluster (seen on `{host}`){}", describe(owner.as_deref()))]
    Taken {
        /// The host where it was seen.
        host: String,
        /// Who, when the host could say.
        owner: Option<Box<Owner>>,
        /// What the host said, by which [`Live::break_lock`] knows it again.
        record: String,
    },
    /// A host that can be reached could not hold it.
    #[error("cannot take the cluster's lock on `{host}`: {why}")]
    Cannot {
        /// The host.
        host: String,
        /// Why.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

fn describe(owner: Option<&Owner>) -> String {
    owner.map_or_else(String::new, |owner| format!(": {owner}"))
}

impl Live {
    /// Takes the lock on `managers`, in this order, so that two runs meet at the same host. One that
    /// cannot be reached is passed over: nothing can be done to it either. A run that the lock's
    /// owner started works under its lock, which it proves by the token `presented`.
    ///
    /// With `reboots` a host that goes down is expected back, and the lock is taken on it again;
    /// until then it counts as held there.
    pub async fn lock(
        &self,
        managers: &[String],
        owner: &Owner,
        presented: Option<&Token>,
        reboots: bool,
    ) -> Result<RemoteLock, LockError> {
        let mut lock = RemoteLock {
            hosts: Vec::new(),
            holders: Vec::new(),
            left: Arc::default(),
            lost: CancellationToken::new(),
            done: CancellationToken::new(),
        };
        // Those that are down cost their time together, not one after the other.
        let sessions = managers.iter().map(|host| async move {
            let session = self.remote(host)?.session().await;
            session.map(|session| (host, session))
        });
        for (host, session) in join_all(sessions).await.into_iter().flatten() {
            let holder = hold(host, &session, owner, presented).await?;
            let remote = self.remote(host).ok().filter(|_| reboots);
            let again = remote.map(|remote| Again {
                remote: remote.clone(),
                host: host.clone(),
                owner: owner.clone(),
                presented: presented.cloned(),
            });
            lock.keep(host, session, holder, again);
        }
        Ok(lock)
    }

    /// Makes the lock's owner let go of it, if it is still the one that left `record`, on all
    /// `managers` that can be reached.
    pub async fn break_lock(
        &self,
        managers: &[String],
        record: &str,
    ) -> Vec<(String, Result<Broken, Fault>)> {
        let script = break_script(record);
        let asked = managers.iter().map(|host| {
            let script = script.as_str();
            async move {
                let said = self.script_on(host, script, BREAK).await;
                let broken = said.and_then(|said| {
                    let unclear = || format!("the host said `{}`", said.trim());
                    Broken::parse(&said).ok_or_else(|| Fault::new(FaultKind::Failed, unclear()))
                });
                (host.clone(), broken)
            }
        });
        join_all(asked).await
    }
}

/// Whether the host still does what it is told over this connection.
async fn answers(session: &Session) -> bool {
    let options = ScriptOptions {
        deadline: ANSWER,
        root: false,
    };
    let said = timeout(ANSWER, session.script("true", &options, &|_, _| {})).await;
    matches!(said, Ok(Ok(output)) if output.status.is_success())
}

/// What it takes to take the lock on a host once more.
struct Again {
    remote: Arc<Remote>,
    host: String,
    owner: Owner,
    presented: Option<Token>,
}

impl Again {
    /// Waits until the host is back and holds the lock again; `None` where it does not come back in
    /// time, or somebody else has it.
    async fn take(&self) -> Option<(Session, Holder)> {
        let end = Instant::now() + BACK;
        while Instant::now() < end {
            sleep(BETWEEN).await;
            let Ok(session) = self.remote.session().await else {
                continue;
            };
            match hold(&self.host, &session, &self.owner, self.presented.as_ref()).await {
                Ok(holder) => return Some((session, holder)),
                Err(LockError::Taken { .. }) => return None,
                Err(LockError::Cannot { .. }) => {}
            }
        }
        None
    }
}

async fn hold(
    host: &str,
    session: &Session,
    owner: &Owner,
    presented: Option<&Token>,
) -> Result<Holder, LockError> {
    let cannot = |why: String| LockError::Cannot {
        host: host.to_owned(),
        why,
        hint: None,
    };
    let to = StreamTo::Command {
        script: script(owner, presented),
        root: true,
    };
    let stream = session.stream(&to).await;
    let stream = stream.map_err(|error| LockError::Cannot {
        host: host.to_owned(),
        why: error.to_string(),
        hint: error.hint(),
    })?;
    let (read, write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    let line = match timeout(ANSWER, lines.next_line()).await {
        Ok(Ok(Some(line))) => line,
        Ok(Ok(None)) => return Err(cannot("the host said nothing".to_owned())),
        Ok(Err(error)) => return Err(cannot(error.to_string())),
        Err(_) => return Err(cannot(format!("no answer within {} s", ANSWER.as_secs()))),
    };
    if let Some(record) = line.strip_prefix(TAKEN) {
        return Err(LockError::Taken {
            host: host.to_owned(),
            owner: serde_json::from_str(record).ok().map(Box::new),
            record: record.to_owned(),
        });
    }
    if line != HELD {
        return Err(cannot(format!("the host said `{line}`")));
    }
    Ok(Holder { lines, write })
}

/// The shell that holds the lock on one host.
struct Holder {
    lines: Lines<BufReader<ReadHalf<SshStream>>>,
    write: WriteHalf<SshStream>,
}

/// How the holding of a lock ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// We let go.
    Released,
    /// The host let go, or the connection was lost.
    Lost,
}

impl Holder {
    /// Keeps the lock until the host lets go, the connection is lost, or we are `done`.
    async fn hold(mut self, done: &CancellationToken) -> Held {
        let Self { lines, write } = &mut self;
        // The shell prints nothing more; the end of its output is its end.
        let ended = async { while matches!(lines.next_line().await, Ok(Some(_))) {} };
        let beat = async {
            while write.write_all(b".").await.is_ok() && write.flush().await.is_ok() {
                sleep(HEARTBEAT).await;
            }
        };
        tokio::select! {
            () = ended => return Held::Lost,
            () = beat => return Held::Lost,
            () = done.cancelled() => {}
        }
        // The end of its input ends the shell, and that of its output says that it has ended.
        let _gone = self.write.shutdown().await;
        while matches!(self.lines.next_line().await, Ok(Some(_))) {}
        Held::Released
    }
}
