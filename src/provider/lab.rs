//! Labs: clusters of containers on this machine that skep makes and ends itself.
//!
//! Each host is a container with systemd and sshd, on a Docker Engine that belongs to the lab alone;
//! an engine that this machine has already is never touched. Or each is a virtual machine, with a
//! kernel and disks of its own. `docs/lab.md` says what is made where.

mod addresses;
mod dirs;
mod docker;
mod end;
mod engine;
mod error;
mod host;
mod image;
mod life;
mod network;
mod preflight;
mod record;
mod vm;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use dirs::{DEFAULT_ROOT, Dirs, ROOT_VARIABLE};
pub use error::LabError;
pub use host::{capabilities_to_drop, container_name, name_servers, network_name};
pub use image::{RELEASES, Recipe};
use ipnet::Ipv4Net;
pub use network::{POOL, address, free_subnet, gateway, routed};
pub use preflight::{Machine, Needs, decide};

use crate::inventory::{self, Inventory, LabDriver, Provider};
use docker::{CLUSTER_LABEL, Container, Docker, HOST_LABEL};
use engine::Engine;
use record::Record;

/// Where lines about what is being done go.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// The lab of one inventory.
#[derive(Debug)]
pub struct Lab {
    cluster: String,
    inventory: PathBuf,
    settings: inventory::Lab,
    /// The lab's hosts in the order of the inventory, with the address that it gives.
    hosts: Vec<(String, Option<Ipv4Addr>)>,
    /// The sizes of the extra disks of each, in bytes.
    disks: Vec<Vec<u64>>,
    dirs: Dirs,
    engine: Engine,
    /// Held while addresses are given out and the record is written.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Bounds how many machines boot at once.
    booting: Arc<tokio::sync::Semaphore>,
}

/// A host of a lab, as it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LabHost {
    /// Its name in the inventory.
    pub name: String,
    /// What it does.
    pub state: LabState,
    /// Its address; it stays the same over restarts.
    pub address: Option<Ipv4Addr>,
    /// How to log in; `None` without an address.
    pub login: Option<LabLogin>,
}

/// What a host of a lab does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabState {
    /// It runs.
    Running,
    /// It is switched off, or its engine is.
    Stopped,
    /// It is frozen.
    Paused,
    /// It runs and is cut off from the network.
    Cut,
    /// It is being made or ended by something else, or broken.
    Other,
}

impl std::fmt::Display for LabState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Cut => "cut off",
            Self::Other => "broken",
        })
    }
}

/// How to log in to a host of a lab.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LabLogin {
    /// The address.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The login name: `root`. The account `skep` with sudo opens to the same key.
    pub user: String,
    /// The private key file.
    pub identity: PathBuf,
    /// The file of host keys: complete and right from the first connection on.
    pub known_hosts: PathBuf,
}

/// A lab on this machine, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LabSummary {
    /// The cluster's name.
    pub cluster: String,
    /// The inventory that it was made from.
    pub inventory: PathBuf,
    /// Its hosts.
    pub hosts: Vec<LabHost>,
}

impl Lab {
    /// The lab of `inventory`, under [`Dirs::from_env`]. Nothing is touched yet.
    pub fn open(inventory: &Inventory) -> Result<Self, LabError> {
        Self::open_at(inventory, Dirs::from_env())
    }

    /// The lab of `inventory` under `dirs`. Nothing is touched yet.
    pub fn open_at(inventory: &Inventory, dirs: Dirs) -> Result<Self, LabError> {
        let lab_hosts = inventory
            .hosts
            .iter()
            .filter(|host| host.provider == Provider::Lab);
        let disks = lab_hosts.clone().map(|host| host.disks.clone()).collect();
        let hosts: Vec<_> = lab_hosts
            .map(|host| {
                let address = host.address.as_deref();
                (
                    host.name.clone(),
                    address.and_then(|text| text.parse().ok()),
                )
            })
            .collect();
        let names = hosts.iter().map(|(name, _)| name);
        for name in names.chain([&inventory.cluster]) {
            check_name(name)?;
        }
        network::wanted(inventory.lab.subnet)?;
        Ok(Self {
            cluster: inventory.cluster.clone(),
            inventory: std::path::absolute(&inventory.path)
                .unwrap_or_else(|_| inventory.path.clone()),
            settings: inventory.lab.clone(),
            hosts,
            disks,
            engine: Engine::new(&dirs),
            dirs,
            writing: Arc::default(),
            booting: Arc::new(tokio::sync::Semaphore::new(
                std::thread::available_parallelism().map_or(1, usize::from),
            )),
        })
    }

    fn dir(&self) -> PathBuf {
        self.dirs.lab(&self.cluster)
    }

    /// Whether its hosts are virtual machines.
    pub fn is_vm(&self) -> bool {
        self.settings.driver == LabDriver::Vm
    }

    fn docker(&self) -> Docker {
        self.engine.docker()
    }

