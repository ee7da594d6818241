//! Hooks of a drain, on this machine and on a host, and one that says no.

use std::fs;

use super::life::{ALL, label_of};
use super::world::World;

const FILE: &str = "lab.toml";

/// One node is drained between its hooks, of which one calls skep; the other keeps its work, because
/// its hook says no.
pub(crate) fn say(world: &World) {
    let skep = env!("CARGO_BIN_EXE_skep");
    let hooks = format!(
        r#"# kept by every edit

[[hook]]
when = "before-drain"
on = "w1"
run = """
echo "$SKEP_HOOK of $SKEP_HOST, node $SKEP_NODE_ID, on $SKEP_OS" >told
{skep} node label "$SKEP_HOST" hooked=yes --keep-inventory --yes
"""

[[hook]]
when = "after-drain"
at = "host"
run = """
docker ps --quiet --filter label=com.docker.swarm.service.name | wc -l >/run/told
echo "$SKEP_HOST $(id -u) [$SKEP_LOCK]" >>/run/told
"""

[[hook]]
name = "w2 stays"
when = "before-drain"
on = "w2"
at = "host"
command = ["false"]
"#
    );
    world.inventory(FILE, &ALL, &hooks);
    let drain = ["node", "drain", "w2", "w1", "--keep-inventory", "--yes"];
    world
        .skep(FILE, &drain)
        .ends(1)
        .says("hook before-drain, here, up to 300 s:")
        .says("Nothing was done to `w2`")
        .says("5 hosts: 1 changed, 3 the same, 1 failed");
    let node = world.node_id("w1");
    assert_eq!(
        fs::read_to_string(world.path("told")).unwrap(),
        format!("before-drain of w1, node {node}, on debian\n")
    );
    assert_eq!(label_of(world, "w1", "hooked"), "yes");
    assert_eq!(world.on("w1", "cat /run/told"), "0\nw1 0 []");
    let availability = |host: &str| {
        let inspect = "docker node inspect --format '{{.Spec.Availability}}'";
        world.on("m1", &format!("{inspect} {host}"))
    };
    assert_eq!(availability("w1"), "drain");
    assert_eq!(availability("w2"), "active");
    world.inventory(FILE, &ALL, "# kept by every edit");
    for verb in [&["activate", "w1"][..], &["label", "w1", "hooked-"]] {
        let line = [&["node"], verb, &["--keep-inventory", "--yes"]].concat();
        world.skep(FILE, &line).ends(0);
    }
}
