use super::*;
use crate::fleet::FaultKind;
use jiff::Timestamp;

fn report(events: Vec<Event>) -> Report {
    let mut report = Report::default();
    for (second, event) in (0..).zip(events) {
        report.add(&Record {
            time: Timestamp::from_second(second).unwrap(),
            event,
        });
    }
    report
}

fn gathered(host: &str, fault: Option<Fault>) -> Event {
    Event::Gathered {
        host: host.into(),
        fault,
        millis: 20,
    }
}

fn finished(host: &str, resource: &str, outcome: Outcome) -> Event {
    Event::ChangeFinished {
        change: ChangeId::new(host, resource),
        host: host.into(),
        outcome,
        millis: 12_345,
    }
}

fn broken() -> Report {
    let fault = Fault {
        output: (1..=12).map(|line| format!("line {line}")).collect(),
        ..Fault::new(FaultKind::Failed, "`apt-get` ended with exit code 100")
            .hint("Look at `/etc/apt/sources.list` on the host.")
    };
    let skipped = || Outcome::Skipped {
        because: ChangeId::new("m2", "docker.package"),
    };
    report(vec![
        gathered("m1", None),
        gathered("m2", None),
        gathered("m3", None),
        gathered(
            "w1",
            Some(Fault::new(FaultKind::Unreachable, "connection refused")),
        ),
        gathered("nas", None),
        Event::ChangeStarted {
            change: ChangeId::new("m2", "docker.package"),
            host: "m2".into(),
            summary: "install docker.io".into(),
        },
        finished("m1", "docker.package", Outcome::Done),
        finished(
            "m2",
            "docker.package",
            Outcome::Failed {
                step: "install `docker.io`".into(),
                fault,
            },
        ),
        finished("m2", "swarm.member", skipped()),
        finished("m3", "swarm.member", skipped()),
    ])
}

#[test]
fn a_failed_run_tells_who_and_why() {
    let text = broken().render();
    insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn a_failed_run_ends_with_an_error() {
    let error = broken().result().unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert_eq!(
        error.to_string(),
        "1 change failed, 1 host unreachable, 2 changes skipped"
    );
}

#[test]
fn an_interrupted_run_is_neither_done_nor_failed() {
    let report = report(vec![
        gathered("m1", None),
        Event::Interrupted,
        finished("m1", "docker.package", Outcome::Done),
        finished("m1", "swarm.init", Outcome::Cancelled),
    ]);
    let error = report.result().unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(!report.is_well());
}

#[test]
fn a_host_that_answers_again_is_well() {
    let fault = Fault::new(FaultKind::Unreachable, "connection refused");
    let report = report(vec![gathered("m1", Some(fault)), gathered("m1", None)]);
    assert!(report.is_well());
    report.result().unwrap();
    let summary = anstream::adapter::strip_str(&report.summary()).to_string();
    assert_eq!(summary, "1 host: 1 the same, in 1.0s\n");
}

#[test]
fn an_optional_host_that_is_away_is_told_and_fails_nothing() {
    let away = Fault::new(FaultKind::Unreachable, "connection refused");
    let report = report(vec![
        gathered("m1", None),
        gathered("w9", Some(away)),
        Event::LeftOut { host: "w9".into() },
        finished("m1", "docker.package", Outcome::Done),
    ]);
    assert!(report.is_well());
    assert!(report.result().is_ok());
    assert!(report.render().contains("connection refused"));
    assert!(
        report.summary().contains("1 left out"),
        "{}",
        report.summary()
    );
}

#[test]
fn hosts_come_in_the_order_of_the_inventory() {
    let mut report = Report::of(["m1", "m2", "w1"]);
    let events = [
        gathered("w1", None),
        gathered("other", None),
        gathered("m2", None),
        finished("w1", "kernel", Outcome::Done),
        finished("m1", "kernel", Outcome::Done),
    ];
    for event in events {
        let time = Timestamp::UNIX_EPOCH;
        report.add(&Record { time, event });
    }
    let names: Vec<&str> = report.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["m1", "m2", "w1", "other"]);
}
