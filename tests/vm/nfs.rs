//! NFS on real kernels: a server, two nodes, and what happens when the server goes.

use std::time::Duration;

use super::storage::STORAGE;
use super::tell::told;
use super::world::World;

/// The test inventory: `nas` serves, `n1` and `n2` mount.
pub(crate) const FILE: &str = "nfs.toml";

/// Each host has a disk for Docker.
const LAB: &str = "disks = [\"6 GiB\"]";

const HOSTS: &str = "
[[host]]
name = \"nas\"
role = \"none\"

[[host]]
name = \"n1\"
role = \"manager\"

[[host]]
name = \"n2\"
role = \"worker\"
";

const EXPORTS: &str = "
[nfs]
domain = \"example.org\"

[[nfs.export]]
host = \"nas\"
path = \"/srv/docker\"
clients = [\"n1\", \"n2\"]
options = [\"rw\", \"sync\", \"no_subtree_check\", \"no_root_squash\"]

[[nfs.export]]
host = \"nas\"
path = \"/srv/project\"
clients = [\"*\"]
";

const MOUNTS: &str = "
[[nfs.mount]]
source = \"nas:/srv/docker\"
target = \"/mnt/docker\"
on = \"members\"

[[nfs.mount]]
source = \"nas:/srv/project\"
target = \"/project\"
on = \"n1\"
automount = false
version = \"4.2\"
";

/// What a message calls a mount of the server.
const STALE: &str = "stale: server nas does not answer";

/// A server and two nodes: a file that one writes the other reads, and a second run changes
/// nothing.
pub(crate) fn server_and_nodes(world: &World) {
    world.write(FILE, LAB, &[STORAGE, EXPORTS, MOUNTS, HOSTS].concat());
    world.skep(FILE, &["up", "--yes"]).ends(0);
    world.on("n1", "echo from-n1 >/mnt/docker/file");
    assert_eq!(world.on("n2", "cat /mnt/docker/file"), "from-n1");
    assert_eq!(world.on("nas", "cat /srv/docker/file"), "from-n1");
    // One that is not automounted is there before anybody touches it, as it was asked for.
    let line = world.on("n1", "grep ' /project nfs' /proc/mounts");
    assert!(line.contains("vers=4.2") && line.contains("hard"), "{line}");
    assert_eq!(world.on("n1", "nfsidmap -d"), "example.org");
    world
        .skep(FILE, &["up", "--yes"])
        .ends(0)
        .says("nothing to change");
}

/// The nodes boot anew, one after the other: the worker, then the only manager. The mounts are there
/// again, and so is the work.
pub(crate) fn reboot(world: &World) {
    let boots = || ["n1", "n2"].map(|host| world.on(host, "cat /proc/sys/kernel/random/boot_id"));
    let before = boots();
    world
        .skep(FILE, &["reboot", "members", "--yes"])
        .ends(0)
        .says("2 changed");
    let after = boots();
    assert!(
        before[0] != after[0] && before[1] != after[1],
        "{before:?} {after:?}"
    );
    world.until("n1", 180, "test \"$(cat /mnt/docker/file)\" = from-n1");
    let work = "docker node ls --format '{{.Status}} {{.Availability}}' | sort -u";
    assert_eq!(world.on("n1", work), "Ready Active");
    world.until("n1", 60, "grep ' /project nfs' /proc/mounts");
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
}

/// Volumes of services: tasks on two nodes see the same file.
pub(crate) fn volumes_of_services(world: &World) {
    for host in ["n1", "n2"] {
        world.on(
            host,
            "command -v busybox >/dev/null || apt-get -q -y install busybox-static >/dev/null
             folder=$(mktemp -d); mkdir -p $folder/bin $folder/data $folder/etc
             cp \"$(command -v busybox)\" $folder/bin/busybox; ln -s busybox $folder/bin/sh
             tar -C $folder -c . | docker import - nfs-test:1 >/dev/null; rm -rf $folder",
        );
    }
    let nas = world.on("n1", "getent ahostsv4 nas | sed 's/ .*//;q'");
    world.on("nas", "mkdir -p /srv/docker/data");
    world.on(
        "n1",
        &format!(
            "docker service create --quiet --detach --no-resolve-image --name writers --mode global \
             --mount 'type=volume,source=shared,target=/data,volume-driver=local,\
volume-opt=type=nfs,\"volume-opt=o=addr={nas},rw,nfsvers=4\",volume-opt=device=:/srv/docker/data' \
             --hostname '{{{{.Node.Hostname}}}}' nfs-test:1 \
             sh -c 'busybox hostname >/data/$(busybox hostname); while :; do busybox sleep 5; done'"
        ),
    );
    let both = "test -s /srv/docker/data/n1 && test -s /srv/docker/data/n2";
    world.until("nas", 180, both);
    for host in ["n1", "n2"] {
        world.until(
            host,
            60,
            "task=$(docker ps -q -f label=com.docker.swarm.service.name=writers | head -n 1)
             test \"$(docker exec $task busybox cat /data/n1 /data/n2 | tr '\\n' ' ')\" = 'n1 n2 '",
        );
    }
    world.on("n1", "docker service rm writers");
    for host in ["n1", "n2"] {
        world.until(host, 60, "test -z \"$(docker ps -q -f name=writers)\"");
        world.until(host, 30, "docker volume rm shared");
    }
}

/// A service on both nodes that writes into the folder all the time.
fn writers(world: &World) {
    world.on(
        "n1",
        "docker service create --quiet --detach --no-resolve-image --name notes --mode global \
         --mount type=bind,source=/mnt/docker,target=/data nfs-test:1 \
         sh -c 'trap exit TERM; while :; do date >/data/$(busybox hostname); busybox sleep 1; done'",
    );
    world.until("n1", 180, WRITE);
}

/// Whether they run, both of them.
const WRITE: &str =
    "timeout 10 docker service ls --format '{{.Name}} {{.Replicas}}' | grep -qx 'notes 2/2'";

/// Which hosts have power, as the lab tells it.
fn powered(world: &World) -> Vec<String> {
    let status = world.skep(FILE, &["power", "status"]).ends(0);
    let on = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [host, "on", ..] => Some(host.to_owned()),
        _ => None,
    };
    status.out.lines().filter_map(on).collect()
}

/// Everything is switched off while it writes over NFS, and comes back as it was: the folders are let go
/// of before the power goes, and the server stays on.
pub(crate) fn off_and_on(world: &World) {
    writers(world);
    let off = ["shutdown", "--confirm", &world.cluster];
    let ran = world.skep(FILE, &off).ends(0).says("be back before");
    told(&format!("all off in {:.0?}", ran.took));
    assert_eq!(powered(world), ["nas"]);
    let ran = world.skep(FILE, &["start", "--yes"]).ends(0);
    told(&format!("back in {:.0?}", ran.took));
    world.until("n1", 60, WRITE);
    let work = "docker node ls --format '{{.Status}} {{.Availability}}' | sort -u";
    assert_eq!(world.on("n1", work), "Ready Active");
    for host in ["n1", "n2"] {
        world.on(host, "grep ' /mnt/docker nfs' /proc/mounts");
    }
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
    world.on("n1", "docker service rm notes");
    for host in ["n1", "n2"] {
        world.until(host, 60, "test -z \"$(docker ps -q -f name=notes)\"");
    }
}

/// The server's power goes: every command answers in its time and says so, and what has nothing to
/// do with it goes on. When it is back, the mounts work again.
pub(crate) fn server_gone(world: &World) {
    let line = "labels = { round = \"gone\" }\n";
    let hosts = HOSTS.replace("name = \"n2\"\n", &format!("name = \"n2\"\n{line}"));
    world.write(
        "gone.toml",
        LAB,
        &[STORAGE, EXPORTS, MOUNTS, &hosts].concat(),
    );
    world.machine("kill", FILE, "nas");

    let ran = world.skep(FILE, &["status"]);
    ran.says(STALE)
        .says("n1 /mnt/docker /project")
        .says("n2 /mnt/docker");
    let status = world.status(FILE);
    assert_eq!(status["stale"][0]["server"], "nas", "{status}");
    assert_eq!(status["stale"][0]["mounts"]["n2"][0], "/mnt/docker");
    assert_eq!(status["swarm"], "active", "{status}");

    let ran = world.skep("gone.toml", &["plan", "--on", "members"]);
    assert!(ran.took < Duration::from_secs(90), "{ran:?}");
    ran.says(STALE).says("round");
    let ran = world
        .skep("gone.toml", &["up", "--yes", "--on", "members"])
        .ends(0);
    assert!(ran.took < Duration::from_mins(3), "{ran:?}");
    // What was selected was done; the server that is away is told of, and is no failure of that.
    ran.says(STALE).says("1 changed, 1 the same, 1 left out");
    let label = "docker node inspect n2 --format '{{index .Spec.Labels \"round\"}}'";
    assert_eq!(world.on("n1", label), "gone");
    // Asking again and again leaves at most one process behind for each mount.
    let waiting = world.on("n1", "ps -eo stat,args | grep -c '[s]kep-mount' || :");
    assert!(waiting.parse::<u32>().unwrap() <= 2, "{waiting}");

    world.machine("start", FILE, "nas");
    world.until(
        "n1",
        180,
        "timeout 10 cat /mnt/docker/file && timeout 10 ls /project",
    );
    world.until("n2", 60, "timeout 10 cat /mnt/docker/file");
    let status = world.status("gone.toml");
    assert_eq!(status["stale"], serde_json::json!([]), "{status}");
    world.skep("gone.toml", &["plan", "--exit-code"]).ends(0);
}

/// A mount that the inventory has no more goes, but not while it is in use; so does an export, and
/// nobody else's.
pub(crate) fn removed(world: &World) {
    let foreign = "/etc/exports.d/other.exports";
    world.on(
        "nas",
        &format!(
            "mkdir -p /srv/other; echo '/srv/other *(ro,no_subtree_check)' >{foreign}; exportfs -ra"
        ),
    );
    let exports = EXPORTS
        .split("[[nfs.export]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[nfs.export]]");
    let mounts = MOUNTS
        .split("[[nfs.mount]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[nfs.mount]]");
    world.write(
        "less.toml",
        LAB,
        &[STORAGE, &exports, &mounts, HOSTS].concat(),
    );

    world.on("n1", "nohup sh -c 'cd /project && exec sleep 1000' >/dev/null 2>&1 & echo $! >/run/user-of-project; sleep 1");
    world
        .skep("less.toml", &["up", "--yes"])
        .ends(1)
        .says("/project is in use by")
        .says("(sleep)");
    world.on(
        "n1",
        "grep ' /project nfs' /proc/mounts; kill $(cat /run/user-of-project)",
    );
    world.skep("less.toml", &["up", "--yes"]).ends(0);
    world.on(
        "n1",
        "! grep ' /project ' /proc/mounts && ! ls /etc/systemd/system/project.* && cat /mnt/docker/file",
    );
    let table = world.on("nas", "cat /var/lib/nfs/etab");
    assert!(
        !table.contains("/srv/project") && table.contains("/srv/docker"),
        "{table}"
    );

    world.write("none.toml", LAB, &[STORAGE, HOSTS].concat());
    world.skep("none.toml", &["up", "--yes"]).ends(0);
    let table = world.on("nas", "cat /var/lib/nfs/etab");
    assert!(
        table.contains("/srv/other") && !table.contains("/srv/docker"),
        "{table}"
    );
    world.on(
        "nas",
        &format!("test -s {foreign} && ! test -e /etc/exports.d/skep.exports"),
    );
    for host in ["n1", "n2"] {
        world.on(
            host,
            "! grep ' /mnt/docker ' /proc/mounts && ! ls /etc/systemd/system/*.automount",
        );
    }
    world
        .skep("none.toml", &["up", "--yes"])
        .ends(0)
        .says("nothing to change");
}
