//! The restart and the reload of an engine, with a `systemctl` of the test's own.

use super::*;
use crate::plan::script::ROLLED_BACK as ROLLED_BACK_STATUS;
use crate::resource::{Former, Pending, RESTART_MARKER, ROLLED_BACK};

const GOOD: &str = "{\n  \"mtu\": 1400\n}\n";
const BAD: &str = "{ \"bip\": \"bad\" }";

/// A host on which an engine starts with any `daemon.json` that has no `bad` in it. It "runs" while
/// there is a file `up`, which holds what it has read.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(file: &str, former: Option<Former>, reload: bool) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let root = machine.0.path();
        std::fs::create_dir_all(root.join("etc/docker")).unwrap();
        std::fs::create_dir_all(root.join("var/lib/skep")).unwrap();
        std::fs::write(machine.path("etc/docker/daemon.json"), file).unwrap();
        if let Some(former) = former {
            let text = Pending { reload, former }.to_text();
            std::fs::write(machine.path(RESTART_MARKER), text).unwrap();
        }
        std::fs::write(machine.path("up"), GOOD).unwrap();
        let here = root.display();
        stub(
            &root.join("bin"),
            "systemctl",
            &format!(
                r#"cd '{here}'
echo "$*" >>calls
begin() {{
  if grep -qs bad etc/docker/daemon.json || [ -e broken ]; then return 1; fi
  cat etc/docker/daemon.json >up 2>/dev/null || : >up
}}
case $1 in
  restart) rm -f up; begin ;;
  start) [ -e up ] || begin ;;
  stop) rm -f up ;;
  is-failed) [ ! -e up ] ;;
  reload) if begin; then echo '{{"Type":"daemon","Action":"reload"}}' >event; else : >event; fi ;;
esac"#
            ),
        );
        let ask =
            "for last; do :; done\ncase $last in *events*) cat event ;; *) test -e up ;; esac";
        stub(&root.join("bin"), "curl", &format!("cd '{here}'\n{ask}"));
        let words = "echo 'level=info msg=x'\necho 'failed: http://me:s3cret@proxy:1/ is bad'";
        stub(&root.join("bin"), "journalctl", words);
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
    }

    fn file(&self) -> Option<String> {
        self.read("etc/docker/daemon.json")
    }

    fn run(&self, shell: &[&str], step: &Step) -> (i32, String) {
        let root = self.0.path();
        let text = below(root, step)
            .replace("/etc/docker", root.join("etc/docker").to_str().unwrap())
            .replace("/var/lib/skep", root.join("var/lib/skep").to_str().unwrap())
            .replace("PATH=$PATH", &format!("PATH={}/bin:$PATH", root.display()))
            .replace("-lt 15", "-lt 1");
        run(shell, &text)
    }
}

fn each_shell(test: impl Fn(&[&str])) {
    for shell in SHELLS.iter().filter(|shell| there(shell)) {
        test(shell);
    }
}

fn text(text: &str) -> Former {
    Former::Text(text.to_owned(), 0o640)
}

#[test]
fn an_engine_that_comes_up_has_the_new_file() {
    each_shell(|shell| {
        let machine = Machine::new("{}", Some(text(GOOD)), false);
        for _ in 0..2 {
            assert_eq!(machine.run(shell, &Step::RestartEngine), (0, String::new()));
        }
        assert_eq!(machine.read("up").unwrap(), "{}");
        assert_eq!(machine.run(shell, &Step::SettleRestart), (0, String::new()));
        assert_eq!(machine.read(RESTART_MARKER), None);
    });
}

#[test]
fn an_engine_that_does_not_come_up_gets_its_former_file_back() {
    use std::os::unix::fs::PermissionsExt as _;
    each_shell(|shell| {
        let machine = Machine::new(BAD, Some(text(GOOD)), false);
        // A connection that is lost makes a step run again.
        for _ in 0..2 {
            assert_eq!(machine.run(shell, &Step::RestartEngine), (0, String::new()));
            assert_eq!(machine.file().unwrap(), GOOD);
            assert_eq!(machine.read("up").unwrap(), GOOD);
        }
        let mode = machine.path("etc/docker/daemon.json").metadata().unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o640);
        for _ in 0..2 {
            let (status, said) = machine.run(shell, &Step::SettleRestart);
            assert_eq!(status, i32::from(ROLLED_BACK_STATUS), "{said}");
            assert!(
                said.contains("failed: http://me:***@proxy:1/ is bad"),
                "{said}"
            );
            assert!(!said.contains("level=info"), "{said}");
            assert_eq!(machine.read(RESTART_MARKER), None);
        }
    });
}

#[test]
fn where_there_was_no_file_there_is_none_again() {
    each_shell(|shell| {
        let machine = Machine::new(BAD, Some(Former::Absent), false);
        assert_eq!(machine.run(shell, &Step::RestartEngine), (0, String::new()));
        assert_eq!(machine.file(), None);
        assert!(machine.read("up").is_some());
    });
}

