//! What only shows on a terminal.

use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use rexpect::session::spawn_command;
use skep::execute::{Event, Outcome, Record};
use skep::fleet::{Fault, FaultKind};
use skep::plan::ChangeId;
use skep::ui::follow::{Format, follow};
use skep::ui::report::Report;
use skep::ui::{Level, Printer};

use crate::environment::Environment;

/// Milliseconds that a slow machine may need for an answer.
const PATIENCE: Option<u64> = Some(20_000);

#[test]
fn init_asks_on_a_terminal() {
    let it = Environment::new();
    let mut command = it.command();
    command.arg("init").env("TERM", "xterm");
    let mut session = spawn_command(command, PATIENCE).unwrap();
    for (question, answer) in [
        ("Name of the cluster", "home"),
        ("Addresses of the managers", "10.0.0.11"),
        ("Addresses of the workers", "10.0.0.21 10.0.0.22"),
        ("Login name", "admin"),
    ] {
        session.exp_string(question).unwrap();
        session.send_line(answer).unwrap();
    }
    session.exp_string("wrote").unwrap();
    session.exp_eof().unwrap();
    let text = it.read("skep.toml");
    assert!(text.contains("name = \"home\""), "{text}");
    assert!(text.contains("10.0.0.22"), "{text}");
    it.run(&["check", "--offline"]).success();
}

#[test]
fn ctrl_c_at_a_question_changes_nothing() {
    let it = Environment::new();
    let mut command = it.command();
    command.arg("init").env("TERM", "xterm");
    let mut session = spawn_command(command, PATIENCE).unwrap();
    session.exp_string("Name of the cluster").unwrap();
    session.send_control('c').unwrap();
    session
        .exp_string("interrupted; nothing was changed")
        .unwrap();
    session.exp_eof().unwrap();
    assert!(!it.path("skep.toml").exists());
}

#[test]
fn progress_is_a_total_bar_and_a_line_for_each_of_the_slowest() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "terminal::a_made_up_run";
    command.args(["--ignored", "--exact", test, "--nocapture"]);
    command
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env_remove("SKEP_NO_PROGRESS");
    let mut session = spawn_command(command, PATIENCE).unwrap();
    session.exp_string("asking hosts [").unwrap();
    session.exp_string("changes [").unwrap();
    session
        .exp_string("w1: install docker.io [1/2 refresh the package index]")
        .unwrap();
    session.exp_string("Get:1 docker.io").unwrap();
    // Ten run at once, and eight have a line.
    session.exp_string("(and 2 more)").unwrap();
    session.exp_string("w3: install docker.io ... ").unwrap();
    session
        .exp_string("`apt-get` ended with exit code 100")
        .unwrap();
    session.exp_string(", 1 failed").unwrap();
    session.exp_string("10 hosts: ").unwrap();
    session.exp_eof().unwrap();
}

/// Ten hosts install a package, slowly enough to look at.
#[test]
#[ignore = "it is what the test above runs on a terminal; alone it shows the bars to a person"]
fn a_made_up_run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let report = runtime.unwrap().block_on(async {
        let (sender, records) = tokio::sync::mpsc::unbounded_channel();
        let events = tokio::spawn(async move {
            for (pause, event) in made_up_events() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let time = Timestamp::now();
                sender.send(Record { time, event }).unwrap();
            }
        });
        let printer = Printer::new(Level::Default);
        let mut report = Report::default();
        follow(records, &printer, Format::Human, None, &mut report)
            .await
            .unwrap();
        events.await.unwrap();
        printer.say(report.render());
        report
    });
    report.result().unwrap_err();
}

/// Events with the milliseconds that pass before each.
fn made_up_events() -> Vec<(u64, Event)> {
    let hosts: Vec<String> = (1..=10).map(|number| format!("w{number}")).collect();
    let id = |host: &str| ChangeId::new(host, "docker.package");
    let mut events = vec![(0, Event::GatherStarted { hosts: 10 })];
    events.extend(hosts.iter().map(|host| {
        let host = host.clone();
        (
            60,
            Event::Gathered {
                host,
                fault: None,
                millis: 60,
            },
        )
    }));
    events.push((0, Event::ExecuteStarted { changes: 10 }));
    for host in &hosts {
        events.push((
            20,
            Event::ChangeStarted {
                change: id(host),
                host: host.clone(),
                summary: "install docker.io".into(),
            },
        ));
        events.push((
            20,
            Event::StepStarted {
                change: id(host),
                step: 1,
                steps: 2,
                title: "refresh the package index".into(),
            },
        ));
        let line = "Get:1 docker.io \x1b[2K 20.10.24".into();
        events.push((
            20,
            Event::Output {
                change: id(host),
                line,
            },
        ));
    }
    for (number, host) in hosts.iter().enumerate() {
        let fault = Fault::new(FaultKind::Failed, "`apt-get` ended with exit code 100");
        let outcome = if number == 2 {
            Outcome::Failed {
                step: "install `docker.io`".into(),
                fault,
            }
        } else {
            Outcome::Done
        };
        events.push((
            300,
            Event::ChangeFinished {
                change: id(host),
                host: host.clone(),
                outcome,
                millis: 1000,
            },
        ));
    }
    events
}

#[test]
fn ctrl_c_once_finishes_what_runs_and_twice_stops() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "terminal::a_run_to_interrupt";
    command.args(["--ignored", "--exact", test, "--nocapture"]);
    let mut session = spawn_command(command, PATIENCE).unwrap();
    session.exp_string("it runs").unwrap();
    session.send_control('c').unwrap();
    session
        .exp_string("finishing what runs, starting nothing more")
        .unwrap();
    session.exp_string("Ctrl-C again").unwrap();
    session.exp_string("it starts nothing").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("stopping at once").unwrap();
    session.exp_string("it stops").unwrap();
    session.exp_eof().unwrap();
}

/// Says how it is interrupted.
#[test]
#[ignore = "it is what the test above runs on a terminal"]
fn a_run_to_interrupt() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let printer = Printer::new(Level::Default);
        let stop = skep::ui::interrupt::watch(&printer).unwrap();
        printer.say("it runs");
        stop.soft.cancelled().await;
        printer.say("it starts nothing");
        stop.hard.cancelled().await;
        printer.say("it stops");
    });
}
