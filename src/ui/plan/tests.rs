use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::inventory::{Hook, HookCommand, HookPlace, Moment, Role};
use crate::plan::{ChangeId, DockerCall, PackageSpec, Refusal, Step};

fn change(host: &str, resource: &str, summary: &str, needs: &[&str]) -> Change {
    Change {
        id: ChangeId::new(host, resource),
        host: host.into(),
        resource: resource.into(),
        summary: summary.into(),
        diff: Vec::new(),
        steps: Vec::new(),
        risk: Risk::Safe,
        lane: None,
        needs: needs.iter().map(|id| ChangeId((*id).into())).collect(),
        follows: BTreeSet::new(),
    }
}

fn install(host: &str) -> Change {
    Change {
        diff: vec![Diff::Value {
            name: "docker.io".into(),
            old: None,
            new: Some("20.10.24".into()),
        }],
        steps: vec![
            Step::RefreshPackages,
            Step::InstallPackages {
                packages: vec![PackageSpec {
                    name: "docker.io".into(),
                    version: Some("20.10".into()),
                }],
            },
        ],
        ..change(host, "docker.package", "install docker.io 20.10.24", &[])
    }
}

fn join(host: &str, role: Role) -> Change {
    let own = format!("{host}/docker.package");
    Change {
        lane: (role == Role::Manager).then_some(Lane::Raft),
        steps: vec![Step::Docker(DockerCall::SwarmJoin {
            role,
            advertise: format!("eth-{host}"),
            data_path: None,
            managers: vec!["m1".into()],
            cluster_id: None,
        })],
        ..change(
            host,
            "swarm.member",
            &format!("join the swarm at eth-{host}"),
            &[&own, "m1/swarm.init"],
        )
    }
}

fn plan() -> Plan {
    let config = Change {
        diff: vec![Diff::Text {
            path: "/etc/docker/daemon.json".into(),
            old: "{}\n".into(),
            new: "{\n  \"log-driver\": \"journald\"\n}\n".into(),
        }],
        risk: Risk::Disruptive,
        lane: Some(Lane::Disruption),
        ..change("m2", "docker.config", "change the engine's settings", &[])
    };
    let hosts = ["m1", "m2", "w1", "w2", "w3"];
    let mut hosts: BTreeMap<String, Outlook> = hosts
        .into_iter()
        .map(|host| (host.to_owned(), Outlook::Changes))
        .collect();
    hosts.insert("nas".into(), Outlook::Same);
    hosts.insert("w4".into(), Outlook::Unknown("connection refused".into()));
    Plan {
        cluster: "dccn".into(),
        changes: vec![
            install("m1"),
            change(
                "m1",
                "swarm.init",
                "make a new swarm",
                &["m1/docker.package"],
            ),
            config,
            join("m2", Role::Manager),
            install("w1"),
            join("w1", Role::Worker),
            install("w2"),
            join("w2", Role::Worker),
            install("w3"),
            join("w3", Role::Worker),
        ],
        hosts,
        warnings: vec!["two managers bear no loss".into()],
        refusals: Vec::new(),
        tasks: Vec::new(),
    }
}

fn show(plan: &Plan, verbose: bool) -> String {
    let text = render(plan, verbose, &str::to_owned);
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn a_plan_reads_without_colour() {
    insta::assert_snapshot!(show(&plan(), false));
}

#[test]
fn a_verbose_plan_shows_the_steps() {
    insta::assert_snapshot!(show(&plan(), true));
}

fn hook(host: &str, at: HookPlace, name: Option<&str>, text: &str) -> Step {
    let own = ("SKEP_HOST".to_owned(), host.to_owned());
    Step::Hook(HookStep {
        hook: Hook {
            name: name.map(str::to_owned),
            when: Moment::BeforeDrain,
            at,
            command: HookCommand::Script(text.to_owned()),
            timeout: 300,
        },
        variables: BTreeMap::from([own]),
    })
}

#[test]
fn hooks_are_shown_whole_and_once_for_hosts_that_have_the_same() {
    let drain = |host: &str| Change {
        steps: vec![
            hook(host, HookPlace::Here, None, "./lb out \"$SKEP_HOST\"\n"),
            hook(
                host,
                HookPlace::Host,
                Some("tell users"),
                "\nwall 'the node goes'\n\u{1b}[2Jsleep 60\n",
            ),
            Step::Pause { seconds: 1 },
        ],
        risk: Risk::Disruptive,
        ..change(host, "node.drain", "drain", &[])
    };
    let both = Plan {
        changes: vec![drain("w1"), drain("w2")],
        ..Plan::default()
    };
    insta::assert_snapshot!(show(&both, true));
}

#[test]
fn an_empty_plan_says_so() {
    let plan = Plan {
        hosts: BTreeMap::from([("m1".into(), Outlook::Same), ("m2".into(), Outlook::Same)]),
        ..Plan::default()
    };
    insta::assert_snapshot!(show(&plan, false));
}

#[test]
fn a_refused_plan_says_why_and_what_to_do() {
    let plan = Plan {
        hosts: BTreeMap::from([("m1".into(), Outlook::Same)]),
        refusals: vec![Refusal {
            host: Some("m2".into()),
            why: "managers 3, reachable 2, majority 2: restarting this one would leave 1".into(),
            hint: "Bring the lost manager back first.".into(),
        }],
        ..Plan::default()
    };
    insta::assert_snapshot!(show(&plan, false));
}

#[test]
fn hosts_that_are_still_to_be_made_are_counted() {
    let plan = Plan {
        hosts: BTreeMap::from([("m1".into(), Outlook::Make), ("w1".into(), Outlook::Same)]),
        ..Plan::default()
    };
    let text = anstream::adapter::strip_str(&summary(&plan)).to_string();
    assert_eq!(text, "Plan: 1 host to be made, 1 unchanged\n");
}
