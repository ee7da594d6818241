//! Hooks on this machine: what they are told, how they end, and the lock that they work under.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use skep::fleet::live::{Live, Secrets};
use skep::fleet::{Fault, FaultKind, Fleet};
use skep::inventory::Inventory;
use skep::plan::{HookStep, Step};
use skep::state::{RunLock, State};

/// An inventory with one hook, in a directory of its own. Its host does not answer.
fn inventory(directory: &Path, hook: &str) -> Inventory {
    let text = format!(
        "[cluster]\nname = \"hooks\"\n[ssh]\nconfig = \"\"\n\
         [[host]]\nname = \"m1\"\naddress = \"127.0.0.1\"\nrole = \"manager\"\nssh = {{ port = 1 }}\n\
         [[hook]]\nwhen = \"before-drain\"\n{hook}\n"
    );
    let path = directory.join("skep.toml");
    fs::write(&path, &text).unwrap();
    let (inventory, diagnostics) = skep::inventory::parse(&text, &path);
    inventory.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

/// Runs the hook under a lock; gives how it ended and what it said.
async fn run(directory: &Path, hook: &str, lock: Option<&RunLock>) -> (Result<(), Fault>, String) {
    let inventory = inventory(directory, hook);
    let live = Live::new(&inventory, &Secrets::default(), None);
    if let Some(lock) = lock {
        live.lend(lock.token());
    }
    let value = ("SKEP_HOST".to_owned(), "m 1'\"$(false)".to_owned());
    let step = Step::Hook(HookStep {
        hook: inventory.hosts[0].hooks[0].clone(),
        variables: BTreeMap::from([value]),
    });
    let said = Mutex::new(String::new());
    let output = |line: &str| {
        let mut said = said.lock().unwrap();
        said.push_str(line);
        said.push('\n');
    };
    let ended = live.run("m1", &step, &output).await;
    (ended, said.into_inner().unwrap())
}

#[tokio::test]
async fn it_runs_beside_the_inventory_and_is_told_of_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().canonicalize().unwrap();
    let hook =
        "run = 'pwd; echo \"$SKEP_HOST\"; echo \"$SKEP_INVENTORY\"; echo \"[$SKEP_LOCK]\"; cat'";
    let (ended, said) = run(&here, hook, None).await;
    assert_eq!(ended, Ok(()));
    let here = here.display();
    let wanted = format!("{here}\nm 1'\"$(false)\n{here}/skep.toml\n[]\n");
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn a_program_with_a_slash_is_a_file_beside_the_inventory() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("lb");
    fs::write(&script, "#!/bin/sh\necho \"$# $1\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let hook = "command = [\"./lb\", \"out of $HOME\"]";
    let (ended, said) = run(directory.path(), hook, None).await;
    assert_eq!((ended, said.as_str()), (Ok(()), "1 out of $HOME\n"));
    let (ended, _) = run(directory.path(), "command = [\"./no-such\"]", None).await;
    let fault = ended.unwrap_err();
    assert!(fault.message.contains("no-such"), "{fault}");
    assert!(fault.message.ends_with("is not installed"), "{fault}");
}

#[tokio::test]
async fn one_that_fails_shows_its_last_lines_and_nothing_after_the_failure_is_run() {
    let directory = tempfile::tempdir().unwrap();
    let (ended, said) = run(
        directory.path(),
        "run = 'echo no >&2; false; echo on'",
        None,
    )
    .await;
    let fault = ended.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Failed);
    assert_eq!(fault.message, "exit status 1");
    assert_eq!(fault.output, ["no"]);
    assert_eq!(said, "no\n");
}

#[tokio::test]
async fn its_deadline_ends_all_that_it_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let hook = "timeout = 1\nrun = 'sleep 600 & echo $!; wait'";
    let (ended, said) = run(directory.path(), hook, None).await;
    let fault = ended.unwrap_err();
    assert_eq!(fault.kind, FaultKind::TimedOut);
    assert!(
        fault.message.ends_with("it did not end within 1 s"),
        "{fault}"
    );
    let process = Path::new("/proc").join(said.trim());
    let runs = || {
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        // A process that was killed and that nobody has waited for yet.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    for _ in 0..500 {
        if !runs() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("what the hook started still runs");
}

/// A skep inside of a hook takes the lock that its run holds, and is refused without the token.
#[tokio::test]
async fn a_skep_that_a_hook_starts_works_under_the_lock_of_its_run() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let lock = State::at(state.join("skep/hooks")).lock("up").unwrap();
    let skep = env!("CARGO_BIN_EXE_skep");
    let hook = |before: &str| {
        let state = state.display();
        format!("run = '''{before}export XDG_STATE_HOME={state}\n{skep} node label m1 a=b --yes'''")
    };
    let (refused, said) = run(directory.path(), &hook("unset SKEP_LOCK\n"), Some(&lock)).await;
    let refused = refused.unwrap_err();
    assert!(
        refused.message.ends_with("exit status 4"),
        "{refused}: {said}"
    );
    assert!(said.contains("another run works on this cluster"), "{said}");
    // The host does not answer; that is found out by a run that has the lock.
    let (let_in, said) = run(directory.path(), &hook(""), Some(&lock)).await;
    assert!(let_in.is_err());
    assert!(!said.contains("another run"), "{said}");
    assert!(said.contains("no manager with quorum"), "{said}");
    assert!(!said.contains(lock.token().expose()));
}

#[tokio::test]
async fn a_hook_that_prints_its_environment_does_not_give_the_token_away() {
    let directory = tempfile::tempdir().unwrap();
    let lock = State::at(directory.path().join("state"))
        .lock("up")
        .unwrap();
    let hook = "run = 'test -n \"$SKEP_LOCK\"; env; set -x; : $SKEP_LOCK; false'";
    let (ended, said) = run(directory.path(), hook, Some(&lock)).await;
    let fault = ended.unwrap_err();
    assert!(said.contains("SKEP_LOCK=***"), "{said}");
    assert!(!said.contains(lock.token().expose()));
    assert!(!format!("{fault:?}").contains(lock.token().expose()));
}