#[test]
fn an_engine_that_comes_up_with_neither_is_told() {
    each_shell(|shell| {
        for former in [Some(text(GOOD)), Some(Former::Unknown), None] {
            let machine = Machine::new(BAD, former.clone(), false);
            std::fs::write(machine.path("broken"), "").unwrap();
            let (status, said) = machine.run(shell, &Step::RestartEngine);
            assert_eq!(status, i32::from(ENGINE_DOWN), "{said}");
            let kept = matches!(former, Some(Former::Text(..)));
            assert_eq!(machine.file().unwrap(), if kept { GOOD } else { BAD });
        }
    });
}

#[test]
fn a_rollback_that_was_cut_is_done_again() {
    each_shell(|shell| {
        // The note was written, the file not yet put back, and the host lost its power.
        let machine = Machine::new(BAD, Some(text(GOOD)), false);
        std::fs::write(machine.path(ROLLED_BACK), "cut").unwrap();
        std::fs::remove_file(machine.path("up")).unwrap();
        assert_eq!(machine.run(shell, &Step::RestartEngine), (0, String::new()));
        assert_eq!(machine.read("up").unwrap(), GOOD);
        assert_ne!(machine.read(ROLLED_BACK).unwrap(), "cut");
        // It was put back, and the engine not yet started.
        std::fs::remove_file(machine.path("up")).unwrap();
        assert_eq!(machine.run(shell, &Step::RestartEngine), (0, String::new()));
        assert_eq!(machine.read("up").unwrap(), GOOD);
        assert_eq!(
            machine.run(shell, &Step::SettleRestart).0,
            i32::from(ROLLED_BACK_STATUS)
        );
    });
}

#[test]
fn a_reload_is_seen_to_have_happened() {
    each_shell(|shell| {
        let machine = Machine::new("{}", Some(text(GOOD)), true);
        std::fs::write(machine.path("event"), "").unwrap();
        for _ in 0..2 {
            assert_eq!(machine.run(shell, &Step::ReloadEngine), (0, String::new()));
        }
        assert_eq!(machine.read("up").unwrap(), "{}");
        assert_eq!(machine.read(RESTART_MARKER), None);
        let calls = machine.read("calls").unwrap();
        assert_eq!(calls, "reload -- docker.service\n", "once, and no restart");
    });
}

#[test]
fn a_reload_that_is_not_taken_is_taken_back() {
    each_shell(|shell| {
        let machine = Machine::new(BAD, Some(text(GOOD)), true);
        std::fs::write(machine.path("event"), "").unwrap();
        for _ in 0..2 {
            let (status, said) = machine.run(shell, &Step::ReloadEngine);
            assert_eq!(status, i32::from(ROLLED_BACK_STATUS), "{said}");
            assert!(said.contains("me:***@proxy"), "{said}");
            assert_eq!(machine.file().unwrap(), GOOD);
            assert_eq!(machine.read(RESTART_MARKER), None);
        }
    });
}

/// An engine of 20.10, which has no `--validate` and tells of its file before it asks who it is.
#[test]
fn an_engine_without_a_check_of_its_own_is_asked_all_the_same() {
    each_shell(|shell| {
        for (old, word) in [
            (true, "bad"),
            (true, "good"),
            (false, "bad"),
            (false, "good"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let bin = folder.path().join("bin");
            let help = if old { "--debug" } else { "--validate" };
            let fails = if old {
                "echo 'dockerd needs to be started with root privileges' >&2; exit 1"
            } else {
                "exit 0"
            };
            stub(
                &bin,
                "dockerd",
                &format!(
                    "case $* in --help) echo ' {help} x'; exit ;; esac\n\
                     case $* in *'-H fd:// --label a=b'*) ;; *) echo \"unable to configure the Docker daemon: $*\"; exit 1 ;; esac\n\
                     for last; do :; done\n\
                     if grep -q bad \"$last\"; then echo 'unable to configure the Docker daemon with file' >&2; exit 1; fi\n\
                     {fails}"
                ),
            );
            std::fs::write(
                folder.path().join("default"),
                "DOCKER_OPTS=\"--label a=b\"\n",
            )
            .unwrap();
            let show = format!(
                "echo 'EnvironmentFiles={} (ignore_errors=yes)'\n\
                 echo 'ExecStart={{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ; ignore_errors=no }}'",
                folder.path().join("default").display()
            );
            stub(&bin, "systemctl", &show);
            stub(
                &bin,
                "setpriv",
                "while case $1 in --*) ;; *) false ;; esac; do shift; done; exec \"$@\"",
            );
            let step = Step::ValidateDaemonConfig {
                content: format!("{{ \"x\": \"{word}\" }}"),
            };
            let script = below(folder.path(), &step)
                .replace("PATH=$PATH", &format!("PATH={}:$PATH", bin.display()))
                .replace("chown 65534:65534", ":");
            let (status, said) = run(shell, &script);
            assert_eq!(
                status,
                i32::from(word == "bad"),
                "{shell:?} {old} {word}: {said}"
            );
            assert_eq!(
                said.contains("unable to configure"),
                word == "bad",
                "{said}"
            );
            assert!(!folder.path().join("run-check").exists());
        }
    });
}
