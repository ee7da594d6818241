//! Playbooks as users write them, what skep says of them, and what comes of them on the simulated
//! fleet.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use skep::execute::{self, Outcome, Report, Stop};
use skep::facts::User;
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::inventory::Inventory;
use skep::plan::{Outlook, Plan};
use skep::playbook::{self, Around, Playbook, Source, Verb, command_line_vars};
use skep::procedure::{PlaybookRun, Procedure};
use skep::ui::{self, diagnostic};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn inventory() -> Inventory {
    let text = "[cluster]\nname = \"sim\"\n\
         [[host]]\nname = \"m[1-3]\"\naddress = \"198.18.1.[1-3]\"\nrole = \"manager\"\n\
         [[host]]\nname = \"w[1-4]\"\naddress = \"198.18.2.[1-4]\"\nrole = \"worker\"\nvars = { zone = \"b\" }\n\
         labels = { disk = \"ssd\" }\n";
    let (inventory, diagnostics) = skep::inventory::parse(text, Path::new("skep.toml"));
    inventory.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

/// The files beside a playbook.
fn beside(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str().unwrap() {
        "wrong.j2" => Ok(b"one\n{{ two }}\n".to_vec()),
        "web.j2" => Ok(
            b"listen {{ port }}\n{% for it in hosts %}\nallow {{ it.name }}\n{% endfor %}\n"
                .to_vec(),
        ),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn read(text: &str, name: &str, given: &[&str]) -> Source {
    read_for(Verb::Run, text, name, given)
}

fn read_for(verb: Verb, text: &str, name: &str, given: &[&str]) -> Source {
    let inventory = inventory();
    let given: BTreeSet<String> = given.iter().map(|it| (*it).to_owned()).collect();
    let around = Around {
        inventory: &inventory,
        given: &given,
    };
    playbook::parse_for(
        verb,
        text.as_bytes().to_vec(),
        Path::new(name),
        &beside,
        Some(&around),
    )
}

fn right(text: &str) -> Playbook {
    let source = read(text, "test.toml", &[]);
    let rendered = diagnostic::render("test.toml", text, &source.diagnostics, false);
    source.playbook.unwrap_or_else(|| panic!("{rendered}"))
}

/// Each file of `tests/playbook` with what is said of it in `tests/snapshots`.
#[test]
fn says_what_is_wrong() {
    let mut files: Vec<PathBuf> = fs::read_dir(root("tests/playbook"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let source = read(&text, name, &["colour"]);
        assert!(source.playbook.is_none(), "{name}");
        let rendered = diagnostic::render(name, &text, &source.diagnostics, false);
        assert!(!rendered.contains("hunter2"), "a secret is shown");
        insta::assert_snapshot!(name.trim_end_matches(".toml"), rendered);
    }
}

/// The same for the playbooks of procedures: what is not safe is told with its reason, all at once. The
/// name of a file begins with the verb.
#[test]
fn says_what_is_wrong_with_the_order_of_a_procedure() {
    let mut files: Vec<PathBuf> = fs::read_dir(root("tests/procedure"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let (verb, _) = name.split_once('-').unwrap();
        let source = read_for(Verb::of(verb).unwrap_or(Verb::Run), &text, name, &[]);
        assert!(source.playbook.is_none(), "{name}");
        let rendered = diagnostic::render(name, &text, &source.diagnostics, false);
        let name = name.trim_end_matches(".toml");
        insta::assert_snapshot!(format!("procedure-{name}"), rendered);
    }
}

/// Every step of the shipped procedures in another place, or left out: it is either safe and said to be
/// here, or refused.
#[test]
fn no_unsafe_order_of_a_procedure_is_taken() {
    for verb in Verb::PROCEDURES {
        let text = fs::read_to_string(root("playbooks").join(format!("{}.toml", verb.name())));
        let text = text.unwrap();
        assert_eq!(text, verb.shipped(), "it is the one that is embedded");
        let source = read_for(verb, &text, &format!("{}.toml", verb.name()), &[]);
        assert_eq!(source.diagnostics, []);
        assert!(!source.playbook.unwrap().description.is_empty());
        let mut parts = text.split("[[task]]");
        let head = parts.next().unwrap();
        let tasks: Vec<&str> = parts.collect();
        let fits = |tasks: &[&str]| {
            let text = head.to_owned() + "[[task]]" + &tasks.join("[[task]]");
            read_for(verb, &text, "it.toml", &[]).playbook.is_some()
        };
        let step = |task: &&str| {
            let (_, rest) = task.split_once("use = \"").unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let mut safe = Vec::new();
        for (place, task) in tasks.iter().enumerate() {
            let mut fewer = tasks.clone();
            fewer.remove(place);
            if fits(&fewer) {
                safe.push(format!("without {}", step(task)));
            }
            for to in (0..tasks.len()).filter(|to| *to != place) {
                let mut other = fewer.clone();
                other.insert(to, task);
                if fits(&other) {
                    safe.push(format!("{} at {to}", step(task)));
                }
            }
        }
        let wanted: &[&str] = match verb {
            // To stop the services first takes nothing from the demotions.
            Verb::Shutdown => &[
                "swarm.demote at 2",
                "swarm.demote at 3",
                "services.stop at 1",
                "without nfs.unmount",
            ],
            _ => &[],
        };
        assert_eq!(safe, wanted);
    }
}

/// `UPDATE_SCHEMA=1 cargo test --test playbook` writes it anew.
#[test]
fn the_schema_is_current() {
    let path = root("schema/playbook.json");
    let current = serde_json::to_string_pretty(&playbook::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, current, "run it with UPDATE_SCHEMA=1");
}

#[test]
fn variables_of_the_command_line_are_what_they_look_like() {
    let playbook =
        right("[vars]\nversion = \"1\"\n[[task]]\nname = \"a\"\ncommand = { run = \"true\" }\n");
    let pairs = ["version=2", "port=80", "on=true", "name=a=b"].map(str::to_owned);
    let vars = command_line_vars(&pairs, Some(&playbook)).unwrap();
    let json = serde_json::to_string(&vars).unwrap();
    assert_eq!(json, r#"{"name":"a=b","on":true,"port":80,"version":"2"}"#);
    for (wrong, why) in [
        (vec!["port"], "`port` is not `KEY=VALUE`"),
        (vec!["a-b=1"], "`a-b=1` is not `KEY=VALUE`"),
        (vec!["host=1"], "`host` is what templates know the host by"),
        (vec!["a=1", "a=2"], "`a` is given twice"),
    ] {
        let wrong: Vec<String> = wrong.into_iter().map(str::to_owned).collect();
        assert_eq!(command_line_vars(&wrong, None).unwrap_err(), why);
    }
}

/// A fleet and a run of a playbook on it.
struct Stage {
    inventory: Inventory,
    fleet: SimFleet,
    procedure: Procedure,
}

impl Stage {
    fn new(text: &str) -> Self {
        let inventory = inventory();
        let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
        let procedure = Self::procedure(&fleet, right(text), &[]);
        Self {
            inventory,
            fleet,
            procedure,
        }
    }

    fn procedure(fleet: &SimFleet, playbook: Playbook, vars: &[&str]) -> Procedure {
        let vars: Vec<String> = vars.iter().map(|it| (*it).to_owned()).collect();
        let given = command_line_vars(&vars, Some(&playbook)).unwrap();
        let secrets = BTreeMap::from([("token".to_owned(), SecretString::from("hunter2"))]);
        let mut run = PlaybookRun::new(playbook, given, secrets, "run".to_owned());
        run.before = fleet.with(|world| {
            let hosts = world.hosts.iter();
            hosts
                .map(|(name, host)| (name.clone(), host.boot_id()))
                .collect()
        });
        Procedure::Playbook(Box::new(run))
    }

    /// Another run of a playbook on the same hosts.
    fn again(&mut self, text: &str, vars: &[&str]) {
        self.procedure = Self::procedure(&self.fleet, right(text), vars);
    }

    async fn plan_of(&self, procedure: &Procedure) -> Plan {
        let hosts = self.inventory.hosts.iter();
        let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
        let more = procedure.probes();
        let mut gathered =
            skep::gather::gather(&self.fleet, &self.inventory.hosts, &more, &|_| {}).await;
        let later = procedure.later_probes(&self.inventory, &gathered, &all);
        skep::gather::gather_later(&self.fleet, &mut gathered, later).await;
        procedure.plan(&self.inventory, &gathered, &all)
    }

    async fn plan(&self) -> Plan {
        self.plan_of(&self.procedure).await
    }

    async fn apply(&mut self, plan: &Plan) -> Report {
        assert_eq!(plan.refusals, [], "a refused plan is never run");
        let report = execute::run(&self.fleet, &plan.changes, &Stop::default(), &|_| {})
            .await
            .unwrap();
        self.procedure.done(&report);
        report
    }

    /// Runs the playbook to its end, and proves it.
    async fn run(&mut self) {
        for _ in 0..3 {
            let plan = self.plan().await;
            assert_eq!(plan.unknown().collect::<Vec<_>>(), []);
            let report = self.apply(&plan).await;
            assert!(report.is_done(), "{report:?}");
            if !plan.goes_on() {
                break;
            }
        }
        let proof = self.plan().await;
        assert!(proof.is_empty(), "{proof:?}");
    }

    /// A swarm with a service on it.
    async fn swarm(&self) {
        for _ in 0..4 {
            let plan = self.plan_of(&Procedure::UP).await;
            execute::run(&self.fleet, &plan.changes, &Stop::default(), &|_| {})
                .await
                .unwrap();
        }
        self.fleet.with(|world| {
            let service = SimService {
                replicas: 3,
                ..SimService::default()
            };
            world.services.insert("web".to_owned(), service);
            world.let_time_pass();
        });
    }
}

fn paused<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

fn shown(plan: &Plan) -> String {
    anstream::adapter::strip_str(&ui::plan::render(plan, true, &|text| text.to_owned())).to_string()
}

/// What each change waits for.
fn waits(plan: &Plan) -> Vec<String> {
    let changes = plan.changes.iter();
    let line = |change: &skep::plan::Change| {
        let needs: Vec<String> = change
            .needs
            .union(&change.follows)
            .map(ToString::to_string)
            .collect();
        format!("{} after {}", change.id, needs.join(", "))
    };
    changes.map(line).collect()
}

const ALL_KINDS: &str = r#"
[vars]
port = 80
zone = "a"

[[task]]
name = "Packages"
on = "w1"
package = { name = ["nginx", "curl"] }

[[task]]
name = "Folder"
on = "w1"
directory = { path = "/srv/web", mode = "0750", owner = "www-data" }

[[task]]
name = "Page"
on = "w1"
file = { path = "/srv/web/index.html", content = "<b>{{ verbatim }}</b>\n" }

[[task]]
name = "Site"
on = "w1"
when = "facts.os.id == 'debian' and zone == 'b'"
[task.template]
path = "/etc/nginx/conf.d/{{ zone }}.conf"
source = "web.j2"
restart = "nginx.service"

[[task]]
name = "Old site"
on = "w1"
file = { path = "/etc/nginx/old.conf", state = "absent" }

[[task]]
name = "Deployer"
on = "w1"
user = { name = "deploy", shell = "/bin/bash", groups = ["www-data"] }

[[task]]
name = "Kernel"
on = "w1"
sysctl = { values = { "vm.swappiness" = 10 } }

[[task]]
name = "Scratch"
on = "w1"
mount = { source = "tmpfs", target = "/srv/scratch", type = "tmpfs", options = "size=64m" }

[[task]]
name = "Database"
on = "w1"
command = { run = "make-database", unless = "has-database" }

[[task]]
name = "Announce"
on = "w1"
command = { run = "announce {{ host.name | shell }}" }

[[task]]
name = "Listens"
on = "w1"
wait = { port = 80, timeout = 30 }

[[task]]
name = "Web server"
on = "w1"
service = { unit = "nginx.service", state = "running", enabled = true }
"#;

/// What the commands of [`ALL_KINDS`] bring about.
fn prepare(stage: &Stage) {
    stage.fleet.with(|world| {
        let host = world.hosts.get_mut("w1").unwrap();
        host.sysctls
            .insert("vm.swappiness".to_owned(), "60".to_owned());
        let old = ("old\n".to_owned(), 0o644);
        host.files.insert("/etc/nginx/old.conf".to_owned(), old);
        let makes = &mut host.tasks.makes;
        makes.insert("make-database".to_owned(), "has-database".to_owned());
        let listens =
            "grep -qsE '^ *[0-9]+: [0-9A-F]+:0050 [0-9A-F:]+ 0A ' /proc/net/tcp /proc/net/tcp6";
        makes.insert("announce w1".to_owned(), listens.to_owned());
    });
}

#[test]
fn every_kind_is_shown_done_and_proven() {
    paused(async {
        let mut stage = Stage::new(ALL_KINDS);
        prepare(&stage);
        let plan = stage.plan().await;
        insta::assert_snapshot!("every_kind", shown(&plan));
        stage.run().await;
        stage.fleet.with(|world| {
            let host = &world.hosts["w1"];
            let text = |path: &str| host.files[path].0.clone();
            assert_eq!(text("/srv/web/index.html"), "<b>{{ verbatim }}</b>\n");
            let site = text("/etc/nginx/conf.d/b.conf");
            assert!(
                site.starts_with("listen 80\nallow m1\nallow m2\n"),
                "{site}"
            );
            assert_eq!(host.tasks.restarts["nginx.service"], 1);
            assert_eq!(host.tasks.ran, ["make-database", "announce w1"]);
            assert!(
                !host
                    .files
                    .contains_key("/var/lib/skep/restart/nginx.service")
            );
            assert!(host.tasks.users["deploy"].groups.contains("www-data"));
            assert_eq!(host.tasks.units["srv-scratch.mount"], (true, true));
        });
        // A later run does only what runs every time, and what the command line changes.
        stage.again(ALL_KINDS, &["port=81"]);
        let plan = stage.plan().await;
        let names: Vec<&str> = plan.changes.iter().map(|it| it.resource.as_str()).collect();
        assert_eq!(names, ["Site", "Announce", "Listens"]);
        stage.run().await;
        stage.fleet.with(|world| {
            let tasks = &world.hosts["w1"].tasks;
            assert_eq!(tasks.restarts["nginx.service"], 2);
        });
    });
}

#[test]
fn what_is_drifted_is_mended_and_a_restart_that_is_owed_is_made() {
    paused(async {
        let mut stage = Stage::new(ALL_KINDS);
        prepare(&stage);
        stage.run().await;
        stage.fleet.with(|world| {
            let host = world.hosts.get_mut("w1").unwrap();
            host.tasks
                .owners
                .insert("/srv/web/index.html".to_owned(), "deploy:deploy".to_owned());
            host.tasks
                .units
                .insert("nginx.service".to_owned(), (false, true));
            let owed = ("a run ended here\n".to_owned(), 0o600);
            host.files
                .insert("/var/lib/skep/restart/nginx.service".to_owned(), owed);
            let user = host.tasks.users.get_mut("deploy").unwrap();
            *user = User {
                shell: "/bin/sh".to_owned(),
                ..user.clone()
            };
        });
        stage.again(ALL_KINDS, &[]);
        let plan = stage.plan().await;
        let said: Vec<&str> = plan.changes.iter().map(|it| it.summary.as_str()).collect();
        assert_eq!(
            said,
            [
                "write /srv/web/index.html",
                "restart nginx.service, which an earlier run did not come to",
                "change the user deploy",
                "run announce w1 (runs always)",
                "wait until port 80 listens",
                "set nginx.service",
            ]
        );
        stage.run().await;
    });
}

#[test]
fn what_skep_looks_after_is_refused() {
    paused(async {
        let stage = Stage::new(
            r#"
[[task]]
name = "Engine"
on = "w1"
package = { name = "docker.io", state = "absent" }
[[task]]
name = "Unit"
on = "w1"
service = { unit = "docker.service", state = "stopped" }
[[task]]
name = "Configuration"
on = "w1"
file = { path = "/etc/docker/daemon.json", content = "{}" }
[[task]]
name = "Data"
on = "w1"
directory = { path = "/var/lib/docker/volumes", mode = "0777" }
[[task]]
name = "Forwarding"
on = "w1"
sysctl = { values = { "net.ipv4.ip_forward" = 0 } }
[[task]]
name = "Restart"
on = "w1"
file = { path = "/etc/motd", content = "", restart = "docker.service" }
"#,
        );
        let plan = stage.plan().await;
        let said: Vec<&str> = plan.refusals.iter().map(|it| it.why.as_str()).collect();
        assert_eq!(said.len(), 6, "{said:?}");
        assert_eq!(
            said[0],
            "task `Engine`: `docker.io` is what skep itself looks after, so that a swarm bears it"
        );
    });
}

#[test]
fn what_cannot_be_known_is_told_and_stops_that_host_only() {
    paused(async {
        let stage = Stage::new(
            r#"
[[task]]
name = "Zone"
file = { path = "/etc/{{ zone }}", content = "" }
[[task]]
name = "Unit"
on = "w1"
service = { unit = "nothing.service", state = "running" }
"#,
        );
        // Zone is a variable of the workers only.
        let plan = stage.plan().await;
        let unknown: BTreeMap<&str, &str> = plan.unknown().collect();
        assert_eq!(
            unknown["m1"],
            "task `Zone`: test.toml:4: `zone` is not defined"
        );
        assert_eq!(unknown.len(), 3);
        assert_eq!(plan.hosts["w2"], Outlook::Changes);
        assert_eq!(plan.changes.len(), 5);
    });
}

const WEB: &str = r#"
[[task]]
name = "Cache"
on = "w1"
command = { run = "cache", creates = "/cache" }
[[task]]
name = "Web"
on = "workers"
needs = ["Cache"]
serial = "50%"
command = { run = "web", creates = "/web" }
[[task]]
name = "Check"
on = "w[1-2]"
command = { run = "check", creates = "/check" }
"#;

#[test]
fn hosts_wait_for_themselves_for_needs_and_for_their_turn() {
    paused(async {
        let stage = Stage::new(WEB);
        assert_eq!(
            waits(&stage.plan().await),
            [
                "w1/Cache after ",
                "w1/Web after w1/Cache",
                "w2/Web after w1/Cache",
                "w3/Web after w1/Cache, w1/Web, w2/Web",
                "w4/Web after w1/Cache, w1/Web, w2/Web",
                "w1/Check after w1/Web",
                "w2/Check after w2/Web",
            ]
        );
        let stage = Stage::new(&format!(
            "ordered = true\n{}",
            WEB.replace("needs = [\"Cache\"]\n", "")
        ));
        let waits = waits(&stage.plan().await);
        assert_eq!(waits[6], "w2/Check after w1/Web, w2/Web, w3/Web, w4/Web");
        // Where a host of a needed task does not answer, nothing that needs it is done.
        stage
            .fleet
            .with(|world| world.hosts.get_mut("w1").unwrap().up = false);
        let stage = Stage {
            procedure: Stage::procedure(&stage.fleet, right(WEB), &[]),
            ..stage
        };
        let plan = stage.plan().await;
        assert_eq!(plan.changes, []);
        let unknown: BTreeMap<&str, &str> = plan.unknown().collect();
        assert_eq!(
            unknown["w2"],
            "task `Web` waits for `Cache` on w1, which cannot be planned"
        );
    });
}

#[test]
fn a_task_that_fails_stops_what_needs_it() {
    paused(async {
        let mut stage = Stage::new(
            r#"
[[task]]
name = "Port"
on = "w[1-2]"
wait = { path = "/ready" }
[[task]]
name = "After"
on = "w[1-2]"
command = { run = "after" }
[[task]]
name = "All"
on = "m1"
needs = ["After"]
command = { run = "all" }
"#,
        );
        stage.fleet.with(|world| {
            let host = world.hosts.get_mut("w1").unwrap();
            host.files
                .insert("/ready".to_owned(), (String::new(), 0o644));
        });
        let plan = stage.plan().await;
        let report = stage.apply(&plan).await;
        let told: Vec<String> = report
            .outcomes
            .iter()
            .map(|(id, outcome)| {
                let how = match outcome {
                    Outcome::Done => "done",
                    Outcome::Failed { .. } => "failed",
                    Outcome::Skipped { .. } => "skipped",
                    Outcome::Cancelled => "cancelled",
                };
                format!("{id} {how}")
            })
            .collect();
        assert_eq!(
            told,
            [
                "m1/All skipped",
                "w1/After done",
                "w2/After skipped",
                "w2/Port failed"
            ]
        );
    });
}

#[test]
fn a_command_whose_answer_is_lost_runs_once() {
    paused(async {
        let mut stage = Stage::new("[[task]]\nname = \"a\"\ncommand = { run = \"count\" }\n");
        stage.fleet.set_faults(Faults {
            lost_after: 300,
            ..Faults::default()
        });
        let plan = stage.plan().await;
        stage.apply(&plan).await;
        stage.fleet.with(|world| {
            for host in world.hosts.values() {
                assert_eq!(host.tasks.ran, ["count"]);
            }
        });
    });
}

const SECRET: &str = r#"
[secrets]
token = { env = "TOKEN" }
[[task]]
name = "Key"
on = "w1"
[task.template]
path = "/etc/key"
content = "token={{ token | upper }} port={{ zone }}\n"
"#;

#[test]
fn a_secret_is_in_the_file_and_nowhere_else() {
    paused(async {
        let mut stage = Stage::new(SECRET);
        stage.fleet.with(|world| {
            let host = world.hosts.get_mut("w1").unwrap();
            host.tasks
                .secrets
                .insert("token".to_owned(), "hunter2".into());
            let old = ("token=OLDSECRET\n".to_owned(), 0o644);
            host.files.insert("/etc/key".to_owned(), old);
        });
        let plan = stage.plan().await;
        let texts = [
            shown(&plan),
            serde_json::to_string(&plan).unwrap(),
            format!("{plan:?}"),
            format!("{:?}", stage.procedure),
        ];
        for text in texts {
            let lower = text.to_lowercase();
            assert!(
                !lower.contains("hunter2") && !lower.contains("oldsecret"),
                "{text}"
            );
        }
        insta::assert_snapshot!(shown(&plan), @r#"
        w1: 1 change
          ~ write /etc/key (Key)
              /etc/key: another one, not shown -> with secrets, not shown
              mode: 0644 -> 0600
              step 1: write /etc/key with its secrets (mode 0600, root:root)

        unchanged: m1, m2, m3, w2, w3, w4

        Plan: 1 change on 1 host, 6 unchanged
        "#);
        stage.run().await;
        stage.fleet.with(|world| {
            let file = &world.hosts["w1"].files["/etc/key"];
            assert_eq!(*file, ("token=HUNTER2 port=b\n".to_owned(), 0o600));
        });
    });
}

#[test]
fn a_reboot_drains_nodes_and_comes_when_an_update_asks_for_it() {
    paused(async {
        let mut stage = Stage::new(
            r#"
[[task]]
name = "Update"
command = { run = "update", unless = "is-new" }
[[task]]
name = "Reboot"
reboot = { if-exists = "/run/reboot-required" }
[[task]]
name = "After"
on = "w1"
command = { run = "after" }
"#,
        );
        stage.swarm().await;
        stage.fleet.with(|world| {
            for (name, host) in &mut world.hosts {
                let makes = &mut host.tasks.makes;
                makes.insert("update".to_owned(), "is-new".to_owned());
                if name == "m1" {
                    host.tasks.holds.push("is-new".to_owned());
                }
            }
        });
        let plan = stage.plan().await;
        assert_eq!(plan.hosts["m1"], Outlook::Same);
        assert_eq!(plan.hosts["w1"], Outlook::Later);
        stage.apply(&plan).await;
        stage.fleet.with(|world| {
            for name in ["m2", "m3", "w1"] {
                let files = &mut world.hosts.get_mut(name).unwrap().files;
                files.insert("/run/reboot-required".to_owned(), (String::new(), 0o644));
            }
        });
        let plan = stage.plan().await;
        assert_eq!(
            waits(&plan),
            [
                "w1/Reboot after ",
                "m2/Reboot after w1/Reboot",
                "m3/Reboot after m2/Reboot",
                "w1/After after w1/Reboot",
            ]
        );
        assert!(shown(&plan).contains("disruptive"));
        let report = stage.apply(&plan).await;
        assert!(report.is_done(), "{report:?}");
        let proof = stage.plan().await;
        assert!(proof.is_empty(), "{proof:?}");
        stage.fleet.with(|world| {
            assert_eq!(world.quorum_lost_by, Vec::<String>::new());
            assert_eq!(world.tasks_lost_by, Vec::<String>::new());
            assert_eq!(world.hosts["w1"].boots, 1);
            assert_eq!(world.hosts["w2"].boots, 0);
            assert_eq!(world.hosts["w1"].tasks.ran, ["update", "after"]);
        });
    });
}

#[test]
fn a_reboot_waits_for_tasks_of_hosts_that_cannot_be_asked() {
    paused(async {
        let text = r#"
[[task]]
name = "Prepare"
on = "w[1-2]"
command = { run = "prepare", creates = "/prepared" }
[[task]]
name = "Reboot"
on = "managers,w[3-4]"
needs = ["Prepare"]
reboot = {}
"#;
        let mut stage = Stage::new(text);
        stage.swarm().await;
        let all = stage.plan().await;
        assert_eq!(all.changes.len(), 7);
        stage
            .fleet
            .with(|world| world.hosts.get_mut("w1").unwrap().up = false);
        stage.again(text, &[]);
        let plan = stage.plan().await;
        let ids: Vec<&str> = plan.changes.iter().map(|it| it.id.0.as_str()).collect();
        assert_eq!(ids, ["w2/Prepare"]);
        // One of the hosts that reboot does not answer: the others keep their order.
        stage.fleet.with(|world| {
            world.hosts.get_mut("w1").unwrap().up = true;
            world.hosts.get_mut("w3").unwrap().up = false;
        });
        stage.again(text, &[]);
        let plan = stage.plan().await;
        assert_eq!(
            waits(&plan)[2..],
            [
                "w4/Reboot after w1/Prepare, w2/Prepare",
                "m2/Reboot after w1/Prepare, w2/Prepare, w4/Reboot",
                "m3/Reboot after m2/Reboot, w1/Prepare, w2/Prepare",
                "m1/Reboot after m3/Reboot, w1/Prepare, w2/Prepare",
            ]
        );
        let report = stage.apply(&plan).await;
        assert!(report.is_done(), "{report:?}");
        stage.fleet.with(|world| {
            assert_eq!(world.quorum_lost_by, Vec::<String>::new());
        });
    });
}

/// Each shipped playbook has no finding, is the file of that name, and does what it says.
#[test]
fn the_shipped_playbooks_work() {
    let files = fs::read_dir(root("playbooks")).unwrap().count();
    let embedded = playbook::SHIPPED.len() + Verb::PROCEDURES.len();
    assert_eq!(files, embedded, "a playbook is not embedded");
    for (name, text) in playbook::SHIPPED {
        let file = fs::read_to_string(root("playbooks").join(format!("{name}.toml"))).unwrap();
        assert_eq!(file, *text);
        let source = read(text, &format!("{name}.toml"), &[]);
        assert_eq!(source.diagnostics, [], "{name}");
        let playbook = source.playbook.unwrap();
        assert_eq!(playbook.name, *name);
        assert!(!playbook.description.is_empty());
        paused(async {
            let mut stage = Stage::new(text);
            stage.swarm().await;
            stage.fleet.with(|world| {
                for host in world.hosts.values_mut() {
                    let package = ("252".to_owned(), false);
                    host.packages
                        .insert("systemd-timesyncd".to_owned(), package);
                    let units = &mut host.tasks.units;
                    units.insert("apt-daily-upgrade.timer".to_owned(), (false, false));
                }
                let files = &mut world.hosts.get_mut("w2").unwrap().files;
                files.insert("/run/reboot-required".to_owned(), (String::new(), 0o644));
            });
            let plan = stage.plan().await;
            insta::assert_snapshot!(format!("shipped-{name}"), shown(&plan));
            let report = stage.apply(&plan).await;
            assert!(report.is_done(), "{report:?}");
            stage.fleet.with(|world| {
                world
                    .hosts
                    .get_mut("w2")
                    .unwrap()
                    .files
                    .remove("/run/reboot-required");
                assert_eq!(world.quorum_lost_by, Vec::<String>::new());
            });
            let proof = stage.plan().await;
            assert!(proof.is_empty(), "{proof:?}");
        });
    }
}
