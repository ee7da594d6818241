//! A cloud of its own, the real binary to use it with, and what a story needs to break it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use super::run::{Ran, Running};
use super::tell::{keeps, told};

/// How long a tool may take. The image takes minutes, and so does a boot without KVM beside other tests.
const LONGEST: Duration = Duration::from_mins(40);

/// What servers are in a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// Nova's fakes: they are there in a second, and nothing runs in them.
    Fake,
    /// Virtual machines, without KVM: minutes until SSH answers beside other tests.
    Real,
}

/// A cloud that runs. Dropping it ends the cloud, also when a story failed.
pub(crate) struct World {
    cloud: PathBuf,
    /// Whether the cloud's folder was made for this test alone.
    own: bool,
    folder: TempDir,
    runs: AtomicUsize,
}

impl World {
    /// Starts a cloud in `SKEP_OPENSTACK_DIR`, where schemas and images stay for the next time, else
    /// in a folder that goes when the test ends.
    pub(crate) fn new(hosts: Hosts) -> Self {
        let given = std::env::var_os("SKEP_OPENSTACK_DIR").map(PathBuf::from);
        let own = given.is_none();
        let cloud = given.unwrap_or_else(|| {
            let made = tempfile::Builder::new()
                .prefix("skep-openstack.")
                .tempdir_in("/var/tmp");
            made.unwrap().keep()
        });
        let world = Self {
            cloud,
            own,
            folder: TempDir::new().unwrap(),
            runs: AtomicUsize::new(0),
        };
        let more: &[&str] = match hosts {
            Hosts::Fake => &[],
            Hosts::Real => &["--real"],
        };
        world.tool("up", more).ends(0);
        world
    }

    /// A path in this test's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The cloud's `clouds.yaml`, with the clouds `demo` (a plain user) and `admin`.
    pub(crate) fn clouds(&self) -> PathBuf {
        self.cloud.join("etc/clouds.yaml")
    }

    /// Runs a tool of `tests/openstack` to its end.
    pub(crate) fn tool(&self, name: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(name);
        command.args(arguments);
        self.running(command).ends_within(LONGEST)
    }

    /// Runs OpenStack's own client as a user of that cloud, `demo` or `admin`, to its good end, and gives
    /// what it prints.
    pub(crate) fn openstack(&self, cloud: &str, line: &str) -> String {
        let begin = ["openstack", "--os-cloud", cloud];
        let words: Vec<&str> = begin.into_iter().chain(line.split(' ')).collect();
        self.tool("in", &words).ends(0).out
    }

    /// Runs the binary to its end, where the cloud's APIs and floating IPs are.
    pub(crate) fn skep(&self, inventory: &str, arguments: &[&str]) -> Ran {
        self.start(inventory, arguments).end()
    }

    /// Starts the binary there. What is killed is the binary itself: nothing is between.
    pub(crate) fn start(&self, inventory: &str, arguments: &[&str]) -> Running {
        let mut command = self.command("in");
        command
            .arg(env!("CARGO_BIN_EXE_skep"))
            .args(arguments)
            .env("SKEP_INVENTORY", self.path(inventory))
            .env("XDG_STATE_HOME", self.path("state"));
        self.running(command)
    }

    /// Everything that the project `demo` has: kind, id and name.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let ran = self.tool("leftovers", &[]).ends(0);
        ran.out.lines().map(str::to_owned).collect()
    }

    /// Does something in this process that needs the cloud's network. Threads that it starts are
    /// there too, such as those of a runtime that it makes.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let init = fs::read_to_string(self.cloud.join("run/init")).unwrap();
        let id = init.split_whitespace().next().unwrap();
        let network = File::open(Path::new("/proc").join(id).join("ns/net")).unwrap();
        std::thread::scope(|scope| {
            // A thread that has changed its network is good for nothing else.
            let thread = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), kind).unwrap();
                act()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn command(&self, tool: &str) -> Command {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openstack");
        let mut command = Command::new(tools.join(tool));
        command
            .env("SKEP_OPENSTACK_DIR", &self.cloud)
            .env("OS_CLIENT_CONFIG_FILE", self.clouds())
            .stdin(Stdio::null());
        command
    }

    fn running(&self, command: Command) -> Running {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        Running::start(command, &self.path(&format!("run-{number:03}")))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if keeps() {
            told(&format!("the cloud is left in {}", self.cloud.display()));
            return;
        }
        let more: &[&str] = if self.own { &["--purge"] } else { &[] };
        let ran = self.tool("down", more);
        // A panic in a panic would end the program before it says anything.
        if ran.code != Some(0) {
            told(&format!("the cloud was not ended: {ran:?}"));
        }
    }
}
