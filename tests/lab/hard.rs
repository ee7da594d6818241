//! Off and back again the hard way: skep is killed after every step, the managers are locked, and the
//! time is too short.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::life::ALL;
use super::shutdown::{self, ALL_RUN, is_off, is_the_truth, record};
use super::start::is_whole;
use super::tell::told;
use super::world::World;

/// The hosts as machines of somebody's own, and those of the lab, which it switches on by itself.
const MACHINES: &str = "machines.toml";
const LAB: &str = "lab.toml";

/// More kills than any of these procedures has steps.
const MOST: usize = 60;

/// A task that does not end when it is told to, with the time that it is given for that.
const STUBBORN: &str = "docker service create --quiet --detach --no-resolve-image --name stubborn \
    --constraint node.hostname==w1 --stop-grace-period 2m \
    web:1 sh -c 'trap : TERM; while :; do busybox sleep 1; done'";

/// Three stacks, a label that only the swarm knows, and managers that are locked after a restart.
pub(crate) fn begin(world: &World) {
    shutdown::begin(world);
    world.on("m1", "docker node update --label-add kept=yes w1");
    world.on("m1", "docker swarm update --autolock=true");
}

fn key(world: &World) -> PathBuf {
    world.path("unlock.key")
}

/// One shutdown, in as many runs as it has steps.
pub(crate) fn off(world: &World) {
    let key = key(world).display().to_string();
    let words = ["shutdown", "--confirm", &world.cluster, "--last", "m1"];
    let words = [&words[..], &["--save-unlock-key", &key, "--json"]].concat();
    let cut = killed_after_every_step(world, MACHINES, &words);
    // A step that was on its way when skep died may be done by then, and nobody has heard of it.
    assert!(cut.len() >= 7, "{cut:#?}");
    for (host, _) in ALL {
        is_off(world, host);
    }
    let record = record(world, "state").unwrap();
    is_the_truth(&record, "m1");
    assert_eq!(record["phase"], "off");
    assert_eq!(record["head"]["autolock"], true);
}

/// The way back in as many runs as it has steps, with the key that the shutdown has saved.
pub(crate) fn back(world: &World) {
    world
        .skep(LAB, &["start", "--yes"])
        .ends(4)
        .says("m1")
        .says("--unlock-key-file");
    let key = key(world).display().to_string();
    let words = ["start", "--yes", "--unlock-key-file", &key, "--json"];
    let cut = killed_after_every_step(world, LAB, &words);
    assert!(cut.len() >= 5, "{cut:#?}");
    world.until("m1", 60, ALL_RUN);
    is_whole(world);
    assert_eq!(
        world.on("m1", "docker secret ls --format '{{.Name}}'"),
        "known"
    );
    world.on(
        "m1",
        "docker swarm unlock-key -q | grep -q . && docker swarm update --autolock=false",
    );
    // Killed between the note on the manager and the one here, the record still lies here; it is done
    // with all the same, as it is on any other machine that has it.
    let ran = world.skep(LAB, &["start", "--yes", "--json"]).ends(0);
    assert!(!ran.out.contains("change-started"), "{}", ran.out);
    is_whole(world);
    has_an_end(world);
}

/// The shutdown has told the last manager how it went: of the runs that were killed nobody knows.
fn has_an_end(world: &World) {
    let log = world.skep(LAB, &["log", "--json"]).ends(0);
    let entries = log.out.lines().map(|it| serde_json::from_str(it).unwrap());
    let ends = |it: &Value| {
        it["command"].as_str().unwrap().starts_with("shutdown") && it["event"] == "ended"
    };
    assert!(entries.collect::<Vec<Value>>().iter().any(ends), "{log:?}");
}

/// What does not end in time is left, and everything is off all the same.
pub(crate) fn too_short(world: &World) {
    world.on("m1", STUBBORN);
    let runs = "docker service ls --format '{{.Name}} {{.Replicas}}' | grep -qx 'stubborn 1/1'";
    world.until("m1", 60, runs);
    let words = ["shutdown", "--confirm", &world.cluster, "--deadline", "40s"];
    let ran = world.skep(MACHINES, &words).ends(1);
    told(&format!("all off in {:.0?}", ran.took));
    ran.says("given up in the middle: second 20 since the command began is over");
    for (host, _) in ALL {
        is_off(world, host);
    }
    let record = record(world, "state").unwrap();
    assert_eq!(record["phase"], "off");
    let services = record["services"].as_array().unwrap();
    assert_eq!(services.len(), 4, "{services:#?}");
    let ran = world.skep(LAB, &["start", "--yes"]).ends(0);
    told(&format!("back in {:.0?}", ran.took));
    world.until("m1", 60, runs);
    world.on("m1", "docker service rm stubborn");
    world.until("m1", 30, ALL_RUN);
    is_whole(world);
}

/// Runs skep again and again, and kills it as soon as a step has ended at which it was not killed before,
/// until one run comes to its end. Gives the steps at which it was killed.
fn killed_after_every_step(world: &World, inventory: &str, words: &[&str]) -> BTreeSet<String> {
    let began = Instant::now();
    let mut cut = BTreeSet::new();
    for kills in 0..MOST {
        let mut run = world.start(inventory, words);
        loop {
            // Asked before what it has said is read: of one that has ended all of it is there then.
            let runs = run.runs();
            if !ended(&run.said()).is_subset(&cut) {
                let new = ended(&run.kill().out);
                let at: Vec<&String> = new.difference(&cut).collect();
                told(&format!("  kill {} at {at:?}", kills + 1));
                cut.extend(new);
                break;
            }
            if !runs {
                let _said = run.end().ends(0);
                told(&format!(
                    "{kills} kills in {:.0} s",
                    began.elapsed().as_secs_f64()
                ));
                return cut;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    panic!("it comes to no end: {cut:#?}");
}

/// The steps that ended well, as change and title, by the events that a run has printed.
fn ended(said: &str) -> BTreeSet<String> {
    let mut running: BTreeMap<String, String> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    // A line that is not whole yet is none.
    let events = said.lines().filter_map(|it| serde_json::from_str(it).ok());
    for event in events.collect::<Vec<Value>>() {
        let Some(change) = event["change"].as_str() else {
            continue;
        };
        let last = match event["event"].as_str() {
            Some("step-started") => {
                let title = event["title"].as_str().unwrap().to_owned();
                running.insert(change.to_owned(), title)
            }
            Some("change-finished") if event["outcome"]["outcome"] == "done" => {
                running.remove(change)
            }
            _ => None,
        };
        ended.extend(last.map(|title| format!("{change}: {title}")));
    }
    ended
}
