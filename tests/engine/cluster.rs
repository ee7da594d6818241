//! A lab of a test's own, and the real binary to work on it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use skep::inventory;
use skep::provider::lab::{Dirs, Lab, ROOT_VARIABLE, container_name};

/// What `skep` said and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        Self {
            code: output.status.code(),
            text: format!("{stdout}{stderr}"),
        }
    }

    /// The text, after it was checked that it ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self.text
    }

    /// Checks that it ended with `code` and said each of `texts`.
    #[track_caller]
    pub(crate) fn said(self, code: i32, texts: &[&str]) {
        let text = self.ended(code);
        for wanted in texts {
            assert!(text.contains(wanted), "it does not say {wanted:?}:\n{text}");
        }
    }
}

/// A cluster of lab hosts. It is ended with the test, however that ends.
pub(crate) struct Cluster {
    name: String,
    dirs: Dirs,
    folder: tempfile::TempDir,
    began: Instant,
}

impl Cluster {
    /// A cluster without hosts.
    pub(crate) fn new(name: &str) -> Self {
        let root = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
        let root = root.unwrap_or_else(|| std::env::temp_dir().join("skep-engine-test"));
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self {
            name: name.to_owned(),
            dirs: Dirs::at(root),
            folder,
            began: Instant::now(),
        };
        // What a test that was killed left behind.
        cluster.inventory("[[host]]\nname = \"m1\"\nrole = \"manager\"\n");
        cluster.skep(["lab", "down", "--yes"]).ended(0);
        cluster
    }

    /// A path in the test's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the inventory: all but the cluster's own table.
    pub(crate) fn inventory(&self, text: &str) {
        let head = format!(
            "[cluster]\nname = \"{}\"\nprovider = \"lab\"\n\n",
            self.name
        );
        fs::write(self.path("skep.toml"), head + text).unwrap();
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env(ROOT_VARIABLE, self.dirs.root())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("NO_COLOR", "1")
            .env_remove("SKEP_INVENTORY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn skep<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        Ran::new(&self.command(arguments).output().unwrap())
    }

    /// Starts the binary and does not wait for it; what it says goes to `started.log`.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path("started.log")).unwrap())
            .spawn()
            .unwrap()
    }

    /// `skep up`, which must do it.
    #[track_caller]
    pub(crate) fn up(&self) -> String {
        self.skep(["up", "--yes"]).ended(0)
    }

    /// Checks that nothing is left to do.
    #[track_caller]
    pub(crate) fn is_converged(&self) {
        self.skep(["plan", "--exit-code"]).ended(0);
    }

    /// Makes the inventory's hosts, each anew, without anything on them.
    pub(crate) fn make(&self, hosts: &[&str]) {
        let inventory = inventory::load(&self.path("skep.toml")).unwrap();
        let lab = Lab::open_at(&inventory, self.dirs.clone()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let quiet = |_: &str| {};
        runtime.block_on(async {
            lab.prepare(&quiet).await.unwrap();
            let anew = hosts.iter().map(async |host| {
                // It need not exist.
                let _gone = lab.remove(host).await;
                lab.create(host, &quiet).await.unwrap();
            });
            futures::future::join_all(anew).await;
        });
    }

    /// Runs `script` on a host as root, past everything that is being tested.
    pub(crate) fn try_on(&self, host: &str, script: &str) -> Ran {
        let socket = self.dirs.run().join("docker.sock");
        let mut child = Command::new("docker")
            .arg(format!("--host=unix://{}", socket.display()))
            .args(["exec", "-i", &container_name(&self.name, host), "sh", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        drop(input);
        Ran::new(&child.wait_with_output().unwrap())
    }

    /// Runs `script` on a host as root; it must end well.
    #[track_caller]
    pub(crate) fn on(&self, host: &str, script: &str) -> String {
        let text = self.try_on(host, script).ended(0);
        text.trim().to_owned()
    }

    /// Waits until `script` ends well on a host.
    #[track_caller]
    pub(crate) fn until(&self, host: &str, script: &str) {
        let began = Instant::now();
        loop {
            let ran = self.try_on(host, script);
            if ran.code == Some(0) {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "{host}: {script}: {}",
                ran.text
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Copies a file or folder of a host to this machine.
    #[track_caller]
    pub(crate) fn fetch(&self, host: &str, from: &str, to: &Path) {
        let socket = self.dirs.run().join("docker.sock");
        let name = container_name(&self.name, host);
        let copied = Command::new("docker")
            .arg(format!("--host=unix://{}", socket.display()))
            .args(["cp", &format!("{name}:{from}")])
            .arg(to)
            .output()
            .unwrap();
        Ran::new(&copied).ended(0);
    }

    /// The address of this machine on the lab's network.
    pub(crate) fn gateway(&self, host: &str) -> String {
        self.on(host, "set -- $(ip -4 route show default) && echo \"$3\"")
    }

    /// Says how long it took so far.
    pub(crate) fn lap(&self, what: &str) {
        // A line on stderr that the test harness does not swallow.
        let line = format!(
            "{}: {what}: {:.1} s\n",
            self.name,
            self.began.elapsed().as_secs_f64()
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.lap("all of it");
        let down = self.skep(["lab", "down", "--yes"]);
        if down.code != Some(0) {
            self.lap(&down.text);
        }
    }
}
