//! The life of a host: made, started, cut off, frozen, its plug pulled, removed.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;

use super::{
    Lab, LabError, Progress, capabilities_to_drop, container_name, dirs, docker::Container, engine,
    host, image, network_name, record, record::HostRecord, record::Record,
};

/// How long a host may take from its start until it lets us log in.
const READY_DEADLINE: Duration = Duration::from_secs(90);

impl Lab {
    /// Makes a host and waits until it lets us log in; one that exists is started.
    ///
    /// [`prepare`](Self::prepare) comes first. Several hosts may be made at once.
    pub async fn create(&self, host: &str, progress: Progress<'_>) -> Result<(), LabError> {
        self.index(host)?;
        if self.is_vm() {
            self.vm_make(host, progress).await?;
            return self.start(host).await;
        }
        let name = container_name(&self.cluster, host);
        let existing = self.containers().await?;
        if !existing.iter().any(|container| container.name == name) {
            progress("making it");
            self.make(host, &existing).await?;
        }
        self.start(host).await
    }

    pub(super) async fn make(&self, host: &str, existing: &[Container]) -> Result<(), LabError> {
        let docker = self.docker();
        let dir = self.dir();
        let name = container_name(&self.cluster, host);
        // A new host has new keys, as a machine that was installed anew.
        let keys = dir.join("hosts").join(host);
        engine::remove_tree(&keys)?;
        dirs::make_private(&keys)?;
        let key = keys.join("ssh_host_ed25519_key");
        let host_key = record::key_pair(&key, host).await?;
        let login_key = record::key_pair(&record::identity(&dir), "skep lab").await?;

        // The record comes first: whatever happens next, `down` finds what was made. Address and
        // record go together, or two hosts that are made at once get the same address.
        let host_key = record::type_and_key(&host_key);
        let writing = self.writing.lock().await;
        let mut record = self.record()?;
        let address = self.give_address(host, &record, existing)?;
        let entry = HostRecord { address, host_key };
        record.hosts.insert(host.to_owned(), entry);
        record.save(&dir)?;
        drop(writing);

        let recipe = image::recipe(&self.settings).await?;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resolv_conf = Some(self.resolv_conf()).filter(|path| path.exists());
        let neighbours = self.neighbours(host, &record);
        let tag = recipe.tag();
        let spec = host::Spec {
            cluster: &self.cluster,
            host,
            inventory: &self.inventory,
            image: &tag,
            address,
            neighbours: &neighbours,
            resolv_conf: resolv_conf.as_deref(),
            drop: &capabilities_to_drop(&status),
            memory_mib: self.settings.memory_mib,
            cpu_percent: self.settings.cpu_percent,
        };
        let doing = format!("make host `{host}`");
        for (_, kind) in host::VOLUMES {
            let volume = format!("{name}-{kind}");
            let label = format!("--label={}", self.label());
            // What an earlier container of this name left is not this host's.
            let args = ["volume", "rm", "--force", &volume];
            docker.run(&doing, &args).await?;
            docker
                .run(&doing, &["volume", "create", &label, &volume])
                .await?;
        }
        let create = docker.program(spec.create()).run().await;
        create.map_err(LabError::program(&doing))?;

        let files = keys.join("etc");
        dirs::make_private(&files)?;
        let authorized = files.join("lab_authorized_keys");
        dirs::write_whole(&authorized, &login_key, 0o644)?;
        let machine_id = files.join("machine-id");
        dirs::write_whole(&machine_id, &new_machine_id()?, 0o444)?;
        for (from, to) in [
            (key.clone(), "/etc/ssh/"),
            (key.with_extension("pub"), "/etc/ssh/"),
            (authorized, "/etc/ssh/"),
            (machine_id, "/etc/"),
        ] {
            let from = from.display().to_string();
            let to = format!("{name}:{to}");
            docker.run(&doing, &["container", "cp", &from, &to]).await?;
        }
        Ok(())
    }

    /// Starts a host that exists, and waits until it lets us log in.
    pub async fn start(&self, host: &str) -> Result<(), LabError> {
        if self.is_vm() {
            return self.vm_start(host).await;
        }
        let found = self.container(host).await?;
        let doing = format!("start host `{host}`");
        match found.status.as_str() {
            "running" => {}
            "paused" => {
                let args = ["container", "unpause", &found.name];
                self.docker().run(&doing, &args).await?;
            }
            _ => {
                let args = ["container", "start", &found.name];
                self.docker().run(&doing, &args).await?;
            }
        }
        self.wait_ready(host).await
    }