    fn label(&self) -> String {
        format!("{CLUSTER_LABEL}={}", self.cluster)
    }

    /// What must be installed, started or made before hosts can be; for a person to agree to.
    pub async fn preflight(&self) -> Result<Needs, LabError> {
        let packages = decide(&preflight::look(self.settings.driver))?;
        if self.is_vm() {
            let image = !self.vm_image_exists().await?;
            return Ok(Needs {
                packages,
                engine: false,
                image: image.then(|| self.settings.release.clone()),
            });
        }
        let engine = !self.engine.runs().await;
        let recipe = image::recipe(&self.settings).await?;
        // A stopped engine cannot tell; making sure costs nothing when the image is there.
        let image = engine && !self.dirs.engine_data().join("image").exists()
            || !engine && !image::exists(&self.docker(), &recipe).await;
        Ok(Needs {
            packages,
            engine,
            image: image.then(|| recipe.release.clone()),
        })
    }

    /// Installs, starts and makes what [`preflight`](Self::preflight) names, and the cluster's
    /// network. Does nothing where all is there.
    pub async fn prepare(&self, progress: Progress<'_>) -> Result<(), LabError> {
        let packages = decide(&preflight::look(self.settings.driver))?;
        let _lock = self.lock().await?;
        self.check_owner()?;
        preflight::install(&packages, progress).await?;
        let comment = format!("skep lab {}", self.cluster);
        if self.is_vm() {
            self.vm_prepare(progress).await?;
            record::key_pair(&record::identity(&self.dir()), &comment).await?;
            return Ok(());
        }
        self.engine.start(progress).await?;
        let recipe = image::recipe(&self.settings).await?;
        image::build(&self.dirs, &self.docker(), &recipe, progress).await?;
        let subnet = self.make_network().await?;
        // From here on another root's lab that ends sees our bridge; before, it may have ended this.
        self.engine.start_forwarding()?;
        self.write_resolv_conf()?;
        network::open_way_out(subnet, &self.bridge()).await?;
        record::key_pair(&record::identity(&self.dir()), &comment).await?;
        Ok(())
    }

    /// The hosts that exist, by name. Empty where there is no lab. Works without an engine and
    /// without root, as far as the lab's directory may be read.
    pub async fn reflect(&self) -> Result<Vec<LabHost>, LabError> {
        hosts_of(&self.dirs, &self.engine, &self.cluster).await
    }

    /// The network that its hosts are in, or the range that one is taken from when it is made.
    pub fn network(&self) -> Ipv4Net {
        let made = Record::load(&self.dir()).map(|record| record.subnet);
        let wanted = || network::wanted(self.settings.subnet).ok().flatten();
        made.or_else(wanted).unwrap_or(network::POOL)
    }

    /// How to log in to a host, which need not run.
    pub fn login(&self, host: &str) -> Result<LabLogin, LabError> {
        let record = Record::load(&self.dir());
        let found =
            record.and_then(|record| Some((record.driver, record.hosts.get(host)?.address)));
        let (driver, address) = found.ok_or_else(|| LabError::NoHost(host.to_owned()))?;
        Ok(login(&self.dir(), driver, address))
    }

    /// Ends the lab: removes what was made for this cluster, and ends the engine when no other
    /// cluster uses it. The image stays for the next time, unless `purge` is set and no other
    /// cluster is left.
    pub async fn down(&self, purge: bool, progress: Progress<'_>) -> Result<(), LabError> {
        end::end(&self.dirs, &self.engine, &self.cluster, purge, progress).await
    }

    async fn remove_containers(&self, names: &[String]) -> Result<(), LabError> {
        end::remove_containers(&self.docker(), names).await
    }

    fn index(&self, host: &str) -> Result<usize, LabError> {
        let found = self.hosts.iter().position(|(name, _)| name == host);
        found.ok_or_else(|| LabError::NoHost(host.to_owned()))
    }

    async fn containers(&self) -> Result<Vec<Container>, LabError> {
        if !self.engine.runs().await {
            return Err(LabError::NoEngine);
        }
        self.docker().containers(&self.label()).await
    }

    async fn container(&self, host: &str) -> Result<Container, LabError> {
        let containers = self.containers().await?;
        containers
            .into_iter()
            .find(|container| {
                container
                    .labels
                    .get(HOST_LABEL)
                    .is_some_and(|name| name == host)
            })
            .ok_or_else(|| LabError::NoHost(host.to_owned()))
    }

    fn record(&self) -> Result<Record, LabError> {
        Record::load(&self.dir()).ok_or_else(|| LabError::Unfit {
            message: format!("the lab `{}` is not prepared", self.cluster),
            hint: "Run `skep up`.".to_owned(),
        })
    }

