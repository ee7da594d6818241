//! A lab of containers, the real binary to drive it with, and what a story needs to break a host.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use skep::provider::lab::{Dirs, Lab, container_name, network_name};
use tempfile::TempDir;

use super::run::{Ran, Running};
use super::tell::{keeps, told};

/// How many times longer than on a machine of its own something may take until it is so, beside other
/// tests.
const PATIENCE: u64 = 3;

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
        if !keeps() {
            // What a test left that was killed.
            world.inventory("lab.toml", &[("m1", "manager")], "");
            world.skep("lab.toml", &["lab", "down", "--yes"]).ends(0);
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    /// Writes an inventory whose hosts are made in the lab.
    pub(crate) fn inventory(&self, file: &str, hosts: &[(&str, &str)], more: &str) {
        let mut text = format!(
            "[cluster]\nname = \"{}\"\nprovider = \"lab\"\n{more}\n",
            self.cluster
        );
        for (name, role) in hosts {
            let _ = write!(text, "\n[[host]]\nname = \"{name}\"\nrole = \"{role}\"\n");
        }
        fs::write(self.path(file), text).unwrap();
    }

    /// Writes an inventory of the same hosts as machines of somebody's own: skep knows their
    /// addresses and keys, and nothing of the lab. `ssh` are more lines of `[ssh]`; `extra` are
    /// lines of single hosts.
    pub(crate) fn machines(
        &self,
        file: &str,
        hosts: &[(&str, &str)],
        ssh: &str,
        extra: &[(&str, &str)],
    ) {
        let lab = self.dirs.lab(&self.cluster);
        let mut text = format!(
            "[cluster]\nname = \"{}\"\n\n[ssh]\nconfig = \"\"\nidentity = \"{}\"\nknown-hosts = \"{}\"\n{}\n",
            self.cluster,
            lab.join("id_ed25519").display(),
            lab.join("known_hosts").display(),
            if ssh.is_empty() {
                "user = \"root\""
            } else {
                ssh
            },
        );
        for (name, role) in hosts {
            let _ = write!(
                text,
                "\n[[host]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{}\"\n",
                self.address(name)
            );
            for (_, line) in extra.iter().filter(|(host, _)| host == name) {
                text += &(line.to_string() + "\n");
            }
        }
        fs::write(self.path(file), text).unwrap();
    }

    pub(crate) fn address(&self, host: &str) -> String {
        let lab = self.dirs.lab(&self.cluster).join("lab.json");
        let record: Value = serde_json::from_str(&fs::read_to_string(lab).unwrap()).unwrap();
        record["hosts"][host]["address"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Runs the binary to its end.
    pub(crate) fn skep(&self, inventory: &str, arguments: &[&str]) -> Ran {
        self.start(inventory, arguments).end()
    }

    /// Starts the binary.
    pub(crate) fn start(&self, inventory: &str, arguments: &[&str]) -> Running {
        self.start_with(inventory, arguments, &[])
    }

    /// Starts the binary with more in its environment.
    pub(crate) fn start_with(
        &self,
        inventory: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Running {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .env("SKEP_INVENTORY", self.path(inventory))
            .env("SKEP_LAB_DIR", self.dirs.root())
            .env("XDG_STATE_HOME", self.path("state"))
            .envs(environment.iter().copied())
            .args(arguments);
        Running::start(command, &self.path(&format!("run-{number:03}")))
    }

    /// Runs a script on a host, past SSH, and gives its status with what it printed.
    pub(crate) fn try_on(&self, host: &str, script: &str) -> (bool, String) {
        let name = container_name(&self.cluster, host);
        let mut docker = self.docker_command(&["exec", "-i", &name, "sh"]);
        let script_file = self.path("script.sh");
        fs::write(&script_file, script).unwrap();
        let output = docker
            .stdin(File::open(script_file).unwrap())
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.trim().to_owned())
    }

    /// Runs a script on a host, past SSH; it must end well.
    pub(crate) fn on(&self, host: &str, script: &str) -> String {
        let (well, text) = self.try_on(host, script);
        assert!(well, "{host}: {script}: {text}");
        text
    }

    /// Waits until a script on a host ends well.
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
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes hosts without doing anything to them, and makes those anew that exist.
    pub(crate) fn fresh(&self, inventory: &str, hosts: &[&str]) {
        let source = skep::inventory::read(&self.path(inventory)).unwrap();
        let lab = Lab::open_at(&source.inventory.unwrap(), self.dirs.clone()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            lab.prepare(&|_| ()).await.unwrap();
            let made = hosts.iter().map(|host| async {
                lab.remove(host).await.unwrap();
                lab.create(host, &|_| ()).await.unwrap();
            });
            futures::future::join_all(made).await;
        });
    }

    /// Runs `docker` on the lab's engine.
    pub(crate) fn docker(&self, arguments: &[&str]) {
        let output = self.docker_command(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
    }

    /// What is done to a whole host from outside: `pause`, `unpause`, `kill`, `start`.
    pub(crate) fn machine(&self, verb: &str, host: &str) {
        self.docker(&["container", verb, &container_name(&self.cluster, host)]);
    }

    /// Whether a host runs.
    pub(crate) fn is_on(&self, host: &str) -> bool {
        let name = container_name(&self.cluster, host);
        let mut docker =
            self.docker_command(&["container", "inspect", "--format={{.State.Running}}", &name]);
        let output = docker.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim() == "true"
    }

    /// Pulls the cable of a host.
    pub(crate) fn cut(&self, host: &str) {
        let (network, name) = self.cable(host);
        self.docker(&["network", "disconnect", "--force", &network, &name]);
    }

    /// Puts it in again.
    pub(crate) fn mend(&self, host: &str) {
        let (network, name) = self.cable(host);
        let address = self.address(host);
        self.docker(&["network", "connect", "--ip", &address, &network, &name]);
    }

    fn cable(&self, host: &str) -> (String, String) {
        (
            network_name(&self.cluster),
            container_name(&self.cluster, host),
        )
    }

    fn docker_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        let socket = self.dirs.run().join("docker.sock");
        command.arg(format!("--host=unix://{}", socket.display()));
        command.args(arguments);
        command
    }

    /// The swarm as `status --json` tells it.
    pub(crate) fn status(&self, inventory: &str) -> Value {
        let ran = self.skep(inventory, &["status", "--json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// The leader, by its name in the inventory.
    pub(crate) fn leader(&self, inventory: &str) -> String {
        let status = self.status(inventory);
        let nodes = status["nodes"].as_array().unwrap();
        let leader = nodes.iter().find(|node| node["leader"] == true).unwrap();
        leader["name"].as_str().unwrap().to_owned()
    }

    /// The NodeID of a host, as the host says it.
    pub(crate) fn node_id(&self, host: &str) -> String {
        self.on(host, "docker info --format '{{.Swarm.NodeID}}' 2>/dev/null")
    }

    /// Every file that skep wrote or printed in this story's name.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned(), self.dirs.lab(&self.cluster)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if keeps() {
            return;
        }
        let line = ["lab", "down", "--yes"];
        let ran = self.start("lab.toml", &line).end();
        // A panic in a panic would end the program before it says anything.
        if ran.code != Some(0) {
            told(&format!("the lab was not ended: {ran:?}"));
        }
    }
}
