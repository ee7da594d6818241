//! An sshd of its own for one test: own keys, own configuration, own log; and users for it.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use skep::ssh::Target;
use tempfile::TempDir;

/// A running sshd; it ends with the value.
pub(crate) struct Server {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Server {
    /// Starts one with these lines added to its configuration.
    pub(crate) fn start(extra: &str) -> Self {
        Self::start_as(extra, &["/usr/sbin/sshd"])
    }

    /// Starts one whose logins see a `/run/skep` and a `/var/lib/skep` of their own, as those of
    /// another machine do.
    pub(crate) fn start_apart() -> Self {
        let apart = "mkdir -p /run/skep /var/lib/skep && mount -t tmpfs tmpfs /run/skep && \
                     mount -t tmpfs tmpfs /var/lib/skep && exec /usr/sbin/sshd \"$@\"";
        Self::start_as("", &["unshare", "--mount", "sh", "-c", apart, "sshd"])
    }

    fn start_as(extra: &str, sshd: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        // The keys' folder must be reachable for other users' logins.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for kind in ["ed25519", "ecdsa"] {
            keygen(&[
                "-t",
                kind,
                "-f",
                path.join(format!("host_{kind}")).to_str().unwrap(),
            ]);
        }
        keygen(&["-t", "ed25519", "-f", path.join("id").to_str().unwrap()]);
        fs::copy(path.join("id.pub"), path.join("authorized")).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let port = free_port();
        let dir_text = path.display();
        let config = format!(
            "{extra}\n\
             Port {port}\n\
             ListenAddress 127.0.0.1\n\
             HostKey {dir_text}/host_ed25519\n\
             HostKey {dir_text}/host_ecdsa\n\
             PidFile none\n\
             AuthorizedKeysFile {dir_text}/authorized\n\
             StrictModes no\n\
             PermitRootLogin yes\n\
             UsePAM no\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             AllowStreamLocalForwarding yes\n\
             AllowTcpForwarding yes\n\
             LogLevel DEBUG1\n"
        );
        fs::write(path.join("config"), config).unwrap();
        let child = Self::spawn(sshd, path, port);
        let server = Self { dir, port, child };
        server.trust("ed25519");
        server
    }

    fn spawn(sshd: &[&str], path: &Path, port: u16) -> Child {
        let child = Command::new(sshd[0])
            .args(&sshd[1..])
            .args(["-D", "-f"])
            .arg(path.join("config"))
            .arg("-E")
            .arg(path.join("log"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(30));
        }
        child
    }

    /// Ends the listener (not the connections that are open).
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`stop`](Self::stop).
    pub(crate) fn start_again(&mut self) {
        self.child = Self::spawn(&["/usr/sbin/sshd"], self.dir.path(), self.port);
    }

    /// A file in the server's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the known-hosts file of [`target`](Self::target): this host key, and nothing else.
    pub(crate) fn trust(&self, kind: &str) {
        let key = self.read(&format!("host_{kind}.pub"));
        fs::write(
            self.file("known_hosts"),
            format!("[127.0.0.1]:{} {key}", self.port),
        )
        .unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// root on this server, with the right key.
    pub(crate) fn target(&self) -> Target {
        Target {
            user: Some("root".to_owned()),
            port: Some(self.port),
            identity: vec![self.file("id")],
            known_hosts: Some(self.file("known_hosts")),
            connect_timeout: Some(Duration::from_secs(15)),
            ..Target::new("server", "127.0.0.1")
        }
    }

    /// The same for another user.
    pub(crate) fn target_of(&self, user: &User) -> Target {
        Target {
            user: Some(user.name.clone()),
            ..self.target()
        }
    }

    /// How many times the log has `text`.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.read("log").matches(text).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs `ssh-keygen` without a passphrase unless one is given.
pub(crate) fn keygen(args: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").args(args);
    if args.contains(&"-t") && !args.contains(&"-N") {
        command.args(["-N", ""]);
    }
    assert!(command.status().unwrap().success(), "{args:?}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A user of this machine; gone with the value.
pub(crate) struct User {
    pub(crate) name: String,
}

static USERS: AtomicU32 = AtomicU32::new(0);

impl User {
    /// Makes one with this login shell and password.
    pub(crate) fn new(shell: &str, password: &str) -> Self {
        let name = format!(
            "skept{}x{}",
            std::process::id(),
            USERS.fetch_add(1, Ordering::Relaxed)
        );
        must(Command::new("useradd").args(["-m", "-s", shell, &name]));
        let mut chpasswd = Command::new("chpasswd")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(chpasswd.stdin.take().unwrap(), "{name}:{password}").unwrap();
        assert!(chpasswd.wait().unwrap().success());
        Self { name }
    }

    pub(crate) fn home(&self) -> PathBuf {
        Path::new("/home").join(&self.name)
    }

    /// Gives the user a line in sudoers; `rule` follows the name.
    pub(crate) fn sudoers(&self, rule: &str) {
        let path = self.sudoers_file();
        fs::write(&path, format!("{} {rule}\n", self.name)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o440)).unwrap();
    }

    fn sudoers_file(&self) -> PathBuf {
        Path::new("/etc/sudoers.d").join(&self.name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.sudoers_file());
        // Forced: the connections of the test end only after this.
        for _ in 0..20 {
            let done = Command::new("userdel")
                .args(["-rf", &self.name])
                .stderr(Stdio::null())
                .status();
            if done.is_ok_and(|status| status.success()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn must(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// An ssh-agent; it ends with the value.
pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl Agent {
    pub(crate) fn start(socket: &Path) -> Self {
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !socket.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            socket: socket.to_owned(),
            child,
        }
    }

    pub(crate) fn add(&self, key: &Path) {
        must(
            Command::new("ssh-add")
                .arg("-q")
                .arg(key)
                .env("SSH_AUTH_SOCK", &self.socket),
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A script that prints the process that carries its connection: the nearest ancestor `sshd`.
pub(crate) const MY_SSHD: &str = r#"
p=$$
while [ "$p" -gt 1 ] && [ "$(cat "/proc/$p/comm")" != sshd ]; do
  p=$(awk '/^PPid:/ { print $2 }' "/proc/$p/status")
done
echo "$p"
"#;

/// A script that ends the process that carries its connection.
pub(crate) const KILL_MY_SSHD: &str = r#"
echo begun
p=$$
while [ "$p" -gt 1 ] && [ "$(cat "/proc/$p/comm")" != sshd ]; do
  p=$(awk '/^PPid:/ { print $2 }' "/proc/$p/status")
done
sleep 0.3
[ "$p" -gt 1 ] && kill -9 "$p"
sleep 1
"#;

/// A process that is stopped while the value lives.
pub(crate) struct Frozen(String);

impl Frozen {
    pub(crate) fn new(pid: &str) -> Self {
        assert!(pid.parse::<u32>().unwrap() > 1);
        must(Command::new("kill").args(["-STOP", pid]));
        Self(pid.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0]).status();
    }
}

/// Whether the process runs; one that has only not been waited for does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    assert!(!pid.is_empty());
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

/// Waits until the process has ended.
pub(crate) async fn gone(pid: &str) {
    for _ in 0..100 {
        if !is_alive(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("process {pid} lives on");
}
