//! One host: its connection, and what can be sent over it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::docker::{Dial, Docker, Io};
use crate::fleet::{Fault, FaultKind};
use crate::plan::Step;
use crate::plan::script::{Script, explain};
use crate::provider::lab::Lab;
use crate::shell::{hex, quote};
use crate::ssh::{
    Become, Client, Exit, Output, ScriptOptions, Session, SshError, Stream, StreamTo, Target,
    Upload,
};

/// The engine's socket on every distribution.
const SOCKET: &str = "/var/run/docker.sock";

/// How many of a step's last lines a fault shows.
const TAIL: usize = 20;

/// The slowest line that files are brought over: 100 kB/s.
const BYTES_PER_SECOND: u64 = 100_000;

/// One host.
pub struct Remote {
    client: Client,
    name: String,
    way: Way,
    session: tokio::sync::Mutex<Option<Session>>,
}

/// How to get to a host.
enum Way {
    Target(Box<Target>),
    /// A host of the lab, whose address and keys are known once it exists.
    Lab(Arc<Lab>),
    /// A server of a cloud that is not made yet.
    NotMade,
}

impl Remote {
    /// A host that exists.
    pub fn new(client: Client, target: Target) -> Self {
        Self {
            client,
            name: target.name.clone(),
            way: Way::Target(Box::new(target)),
            session: tokio::sync::Mutex::new(None),
        }
    }

    /// A host of a lab.
    pub fn of_lab(client: Client, name: String, lab: Arc<Lab>) -> Self {
        Self {
            client,
            name,
            way: Way::Lab(lab),
            session: tokio::sync::Mutex::new(None),
        }
    }

    /// A server of a cloud that has none of this name yet.
    pub fn not_made(client: Client, name: String) -> Self {
        Self {
            client,
            name,
            way: Way::NotMade,
            session: tokio::sync::Mutex::new(None),
        }
    }

    /// How to log in.
    pub fn target(&self) -> Result<Target, Fault> {
        match &self.way {
            Way::Target(target) => Ok(Target::clone(target)),
            Way::NotMade => {
                let why = "the cloud has no such server of this cluster";
                Err(Fault::new(FaultKind::Unreachable, why).hint("`skep up` makes it."))
            }
            Way::Lab(lab) => {
                let login = lab.login(&self.name)?;
                Ok(Target {
                    user: Some(login.user),
                    port: Some(login.port),
                    identity: vec![login.identity],
                    known_hosts: Some(login.known_hosts),
                    // The user's own configuration is about other machines.
                    config: Some("/dev/null".into()),
                    jump: Some(Vec::new()),
                    root: Become::Sudo { password: None },
                    ..Target::new(self.name.clone(), login.address.to_string())
                })
            }
        }
    }

    /// How to log in, with `~/.ssh/config` and the defaults filled in.
    pub async fn resolve(&self) -> Result<crate::ssh::Resolved, Fault> {
        let target = self.target()?;
        self.client
            .resolve(&target)
            .await
            .map_err(|error| fault(&error))
    }

    /// The connection, made when there is none or it has ended.
    pub async fn session(&self) -> Result<Session, Fault> {
        let session = self.connect().await?;
        session.map_err(|error| fault(&error))
    }

