//! A lab of virtual machines, and the real binary to drive it with.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rexpect::session::PtySession;
use serde_json::Value;
use skep::provider::lab::{Dirs, Lab};
use tempfile::TempDir;

use super::run::{Ran, Running};
use super::tell::{keeps, told};

/// How long a script on a host may take. Without KVM everything takes its time, and the more beside
/// other tests: an installation that makes an initramfs took more than five minutes.
const SCRIPT_SECONDS: &str = "1200";

/// How many times longer than on a machine of its own something may take until it is so.
const PATIENCE: u64 = 4;

/// A lab of one cluster. Dropping it ends the lab, also when a story failed.
pub(crate) struct World {
    pub(crate) cluster: String,
    folder: TempDir,
    dirs: Dirs,
    runs: AtomicUsize,
}

impl World {
    /// An empty lab. It is under `SKEP_LAB_DIR`, else under the system's temporary folder, where
    /// the images of hosts stay for the next time.
    pub(crate) fn new(cluster: &str) -> Self {
        let root = std::env::var_os("SKEP_LAB_DIR").map(PathBuf::from);
        let root = root.unwrap_or_else(|| std::env::temp_dir().join("skep-lab-test"));
        let world = Self {
            cluster: cluster.to_owned(),
            folder: TempDir::new().unwrap(),
            dirs: Dirs::at(root),
            runs: AtomicUsize::new(0),
        };
        world.write(
            "down.toml",
            "",
            "[[host]]\nname = \"m1\"\nrole = \"manager\"\n",
        );
        if !keeps() {
            // What a test left that was killed.
            world.skep("down.toml", &["lab", "down", "--yes"]).ends(0);
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes an inventory of virtual machines: `lab` are more lines of `[lab]`, `more` is all that
    /// comes after it.
    pub(crate) fn write(&self, file: &str, lab: &str, more: &str) {
        let cluster = &self.cluster;
        let text = format!(
            "[cluster]\nname = \"{cluster}\"\nprovider = \"lab\"\n\n[lab]\ndriver = \"vm\"\n{lab}\n{more}"
        );
        fs::write(self.path(file), text).unwrap();
    }

    /// Runs the binary to its end.
    pub(crate) fn skep(&self, inventory: &str, arguments: &[&str]) -> Ran {
        self.start(inventory, arguments)
            .ends_within(Duration::from_mins(25))
    }

    /// Starts the binary.
    pub(crate) fn start(&self, inventory: &str, arguments: &[&str]) -> Running {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .env("SKEP_INVENTORY", self.path(inventory))
            .env("SKEP_LAB_DIR", self.dirs.root())
            .env("XDG_STATE_HOME", self.path("state"))
            .args(arguments);
        Running::start(command, &self.path(&format!("run-{number:03}")))
    }

    fn lab(&self, inventory: &str) -> Lab {
        let source = skep::inventory::read(&self.path(inventory)).unwrap();
        Lab::open_at(&source.inventory.unwrap(), self.dirs.clone()).unwrap()
    }

    /// Runs a script as root on a host, with OpenSSH, and gives its status with what it printed.
    pub(crate) fn try_on(&self, host: &str, script: &str) -> (bool, String) {
        let login = self.lab("down.toml").login(host).unwrap();
        let file = self.path("script.sh");
        fs::write(&file, script).unwrap();
        let output = Command::new("timeout")
            .args([SCRIPT_SECONDS, "ssh", "-F", "/dev/null", "-oBatchMode=yes"])
            .args(["-oStrictHostKeyChecking=yes", "-oConnectTimeout=20"])
            .args([
                "-oServerAliveInterval=5",
                "-oGlobalKnownHostsFile=/dev/null",
            ])
            .arg(format!(
                "-oUserKnownHostsFile={}",
                login.known_hosts.display()
            ))
            .arg("-i")
            .arg(&login.identity)
            .args(["-p", &login.port.to_string()])
            .arg(format!("root@{}", login.address))
            .arg("sh -s")
            .stdin(Stdio::from(File::open(&file).unwrap()))
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.trim().to_owned())
    }

    /// Runs a script as root on a host; it must end well.
    #[track_caller]
    pub(crate) fn on(&self, host: &str, script: &str) -> String {
        let (well, text) = self.try_on(host, script);
        assert!(well, "{host}: {script}: {text}");
        text
    }

    /// Waits until a script on a host ends well.
    #[track_caller]
    pub(crate) fn until(&self, host: &str, seconds: u64, script: &str) {
        let began = Instant::now();
        loop {
            let (well, text) = self.try_on(host, script);
            if well {
                return;
            }
            let waited = began.elapsed().as_secs();
            assert!(
                waited < seconds * PATIENCE,
                "{host}: after {waited} s: {script}: {text}"
            );
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// What is done to a whole machine from outside: `pause`, `unpause`, `kill`, `start`.
    pub(crate) fn machine(&self, verb: &str, inventory: &str, host: &str) {
        let lab = self.lab(inventory);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let done = runtime.block_on(async {
            match verb {
                "pause" => lab.pause(host).await,
                "unpause" => lab.unpause(host).await,
                "kill" => lab.kill(host).await,
                "start" => lab.start(host).await,
                other => panic!("{other}"),
            }
        });
        done.unwrap();
    }

    /// Makes hosts without doing anything to them.
    pub(crate) fn make(&self, inventory: &str, hosts: &[&str]) {
        let lab = self.lab(inventory);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            lab.prepare(&|_| ()).await.unwrap();
            for host in hosts {
                lab.create(host, &|_| ()).await.unwrap();
            }
        });
    }

    /// Starts the binary on a terminal of its own.
    pub(crate) fn terminal(&self, inventory: &str, arguments: &[&str]) -> PtySession {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .env("SKEP_INVENTORY", self.path(inventory))
            .env("SKEP_LAB_DIR", self.dirs.root())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TERM", "xterm")
            .args(arguments);
        rexpect::session::spawn_command(command, Some(600_000)).unwrap()
    }

    /// The swarm as `status --json` tells it.
    pub(crate) fn status(&self, inventory: &str) -> Value {
        let ran = self.skep(inventory, &["status", "--json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if keeps() {
            return;
        }
        let ran = self.start("down.toml", &["lab", "down", "--yes"]).end();
        // A panic in a panic would end the program before it says anything.
        if ran.code != Some(0) {
            told(&format!("the lab was not ended: {ran:?}"));
        }
    }
}
