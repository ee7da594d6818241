//! What a cluster's managers keep for all runs: the lock and the audit.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use skep::audit::{Entry, Planned, What};
use skep::cli::audit::Audit;
use skep::execute::{Outcome, Report};
use skep::fleet::live::{Live, LockError, Secrets};
use skep::fleet::lock::Broken;
use skep::plan::{ChangeId, Plan};
use skep::ssh::{Exit, ScriptOptions};
use skep::state::{Owner, Token};
use skep::ui::{Level, Printer};
use tokio::time::timeout;

use super::server::Server;

/// Three managers, and the inventory of them.
struct Managers {
    servers: Vec<Server>,
    inventory: String,
}

impl Managers {
    fn start() -> Self {
        let servers: Vec<Server> = (0..3).map(|_| Server::start_apart()).collect();
        let mut inventory = "[cluster]\nname = \"far\"\n".to_owned();
        for (number, server) in (1..).zip(&servers) {
            let (port, identity) = (server.port, server.file("id"));
            let known = server.file("known_hosts");
            let _infallible = write!(
                inventory,
                "[[host]]\nname = \"m{number}\"\naddress = \"127.0.0.1\"\nrole = \"manager\"\n\
                 ssh = {{ user = \"root\", port = {port}, identity = [\"{}\"], known-hosts = \"{}\", \
                 config = \"\", connect-timeout = 3 }}\n",
                identity.display(),
                known.display(),
            );
        }
        Self { servers, inventory }
    }

    /// The fleet as one skep has it.
    fn live(&self) -> Live {
        let (inventory, errors) = skep::inventory::parse(&self.inventory, "skep.toml".as_ref());
        let inventory = inventory.unwrap_or_else(|| panic!("{errors:?}"));
        Live::new(&inventory, &Secrets::default(), None)
    }
}