    /// Waits until the host has booted and its sshd answers.
    pub(super) async fn wait_ready(&self, host: &str) -> Result<(), LabError> {
        let began = Instant::now();
        let container = self.container(host).await?;
        let name = &container.name;
        let mut last;
        loop {
            let args = [
                "container",
                "exec",
                name,
                "systemctl",
                "is-system-running",
                "--wait",
            ];
            let booted = self.docker().program(args).deadline(READY_DEADLINE);
            match booted.output().await {
                // `degraded`: some unit failed, which is no reason not to log in.
                Ok(output) if matches!(output.stdout.trim(), "running" | "degraded") => {
                    match container.address {
                        // A host that is cut off cannot be asked.
                        None => return Ok(()),
                        Some(_) if !container.connected => return Ok(()),
                        Some(address) if greets(address, 22).await => return Ok(()),
                        Some(_) => last = "sshd does not answer".to_owned(),
                    }
                }
                Ok(output) if output.stderr.contains("is not running") => {
                    return Err(ended_at_once(host));
                }
                Ok(output) => last = format!("{} {}", output.stdout.trim(), output.stderr.trim()),
                Err(error) => last = error.to_string(),
            }
            if began.elapsed() > READY_DEADLINE {
                return Err(LabError::NotReady {
                    host: host.to_owned(),
                    seconds: READY_DEADLINE.as_secs(),
                    last,
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Cuts a host off from the network; it runs on.
    pub async fn cut(&self, host: &str) -> Result<(), LabError> {
        if self.is_vm() {
            return self.vm_link(host, false).await;
        }
        let name = self.container(host).await?.name;
        let network = network_name(&self.cluster);
        let args = ["network", "disconnect", "--force", &network, &name];
        let doing = format!("cut host `{host}` off");
        self.docker().run(&doing, &args).await.map(drop)
    }

    /// Connects a host that was cut off, with the address that it had.
    pub async fn heal(&self, host: &str) -> Result<(), LabError> {
        if self.is_vm() {
            return self.vm_link(host, true).await;
        }
        let container = self.container(host).await?;
        if container.connected {
            return Ok(());
        }
        let address = self.login(host)?.address.to_string();
        let network = network_name(&self.cluster);
        let args = [
            "network",
            "connect",
            "--ip",
            &address,
            &network,
            &container.name,
        ];
        let doing = format!("connect host `{host}` again");
        self.docker().run(&doing, &args).await.map(drop)
    }

    /// Freezes a host: it answers nothing, and its connections stay open.
    pub async fn pause(&self, host: &str) -> Result<(), LabError> {
        if self.is_vm() {
            return self.vm_freeze(host, true).await;
        }
        self.plainly(host, "pause", "freeze").await
    }

    /// Lets a frozen host go on.
    pub async fn unpause(&self, host: &str) -> Result<(), LabError> {
        if self.is_vm() {
            return self.vm_freeze(host, false).await;
        }
        self.plainly(host, "unpause", "unfreeze").await
    }

    /// Pulls a host's plug. Its disk stays; [`start`](Self::start) boots it again.
    pub async fn kill(&self, host: &str) -> Result<(), LabError> {
        if self.is_vm() {
            return self.vm_kill(host).await;
        }
        self.plainly(host, "kill", "pull the plug of").await
    }

    pub(super) async fn plainly(
        &self,
        host: &str,
        verb: &str,
        doing: &str,
    ) -> Result<(), LabError> {
        let name = self.container(host).await?.name;
        let doing = format!("{doing} host `{host}`");
        let args = ["container", verb, &name];
        self.docker().run(&doing, &args).await.map(drop)
    }

    /// Ends one host for ever: its container, its disks, its keys.
    pub async fn remove(&self, host: &str) -> Result<(), LabError> {
        let _writing = self.writing.lock().await;
        if self.is_vm() {
            self.vm_remove(host).await?;
        } else {
            let name = container_name(&self.cluster, host);
            self.remove_containers(&[name]).await?;
            engine::remove_tree(&self.dir().join("hosts").join(host))?;
        }
        if let Some(mut record) = Record::load(&self.dir()) {
            record.hosts.remove(host);
            record.save(&self.dir())?;
        }
        Ok(())
    }
}

/// A host whose systemd ended as soon as it was started. On a machine with many of them that is the
/// limit on inotify instances, which all of a user's processes share: systemd takes about five for
/// each host (measured), and cannot start without.
pub(super) fn ended_at_once(host: &str) -> LabError {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    let limit = std::fs::read_to_string(LIMIT).unwrap_or_default();
    LabError::Unfit {
        message: format!("host `{host}` of the lab ended as soon as it was started"),
        hint: format!(
            "Where many hosts run on one machine, there may be no inotify instance left for it (the limit is {}): `sysctl -w fs.inotify.max_user_instances=1024` raises it until the next boot. Then run the command again.",
            limit.trim()
        ),
    }
}

/// Whether an SSH server greets at `address`.
pub(super) async fn greets(address: Ipv4Addr, port: u16) -> bool {
    let greeting = async {
        let mut stream = tokio::net::TcpStream::connect((address, port)).await?;
        let mut start = [0; 4];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(&start == b"SSH-")
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), greeting).await;
    matches!(answer, Ok(Ok(true)))
}

/// A new machine ID, as `machine-id(5)` wants it.
pub(super) fn new_machine_id() -> Result<String, LabError> {
    const RANDOM: &str = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(RANDOM).map_err(LabError::file("read", RANDOM))?;
    Ok(uuid.replace('-', ""))
}
