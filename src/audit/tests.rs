use super::*;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::fleet::{Fault, FaultKind};
use crate::plan::{ChangeId, Risk};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

fn there(shell: &&&[&str]) -> bool {
    Command::new(shell[0]).arg("--help").output().is_ok()
}

fn change(host: &str, summary: &str) -> Change {
    Change {
        id: ChangeId::new(host, "docker.package"),
        host: host.to_owned(),
        resource: "docker.package".to_owned(),
        summary: summary.to_owned(),
        diff: Vec::new(),
        steps: Vec::new(),
        risk: Risk::Safe,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

fn entry(run: &str, second: i64, what: What) -> Entry {
    Entry {
        time: Timestamp::from_second(second).unwrap(),
        run: run.to_owned(),
        who: "ada@desk".to_owned(),
        command: "up --on 'it'\\''s $(w1)'".to_owned(),
        what,
    }
}

fn began(run: &str, second: i64) -> Entry {
    let changes = [change("w1", "install docker.io `x` $(y) 'z' \"\\\" é")];
    entry(run, second, What::began(1, &changes))
}

fn ended(run: &str, second: i64) -> Entry {
    entry(run, second, What::ended(&[], 0, 7))
}

/// The script, as the shell of a manager gets it: read first and run by `eval`.
fn start(shell: &[&str], root: &Path, script: &str) -> Child {
    let script = script.replace(DIRECTORY, root.join("skep").to_str().unwrap());
    Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", "eval \"$script\""])
        .env("script", format!("{script}\n#skep-nonce"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(shell: &[&str], root: &Path, script: &str) -> String {
    let output = start(shell, root, script).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shell:?}: {stderr}");
    assert_eq!(stderr, "", "{shell:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn file(root: &Path) -> PathBuf {
    root.join("skep/audit.jsonl")
}

#[test]
fn what_is_appended_is_read_back_as_it_was() {
    for shell in SHELLS.iter().filter(there) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(run(shell, root, &read_script(None)), "", "no audit yet");
        let entries = [began("a", 1), ended("a", 2), began("b", 3)];
        for entry in &entries {
            assert_eq!(run(shell, root, &append_script(entry)), "");
        }
        let (read, unread) = parse(&run(shell, root, &read_script(None)));
        assert_eq!((read, unread), (entries.to_vec(), 0), "{shell:?}");
        let (read, _) = parse(&run(shell, root, &read_script(Some(2))));
        assert_eq!(read.last(), entries.last(), "{shell:?}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&file(root)), 0o600);
        assert_eq!(mode(&root.join("skep")), 0o700);
    }
}

#[test]
fn a_full_audit_is_put_aside_and_both_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    run(&["sh"], root, &append_script(&began("old", 1)));
    let small = append_script(&ended("old", 2)).replace(&ROTATE_AT.to_string(), "10");
    run(&["sh"], root, &small);
    let lines = |name: &str| fs::read_to_string(root.join("skep").join(name)).unwrap();
    assert!(lines("audit.jsonl.1").contains("began"));
    assert!(lines("audit.jsonl").contains("ended"));
    let (read, _) = parse(&run(&["sh"], root, &read_script(None)));
    assert_eq!(read, [began("old", 1), ended("old", 2)]);
    // One old file is kept, not more.
    let small = append_script(&began("new", 3)).replace(&ROTATE_AT.to_string(), "10");
    run(&["sh"], root, &small);
    assert!(lines("audit.jsonl.1").contains("ended"));
    assert_eq!(fs::read_dir(root.join("skep")).unwrap().count(), 2);
}

#[test]
fn a_line_that_was_cut_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    run(&["sh"], root, &append_script(&began("a", 1)));
    let mut text = fs::read_to_string(file(root)).unwrap();
    text.push_str("{\"time\":\"2026-");
    fs::write(file(root), text).unwrap();
    run(&["sh"], root, &append_script(&ended("a", 2)));
    let (read, unread) = parse(&run(&["sh"], root, &read_script(None)));
    assert_eq!((read, unread), (vec![began("a", 1), ended("a", 2)], 1));
}

#[test]
fn runs_that_append_at_the_same_time_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let changes: Vec<Change> = (0..300)
        .map(|number| change(&format!("w{number}"), &"x".repeat(120)))
        .collect();
    let big = |run: i64| entry(&run.to_string(), run, What::began(1, &changes));
    let children: Vec<Child> = (0..8)
        .map(|run| {
            let script = append_script(&big(run)).replace(&ROTATE_AT.to_string(), "120000");
            start(&["sh"], root, &script)
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (read, unread) = parse(&run(&["sh"], root, &read_script(None)));
    assert_eq!(unread, 0);
    assert!(read.len() >= 3, "{}", read.len());
    assert!(read.iter().all(|it| *it == big(it.time.as_second())));
}

#[test]
fn a_line_is_bounded_and_says_what_it_leaves_out() {
    let changes: Vec<Change> = (0..5000)
        .map(|number| change(&format!("w{number}"), "install docker.io 20.10"))
        .collect();
    let What::Began {
        changes: kept,
        more,
        ..
    } = What::began(1, &changes)
    else {
        panic!("it did not begin");
    };
    assert_eq!(kept.len() + more, 5000);
    assert!(more > 0);
    assert!(append_script(&entry("a", 1, What::began(1, &changes))).len() < 200_000);
}

#[test]
fn the_end_counts_what_became_of_the_changes() {
    let fault = Fault::new(FaultKind::Failed, "a secret that a host printed");
    let first = Report {
        outcomes: BTreeMap::from([
            (ChangeId::new("w1", "a"), Outcome::Done),
            (
                ChangeId::new("w2", "a"),
                Outcome::Failed {
                    step: "s".to_owned(),
                    fault,
                },
            ),
            (
                ChangeId::new("w2", "b"),
                Outcome::Skipped {
                    because: ChangeId::new("w2", "a"),
                },
            ),
        ]),
    };
    let second = Report {
        outcomes: BTreeMap::from([
            (ChangeId::new("w1", "a"), Outcome::Done),
            (ChangeId::new("w3", "a"), Outcome::Cancelled),
        ]),
    };
    let entry = entry("a", 0, What::ended(&[first, second], 1, 65));
    insta::assert_snapshot!(serde_json::to_string_pretty(&entry).unwrap(), @r#"
    {
      "time": "1970-01-01T00:00:00Z",
      "run": "a",
      "who": "ada@desk",
      "command": "up --on 'it'\\''s $(w1)'",
      "event": "ended",
      "done": 2,
      "failed": 1,
      "skipped": 1,
      "not_started": 1,
      "code": 1,
      "failures": [
        "w2/a"
      ],
      "seconds": 65
    }
    "#);
}

#[test]
fn several_managers_make_one_audit() {
    let m1 = vec![began("a", 1), ended("a", 2)];
    let m2 = vec![began("a", 1), ended("a", 2), began("b", 3)];
    let seen = merge([("m1", m1), ("m2", m2)]);
    let told: Vec<(&str, &[String])> = seen
        .iter()
        .map(|seen| (seen.entry.run.as_str(), seen.managers.as_slice()))
        .collect();
    let both = ["m1".to_owned(), "m2".to_owned()];
    assert_eq!(
        told,
        [("a", &both[..]), ("a", &both[..]), ("b", &both[1..])]
    );
}

#[test]
fn the_lines_of_a_run_belong_together() {
    let broke = What::BrokeLock {
        of: "`skep up` by bob@pc".to_owned(),
    };
    let second = What::began(2, &[change("w2", "restart")]);
    let audit = vec![
        began("a", 1),
        began("b", 2),
        entry("b", 4, second),
        ended("b", 5),
        ended("a", 9),
        entry("c", 10, broke),
    ];
    let runs = last_runs(merge([("m1", audit.clone())]), None, 20);
    let told: Vec<_> = runs
        .iter()
        .map(|run| (run.id.as_str(), run.changes.len(), run.end.is_some()))
        .collect();
    assert_eq!(told, [("a", 1, true), ("b", 2, true), ("c", 0, false)]);
    assert_eq!(runs[2].broke, ["`skep up` by bob@pc"]);
    let ids = |since: Option<i64>, limit| {
        let since = since.map(|since| Timestamp::from_second(since).unwrap());
        let runs = last_runs(merge([("m1", audit.clone())]), since, limit);
        runs.into_iter().map(|run| run.id).collect::<String>()
    };
    assert_eq!(ids(None, 2), "bc");
    assert_eq!(ids(Some(9), 20), "ac", "it worked since then");
}
