//! The copy of a manager's state that is kept before it forgets its swarm.

use crate::shell;

/// There is no room for the copy.
pub(super) const NO_ROOM: u8 = 83;
/// The engine does not stop.
pub(super) const RUNS_ON: u8 = 84;
/// The host is another node than the plan saw.
pub(super) const ANOTHER_NODE: u8 = 85;

/// How long it may take, in seconds: two questions, the stop, the copy, the start.
const SECONDS: u32 = 900;

/// The body of the script, and how long it may take.
pub(super) fn copy(id: &str) -> (String, u32) {
    let body = include_str!("recover/copy.sh");
    (format!("id={}\n{body}", shell::quote(id)), SECONDS)
}

/// What to do where it ended with `status`.
pub(super) fn explain(status: u8) -> Option<&'static str> {
    match status {
        NO_ROOM => Some(
            "Make room on the host, and run the command again. Without a copy: `--no-copy`; what only the others knew is then lost for ever.",
        ),
        RUNS_ON => Some(
            "Look for what holds it, such as a dead NFS server, or boot the host anew, and run the command again. Without a copy: `--no-copy`.",
        ),
        ANOTHER_NODE => Some("Run the command again: it plans from what is there now."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    /// A host whose engine is a file that says whether it runs, and whose swarm is node `n1`.
    fn host(folder: &Path) {
        let root = folder.join("root");
        fs::create_dir_all(root.join("swarm/raft")).unwrap();
        fs::write(root.join("swarm/docker-state.json"), "{}").unwrap();
        fs::write(root.join("swarm/raft/log"), "entries").unwrap();
        fs::create_dir(root.join("swarm-20200101T000000Z-n1.part")).unwrap();
        let root = root.display();
        let runs = folder.join("runs");
        fs::write(&runs, "").unwrap();
        let runs = runs.display();
        let programs = [
            (
                "docker",
                format!("case $3 in *Root*) echo {root} ;; *) echo n1 ;; esac"),
            ),
            (
                "systemctl",
                format!(
                    "case $1 in start) : >{runs} ;; stop) [ -e {runs}.hangs ] && exit 1; rm -f {runs} ;; esac"
                ),
            ),
            // The engine must be stopped for a true copy.
            (
                "cp",
                format!(
                    "[ -e {runs} ] && exit 9; [ -e {runs}.full ] && exit 8; exec /bin/cp \"$@\""
                ),
            ),
        ];
        fs::create_dir(folder.join("bin")).unwrap();
        for (name, text) in programs {
            let path = folder.join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn run(folder: &Path, id: &str) -> Output {
        let (body, _) = copy(id);
        let helpers = "set -eu\nsay() { printf '%s\\n' \"$*\"; }\n\
            fail() { code=$1; shift; printf '%s\\n' \"$*\" >&2; exit \"$code\"; }\n";
        let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{helpers}{body}")]);
        command.env("PATH", path).output().unwrap()
    }

    fn copies(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder.join("root")).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("swarm-")).collect()
    }

    #[test]
    fn the_state_is_copied_while_the_engine_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        host(folder);
        let output = run(folder, "n1");
        assert!(output.status.success(), "{output:?}");
        let copies = copies(folder);
        assert_eq!(copies.len(), 1, "what was cut off is gone: {copies:?}");
        assert!(copies[0].ends_with("Z-n1"), "{copies:?}");
        let copy = folder.join("root").join(&copies[0]);
        assert_eq!(
            fs::read_to_string(copy.join("raft/log")).unwrap(),
            "entries"
        );
        let mode = fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(folder.join("runs").exists(), "the engine runs again");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&copies[0]), "{said}");
    }

    #[test]
    fn without_a_copy_the_engine_runs_again_and_nothing_is_half_kept() {
        for (trouble, status) in [("full", 8), ("hangs", i32::from(RUNS_ON))] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            host(folder);
            fs::write(folder.join(format!("runs.{trouble}")), "").unwrap();
            let output = run(folder, "n1");
            assert_eq!(output.status.code(), Some(status), "{output:?}");
            assert!(folder.join("runs").exists(), "{trouble}");
            let whole = |name: &String| name.ends_with("-n1");
            assert!(!copies(folder).iter().any(whole), "{trouble}");
        }
        let folder = tempfile::tempdir().unwrap();
        host(folder.path());
        let other = run(folder.path(), "n2");
        assert_eq!(
            other.status.code(),
            Some(i32::from(ANOTHER_NODE)),
            "{other:?}"
        );
    }
}
