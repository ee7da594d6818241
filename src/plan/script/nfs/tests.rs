use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::plan::script::script;
use crate::plan::{ShutdownStep, Step};

/// A host in a folder: programs that write down how they were called, and its table of mounts.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "units"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let host = Self { folder };
        host.program("systemctl", "case $* in *ActiveState*) echo active ;; esac");
        host.program("stat", "");
        host.program("umount", ": >\"$ROOT/mounts\"");
        host.program("rpcinfo", "");
        host.program("journalctl", "echo access denied by server");
        host.mounts("");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >>\"$ROOT/calls\"\n{body}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn mounts(&self, text: &str) {
        std::fs::write(self.path("mounts"), text).unwrap();
    }

    fn unit(&self, name: &str) -> PathBuf {
        let path = self.path("units").join(name);
        std::fs::write(&path, "x").unwrap();
        path
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// Runs a step: its status, and what it said.
    fn run(&self, step: NfsStep) -> (i32, String) {
        self.step(&Step::Nfs(step))
    }

    fn step(&self, step: &Step) -> (i32, String) {
        let root = self.folder.path().to_str().unwrap();
        let text = script(step).unwrap().text;
        let text = text
            .replace("/run/skep", &format!("{root}/run"))
            .replace("/proc/mounts", &format!("{root}/mounts"))
            .replace("/etc/systemd/system", &format!("{root}/units"))
            .replace("/var/lib/nfs/etab", &format!("{root}/etab"))
            .replace("aside 5 ", "aside 1 ")
            .replace("aside 10 ", "aside 1 ")
            .replace("aside 20 ", "aside 1 ");
        let path = format!("{root}/bin:{}", std::env::var("PATH").unwrap());
        let mut child = Command::new("sh")
            .env("PATH", path)
            .env("ROOT", root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    }
}

const MOUNTED: &str = "nas:/srv/a /mnt/a nfs4 rw,hard 0 0\n";

fn mount(automount: bool) -> NfsStep {
    let unit = |kind: &str| format!("mnt-a.{kind}");
    NfsStep::Mount {
        server: "nas".to_owned(),
        address: "192.0.2.1".to_owned(),
        port: 2049,
        target: "/mnt/a".to_owned(),
        unit: unit("mount"),
        automount: automount.then(|| unit("automount")),
        drop: (!automount).then(|| unit("automount")),
        remount: true,
        timeout: 1,
    }
}

fn unmount() -> NfsStep {
    NfsStep::Unmount {
        target: "/mnt/a".to_owned(),
        units: vec!["mnt-a.automount".to_owned(), "mnt-a.mount".to_owned()],
    }
}

/// One step of each kind.
pub(crate) fn every_step() -> impl Iterator<Item = NfsStep> {
    let paths = || vec!["/srv/a".to_owned()];
    [
        NfsStep::MakeFolders { paths: paths() },
        NfsStep::Export { paths: paths() },
        NfsStep::ReadDomain,
        NfsStep::Reload,
        mount(true),
        mount(false),
        unmount(),
    ]
    .into_iter()
}

#[test]
fn a_mount_is_started_by_its_unit() {
    let host = Host::new();
    let (status, said) = host.run(mount(true));
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("mounted /mnt/a"), "{said}");
    let calls = host.calls();
    for call in [
        "systemctl enable --quiet -- mnt-a.automount",
        "systemctl start -- mnt-a.automount",
        "systemctl start --no-block -- mnt-a.mount",
        "rpcinfo -T tcp -a 192.0.2.1.8.1 100003",
    ] {
        assert!(calls.contains(call), "{call} is not in\n{calls}");
    }
}

#[test]
fn a_server_that_is_away_fails_nothing() {
    for automount in [true, false] {
        let host = Host::new();
        host.program("rpcinfo", "exec sleep 100");
        let began = Instant::now();
        let (status, said) = host.run(mount(automount));
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("stale: server nas does not answer"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(
            !host.calls().contains("--no-block"),
            "it was started all the same"
        );
    }
}

#[test]
fn a_server_that_refuses_is_told() {
    let host = Host::new();
    host.program(
        "systemctl",
        "case $* in *ActiveState*automount*) echo active ;; *ActiveState*) echo failed ;; esac",
    );
    let (status, said) = host.run(mount(true));
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("access denied by server"), "{said}");
}

#[test]
fn what_is_in_use_stays() {
    let host = Host::new();
    host.mounts(MOUNTED);
    let unit = host.unit("mnt-a.mount");
    host.program("umount", "echo target is busy >&2; exit 32");
    let (status, said) = host.run(unmount());
    assert_eq!(status, i32::from(IN_USE), "{said}");
    assert!(
        said.contains("/mnt/a is in use") && said.contains("target is busy"),
        "{said}"
    );
    assert!(unit.exists() && !host.calls().contains("systemctl"));
    // Another setting holds from the next mount on, and fails nothing.
    let (status, said) = host.run(mount(true));
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("hold from its next mount"), "{said}");
}

