//! Everything is switched off in the right order: cut in the middle, with a worker dead, and gone on
//! with from another machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::life::ALL;
use super::tell::told;
use super::world::World;

/// The hosts as machines of somebody's own: `up` on a lab's would start those again that are off.
pub(crate) const FILE: &str = "machines.toml";

/// Three stacks: one with three tasks, one with a secret, one on every node.
pub(crate) fn begin(world: &World) {
    super::nodes::service(world);
    world.machines(FILE, &ALL, "", &[]);
    world.on("m1", "printf known | docker secret create known -");
    let create = "docker service create --quiet --detach --no-resolve-image";
    let sleeps = "web:1 sh -c 'trap exit TERM; while :; do busybox sleep 1; done'";
    world.on(
        "m1",
        &format!(
            "{create} --name shop_reader --label com.docker.stack.namespace=shop --secret known \
             --env PASSWORD=hunter2 {sleeps}\n\
             {create} --name watch_agent --label com.docker.stack.namespace=watch --mode global {sleeps}"
        ),
    );
    world.until("m1", 90, ALL_RUN);
}

/// Whether all tasks of all services run.
pub(crate) const ALL_RUN: &str = "test \"$(docker service ls --format '{{.Name}} {{.Replicas}}' | sort | tr '\\n' ' ')\" = 'shop_reader 1/1 watch_agent 5/5 web 3/3 '";

fn confirmed<'a>(world: &'a World, more: &[&'a str]) -> Vec<&'a str> {
    [&["shutdown", "--confirm", &world.cluster], more].concat()
}

/// What is only shown, and what is not done at all.
pub(crate) fn refused(world: &World) {
    let dry = world.skep(FILE, &["shutdown", "--dry-run"]).ends(0);
    let shown = format!("{}{}", dry.out, dry.err);
    assert!(shown.contains("be back before"), "{shown}");
    assert!(shown.contains("power off, last of all"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    world
        .skep(FILE, &["shutdown", "--yes"])
        .ends(4)
        .says("--confirm");
    world
        .skep(FILE, &["shutdown", "--confirm", "hive"])
        .ends(4)
        .says("is not the cluster's name");
    world.machine("kill", "w2");
    world
        .skep(FILE, &confirmed(world, &[]))
        .ends(4)
        .says("w2")
        .says("--emergency");
    world.until("m1", 60, "docker node ls >/dev/null");
    assert!(record(world, "state").is_none());
}

/// skep is killed when the services are at zero; another machine goes on, and finds the record on the
/// manager.
pub(crate) fn cut_and_finished(world: &World) {
    let last = world.leader(FILE);
    let cut = world.start(FILE, &confirmed(world, &["--emergency"]));
    world.until(
        &last,
        120,
        "test \"$(docker service inspect web --format '{{.Spec.Mode.Replicated.Replicas}}')\" = 0",
    );
    cut.kill();
    let first = record(world, "state").unwrap();
    is_the_truth(&first, &last);
    let again = confirmed(world, &["--emergency"]);
    let elsewhere = world.path("elsewhere");
    let there = elsewhere.display().to_string();
    let ran = world.start_with(FILE, &again, &[("XDG_STATE_HOME", &there)]);
    // The dead worker is no success.
    let ran = ran.end().ends(1).says("w2");
    told(&format!("all off in {:.0?}", ran.took));
    for (host, _) in ALL {
        is_off(world, host);
    }
    let second = record(world, "elsewhere").unwrap();
    is_the_truth(&second, &last);
    assert_eq!(second["phase"], "off");
    assert_eq!(second["head"]["made"], first["head"]["made"]);
    no_secret(world);
}

fn record_path(world: &World, state: &str) -> PathBuf {
    let cluster = &world.cluster;
    world.path(&format!("{state}/skep/{cluster}/shutdown.json"))
}

/// The record of a machine, by the folder of its state.
pub(crate) fn record(world: &World, state: &str) -> Option<Value> {
    let text = std::fs::read_to_string(record_path(world, state)).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// The cluster as it was before anything was done to it.
pub(crate) fn is_the_truth(record: &Value, last: &str) {
    assert_eq!(record["head"]["last"], last);
    let nodes = record["head"]["nodes"].as_array().unwrap();
    let managers = nodes.iter().filter(|node| node["role"] == "manager");
    assert_eq!(managers.count(), 3, "{nodes:?}");
    assert!(record["head"]["back_before"].is_string());
    let services = record["services"].as_array().unwrap();
    let modes = services
        .iter()
        .map(|it| format!("{} {}", it["name"], it["mode"]));
    let modes: Vec<String> = modes.collect();
    let wanted = [
        r#""shop_reader" {"replicated":1}"#,
        r#""watch_agent" "global""#,
        r#""web" {"replicated":3}"#,
    ];
    assert_eq!(modes, wanted);
    let reader = services[0].to_string();
    assert!(reader.contains("hunter2"), "the specification is whole");
    assert!(!reader.contains("skep.shutdown"));
}

/// Nothing but the record has what a service's environment holds.
fn no_secret(world: &World) {
    for path in world.files() {
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let is_record = path.ends_with("shutdown.json");
        let is_script = path.ends_with("script.sh");
        assert!(
            is_record || is_script || !text.contains("hunter2"),
            "{}",
            path.display()
        );
    }
}

/// Waits until the host has ended.
pub(crate) fn is_off(world: &World, host: &str) {
    let began = Instant::now();
    while world.is_on(host) {
        assert!(began.elapsed() < Duration::from_secs(30), "{host} is on");
        std::thread::sleep(Duration::from_millis(200));
    }
}
