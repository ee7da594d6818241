use super::*;
use crate::fleet::{Fault, FaultKind};

fn id() -> ChangeId {
    ChangeId::new("m1", "docker.package")
}

/// A run in which one change ends as `outcome` says.
fn events(outcome: Outcome) -> Vec<Record> {
    let events = [
        Event::GatherStarted { hosts: 2 },
        Event::Gathered {
            host: "m1".into(),
            fault: None,
            millis: 250,
        },
        Event::Gathered {
            host: "m2".into(),
            fault: Some(Fault::new(FaultKind::Unreachable, "connection refused")),
            millis: 20,
        },
        Event::ExecuteStarted { changes: 2 },
        Event::ChangeStarted {
            change: id(),
            host: "m1".into(),
            summary: "install docker.io".into(),
        },
        Event::StepStarted {
            change: id(),
            step: 2,
            steps: 3,
            title: "install `docker.io`".into(),
        },
        Event::Output {
            change: id(),
            line: "\x1b[2KGet:1 docker.io\r".into(),
        },
        Event::ChangeFinished {
            change: id(),
            host: "m1".into(),
            outcome,
            millis: 12_300,
        },
    ];
    (0..)
        .zip(events)
        .map(|(second, event)| Record {
            time: Timestamp::from_second(second).unwrap(),
            event,
        })
        .collect()
}

fn lines(outcome: Outcome, level: Level) -> String {
    let mut progress = Progress::default();
    let lines: Vec<String> = events(outcome)
        .iter()
        .filter_map(|record| progress.add(record, level))
        .collect();
    anstream::adapter::strip_str(&lines.join("\n")).to_string()
}

#[test]
fn a_hint_that_hosts_share_is_told_once() {
    let mut progress = Progress::default();
    let mut told = |host: &str, hint: &str| {
        let fault = Fault::new(FaultKind::Failed, "its key has changed").hint(hint);
        let event = Event::Gathered {
            host: host.to_owned(),
            fault: Some(fault),
            millis: 20,
        };
        let time = Timestamp::UNIX_EPOCH;
        let line = progress.add(&Record { time, event }, Level::Default);
        anstream::adapter::strip_str(&line.unwrap()).to_string()
    };
    assert_eq!(
        told("m1", "Forget it."),
        "m1: no answer: its key has changed\nhint: Forget it."
    );
    assert_eq!(
        told("m2", "Forget it."),
        "m2: no answer: its key has changed"
    );
    assert!(told("m3", "Look at it.").ends_with("hint: Look at it."));
}

#[test]
fn plain_lines_tell_what_ended() {
    assert_eq!(
        lines(Outcome::Done, Level::Default),
        "m2: no answer: connection refused\nm1: install docker.io ... done 12.3s"
    );
    let failed = Outcome::Failed {
        step: "install `docker.io`".into(),
        fault: Fault::new(FaultKind::Failed, "`apt-get` ended with exit code 100"),
    };
    assert!(
        lines(failed, Level::Default).ends_with(
            "m1: install docker.io ... failed 12.3s: `apt-get` ended with exit code 100"
        )
    );
}

#[test]
fn verbose_lines_tell_everything() {
    insta::assert_snapshot!(lines(Outcome::Done, Level::Verbose));
}

#[test]
fn a_running_change_shows_its_step_its_age_and_its_last_line() {
    let mut progress = Progress::default();
    for record in &events(Outcome::Done)[..7] {
        progress.add(record, Level::Default);
    }
    let now = Timestamp::from_second(64).unwrap();
    let slowest = progress.slowest();
    assert_eq!(
        slowest[0].line(now),
        "m1: install docker.io [2/3 install `docker.io`] 1m00s | Get:1 docker.io"
    );
    assert_eq!(
        progress.heartbeat(now).unwrap(),
        "0 of 2 changes have ended; at work: m1: install docker.io (1m00s)"
    );
}
