//! The real fleet: hosts over SSH, engines over Docker's API through the same connections, and the
//! containers of a local lab.

mod audit;
mod backup;
mod cloud;
mod drain;
pub mod drill;
mod hook;
pub mod keyfile;
mod lock;
mod ports;
mod power;
mod rebalance;
mod reboot;
mod recover;
mod remote;
mod rotate;
mod shutdown;
mod start;
mod swarm;
mod switch;
mod target;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use crate::facts::{self, HostFacts, Probes};
use crate::inventory::{HookPlace, Inventory, Provider};
use crate::known::Known;
use crate::openstack::BoxedCloud;
use crate::plan::{BackupCall, CloudCall, HostCall, LabCall, PowerWay, Step, script};
use crate::provider::lab::Lab;
use crate::record::Record;
use crate::ssh::{Client, Options};
use crate::state::Token;

use super::{Fault, FaultKind, Fleet};

pub use backup::Keys;
pub(crate) use backup::contents;
pub use cloud::CloudRun;
pub use lock::{LockError, RemoteLock};
pub use remote::Remote;
pub(crate) use remote::fault;
pub use switch::Powered;
pub use target::{Secrets, target};

/// How long to wait for a step that a lost run left on a host. APT and a package's scripts are the
/// longest; a run that is cut leaves at most one of them.
const BUSY: Duration = Duration::from_mins(5);

/// How long a host may take to answer even where the time for that is over.
const LATE: Duration = Duration::from_secs(5);

/// The real fleet.
pub struct Live {
    remotes: HashMap<String, Arc<Remote>>,
    /// How they are switched on and off from here.
    ways: HashMap<String, PowerWay>,
    lab: Option<Arc<Lab>>,
    /// The cloud, where there is one.
    cloud: OnceLock<CloudRun>,
    /// The inventory's file, for hooks.
    inventory: PathBuf,
    /// The token of the run's lock, for hooks on this machine.
    token: OnceLock<Token>,
    /// The passwords of controllers that switch machines on and off.
    of_power: OnceLock<Secrets>,
    /// The unlock key that the user gave.
    unlock_key: OnceLock<SecretString>,
    /// The record of a shutdown that is being carried out: it may hold secrets.
    record: Mutex<Option<Arc<Record>>>,
    /// The secrets that files of playbooks hold.
    of_playbook: OnceLock<Secrets>,
    /// The unlock key that is to be printed when all is done.
    brought_key: Mutex<Option<SecretString>>,
    /// What opens an archive and unlocks what was in it.
    keys: OnceLock<Keys>,
    /// How long all gathering may take where there is a hurry, and when it must be over.
    gather_budget: OnceLock<Duration>,
    gather_until: OnceLock<Instant>,
}

impl Live {
    /// The fleet of an inventory. Nobody is connected to yet; what hosts of the lab need for a
    /// login is asked when it is needed, because they may not exist yet.
    pub fn new(inventory: &Inventory, secrets: &Secrets, lab: Option<Arc<Lab>>) -> Self {
        let client = Client::new(Options::default());
        let remotes = inventory.hosts.iter().map(|host| {
            let remote = match (&lab, host.provider) {
                (Some(lab), Provider::Lab) => {
                    Remote::of_lab(client.clone(), host.name.clone(), lab.clone())
                }
                (_, Provider::OpenStack) if host.address.is_none() => {
                    Remote::not_made(client.clone(), host.name.clone())
                }
                _ => Remote::new(client.clone(), target(inventory, host, secrets)),
            };
            (host.name.clone(), Arc::new(remote))
        });
        let ways = inventory.hosts.iter();
        let ways = ways.map(|host| (host.name.clone(), PowerWay::of(host)));
        Self {
            remotes: remotes.collect(),
            ways: ways.collect(),
            lab,
            cloud: OnceLock::new(),
            inventory: inventory.path.clone(),
            token: OnceLock::new(),
            of_power: OnceLock::new(),
            unlock_key: OnceLock::new(),
            record: Mutex::default(),
            of_playbook: OnceLock::new(),
            brought_key: Mutex::new(None),
            keys: OnceLock::new(),
            gather_budget: OnceLock::new(),
            gather_until: OnceLock::new(),
        }
    }

    /// Bounds all gathering: so long after it began it must be over, and what was answered until then is
    /// all that is known.
    pub fn hurry(&self, budget: Duration) {
        // A run has one deadline.
        let _first = self.gather_budget.set(budget);
    }

