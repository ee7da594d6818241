//! What the design sets limits to, measured: planning, running a graph, reading facts and
//! inventories, and the start of the program. `cargo bench` prints each beside its limit; nothing
//! fails on a slow machine.

#![expect(clippy::unwrap_used, reason = "a measurement may panic")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};

use criterion::{Criterion, criterion_group};
use futures::future::BoxFuture;
use skep::execute::{self, Stop};
use skep::facts::{HostFacts, Probes};
use skep::fleet::sim::{Faults, SimFleet, World};
use skep::fleet::{Fault, Fleet};
use skep::inventory::{self, Inventory};
use skep::plan::{Change, ChangeId, Plan, Risk, Step};
use skep::swarm::Gathered;

const HOSTS: usize = 1000;
/// Names the part that a process of this benchmark plays for [`print_memory`].
const PART: &str = "SKEP_BENCH_MEMORY";

/// An inventory of five managers and the rest workers.
fn text() -> String {
    let mut text = String::from(
        "[cluster]\nname = \"bench\"\n[docker.daemon]\nlog-driver = \"journald\"\n\
         [swarm]\ndefault-addr-pool = [\"10.200.0.0/16\"]\n",
    );
    for number in 0..HOSTS {
        let role = if number < 5 { "manager" } else { "worker" };
        let (high, low) = (number / 250, number % 250 + 1);
        let _infallible = write!(
            text,
            "[[host]]\nname = \"h{number}\"\naddress = \"198.18.{high}.{low}\"\nrole = \"{role}\"\n\
             labels = {{ rack = \"r{}\" }}\n",
            number / 40
        );
    }
    text
}

fn read(text: &str) -> Inventory {
    let (inventory, found) = inventory::parse(text, Path::new("skep.toml"));
    assert!(found.is_empty(), "{found:?}");
    inventory.unwrap()
}

/// Does `work` on a clock on which waiting takes no time.
fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(work)
}

async fn gather(fleet: &SimFleet, inventory: &Inventory) -> Gathered {
    skep::gather::gather(fleet, &inventory.hosts, &[], &|_| {}).await
}

fn plan(inventory: &Inventory, gathered: &Gathered) -> Plan {
    let all: BTreeSet<String> = gathered.keys().cloned().collect();
    skep::plan::build(inventory, gathered, &all)
}

/// What fresh hosts say.
fn fresh(inventory: &Inventory) -> Gathered {
    let fleet = SimFleet::new(World::fresh(inventory), Faults::default(), 1);
    paused(gather(&fleet, inventory))
}

/// What the hosts say once the inventory has been carried out.
fn settled(inventory: &Inventory) -> Gathered {
    let fleet = SimFleet::new(World::fresh(inventory), Faults::default(), 1);
    paused(async {
        let first = plan(inventory, &gather(&fleet, inventory).await);
        let report = execute::run(&fleet, &first.changes, &Stop::default(), &|_| {}).await;
        assert!(report.unwrap().is_done());
        gather(&fleet, inventory).await
    })
}

fn planning(criterion: &mut Criterion) {
    let inventory = read(&text());
    let gathered = fresh(&inventory);
    assert!(plan(&inventory, &gathered).changes.len() > 5 * HOSTS);
    criterion.bench_function("plan 1000 fresh hosts (limit 100 ms)", |bench| {
        bench.iter(|| plan(&inventory, black_box(&gathered)));
    });
    let gathered = settled(&inventory);
    assert!(plan(&inventory, &gathered).is_empty());
    criterion.bench_function("plan 1000 unchanged hosts (limit 100 ms)", |bench| {
        bench.iter(|| plan(&inventory, black_box(&gathered)));
    });
}

fn showing(criterion: &mut Criterion) {
    let inventory = read(&text());
    let plan = plan(&inventory, &fresh(&inventory));
    criterion.bench_function("show the plan of 1000 fresh hosts", |bench| {
        bench.iter(|| {
            skep::ui::plan::render(black_box(&plan), true, &skep::ui::diff::hide_passwords)
        });
    });
}

/// Hosts that do whatever they are asked at once.
struct Willing;

impl Fleet for Willing {
    fn gather<'a>(&'a self, _: &'a str, _: &'a Probes) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        Box::pin(async { Ok(HostFacts::default()) })
    }

    fn run<'a>(
        &'a self,
        _: &'a str,
        _: &'a Step,
        _: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}