    /// The same, with what went wrong on the way to the host.
    pub(super) async fn connect(&self) -> Result<Result<Session, SshError>, Fault> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Ok(session.clone()));
        }
        let target = self.target()?;
        let session = match self.client.connect(&target).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let found = session.resolved();
        let (address, port, user) = (&found.address, found.port, &found.user);
        tracing::debug!(host = self.name, address, port, user, "logged in");
        *slot = Some(session.clone());
        Ok(Ok(session))
    }

    /// Drops the connection, so that the next one who asks makes another.
    pub(super) async fn hang_up(&self) {
        *self.session.lock().await = None;
    }

    /// Waits until the host lets us log in. The deadline is for the whole of it, so nobody is to begin
    /// anew when it has passed.
    pub async fn wait_for_login(&self, deadline: Duration) -> Result<(), Fault> {
        let target = self.target()?;
        let session = self.client.wait_for_login(&target, deadline).await;
        let session = session.map_err(|error| {
            let told = fault(&error);
            match told.kind {
                FaultKind::Unreachable => Fault {
                    kind: FaultKind::TimedOut,
                    ..told
                },
                _ => told,
            }
        });
        *self.session.lock().await = Some(session?);
        Ok(())
    }

    /// Runs a script as root and gives what it printed.
    pub async fn run(
        &self,
        session: &Session,
        text: &str,
        deadline: Duration,
        on_line: &(dyn Fn(Stream, &str) + Send + Sync),
    ) -> Result<Output, Fault> {
        let options = ScriptOptions {
            deadline,
            root: true,
        };
        let began = tokio::time::Instant::now();
        let output = session.script(text, &options, on_line).await;
        let output = output.map_err(|error| fault(&error))?;
        tracing::debug!(
            host = self.name,
            sent = text.len(),
            received = output.stdout.len(),
            status = %output.status,
            seconds = began.elapsed().as_secs_f64(),
            "a script ended"
        );
        match &output.status {
            Exit::Lost(why) => Err(Fault::new(
                FaultKind::Lost,
                format!("the connection was lost: {why}"),
            )),
            Exit::Deadline(after) => Err(Fault::new(
                FaultKind::TimedOut,
                format!("it did not end within {} s", after.as_secs()),
            )),
            _ => Ok(output),
        }
    }

    /// Runs a script as root and gives what it printed within `deadline`, whether it ended or not. Where
    /// that is nothing at all, it is a fault.
    pub(super) async fn run_in_time(
        &self,
        session: &Session,
        text: &str,
        deadline: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let options = ScriptOptions {
            deadline,
            root: true,
        };
        let output = session.script(text, &options, &|_, _| {}).await;
        let output = output.map_err(|error| fault(&error))?;
        let why = match &output.status {
            Exit::Deadline(after) => format!("it did not end within {} s", after.as_secs()),
            Exit::Lost(why) => format!("the connection was lost: {why}"),
            _ => return Ok(output.stdout),
        };
        if output.stdout.is_empty() {
            return Err(Fault::new(FaultKind::TimedOut, why));
        }
        tracing::debug!(
            host = self.name,
            why,
            "what was answered until then is used"
        );
        Ok(output.stdout)
    }

    /// Runs the script of a step.
    pub(super) async fn step(
        &self,
        step: &Step,
        script: &Script,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let session = self.session().await?;
        let lines = Mutex::new(Vec::new());
        let on_line = |_: Stream, line: &str| {
            output(line);
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line.to_owned());
            let surplus = lines.len().saturating_sub(TAIL);
            lines.drain(..surplus);
        };
        let ended = self
            .run(&session, &script.text, script.deadline, &on_line)
            .await;
        let tail = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        let fault = match ended {
            Err(fault) => fault,
            Ok(output) if output.status.is_success() => return Ok(()),
            Ok(output) => {
                let why = match step {
                    // The executor names it.
                    Step::Hook(_) => output.status.to_string(),
                    _ => format!("{step}: {}", output.status),
                };
                let fault = Fault::new(FaultKind::Failed, why);
                let status = match output.status {
                    Exit::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
                    _ => u8::MAX,
                };
                match explain(step, status, &tail.join("\n")) {
                    Some(hint) => fault.hint(hint),
                    None => fault,
                }
            }
        };
        Err(Fault {
            output: tail,
            ..fault
        })
    }

    /// Removes from a folder what is not in `names`: package files of an earlier version would be
    /// installed with the new ones.
    pub(super) async fn keep_only(
        &self,
        folder: &str,
        names: impl Iterator<Item = &String>,
    ) -> Result<(), Fault> {
        let session = self.session().await?;
        let names: Vec<String> = names.map(|name| quote(&format!("./{name}"))).collect();
        let script = format!(
            "cd {} 2>/dev/null || exit 0\nfor file in ./*; do\n  case $file in {}) ;; *) rm -f -- \"$file\" ;; esac\ndone\n",
            quote(folder),
            names.join(" | "),
        );
        let deadline = Duration::from_mins(1);
        self.run(&session, &script, deadline, &|_, _| {})
            .await
            .map(drop)
    }

    /// Brings a file, unless the host has it already.
    pub(super) async fn upload(
        &self,
        from: &Path,
        folder: &str,
        name: &str,
        sha256: &str,
    ) -> Result<(), Fault> {
        let failed = |error: io::Error| {
            let shown = from.display();
            Fault::new(FaultKind::Failed, format!("cannot read `{shown}`: {error}"))
        };
        let session = self.session().await?;
        let path = format!("{folder}/{name}");
        let check = format!(
            "mkdir -p {folder}\necho {sum} | sha256sum -c --status - 2>/dev/null && echo same\ntrue\n",
            folder = quote(folder),
            sum = quote(&format!("{sha256}  {path}")),
        );
        let check = self
            .run(&session, &check, Duration::from_mins(2), &|_, _| {})
            .await?;
        if check.stdout.starts_with(b"same") {
            return Ok(());
        }
        let mut file = tokio::fs::File::open(from).await.map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.len();
        // The plan promised these bytes; a file that was changed since is not sent.
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer).await.map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
        if hex(&hash.finalize()) != sha256 {
            let why = format!("`{}` has changed since the plan was made", from.display());
            return Err(Fault::new(FaultKind::Refused, why).hint("Run the command again."));
        }
        let file = tokio::fs::File::open(from).await.map_err(failed)?;
        let upload = Upload {
            path,
            mode: 0o644,
            owner: None,
            size,
            root: true,
            deadline: Duration::from_secs(60 + size / BYTES_PER_SECOND),
        };
        session
            .upload(&upload, file)
            .await
            .map_err(|error| fault(&error))
    }

    /// The host's engine.
    pub fn docker(self: &Arc<Self>) -> Docker {
        Docker::new(self.clone())
    }
}

impl Dial for Remote {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let session = self.session().await.map_err(io::Error::other)?;
            // sshd opens the socket as the login user, who need not be in the group `docker`.
            let to = if session.user() == "root" {
                StreamTo::Socket(SOCKET.to_owned())
            } else {
                StreamTo::Command {
                    script: "exec docker system dial-stdio".to_owned(),
                    root: true,
                }
            };
            let stream = session.stream(&to).await.map_err(io::Error::other)?;
            tracing::debug!(host = self.name, "a stream to the engine");
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// What an SSH error means to a run.
pub(crate) fn fault(error: &SshError) -> Fault {
    let kind = if error.is_unreachable() {
        FaultKind::Unreachable
    } else if error.is_unknown() {
        FaultKind::Lost
    } else {
        FaultKind::Failed
    };
    let fault = Fault::new(kind, error.to_string());
    match error.hint() {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