    /// When all gathering must be over, where there is a hurry.
    fn gather_until(&self) -> Option<Instant> {
        let budget = self.gather_budget.get()?;
        Some(*self.gather_until.get_or_init(|| Instant::now() + *budget))
    }

    /// Whether the time for gathering is over.
    pub fn is_late(&self) -> bool {
        (self.gather_until.get()).is_some_and(|until| Instant::now() >= *until)
    }

    /// Lets the hooks that run on this machine work under the lock of this run.
    pub fn lend(&self, token: &Token) {
        // One run has one lock.
        let _first = self.token.set(token.clone());
    }

    /// Keeps the cloud that servers are made on.
    pub fn keep_cloud(&self, cloud: BoxedCloud) {
        // An inventory has one cloud.
        let _first = self.cloud.set(CloudRun::new(cloud));
    }

    async fn in_cloud(
        &self,
        call: &CloudCall,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        self.cloud()?.call(call, output).await
    }

    fn cloud(&self) -> Result<&CloudRun, Fault> {
        let none = || Fault::new(FaultKind::Failed, "this inventory has no cloud");
        self.cloud.get().ok_or_else(none)
    }

    /// Keeps the secrets of the playbook that is run; they are filled in only where a file that
    /// holds them is written. Those of the first one stay.
    pub fn keep(&self, secrets: Secrets) {
        // A run has one playbook.
        let _first = self.of_playbook.set(secrets);
    }

    /// Keeps the passwords of the controllers that switch machines on and off. The first ones stay.
    pub fn keep_power(&self, secrets: Secrets) {
        // They are looked up once in a run.
        let _first = self.of_power.set(secrets);
    }

    /// Keeps the swarm's unlock key. The first one stays.
    pub fn keep_unlock_key(&self, key: SecretString) {
        // It is asked for once in a run.
        let _first = self.unlock_key.set(key);
    }

