//! Failures are practised: real machines lose their power, their network and their disks, the cluster
//! is watched meanwhile, and is healthy again in the end.

use std::fs;
use std::time::Duration;

use super::life::{ALL, is_healthy};
use super::tell::told;
use super::world::World;

const FILE: &str = "lab.toml";

fn drill<'a>(world: &'a World, names: &[&'a str]) -> Vec<&'a str> {
    [&["drill"], names, &["--confirm", &world.cluster]].concat()
}

/// Nothing of a drill is left: neither its service nor a cut of the network.
fn nothing_is_left(world: &World) {
    is_healthy(&world.status(FILE), 3, 5);
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
    let services = ["docker", "--", "service", "ls", "--quiet"];
    let ran = world.skep(FILE, &services).ends(0);
    assert_eq!(ran.out.trim(), "", "{ran:?}");
    for (host, _) in ALL {
        world.on(host, "! iptables -S SKEP-DRILL 2>/dev/null");
        world.on(
            host,
            "! docker image inspect localhost:1/skep-drill:1 >/dev/null 2>&1",
        );
    }
}

/// A swarm of the lab, and the same hosts as machines of somebody's own.
pub(crate) fn begin(world: &World) {
    world.inventory(FILE, &ALL, "");
    world.skep(FILE, &["up", "--yes"]).ends(0);
    world.machines("machines.toml", &ALL, "", &[]);
}

/// Neither on machines of one's own, nor without the cluster's name, nor on a cluster that is ill.
pub(crate) fn refused(world: &World) {
    world
        .skep("machines.toml", &drill(world, &["one-worker"]))
        .ends(4)
        .says("m1, m2, m3, w1, w2 are machines of yours");
    world
        .skep(FILE, &["drill", "one-worker", "--yes"])
        .ends(4)
        .says("--confirm");
    world
        .skep(FILE, &["drill", "one-worker", "--confirm", "other"])
        .ends(4)
        .says("`other` is not the cluster's name");
    world.machine("kill", "w2");
    world
        .skep(FILE, &drill(world, &["one-worker"]))
        .ends(4)
        .says("a drill is for a healthy cluster")
        .says("`w2` gave no answer");
    world
        .skep(FILE, &drill(world, &["heal"]))
        .ends(0)
        .says("healed");
    nothing_is_left(world);
}

/// Ctrl-C in the middle leaves no service behind, and `heal` mends the rest.
pub(crate) fn interrupted(world: &World) {
    let mut run = world.start(FILE, &drill(world, &["split"]));
    let cut = || {
        ALL.iter()
            .any(|(host, _)| world.try_on(host, "iptables -S SKEP-DRILL").0)
    };
    while !cut() {
        assert!(run.runs(), "{}", run.said());
        std::thread::sleep(Duration::from_millis(200));
    }
    run.interrupt();
    run.end().ends(130).says("skep drill heal");
    assert!(cut(), "the interrupted drill has mended the network");
    world
        .skep(FILE, &drill(world, &["heal"]))
        .ends(0)
        .says("healed");
    nothing_is_left(world);
}

/// The failures, two runs of them, each healed and told of.
pub(crate) fn practised(world: &World) {
    let reports = world.path("reports").display().to_string();
    for names in [
        &["one-worker", "one-manager", "split"][..],
        &["two-managers", "power-cut"],
    ] {
        let line = [&drill(world, names)[..], &["--report", &reports]].concat();
        let ran = world.skep(FILE, &line).ends(0);
        told(&format!("{} in {:.0?}", names.join(", "), ran.took));
        assert_eq!(
            ran.err.matches("Healed and proven").count(),
            names.len(),
            "{ran:?}"
        );
        nothing_is_left(world);
    }
    let mut texts: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(&reports).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.extension().unwrap().to_str().unwrap().to_owned();
        texts.push((kind, fs::read_to_string(path).unwrap()));
    }
    texts.sort();
    let kinds: Vec<&str> = texts.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["html", "html", "md", "md"]);
    let told_of = |text: &str| {
        texts
            .iter()
            .any(|(kind, it)| kind == "md" && it.contains(text))
    };
    for text in [
        "was seen down",
        "all 5 tasks of the probe ran elsewhere",
        "cut the network to the others",
        "recovered the swarm without",
        "orders were taken again",
    ] {
        assert!(told_of(text), "{text}: {texts:#?}");
    }
    assert!(texts[0].1.contains("<svg xmlns="));
}