/// 1000 hosts of ten changes each, of which the last waits for the first host's too.
fn graph() -> Vec<Change> {
    let change = |host: usize, number: usize| {
        let name = |host: usize, number: usize| ChangeId(format!("h{host}/change{number}"));
        let mut needs = BTreeSet::new();
        if number > 0 {
            needs.insert(name(host, number - 1));
        }
        if number == 9 && host > 0 {
            needs.insert(name(0, 9));
        }
        Change {
            id: name(host, number),
            host: format!("h{host}"),
            resource: format!("change{number}"),
            summary: "do nothing".to_owned(),
            diff: Vec::new(),
            steps: vec![Step::RefreshPackages],
            risk: Risk::Safe,
            lane: None,
            needs,
            follows: BTreeSet::new(),
        }
    };
    let hosts = 0..HOSTS;
    hosts
        .flat_map(|host| (0..10).map(move |number| change(host, number)))
        .collect()
}

fn running(criterion: &mut Criterion) {
    let changes = graph();
    criterion.bench_function("run a graph of 10000 changes", |bench| {
        bench.iter(|| {
            let stop = Stop::default();
            let ran = paused(execute::run(&Willing, black_box(&changes), &stop, &|_| {}));
            assert!(ran.unwrap().is_done());
        });
    });
}

/// What a host answered, as the tests keep it.
#[derive(serde::Deserialize)]
struct Recorded {
    probes: String,
    section: Vec<Section>,
}

#[derive(serde::Deserialize)]
struct Section {
    name: String,
    status: u8,
    output: String,
}

/// All recorded answers as if one host had given them, a section of each name.
fn answers() -> (Probes, Vec<u8>) {
    let mut probes = Probes::new();
    let mut names = BTreeSet::new();
    let mut out = String::new();
    for folder in std::fs::read_dir("tests/facts").unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let case: Recorded = toml::from_str(&text).unwrap();
            probes.extend(serde_json::from_str::<Probes>(&case.probes).unwrap());
            for section in case.section {
                let Section {
                    name,
                    status,
                    output,
                } = section;
                if names.insert(name.clone()) {
                    let _infallible = write!(
                        out,
                        "\nskepn0nce < {name}\n{output}\nskepn0nce > {name} {status}\n"
                    );
                }
            }
        }
    }
    (probes, out.into_bytes())
}

fn reading(criterion: &mut Criterion) {
    let (probes, bytes) = answers();
    criterion.bench_function("read the facts of a host", |bench| {
        bench.iter(|| skep::facts::parse(&probes, "n0nce", black_box(&bytes)));
    });
    let text = text();
    criterion.bench_function("read an inventory of 1000 hosts", |bench| {
        bench.iter(|| read(black_box(&text)));
    });
}

fn starting(criterion: &mut Criterion) {
    criterion.bench_function("skep --help (limit 10 ms)", |bench| {
        bench.iter(|| {
            let mut skep = Command::new(env!("CARGO_BIN_EXE_skep"));
            let status = skep.arg("--help").stdout(Stdio::null()).status();
            assert!(status.unwrap().success());
        });
    });
}

/// The most memory that a process of this benchmark has had, in KiB (proc(5), `VmHWM`).
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Plans in processes of their own, because the peak of one that has done more says nothing.
fn print_memory() {
    for part in ["fresh", "unchanged"] {
        let me = std::env::current_exe().unwrap();
        let output = Command::new(me).env(PART, part).output().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn play(part: &str) {
    let inventory = read(&text());
    let gathered = if part == "fresh" {
        fresh(&inventory)
    } else {
        settled(&inventory)
    };
    black_box(plan(&inventory, &gathered));
    match peak_kib() {
        Some(kib) => println!(
            "memory to plan {HOSTS} {part} hosts, facts and all: {} MB (limit 100 MB)",
            kib / 1000
        ),
        None => println!("memory to plan {HOSTS} {part} hosts: this system does not tell"),
    }
}

criterion_group!(limits, planning, showing, running, reading, starting);

fn main() {
    if let Ok(part) = std::env::var(PART) {
        play(&part);
        return;
    }
    limits();
    print_memory();
    Criterion::default().configure_from_args().final_summary();
}