    /// Keeps the record of a shutdown that is to be carried out, in place of another.
    pub fn keep_record(&self, record: Record) {
        let mut slot = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Arc::new(record));
    }

    /// The record that was kept.
    fn kept_record(&self) -> Option<Arc<Record>> {
        let slot = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        slot.clone()
    }

    /// Whether a machine has power, as far as somebody can be asked.
    pub async fn powered(&self, host: &str, way: &PowerWay) -> Result<Powered, Fault> {
        switch::status(self, host, way).await
    }

    /// Keeps what opens the archive that is restored; those of the first one stay.
    pub fn keep_keys(&self, keys: Keys) {
        // A run restores one archive.
        let _first = self.keys.set(keys);
    }

    /// Writes a file that holds secrets.
    async fn render_file(
        &self,
        host: &str,
        step: &Step,
        call: &HostCall,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let HostCall::RenderFile {
            path,
            template,
            vars,
            secrets,
            mode,
            owner,
        } = call
        else {
            return Err(Fault::new(FaultKind::Failed, "this holds no secret"));
        };
        let mut vars = vars.clone();
        for (name, reference) in secrets {
            let found = self
                .of_playbook
                .get()
                .and_then(|kept| kept.get(Some(reference)));
            let secret = found.ok_or_else(|| {
                Fault::new(
                    FaultKind::Failed,
                    format!("nobody looked up the secret `{name}`"),
                )
            })?;
            vars.insert(name.clone(), secret.expose_secret().into());
        }
        let content = template.render(&vars);
        let content = content.map_err(|error| Fault::new(FaultKind::Failed, error.to_string()))?;
        let script = script::file_script(step, path, &content, *mode, owner);
        self.remote(host)?.step(step, &script, output).await
    }

    /// The host of that name.
    pub fn remote(&self, host: &str) -> Result<&Arc<Remote>, Fault> {
        self.remotes
            .get(host)
            .ok_or_else(|| Fault::new(FaultKind::Failed, format!("no host is named `{host}`")))
    }

    /// The first of `managers` that has quorum.
    pub async fn healthy_manager(&self, managers: &[String]) -> Result<String, Fault> {
        // All at once: one that is down must not hold up the answer of another.
        let asked = managers.iter().map(|name| {
            let one = std::slice::from_ref(name);
            Box::pin(swarm::healthy(self, one, None))
        });
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return Err(Fault::new(FaultKind::Failed, "no host is a manager"));
        }
        let (manager, _others) = futures::future::select_ok(asked).await?;
        Ok(manager.name)
    }

    async fn gather_once(&self, host: &str, probes: &Probes) -> Result<HostFacts, Fault> {
        let remote = self.remote(host)?;
        let nonce = crate::ssh::nonce();
        let text = facts::script(probes, &nonce);
        let session = remote.session().await?;
        let asked = now();
        let stdout = match self.gather_until() {
            None => {
                let quiet = |_, _: &str| {};
                let output = remote.run(&session, &text, facts::DEADLINE, &quiet).await?;
                output.stdout
            }
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let deadline = left.clamp(LATE, facts::DEADLINE);
                let text = facts::limited(&text, deadline);
                remote.run_in_time(&session, &text, deadline).await?
            }
        };
        let mut facts = facts::parse(probes, &nonce, &stdout);
        // What matters of a clock is how far it is from others: the hosts are asked at different
        // moments, so each is compared with our own clock in the middle of its answer.
        if let Known::Value(clock) = &mut facts.clock {
            *clock -= f64::midpoint(asked, now());
        }
        Ok(facts)
    }

    async fn upload(
        &self,
        host: &str,
        from: &Path,
        to: &str,
        files: &BTreeMap<String, String>,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let remote = self.remote(host)?;
        remote.keep_only(to, files.keys()).await?;
        for (name, sha256) in files {
            output(name);
            remote.upload(&from.join(name), to, name, sha256).await?;
        }
        Ok(())
    }

    async fn lab(
        &self,
        host: &str,
        call: &LabCall,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let Some(lab) = &self.lab else {
            return Err(Fault::new(FaultKind::Failed, "this inventory has no lab"));
        };
        let done = match call {
            LabCall::Create => lab.create(host, output).await,
            LabCall::Start => lab.start(host).await,
            LabCall::Off => {
                let done = lab.kill(host).await;
                // The connection would be found dead only when its keepalives are missed.
                self.remote(host)?.hang_up().await;
                done
            }
            LabCall::Destroy => {
                let done = lab.remove(host).await;
                self.remote(host)?.hang_up().await;
                done
            }
            LabCall::Part { from } => return self.part(host, from).await,
            LabCall::Join => return self.join(host).await,
            LabCall::EmptyDisk => return self.empty_disk(host).await,
        };
        done.map_err(Fault::from)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

impl Fleet for Live {
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        Box::pin(async move {
            let mut until = Instant::now() + BUSY;
            if let Some(hurry) = self.gather_until() {
                until = until.min(hurry);
            }
            loop {
                let facts = self.gather_once(host, probes).await?;
                let busy = matches!(facts.busy, Known::Value(_));
                if !busy || Instant::now() > until {
                    return Ok(facts);
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        })
    }

    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            match step {
                Step::Docker(call) => swarm::call(self, host, call, output).await,
                Step::Rotate(call) => rotate::call(self, host, step, call, output).await,
                Step::Wait {
                    condition,
                    deadline,
                } => {
                    let deadline = Duration::from_secs(u64::from(*deadline));
                    wait::until(self, host, condition, deadline, output).await
                }
                Step::Reboot { boot_id } => {
                    reboot::reboot(self.remote(host)?, boot_id, output).await
                }
                Step::PowerOff {
                    deadline,
                    force,
                    here,
                } => {
                    let off = power::Off {
                        deadline: Duration::from_secs(u64::from(*deadline)),
                        force: *force,
                        here: here.as_deref(),
                        way: self.ways.get(host),
                    };
                    power::off(self, host, &off, output).await
                }
                Step::Shutdown(call) => shutdown::step(self, host, step, call, output).await,
                Step::Start(step) => start::step(self, host, step, output).await,
                Step::Power(call) => switch::power(self, host, call, output).await,
                Step::Pause { seconds } => {
                    tokio::time::sleep(Duration::from_secs(u64::from(*seconds))).await;
                    Ok(())
                }
                Step::Host(call @ HostCall::RenderFile { .. }) => {
                    self.render_file(host, step, call, output).await
                }
                Step::Backup(
                    call @ (BackupCall::Fetch { .. }
                    | BackupCall::Bring { .. }
                    | BackupCall::Wake { .. }),
                ) => backup::call(self, host, call, output).await,
                Step::Lab(call) => self.lab(host, call, output).await,
                Step::Cloud(call) => self.in_cloud(call, output).await,
                Step::Upload { from, to, files } => {
                    self.upload(host, from, to, files, output).await
                }
                Step::Hook(hook) if hook.hook.at == HookPlace::Here => {
                    hook::here(hook, &self.inventory, self.token.get(), output).await
                }
                _ => match script::script(step) {
                    Some(script) => self.remote(host)?.step(step, &script, output).await,
                    None => Err(Fault::new(
                        FaultKind::Failed,
                        format!("nothing carries out `{step}`"),
                    )),
                },
            }
        })
    }
}
