//! Hosts that are virtual machines: QEMU with a kernel, disks and networks of their own.
//!
//! A host's files are in its folder under the lab; QEMU runs by itself and is found again by its pid
//! file. Its sshd answers on a loopback address of its own; between the hosts runs a network that no
//! one else hears.

mod accelerator;
mod args;
mod image;
mod monitor;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::engine::{Process, remove_tree};
use super::life::{greets, new_machine_id};
use super::record::{self, HostRecord, Record};
use super::{Dirs, Lab, LabError, LabHost, LabState, Progress, dirs, image as common, network};
use crate::inventory::LabDriver;
use crate::local::Program;

pub(super) use args::{SSH_PORT, login_address};

/// How long a machine may take from its start until it lets us log in. Without KVM, on two busy
/// processors, a minute is usual.
const READY_DEADLINE: Duration = Duration::from_mins(5);

/// The memory of a machine for which the inventory names none: a manager with its tasks fits.
const MEMORY_MIB: u32 = 1024;

/// The link in a host's folder to the image that it was made from.
const IMAGE: &str = "image";

/// The folder of a host in that of its lab.
fn folder(lab: &Path, host: &str) -> PathBuf {
    lab.join("hosts").join(host)
}

/// A host's machine as this system knows it.
#[derive(Debug)]
struct Machine {
    pid_file: PathBuf,
    monitor: PathBuf,
    /// Where it is noted that the host is cut off from its networks.
    cut: PathBuf,
}

impl Machine {
    fn of(dirs: &Dirs, cluster: &str, host: &str) -> Self {
        let file = |kind| args::run_file(&dirs.vm_run(), cluster, host, kind);
        Self {
            pid_file: file("pid"),
            monitor: file("qmp"),
            cut: file("cut"),
        }
    }

    fn process(&self) -> Option<Process> {
        Process::find(&self.pid_file, &self.pid_file)
    }

    async fn order(
        &self,
        host: &str,
        name: &str,
        arguments: serde_json::Value,
    ) -> Result<serde_json::Value, LabError> {
        let answer = monitor::order(&self.monitor, name, arguments).await;
        answer.map_err(|why| LabError::Unfit {
            message: format!("the machine of host `{host}` does not take orders: {why}"),
            hint: "`skep lab off` pulls its plug, `skep lab on` starts it again.".to_owned(),
        })
    }

    async fn state(&self) -> LabState {
        if self.process().is_none() {
            return LabState::Stopped;
        }
        match monitor::order(&self.monitor, "query-status", json!({})).await {
            Ok(answer) => match answer["status"].as_str() {
                Some("running") if self.cut.exists() => LabState::Cut,
                Some("running") => LabState::Running,
                Some("paused") => LabState::Paused,
                _ => LabState::Other,
            },
            Err(_) => LabState::Other,
        }
    }

    /// Ends it as a cut of the power does.
    async fn end(&self) -> Result<(), LabError> {
        if let Some(process) = self.process() {
            process.kill().await?;
        }
        for file in [&self.pid_file, &self.monitor, &self.cut] {
            let _ = std::fs::remove_file(file);
        }
        Ok(())
    }
}

impl Lab {
    fn machine(&self, host: &str) -> Machine {
        Machine::of(&self.dirs, &self.cluster, host)
    }

    /// The machine of a host that was made.
    fn made(&self, host: &str) -> Result<Machine, LabError> {
        let made = Record::load(&self.dir()).is_some_and(|it| it.hosts.contains_key(host));
        if made && folder(&self.dir(), host).join("root.qcow2").exists() {
            return Ok(self.machine(host));
        }
        Err(LabError::NoHost(host.to_owned()))
    }

    /// Whether the image of the machines is there.
    pub(super) async fn vm_image_exists(&self) -> Result<bool, LabError> {
        let recipe = common::recipe(&self.settings).await?;
        Ok(image::path(&self.dirs, &recipe).exists())
    }

    /// Makes the image, and gives the lab its addresses.
    pub(super) async fn vm_prepare(&self, progress: Progress<'_>) -> Result<(), LabError> {
        let recipe = common::recipe(&self.settings).await?;
        image::build(&self.dirs, &recipe, progress).await?;
        accelerator::choose(&self.dirs, &image::path(&self.dirs, &recipe), progress).await?;
        dirs::make_private(&self.dirs.vm_run())?;
        let wanted = network::wanted(self.settings.subnet)?;
        let before = Record::load(&self.dir()).map(|record| record.subnet);
        let mut used = network::used().await?;
        let others = Record::all(&self.dirs.labs()).into_iter();
        used.extend(others.map(|record| record.subnet));
        let free = || {
            let mut used = used.clone();
            loop {
                let subnet = super::free_subnet(&used)?;
                // Another lab of this machine, under another root, may have it.
                let first = super::address(subnet, 0, &[])?;
                if std::net::TcpListener::bind((login_address(first), SSH_PORT)).is_ok() {
                    return Some(subnet);
                }
                used.push(subnet);
            }
        };
        let subnet = wanted.or(before).or_else(free);
        let subnet = subnet.ok_or_else(|| LabError::Unfit {
            message: "no network is free for the lab".to_owned(),
            hint: "Set `subnet` in `[lab]`.".to_owned(),
        })?;
        self.remember_network(subnet)
    }

