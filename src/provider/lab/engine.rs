//! The lab's own Docker Engine: started when it is needed, found again, and ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::dirs::{Dirs, make_private, write_whole};
use super::docker::{CLUSTER_LABEL, Docker};
use super::record::Record;
use super::{LabError, network};
use crate::inventory::LabDriver;
use crate::local::Program;

/// How long the engine may take to answer after its start.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// How long the engine may take to end. It gives its own containers 15 s.
const STOP_DEADLINE: Duration = Duration::from_secs(40);

/// The lab's own engine.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    dirs: Dirs,
}

impl Engine {
    pub(super) fn new(dirs: &Dirs) -> Self {
        Self { dirs: dirs.clone() }
    }

    pub(super) fn docker(&self) -> Docker {
        Docker::new(&self.dirs.run().join("docker.sock"))
    }

    fn pid_file(&self) -> PathBuf {
        self.dirs.run().join("docker.pid")
    }

    fn config(&self) -> PathBuf {
        self.dirs.run().join("daemon.json")
    }

    fn exec_root(&self) -> PathBuf {
        self.dirs.run().join("exec")
    }

    fn forwarding_mark(&self) -> PathBuf {
        self.dirs.run().join("ip-forward-was-off")
    }

    /// Whether the engine answers.
    pub(super) async fn runs(&self) -> bool {
        self.docker().answers().await
    }

