//! The scripts of playbooks' tasks, run by real shells.

use super::*;
use crate::plan::{HostCall, Note};

pub(super) fn every_call() -> impl Iterator<Item = HostCall> {
    let text = str::to_owned;
    let path = text("/srv/it's a $(folder)/x");
    [
        HostCall::PutFile {
            path: path.clone(),
            content: text("a'b\n"),
            mode: 0o644,
            owner: text("root:root"),
        },
        HostCall::MakeDirectory {
            path,
            mode: 0o750,
            owner: text("root:root"),
        },
        HostCall::RemovePackages {
            packages: vec![text("nano"), text("vim")],
        },
        HostCall::User {
            name: text("deploy"),
            uid: Some(900),
            system: true,
            shell: Some(text("/bin/sh")),
            home: Some(text("/srv/it's")),
            groups: vec![text("adm"), text("docker")],
        },
        HostCall::User {
            name: text("deploy"),
            uid: None,
            system: false,
            shell: None,
            home: None,
            groups: Vec::new(),
        },
        command("echo 'it'\"'\"'s' \"$HOME\"", Some("test -e '/x y'")),
        HostCall::WaitFor {
            what: text("it's `there`"),
            test: text("test -e \"/x y\""),
            timeout: 5,
        },
    ]
    .into_iter()
}

fn command(run: &str, unless: Option<&str>) -> HostCall {
    HostCall::Command {
        run: run.to_owned(),
        unless: unless.map(str::to_owned),
        timeout: 2,
        id: "run/w1/task".to_owned(),
        note: None,
    }
}

fn on_every_shell(test: impl Fn(&[&str], &Path)) {
    for shell in SHELLS.iter().filter(|shell| there(shell)) {
        let folder = tempfile::tempdir().unwrap();
        test(shell, folder.path());
    }
}

#[test]
fn a_command_runs_once_for_a_run_whatever_becomes_of_its_answer() {
    on_every_shell(|shell, root| {
        let count = root.join("count");
        let text = format!("echo x >>{}; exit 7", count.display());
        let script = below(root, &Step::Host(command(&text, None)));
        for _ in 0..2 {
            let (status, stderr) = run(shell, &script);
            assert_eq!(status, 1, "{shell:?}");
            assert_eq!(stderr, "the command ended with status 7\n");
        }
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
    });
}

#[test]
fn a_command_has_nothing_to_do_where_its_test_succeeds_by_then() {
    on_every_shell(|shell, root| {
        let made = root.join("made");
        let (made, unless) = (made.display(), format!("test -e {}", made.display()));
        let text = format!("echo x >>{made}");
        for _ in 0..2 {
            let script = below(root, &Step::Host(command(&text, Some(&unless))));
            // Another run each time.
            std::fs::remove_dir_all(root.join("run")).unwrap_or_default();
            assert_eq!(run(shell, &script), (0, String::new()), "{shell:?}");
        }
        assert_eq!(std::fs::read_to_string(root.join("made")).unwrap(), "x\n");
    });
}

#[test]
fn a_command_is_not_run_again_where_it_is_noted_that_it_was_done() {
    on_every_shell(|shell, root| {
        let count = root.join("count");
        let note = root.join("notes/done");
        let noted = |then: &str, text: &str| {
            let mut call = command(&format!("echo x >>{}; {then}", count.display()), None);
            if let HostCall::Command { note: it, .. } = &mut call {
                *it = Some(Note {
                    path: note.display().to_string(),
                    text: text.to_owned(),
                });
            }
            let script = below(root, &Step::Host(call));
            // Another run of skep each time.
            std::fs::remove_dir_all(root.join("run")).unwrap_or_default();
            run(shell, &script).0
        };
        // What fails is not noted.
        assert_eq!(noted("false", "it's one"), 1, "{shell:?}");
        assert!(!note.exists());
        assert_eq!(noted("true", "it's one"), 0, "{shell:?}");
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "it's one\n");
        assert_eq!(noted("true", "it's one"), 0);
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n");
        // The note of another record is another one.
        assert_eq!(noted("true", "two"), 0);
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\nx\n");
    });
}

#[test]
fn a_command_that_does_not_end_is_ended() {
    on_every_shell(|shell, root| {
        let script = below(root, &Step::Host(command("sleep 60", None)));
        let (status, stderr) = run(shell, &script);
        assert_eq!(status, 1, "{shell:?}");
        assert_eq!(stderr, "the command did not end within 2 s\n");
    });
}

#[test]
fn what_a_command_leaves_running_does_not_keep_the_lock() {
    on_every_shell(|shell, root| {
        let left = command("sleep 20 >/dev/null 2>&1 & echo $! >\"$HOME/pid\"", None);
        let script = below(root, &Step::Host(left));
        let home = root.to_str().unwrap();
        let script = format!("HOME={home}; export HOME\n{script}");
        assert_eq!(run(shell, &script).0, 0);
        let lock = root.join("run/step.lock");
        let free = Command::new("flock")
            .arg("-n")
            .arg(lock)
            .arg("true")
            .status();
        assert!(free.unwrap().success(), "{shell:?}");
        let pid = std::fs::read_to_string(root.join("pid")).unwrap();
        let _ended = Command::new("kill").arg(pid.trim()).status();
    });
}

#[test]
fn a_wait_ends_with_what_it_waits_for_or_says_what_did_not_come() {
    on_every_shell(|shell, root| {
        let wait = |path: &Path, timeout| {
            let call = HostCall::WaitFor {
                what: "it's there".to_owned(),
                test: format!("test -e {}", path.display()),
                timeout,
            };
            run(shell, &below(root, &Step::Host(call)))
        };
        assert_eq!(wait(root, 5), (0, String::new()), "{shell:?}");
        let (status, stderr) = wait(&root.join("nothing"), 1);
        assert_eq!(status, 1);
        assert_eq!(stderr, "after 1 s it is still not so that it's there\n");
    });
}

#[test]
fn a_file_never_goes_into_a_folder_and_a_folder_never_replaces_a_file() {
    on_every_shell(|shell, root| {
        let path = root.join("here");
        let path = path.to_str().unwrap().to_owned();
        let owner = "root:root".to_owned();
        let mode = 0o750;
        let folder = Step::Host(HostCall::MakeDirectory {
            path: path.clone(),
            mode,
            owner: owner.clone(),
        });
        let file = Step::Host(HostCall::PutFile {
            content: "text\n".to_owned(),
            path: path.clone(),
            mode,
            owner,
        });
        assert_eq!(run(shell, &below(root, &folder)).0, 0, "{shell:?}");
        let (status, stderr) = run(shell, &below(root, &file));
        assert_eq!(
            (status, stderr.trim_end()),
            (1, &*format!("{path} is a folder"))
        );
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(run(shell, &below(root, &file)).0, 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text\n");
        let (status, stderr) = run(shell, &below(root, &folder));
        assert_eq!(
            (status, stderr.trim_end()),
            (1, &*format!("{path} is no folder"))
        );
    });
}