    /// Two inventories with one cluster name would fight over the same hosts.
    fn check_owner(&self) -> Result<(), LabError> {
        match Record::load(&self.dir()) {
            Some(record) if record.driver != self.settings.driver && !record.hosts.is_empty() => {
                Err(LabError::Unfit {
                    message: format!(
                        "the hosts of the lab `{}` are {}",
                        self.cluster,
                        match record.driver {
                            LabDriver::Container => "containers",
                            LabDriver::Vm => "virtual machines",
                        }
                    ),
                    hint: "End it with `skep lab down` before you change `driver`.".to_owned(),
                })
            }
            Some(record) if record.inventory != self.inventory && record.inventory.exists() => {
                Err(LabError::Unfit {
                    message: format!(
                        "there is a lab `{}` already, made from `{}`",
                        self.cluster,
                        record.inventory.display()
                    ),
                    hint: "Give this cluster another name, or end that lab with `skep lab down`."
                        .to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    async fn lock(&self) -> Result<File, LabError> {
        lock(&self.dirs).await
    }
}

/// All labs on this machine under [`Dirs::from_env`].
pub async fn list() -> Result<Vec<LabSummary>, LabError> {
    list_at(&Dirs::from_env()).await
}

/// All labs under `dirs`.
pub async fn list_at(dirs: &Dirs) -> Result<Vec<LabSummary>, LabError> {
    let engine = Engine::new(dirs);
    let mut labs = Vec::new();
    for record in Record::all(&dirs.labs()) {
        let hosts = hosts_of(dirs, &engine, &record.cluster).await?;
        labs.push(LabSummary {
            cluster: record.cluster,
            inventory: record.inventory,
            hosts,
        });
    }
    Ok(labs)
}

/// Ends the lab of a cluster whose inventory may be gone; see [`Lab::down`].
pub async fn down_at(
    dirs: &Dirs,
    cluster: &str,
    purge: bool,
    progress: Progress<'_>,
) -> Result<(), LabError> {
    check_name(cluster)?;
    end::end(dirs, &Engine::new(dirs), cluster, purge, progress).await
}

async fn hosts_of(dirs: &Dirs, engine: &Engine, cluster: &str) -> Result<Vec<LabHost>, LabError> {
    let dir = dirs.lab(cluster);
    let record = Record::load(&dir);
    if let Some(record) = &record
        && record.driver == LabDriver::Vm
    {
        return Ok(vm::hosts_of(dirs, record).await);
    }
    let known = |name: &str| Some(record.as_ref()?.hosts.get(name)?.address);
    let host = |name: String, state, address: Option<Ipv4Addr>| LabHost {
        login: address.map(|address| login(&dir, LabDriver::Container, address)),
        name,
        state,
        address,
    };
    if !engine.runs().await {
        // The containers are on the engine's disk: nothing is lost, and nothing runs.
        let hosts = record.as_ref().map(|record| &record.hosts);
        return Ok(hosts
            .into_iter()
            .flatten()
            .map(|(name, known)| host(name.clone(), LabState::Stopped, Some(known.address)))
            .collect());
    }
    let label = format!("{CLUSTER_LABEL}={cluster}");
    let containers = engine.docker().containers(&label).await?;
    let mut hosts: Vec<_> = containers
        .into_iter()
        .filter_map(|container| {
            let name = container.labels.get(HOST_LABEL)?.clone();
            let address = known(&name).or(container.address);
            Some(host(name, state(&container), address))
        })
        .collect();
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(hosts)
}

fn state(container: &Container) -> LabState {
    match container.status.as_str() {
        "running" if !container.connected => LabState::Cut,
        "running" => LabState::Running,
        "paused" => LabState::Paused,
        "exited" | "created" => LabState::Stopped,
        _ => LabState::Other,
    }
}

fn login(dir: &Path, driver: LabDriver, address: Ipv4Addr) -> LabLogin {
    let (address, port) = match driver {
        LabDriver::Container => (address, 22),
        LabDriver::Vm => (vm::login_address(address), vm::SSH_PORT),
    };
    LabLogin {
        address,
        port,
        user: "root".to_owned(),
        identity: record::identity(dir),
        known_hosts: record::known_hosts(dir),
    }
}

/// Names become parts of container, volume and network names, and of paths.
fn check_name(name: &str) -> Result<(), LabError> {
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(inside);
    if good && name.len() <= 63 {
        return Ok(());
    }
    Err(LabError::Unfit {
        message: format!("`{name}` cannot be the name of a lab or of its host"),
        hint: "Use letters, digits, `-`, `_` and `.`, at most 63, a letter or digit first."
            .to_owned(),
    })
}

/// Waits for the lock on the lab's root: one skep at a time changes it.
async fn lock(dirs: &Dirs) -> Result<File, LabError> {
    dirs::make_private(dirs.root())?;
    let path = dirs.lock();
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let file = options.open(&path).map_err(LabError::file("open", &path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(LabError::file("lock", &path)(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_containers_and_paths() {
        assert!(check_name("demo-1").is_ok());
        for bad in ["", "../x", "a/b", "-a", "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_machine_id_has_32_digits() {
        let id = life::new_machine_id().unwrap();
        assert_eq!(id.trim_end().len(), 32);
    }
}