    /// Makes the disks and keys of a host, unless it is there.
    pub(super) async fn vm_make(&self, host: &str, progress: Progress<'_>) -> Result<(), LabError> {
        if self.made(host).is_ok() {
            return Ok(());
        }
        progress("making its disks");
        let dir = self.dir();
        let files = folder(&dir, host);
        self.machine(host).end().await?;
        remove_tree(&files)?;
        dirs::make_private(&files)?;
        let host_key = record::key_pair(&files.join("ssh_host_ed25519_key"), host).await?;
        let login_key = record::key_pair(&record::identity(&dir), "skep lab").await?;
        let writing = self.writing.lock().await;
        let mut record = self.record()?;
        let address = self.give_address(host, &record, &[])?;
        let entry = HostRecord {
            address,
            host_key: record::type_and_key(&host_key),
        };
        record.hosts.insert(host.to_owned(), entry);
        record.save(&dir)?;
        drop(writing);

        dirs::write_whole(&files.join("machine-id"), &new_machine_id()?, 0o600)?;
        self.write_own_files(host, &files, &record, address, &login_key)
            .await?;
        let index = self.index(host)?;
        for (number, size) in (1..).zip(&self.disks[index]) {
            let path = files.join(args::disk_file(number));
            let disk = std::fs::File::create(&path).map_err(LabError::file("make", &path))?;
            disk.set_len(*size).map_err(LabError::file("make", &path))?;
        }
        let recipe = common::recipe(&self.settings).await?;
        let image = image::path(&self.dirs, &recipe);
        // A host keeps the kernel and the disk that it was made from, whatever later images are.
        let own = files.join(IMAGE);
        std::os::unix::fs::symlink(&image, &own).map_err(LabError::file("make", &own))?;
        // The name of a host that is whole: only then is it one.
        let (new, root) = (files.join("root.new"), files.join("root.qcow2"));
        let overlay = Program::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .args([&image.join("root.img"), &new]);
        let made = overlay.run().await;
        made.map_err(LabError::program(format!("make host `{host}`")))?;
        std::fs::rename(&new, &root).map_err(LabError::file("rename", &new))
    }

    /// Writes what makes a machine this host: a tar file that its first boot unpacks.
    async fn write_own_files(
        &self,
        host: &str,
        files: &Path,
        record: &Record,
        address: Ipv4Addr,
        login_key: &str,
    ) -> Result<(), LabError> {
        let tree = files.join("tree");
        remove_tree(&tree)?;
        let (etc, ssh, net) = ("etc", "etc/ssh", "etc/systemd/network");
        for dir in [ssh, net] {
            dirs::make_private(&tree.join(dir))?;
        }
        let mut hosts = format!("127.0.0.1 localhost\n{address} {host}\n");
        for (name, address) in self.neighbours(host, record) {
            hosts.extend([address.to_string(), format!(" {name}\n")]);
        }
        let prefix = record.subnet.prefix_len();
        let network = format!(
            "[Match]\nName={}\n[Network]\nAddress={address}/{prefix}\nLinkLocalAddressing=no\n",
            crate::inventory::Lab::VM_INTERFACE
        );
        let key = files.join("ssh_host_ed25519_key");
        let read =
            |path: &Path| std::fs::read_to_string(path).map_err(LabError::file("read", path));
        let (private, public) = (read(&key)?, read(&key.with_extension("pub"))?);
        for (folder, name, text, mode) in [
            (etc, "hostname", format!("{host}\n"), 0o644),
            (etc, "hosts", hosts, 0o644),
            (etc, "lab-host", format!("{}\n", self.cluster), 0o644),
            (ssh, "lab_authorized_keys", login_key.to_owned(), 0o644),
            (ssh, "ssh_host_ed25519_key", private, 0o600),
            (ssh, "ssh_host_ed25519_key.pub", public, 0o644),
            (net, "20-lab.network", network, 0o644),
        ] {
            dirs::write_whole(&tree.join(folder).join(name), &text, mode)?;
        }
        // Files alone: the host's own directories keep their modes.
        let tar = Program::new("sh")
            .args([
                "-c",
                "cd \"$1\" && find etc -type f | tar -cf ../host.tar -T -",
                "sh",
            ])
            .arg(&tree);
        let packed = tar.run().await;
        packed.map_err(LabError::program(format!("make host `{host}`")))?;
        remove_tree(&tree)
    }

    /// Starts a host that was made, and waits until it lets us log in.
    pub(super) async fn vm_start(&self, host: &str) -> Result<(), LabError> {
        let machine = self.made(host)?;
        // Processors bound how many boot at once: more of them only take longer.
        let _turn = self.booting.acquire().await;
        match machine.state().await {
            LabState::Running | LabState::Cut => {}
            LabState::Paused => {
                machine.order(host, "cont", json!({})).await?;
            }
            LabState::Stopped | LabState::Other => {
                machine.end().await?;
                self.boot(host, &machine).await?;
            }
        }
        if machine.cut.exists() {
            return Ok(());
        }
        self.vm_wait_ready(host, &machine).await
    }

