//! New secrets for a swarm. Whether it was done is read from the managers afterwards, not from the
//! answer to the call, which can be lost.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep};

use crate::docker::{Docker, DockerError, NodeIssuer, Rotation, digest};
use crate::fleet::{Fault, FaultKind};
use crate::plan::step::{KEY_NOTE, KeyNote, KeyTo, RotateCall, WhichKey};
use crate::plan::{Step, script};

use super::swarm::fault;
use super::{Live, keyfile};

/// How often the nodes are counted that have new certificates.
const EVERY: Duration = Duration::from_secs(1);

/// After how long it is said who is waited for, where that has not changed.
const SAY: Duration = Duration::from_secs(10);

impl Live {
    /// The unlock key that a step brought here to be printed; it is forgotten here.
    pub fn brought_key(&self) -> Option<SecretString> {
        let mut slot = self.brought_key.lock();
        slot.as_mut().map_or_else(|_| None, |slot| slot.take())
    }
}

/// Carries out `call` on `host`.
pub(super) async fn call(
    live: &Live,
    host: &str,
    step: &Step,
    call: &RotateCall,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let docker = live.remote(host)?.docker();
    match call {
        RotateCall::Tokens { worker, manager } => {
            let old = Old {
                worker: worker.as_deref(),
                manager: manager.as_deref(),
                ..Old::default()
            };
            make_new(&docker, old).await
        }
        RotateCall::UnlockKey { from } => {
            let old = Old {
                key: Some(from),
                ..Old::default()
            };
            make_new(&docker, old).await
        }
        RotateCall::TakeUnlockKey { to, which } => take(live, &docker, to, which).await,
        RotateCall::NoteUnlockKey { by } => {
            let note = KeyNote {
                time: Timestamp::now(),
                who: by.clone(),
                sha256: digest(key_of(&docker).await?.expose_secret()),
            };
            let text = serde_json::to_string(&note);
            let text = text.map_err(|error| Fault::new(FaultKind::Failed, error.to_string()))?;
            let script = script::file_script(step, KEY_NOTE, &(text + "\n"), 0o600, "root:root");
            live.remote(host)?.step(step, &script, output).await
        }
        RotateCall::Authority {
            from,
            cert_expiry_days,
            without,
            deadline,
            ..
        } => {
            if let Some(from) = from {
                begin(&docker, from, *cert_expiry_days).await?;
            }
            let deadline = Duration::from_secs(u64::from(*deadline));
            wait_for_certificates(&docker, without, deadline, output).await
        }
    }
}

/// The digests of what is to be made anew.
#[derive(Default)]
struct Old<'a> {
    worker: Option<&'a str>,
    manager: Option<&'a str>,
    key: Option<&'a str>,
}

impl Old<'_> {
    /// What of it the managers still have.
    async fn still(&self, docker: &Docker) -> Result<Rotation, DockerError> {
        let mut still = Rotation::default();
        if self.worker.is_some() || self.manager.is_some() {
            let (worker, manager) = docker.token_digests().await?;
            still.worker_token = self.worker == Some(worker.as_str());
            still.manager_token = self.manager == Some(manager.as_str());
        }
        if let Some(old) = self.key {
            let key = docker.unlock_key().await?;
            still.unlock_key = key.is_some_and(|key| digest(key.expose_secret()) == old);
        }
        Ok(still)
    }
}

/// Makes anew what is still the old one, and looks whether it is. A call without an answer may have been
/// carried out: what is new is not made anew once more.
async fn make_new(docker: &Docker, old: Old<'_>) -> Result<(), Fault> {
    let what = old.still(docker).await.map_err(|error| fault(&error))?;
    if what == Rotation::default() {
        return Ok(());
    }
    let made = docker.rotate(what).await;
    match (old.still(docker).await, made) {
        (Ok(still), _) if still == Rotation::default() => Ok(()),
        (Ok(_), Ok(())) => Err(Fault::new(
            FaultKind::Failed,
            "the managers took the order, and it is still the old one",
        )),
        (_, Err(error)) | (Err(error), Ok(())) => Err(fault(&error)),
    }
}

async fn key_of(docker: &Docker) -> Result<SecretString, Fault> {
    let key = docker.unlock_key().await.map_err(|error| fault(&error))?;
    key.ok_or_else(|| {
        Fault::new(
            FaultKind::Refused,
            "the swarm has no unlock key: autolock is off",
        )
    })
}

async fn take(live: &Live, docker: &Docker, to: &KeyTo, which: &WhichKey) -> Result<(), Fault> {
    let key = key_of(docker).await?;
    if !which.fits(&digest(key.expose_secret())) {
        let why = match which {
            WhichKey::Is(_) => "the unlock key has been changed since the plan was made",
            WhichKey::Not(_) => "the managers still have the old unlock key",
        };
        return Err(Fault::new(FaultKind::Refused, why).hint("Run the command again."));
    }
    match to {
        KeyTo::File(path) => keyfile::write(path, &key),
        KeyTo::Output => {
            if let Ok(mut slot) = live.brought_key.lock() {
                *slot = Some(key);
            }
            Ok(())
        }
    }
}

/// Orders a new authority, unless the issuer is not `from` any more.
async fn begin(docker: &Docker, from: &str, days: Option<u32>) -> Result<(), Fault> {
    let Err(error) = docker.rotate_authority(from, days).await else {
        return Ok(());
    };
    match docker.authority().await {
        Ok(state) if state.issuer != from => Ok(()),
        _ => Err(fault(&error)),
    }
}

/// Waits until all nodes but those `without` have certificates of the present authority.
async fn wait_for_certificates(
    docker: &Docker,
    without: &[String],
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let began = Instant::now();
    let mut said = (String::new(), began);
    loop {
        // A question without an answer is asked again: managers may just be electing a leader.
        let seen = match look(docker, without).await {
            Ok(None) => return Ok(()),
            Ok(Some(seen)) => seen,
            Err(error) => error.to_string(),
        };
        if began.elapsed() >= deadline {
            let message = format!("not done after {} s: {seen}", deadline.as_secs());
            return Err(Fault::new(FaultKind::TimedOut, message).hint(
                "The managers go on with it by themselves. Bring the nodes back, or remove them; `skep rotate ca` again only waits for the end.",
            ));
        }
        if said.0 != seen || said.1.elapsed() >= SAY {
            output(&seen);
            said = (seen, Instant::now());
        }
        sleep(EVERY).await;
    }
}

/// `None` when all have their certificates, else who has not.
async fn look(docker: &Docker, without: &[String]) -> Result<Option<String>, DockerError> {
    let state = docker.authority().await?;
    let nodes = docker.node_issuers().await?;
    let late: Vec<&NodeIssuer> = nodes
        .iter()
        .filter(|node| node.issuer != state.issuer && !without.contains(&node.id))
        .collect();
    let done = late.is_empty() && (!state.rotating || !without.is_empty());
    Ok((!done).then(|| {
        let names: Vec<String> = late
            .iter()
            .map(|node| format!("{} ({})", node.hostname, node.state))
            .collect();
        let (all, new) = (nodes.len(), nodes.len() - late.len());
        let rest = if names.is_empty() {
            "the managers are about to end it".to_owned()
        } else {
            format!("waiting for {}", names.join(", "))
        };
        format!("{new} of {all} nodes have new certificates; {rest}")
    }))
}