#[test]
fn a_dead_server_is_never_waited_for() {
    let host = Host::new();
    host.mounts(MOUNTED);
    let unit = host.unit("mnt-a.mount");
    // It takes no signal but KILL, as a process that waits for NFS.
    host.program("stat", "trap '' TERM; exec sleep 100");
    let began = Instant::now();
    let (status, said) = host.run(unmount());
    assert_eq!(status, i32::from(SERVER_AWAY), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(unit.exists() && !host.calls().contains("umount"));
}

/// Before a host is switched off: nothing that hangs or is in use holds it up, and the units stay for
/// the next boot.
#[test]
fn what_is_let_go_for_a_shutdown_is_detached_at_the_worst() {
    let release = || release(false);
    let host = Host::new();
    let unit = host.unit("mnt-a.automount");
    assert_eq!(
        host.step(&release()),
        (0, String::new()),
        "nothing is there"
    );
    assert!(host.calls().contains("systemctl stop -- mnt-a.automount"));
    host.mounts(MOUNTED);
    let (status, said) = host.step(&release());
    assert_eq!((status, said.as_str()), (0, "unmounted /mnt/a\n"));
    // In use.
    host.mounts(MOUNTED);
    host.program(
        "umount",
        "case $* in *-l*) ;; *) echo busy; exit 32 ;; esac",
    );
    let (status, said) = host.step(&release());
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("in use by") && said.contains("detached /mnt/a"),
        "{said}"
    );
    // The server is gone, and so hangs all that touches the folder.
    host.program("stat", "trap '' TERM; exec sleep 100");
    host.program("umount", "trap '' TERM; exec sleep 100");
    let began = Instant::now();
    let (status, said) = host.step(&release());
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("does not answer"), "{said}");
    assert!(said.contains("could not be detached, and stays"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(unit.exists());
    assert!(
        !host.calls().contains("umount -f"),
        "that is for an emergency"
    );
}

fn release(force: bool) -> Step {
    Step::Shutdown(ShutdownStep::Release {
        target: "/mnt/a".to_owned(),
        automount: Some("mnt-a.automount".to_owned()),
        force,
    })
}

/// In an emergency, calls that wait for a dead server are made to fail before its folder is detached:
/// after that nobody can, and the host waits for them when it goes off.
#[test]
fn in_an_emergency_calls_that_wait_for_a_dead_server_fail_first() {
    let host = Host::new();
    host.mounts(MOUNTED);
    host.program("stat", "trap '' TERM; exec sleep 100");
    let (status, said) = host.step(&release(true));
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("does not answer"), "{said}");
    let calls = host.calls();
    let place = |call: &str| {
        let found = calls.find(call);
        found.unwrap_or_else(|| panic!("no {call} in\n{calls}"))
    };
    assert!(place("umount -f -i -c -- /mnt/a") < place("systemctl stop"));
    // One whose server answers is unmounted as ever.
    let host = Host::new();
    host.mounts(MOUNTED);
    let (status, said) = host.step(&release(true));
    assert_eq!((status, said.as_str()), (0, "unmounted /mnt/a\n"));
    assert!(!host.calls().contains("umount -f"), "{}", host.calls());
}

#[test]
fn what_is_free_goes_with_its_units() {
    let host = Host::new();
    host.mounts(MOUNTED);
    let (one, two) = (host.unit("mnt-a.mount"), host.unit("mnt-a.automount"));
    let (status, said) = host.run(unmount());
    assert_eq!(status, 0, "{said}");
    assert!(!one.exists() && !two.exists());
    let calls = host.calls();
    let place = |call: &str| {
        calls
            .find(call)
            .unwrap_or_else(|| panic!("no {call} in\n{calls}"))
    };
    // systemd unmounts by force what lies on an automount that it stops.
    assert!(place("umount -- /mnt/a") < place("systemctl stop -- mnt-a.automount"));
    assert!(!calls.contains("-l") && !calls.contains("--lazy"));
    // Once more, as after a cut.
    assert_eq!(host.run(unmount()).0, 0);
}

#[test]
fn only_our_exports_must_be_there() {
    let host = Host::new();
    let step = || NfsStep::Export {
        paths: vec!["/srv/a".to_owned()],
    };
    host.program(
        "exportfs",
        "echo exportfs: a foreign line is wrong >&2; exit 1",
    );
    let (status, said) = host.run(step());
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("a foreign line is wrong"), "{said}");
    std::fs::write(host.path("etab"), "/srv/a\t*(rw)\n").unwrap();
    let (status, said) = host.run(step());
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("a foreign line is wrong"), "{said}");
}

#[test]
fn what_is_exported_no_more_can_be_unmounted() {
    let host = Host::new();
    host.mounts(MOUNTED);
    host.program("stat", "echo Stale file handle >&2; exit 1");
    let (status, said) = host.run(unmount());
    assert_eq!(status, 0, "{said}");
}