    async fn boot(&self, host: &str, machine: &Machine) -> Result<(), LabError> {
        let files = folder(&self.dir(), host);
        let image = files.join(IMAGE);
        let id = files.join("machine-id");
        let machine_id = std::fs::read_to_string(&id).map_err(LabError::file("read", &id))?;
        let record = self.record()?;
        let address = record.hosts.get(host).map(|host| host.address);
        let address = address.ok_or_else(|| LabError::NoHost(host.to_owned()))?;
        let disks = (1..).take_while(|number| files.join(args::disk_file(*number)).exists());
        let name = super::container_name(&self.cluster, host);
        dirs::make_private(&self.dirs.vm_run())?;
        let spec = args::Spec {
            name: &name,
            accelerator: accelerator::choose(&self.dirs, &image, &|_| ()).await?,
            image: &image,
            folder: &files,
            pid_file: &machine.pid_file,
            monitor: &machine.monitor,
            machine_id: machine_id.trim(),
            login: login_address(address),
            address,
            cable: args::cable(self.dirs.root(), &self.cluster),
            disks: disks.count(),
            memory_mib: self.settings.memory_mib.unwrap_or(MEMORY_MIB),
            processors: self.settings.cpu_percent.map_or(1, |it| it.div_ceil(100)),
        };
        let started = Program::new("qemu-system-x86_64")
            .args(spec.args())
            .run()
            .await;
        started.map_err(LabError::program(format!("start host `{host}`")))?;
        Ok(())
    }

    async fn vm_wait_ready(&self, host: &str, machine: &Machine) -> Result<(), LabError> {
        let login = self.login(host)?;
        let began = Instant::now();
        while !greets(login.address, login.port).await {
            let ended = machine.process().is_none();
            if ended || began.elapsed() > READY_DEADLINE {
                let console = folder(&self.dir(), host).join("console.log");
                let last = if ended {
                    "its machine has ended"
                } else {
                    "sshd does not answer"
                };
                return Err(LabError::NotReady {
                    host: host.to_owned(),
                    seconds: began.elapsed().as_secs(),
                    last: format!("{last}; its console wrote to `{}`", console.display()),
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// Cuts a host off from both its networks, or connects it again.
    pub(super) async fn vm_link(&self, host: &str, up: bool) -> Result<(), LabError> {
        let machine = self.made(host)?;
        for name in ["nic-way", "nic-lab"] {
            let arguments = json!({ "name": name, "up": up });
            machine.order(host, "set_link", arguments).await?;
        }
        if up {
            let _ = std::fs::remove_file(&machine.cut);
            return Ok(());
        }
        dirs::write_whole(&machine.cut, "", 0o600)
    }

    /// Freezes a host, or lets it go on.
    pub(super) async fn vm_freeze(&self, host: &str, frozen: bool) -> Result<(), LabError> {
        let order = if frozen { "stop" } else { "cont" };
        let machine = self.made(host)?;
        machine.order(host, order, json!({})).await.map(drop)
    }

    /// Pulls a host's plug.
    pub(super) async fn vm_kill(&self, host: &str) -> Result<(), LabError> {
        self.made(host)?.end().await
    }

    /// Ends a host for ever, with its disks.
    pub(super) async fn vm_remove(&self, host: &str) -> Result<(), LabError> {
        self.machine(host).end().await?;
        remove_tree(&folder(&self.dir(), host))
    }
}

/// The hosts of a lab of virtual machines.
pub(super) async fn hosts_of(dirs: &Dirs, record: &Record) -> Vec<LabHost> {
    let dir = dirs.lab(&record.cluster);
    let mut hosts = Vec::new();
    for (name, known) in &record.hosts {
        // One that is not whole is made anew.
        if !folder(&dir, name).join("root.qcow2").exists() {
            continue;
        }
        hosts.push(LabHost {
            name: name.clone(),
            state: Machine::of(dirs, &record.cluster, name).state().await,
            address: Some(known.address),
            login: Some(super::login(&dir, LabDriver::Vm, known.address)),
        });
    }
    hosts
}

/// Ends the machines of a lab; their files are in the lab's folder.
pub(super) async fn end(
    dirs: &Dirs,
    record: &Record,
    progress: Progress<'_>,
) -> Result<(), LabError> {
    if !record.hosts.is_empty() {
        progress(&format!("removing hosts: {}", record.hosts.len()));
    }
    for host in record.hosts.keys() {
        Machine::of(dirs, &record.cluster, host).end().await?;
    }
    // Another lab's machines may be in it.
    let _ = std::fs::remove_dir(dirs.vm_run());
    Ok(())
}

/// Removes the images, unless a lab of machines is left.
pub(super) fn purge(dirs: &Dirs) -> Result<(), LabError> {
    let mut left = Record::all(&dirs.labs()).into_iter();
    if left.any(|record| record.driver == LabDriver::Vm) {
        return Ok(());
    }
    remove_tree(&dirs.vm_images())
}