fn names(numbers: impl IntoIterator<Item = u8>) -> Vec<String> {
    numbers.into_iter().map(|it| format!("m{it}")).collect()
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_broken_lock_stops_its_owner_and_what_works_under_it() {
    let managers = Managers::start();
    let (first, under, second) = (managers.live(), managers.live(), managers.live());
    let all = names(1..=3);
    let token = Token::new();
    let owner = Owner::this("up").sealed(&token);
    let held = first.lock(&all, &owner, None, false).await.unwrap();
    assert_eq!(held.hosts(), all);
    let below = under.lock(&all, &owner, Some(&token), false).await.unwrap();
    let other = Owner::this("up").sealed(&Token::new());
    let refused = second.lock(&all, &other, None, false).await.unwrap_err();
    let LockError::Taken { record, .. } = &refused else {
        panic!("{refused}");
    };
    assert!(refused.to_string().contains(" s (20"), "{refused}");
    assert!(!record.contains(token.expose()));
    // One that the second cannot reach is left to the first, which is connected to the others.
    let broken = second.break_lock(&all[..2], record).await;
    for (host, broken) in broken {
        assert_eq!(broken.unwrap(), Broken::Broken, "{host}");
    }
    let soon = Duration::from_secs(8);
    timeout(soon, held.lost().cancelled()).await.unwrap();
    let next = second.lock(&all[..2], &other, None, false).await.unwrap();
    // This one notices at its next heartbeat.
    let later = Duration::from_secs(20);
    timeout(later, below.lost().cancelled()).await.unwrap();
    assert!(!next.lost().is_cancelled());
    next.release().await;
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_manager_that_is_gone_does_not_cost_the_lock_on_the_others() {
    let managers = Managers::start();
    let first = managers.live();
    let all = names(1..=3);
    let owner = Owner::this("up");
    let held = first.lock(&all, &owner, None, false).await.unwrap();
    // The connection itself ends, and the shell with it.
    let cut = "p=$$; until grep -q ^sshd /proc/$p/comm; do \
               p=$(sed -n 's/^PPid:\\t//p' /proc/$p/status); done; kill -9 $p";
    let session = first.remote("m1").unwrap().session().await.unwrap();
    let options = ScriptOptions {
        deadline: Duration::from_secs(10),
        root: true,
    };
    let ended = session.script(cut, &options, &|_, _| {}).await.unwrap();
    assert!(matches!(ended.status, Exit::Lost(_)), "{ended:?}");
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(session.is_closed());
    assert!(!held.lost().is_cancelled());
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_run_tells_its_managers_when_it_begins_and_ends() {
    let managers = Managers::start();
    let live = managers.live();
    let all = names(1..=3);
    let printer = Printer::new(Level::Silent);
    let lock = live
        .lock(&all, &Owner::this("up"), None, false)
        .await
        .unwrap();
    let entries = async || {
        let mut audits = Vec::new();
        for (host, text) in live.read_audit(&all, None).await {
            let (entries, unread) = skep::audit::parse(&text.unwrap());
            assert_eq!(unread, 0, "{host}");
            audits.push(entries);
        }
        assert_eq!(audits[0], audits[1]);
        assert_eq!(audits[0], audits[2]);
        audits.remove(0)
    };
    // One that changes nothing says nothing.
    let mut audit = Audit::new("up".to_owned(), &printer);
    audit.ended(&live, lock.hosts(), 0).await;
    assert_eq!(entries().await, []);
    audit.named("up --on w1".to_owned());
    let plan = Plan::default();
    audit.broke_lock(&live, &lock, "bob".to_owned()).await;
    audit.began(&live, &lock, &plan).await;
    let done = (ChangeId::new("w1", "a"), Outcome::Done);
    audit.ran(Report {
        outcomes: [done].into(),
    });
    audit.began(&live, &lock, &plan).await;
    audit.ended(&live, lock.hosts(), 130).await;
    let entries = entries().await;
    let rounds: Vec<u32> = entries
        .iter()
        .filter_map(|entry| match entry.what {
            What::Began { round, .. } => Some(round),
            _ => None,
        })
        .collect();
    assert_eq!(rounds, [1, 2]);
    assert!(entries.iter().all(|entry| entry.run == entries[0].run));
    assert!(entries.iter().all(|entry| entry.command == "up --on w1"));
    assert!(matches!(entries[0].what, What::BrokeLock { .. }));
    let (code, done) = match entries[3].what {
        What::Ended { code, done, .. } => (code, done),
        ref other => panic!("{other:?}"),
    };
    assert_eq!((code, done), (130, 1));
    lock.release().await;
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn the_log_merges_what_the_managers_have_and_names_those_that_are_away() {
    let mut managers = Managers::start();
    let entry = |run: &str, second: i64, what: What| Entry {
        time: Timestamp::from_second(1_795_000_000 + second).unwrap(),
        run: run.to_owned(),
        who: "ada@desk".to_owned(),
        command: "up --on w1".to_owned(),
        what,
    };
    let began = What::Began {
        round: 1,
        changes: vec![Planned {
            id: "w1/docker.package".to_owned(),
            summary: "install 'docker.io'".to_owned(),
        }],
        more: 0,
    };
    let live = managers.live();
    let missing = live
        .append_audit(&names(1..=2), &entry("a", 0, began.clone()))
        .await;
    assert!(missing.is_empty(), "{missing:?}");
    let ended = What::ended(&[], 0, 65);
    let missing = live
        .append_audit(&names(2..=3), &entry("a", 65, ended))
        .await;
    assert!(missing.is_empty(), "{missing:?}");
    live.append_audit(&names(1..=1), &entry("b", 100, began.clone()))
        .await;
    managers.servers[2].stop();
    let file = managers.servers[0].file("skep.toml");
    std::fs::write(&file, &managers.inventory).unwrap();
    let log = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["log", "-i"])
            .arg(&file)
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (table, stderr) = log(&[]);
    let lines: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].contains("up --on w1  done in 1m05s"), "{table}");
    assert!(lines[1].contains("not ended"), "{table}");
    assert!(stderr.contains("the audit of `m3` is missing"), "{stderr}");
    let (json, _) = log(&["--json", "--limit", "2"]);
    assert_eq!(json.lines().count(), 3, "{json}");
    assert!(json.contains(r#""managers":["m1","m2"]"#), "{json}");
    let (one, _) = log(&["--limit", "1", "-v"]);
    assert!(one.contains("    w1/docker.package: install 'docker.io'\n"));
    assert_eq!(one.lines().count(), 3, "{one}");
    let (none, _) = log(&["--since", "2100-01-01"]);
    assert_eq!(none, "");
    // A manager whose disk is full is told of, and does not hold up the others.
    let full = "mount -o remount,ro /var/lib/skep";
    let session = live.remote("m1").unwrap().session().await.unwrap();
    let options = ScriptOptions {
        deadline: Duration::from_secs(10),
        root: true,
    };
    session.script(full, &options, &|_, _| {}).await.unwrap();
    let began = Instant::now();
    let missing = live
        .append_audit(&names(1..=3), &entry("c", 200, What::ended(&[], 0, 1)))
        .await;
    let hosts: Vec<&str> = missing.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(
        hosts,
        ["m1"],
        "{missing:?}: the connection to m3 is still there"
    );
    assert!(began.elapsed() < Duration::from_secs(10));
}