    /// Starts the engine if it does not answer, and waits until it does.
    pub(super) async fn start(
        &self,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), LabError> {
        if self.runs().await {
            return self.start_forwarding();
        }
        // One that does not answer is in the way: of a crash, or not up yet.
        self.stop().await?;
        progress("starting the lab's engine");
        make_private(&self.dirs.engine_data())?;
        make_private(&self.dirs.run())?;
        write_whole(&self.config(), "{}\n", 0o600)?;
        let began = Instant::now();
        self.program()
            .start_detached(&self.dirs.engine_log())
            .await
            .map_err(LabError::program("start the lab's engine"))?;
        while !self.runs().await {
            // The first moments are spent before the pid file is there.
            let died = began.elapsed() > Duration::from_secs(5) && self.pid().is_none();
            if died || began.elapsed() > START_DEADLINE {
                let log = std::fs::read_to_string(self.dirs.engine_log()).unwrap_or_default();
                let last = last_error(&log);
                self.stop().await?;
                return Err(LabError::Unfit {
                    message: format!("the lab's engine did not start: {last}"),
                    hint: format!("Its log is `{}`.", self.dirs.engine_log().display()),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.start_forwarding()
    }

    /// Lets this machine forward packets for the lab's hosts, if it does not.
    pub(super) fn start_forwarding(&self) -> Result<(), LabError> {
        network::start_forwarding(&self.forwarding_mark())
    }

    fn program(&self) -> Program {
        let path = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        Program::new("dockerd")
            .arg(path("data-root", self.dirs.engine_data()))
            .arg(path("exec-root", self.exec_root()))
            .arg(path("pidfile", self.pid_file()))
            .arg(format!(
                "--host=unix://{}",
                self.dirs.run().join("docker.sock").display()
            ))
            // The machine's own /etc/docker/daemon.json is for another engine.
            .arg(path("config-file", self.config()))
            .arg(format!("--cgroup-parent={}", self.dirs.cgroup()))
            .args([
                // Under the systemd driver, the parent would have to be a slice.
                "--exec-opt=native.cgroupdriver=cgroupfs",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
                "--userland-proxy=false",
                "--storage-driver=overlay2",
                "--log-level=warn",
            ])
    }

    /// Ends the engine and the containerd of its own, and unmounts what they left mounted.
    pub(super) async fn stop(&self) -> Result<(), LabError> {
        let containerd = self.exec_root().join("containerd");
        let ours = [
            (self.pid_file(), self.pid_file()),
            (containerd.join("containerd.pid"), containerd.clone()),
        ];
        for (file, mark) in ours {
            let Some(process) = Process::find(&file, &mark) else {
                continue;
            };
            process.end().await?;
        }
        for mount in mounts_under(&[&self.dirs.run(), &self.dirs.engine_data()]) {
            // One that is busy stays; the directory above it is then not removed either.
            let _ = Program::new("umount").arg(mount).output().await;
        }
        Ok(())
    }

    /// Ends the engine when no cluster has a host on it any more; tells whether it did. One that is being
    /// prepared has a record, and no host yet. Whoever calls holds the lock of the lab's root.
    pub(super) async fn stop_if_unused(&self) -> Result<bool, LabError> {
        let records = Record::all(&self.dirs.labs());
        if records.iter().any(|it| it.driver == LabDriver::Container) {
            return Ok(false);
        }
        if self.runs().await && !self.docker().containers(CLUSTER_LABEL).await?.is_empty() {
            return Ok(false);
        }
        self.stop().await?;
        network::stop_forwarding(&self.forwarding_mark());
        remove_cgroups(&self.dirs.cgroup());
        if !self.forwarding_mark().exists() {
            remove_tree(&self.dirs.run())?;
        }
        Ok(true)
    }

    fn pid(&self) -> Option<Pid> {
        Process::find(&self.pid_file(), &self.pid_file()).map(|process| process.pid)
    }
}

/// A process of ours, named by a pid file and known by a path in its command line.
pub(super) struct Process {
    pid: Pid,
    /// Holds on to the process: its number cannot become another's meanwhile.
    handle: rustix::fd::OwnedFd,
}

impl Process {
    /// The process whose number stands in `pid_file`, if `mark` stands in its command line.
    pub(super) fn find(pid_file: &Path, mark: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(pid_file).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Read after the handle is held, so that it is the same process.
        let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        let command = String::from_utf8_lossy(&command);
        let mark = mark.to_str()?;
        command.contains(mark).then_some(Self { pid, handle })
    }

    async fn end(&self) -> Result<(), LabError> {
        self.end_by(Signal::TERM).await
    }

    /// Ends it without giving it time to put anything in order.
    pub(super) async fn kill(&self) -> Result<(), LabError> {
        self.end_by(Signal::KILL).await
    }

    async fn end_by(&self, mut signal: Signal) -> Result<(), LabError> {
        let began = Instant::now();
        let _ = pidfd_send_signal(&self.handle, signal);
        while self.lives() {
            if began.elapsed() > STOP_DEADLINE && signal == Signal::TERM {
                signal = Signal::KILL;
                let _ = pidfd_send_signal(&self.handle, signal);
            }
            if began.elapsed() > STOP_DEADLINE + Duration::from_secs(10) {
                return Err(LabError::Unfit {
                    message: format!("process {} does not end", self.pid.as_raw_nonzero()),
                    hint: "It hangs in the kernel; a restart of this machine ends it.".to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Whether any of its threads still runs; a dead one that nobody has collected does not. The state
    /// of its first thread does not tell: the others hold its files, and their locks, for a moment
    /// longer.
    fn lives(&self) -> bool {
        let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Readable is what has ended (pidfd_open(2)).
        !matches!(poll(&mut ended, Some(&now)), Ok(1..))
    }
}

/// The last message of the engine's log that says what went wrong.
fn last_error(log: &str) -> String {
    let bad = |line: &&str| {
        ["level=fatal", "level=error", "failed to start", "Error"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    let line = log.lines().rfind(bad).or_else(|| log.lines().last());
    line.unwrap_or("it said nothing").to_owned()
}

/// The mount points under `dirs`, the deepest first.
fn mounts_under(dirs: &[&Path]) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|point| dirs.iter().any(|dir| point.starts_with(dir)))
        .collect();
    found.reverse();
    found
}

/// Removes a directory with all in it, unless something is still mounted there.
pub(super) fn remove_tree(dir: &Path) -> Result<(), LabError> {
    if let Some(mount) = mounts_under(&[dir]).first() {
        return Err(LabError::Unfit {
            message: format!("`{}` is still mounted", mount.display()),
            hint: format!("Unmount it, then remove `{}` by hand.", dir.display()),
        });
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::file("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Removes the empty control groups that the engine leaves behind, in every hierarchy.
fn remove_cgroups(name: &str) {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else {
        return;
    };
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        if kind == "cgroup" || kind == "cgroup2" {
            remove_groups_under(&Path::new(point).join(name.trim_start_matches('/')));
        }
    }
}

fn remove_groups_under(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups_under(&entry.path());
        }
    }
    // One that still holds a process refuses to go.
    let _ = std::fs::remove_dir(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_that_names_another_process_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker.pid");
        assert!(Process::find(&file, &file).is_none());
        std::fs::write(&file, std::process::id().to_string()).unwrap();
        assert!(Process::find(&file, &file).is_none());
    }

    #[tokio::test]
    async fn a_process_is_known_by_its_command_line_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker.pid");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 60; :", file.to_str().unwrap()]);
        let mut child = command.spawn().unwrap();
        std::fs::write(&file, child.id().to_string()).unwrap();
        // The command line is the child's only after it has executed the shell.
        let began = Instant::now();
        let process = loop {
            if let Some(process) = Process::find(&file, &file) {
                break process;
            }
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        process.end().await.unwrap();
        child.wait().unwrap();
    }

    /// The end of one lab is not the end of another that has a network by now, and no host yet.
    #[tokio::test]
    async fn a_lab_that_is_being_prepared_keeps_the_engine() {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::at(root.path().to_owned());
        let record = Record {
            cluster: "other".to_owned(),
            inventory: "/tmp/skep.toml".into(),
            driver: LabDriver::Vm,
            subnet: "198.18.0.0/24".parse().unwrap(),
            hosts: std::collections::BTreeMap::new(),
        };
        let engine = Engine::new(&dirs);
        record.save(&dirs.lab("other")).unwrap();
        assert!(engine.stop_if_unused().await.unwrap(), "machines need none");
        let driver = LabDriver::Container;
        let record = Record { driver, ..record };
        record.save(&dirs.lab("other")).unwrap();
        assert!(!engine.stop_if_unused().await.unwrap());
    }

    #[test]
    fn the_log_tells_why_the_engine_did_not_start() {
        let log = "level=info msg=a\nfailed to start daemon: no cgroups\nlevel=info msg=z\n";
        assert_eq!(last_error(log), "failed to start daemon: no cgroups");
        assert_eq!(last_error(""), "it said nothing");
    }
}
