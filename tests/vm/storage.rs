//! Docker's storage on real disks: made, refused, cut off half way, erased on purpose, grown.

use std::time::Duration;

use rexpect::process::WaitStatus;

use super::world::World;

/// A thin pool on the first disk.
pub(crate) const STORAGE: &str = "
[storage.direct-lvm]
device = \"/dev/disk/by-id/virtio-disk1\"
";

/// The nodes of the inventory of NFS.
const NODES: [&str; 2] = ["n1", "n2"];

/// One manager, with this storage.
fn one(world: &World, file: &str, lab: &str, storage: &str) {
    let host = "[[host]]\nname = \"d1\"\nrole = \"manager\"\n";
    world.write(file, lab, &format!("{storage}\n{host}"));
}

fn disk(number: usize) -> String {
    format!("/dev/disk/by-id/virtio-disk{number}")
}

/// The engines use their pools, and these grow by themselves.
pub(crate) fn thin_pools(world: &World) {
    for node in NODES {
        let info = world.on(node, "docker info 2>/dev/null");
        assert!(info.contains("Storage Driver: devicemapper"), "{info}");
        assert!(info.contains("Pool Name: docker-thinpool"), "{info}");
        let monitored = "lvs --noheadings -o seg_monitor,lv_profile docker/thinpool";
        let monitored = world.on(node, monitored);
        assert!(monitored.contains("monitored"), "{monitored}");
        assert!(!monitored.contains("not monitored"), "{monitored}");
        assert!(monitored.contains("docker-thinpool"), "{monitored}");
    }
    let status = world.status("nfs.toml");
    let pool = &status["storage"][0]["pool"];
    assert_eq!(pool["monitored"], true, "{status:#}");
    assert!(pool["data_percent"].as_f64().unwrap() < 50.0, "{status:#}");
}

/// A port that a service publishes answers on each node, whichever has the task.
pub(crate) fn mesh(world: &World) {
    world.on(
        "n1",
        "docker service create --quiet --detach --no-resolve-image --name web --publish 8080:80 \
         nfs-test:1 sh -c 'echo answer >/data/index.html; busybox httpd -f -p 80 -h /data'",
    );
    for node in NODES {
        let ask =
            format!("test \"$(curl -s --max-time 10 http://{node}:8080/index.html)\" = answer");
        world.until("nas", 180, &ask);
    }
    world.on("n1", "docker service rm web");
}

/// Makes what a disk of somebody else holds. Sizes are small, so that whole disks can be summed.
const FULL: &str = "
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y install --no-install-recommends cryptsetup-bin mdadm xfsprogs fdisk lvm2 >/dev/null
d=/dev/disk/by-id/virtio-disk
mkfs.ext4 -q -L precious ${d}1
mkfs.xfs -q ${d}2
mkswap ${d}3 >/dev/null
printf 'label: gpt\\n,,\\n' | sfdisk -q ${d}4
pvcreate -q ${d}5
printf secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 ${d}6 -
mdadm --create /dev/md/x --run --level=1 --raid-devices=2 ${d}7 missing 2>/dev/null
mdadm --stop /dev/md/x 2>/dev/null
mkfs.ext4 -q ${d}8
mkdir -p /data && mount ${d}8 /data && echo data >/data/file
udevadm settle
sync
";

const SUMS: &str =
    "sync; for n in 1 2 3 4 5 6 7 8; do sha256sum </dev/disk/by-id/virtio-disk$n; done";

const DISKS: &str = "disks = [\"64 MiB\", \"320 MiB\", \"64 MiB\", \"64 MiB\", \"64 MiB\", \"64 MiB\", \"64 MiB\", \"64 MiB\", \"3 GiB\"]";

/// A disk with anything on it is refused, with what was found, and is the same afterwards.
pub(crate) fn refusals(world: &World) {
    let all: Vec<String> = (1..=8)
        .map(|number| format!("\"{}\"", disk(number)))
        .collect();
    let storage = format!("[storage.lvm]\ndevice = [{}]\n", all.join(", "));
    one(world, "full.toml", DISKS, &storage);
    // Made by hand first: the machine must be there before its disks can hold anything.
    one(world, "d1.toml", DISKS, "");
    world.make("d1.toml", &["d1"]);
    world.on("d1", FULL);
    let before = world.on("d1", SUMS);
    assert_eq!(before.lines().count(), 8);
    let ran = world.skep("full.toml", &["up", "--yes"]).ends(4);
    for found in [
        "ext4",
        "precious",
        "xfs",
        "swap",
        "gpt",
        "LVM physical volume",
        "LUKS",
        "linux_raid_member",
        "/data",
    ] {
        let said = ran.out.contains(found) || ran.err.contains(found);
        assert!(said, "no `{found}`: {ran:?}");
    }
    for number in 1..=8 {
        let name = format!("disk{number}");
        assert!(
            (ran.out.clone() + &ran.err).contains(&name),
            "no `{name}`: {ran:?}"
        );
    }
    // The disk that the system is on, by its name of the moment.
    one(
        world,
        "root.toml",
        DISKS,
        "[storage.disk]\ndevice = \"/dev/vda\"\n",
    );
    world.skep("root.toml", &["up", "--yes"]).ends(4);
    // One that is larger than expected is another one.
    let other = format!(
        "[storage.disk]\ndevice = \"{}\"\nsize = \"8 GiB\"\n",
        disk(9)
    );
    one(world, "size.toml", DISKS, &other);
    world
        .skep("size.toml", &["up", "--yes"])
        .ends(4)
        .says("8 GiB");
    assert_eq!(world.on("d1", SUMS), before);
    world.on("d1", "! command -v dockerd && cat /data/file");
}

/// The storage on the empty disk.
fn ninth(world: &World) {
    let storage = format!("[storage.lvm]\ndevice = \"{}\"\n", disk(9));
    one(world, "ninth.toml", DISKS, &storage);
}

/// The power fails at three moments of the set-up; then a run completes it.
pub(crate) fn power_cut(world: &World) {
    ninth(world);
    for moment in [
        "ls /var/lib/skep/storage/* >/dev/null",
        "vgs docker >/dev/null",
        "test -e /dev/docker/data || ls /dev/docker/* >/dev/null",
    ] {
        let run = world.start("ninth.toml", &["up", "--yes"]);
        world.until("d1", 300, &format!("{moment} 2>/dev/null"));
        world.machine("kill", "ninth.toml", "d1");
        let _ended_or_killed = run.kill();
        world.machine("start", "ninth.toml", "d1");
    }
    world.skep("ninth.toml", &["up", "--yes"]).ends(0);
    let mount = world.on("d1", "findmnt -n -o SOURCE,FSTYPE,OPTIONS /var/lib/docker");
    assert!(
        mount.contains("/dev/mapper/docker-") && mount.contains("xfs"),
        "{mount}"
    );
    assert!(mount.contains("prjquota"), "{mount}");
    let driver = world.on("d1", "docker info --format '{{.Driver}}'");
    assert_eq!(driver, "overlay2");
    world
        .skep("ninth.toml", &["up", "--yes"])
        .ends(0)
        .says("nothing to change");
}

/// An engine that holds an image keeps its storage.
pub(crate) fn held(world: &World) {
    world.on("d1", "tar -C /etc -c hostname | docker import - held:1");
    let other = format!(
        "[storage.disk]\ndevice = \"{}\"\ndata-root = \"/dockyard\"\n",
        disk(1)
    );
    one(world, "other.toml", DISKS, &other);
    let ran = world.skep("other.toml", &["up", "--yes"]).ends(4);
    let said = (ran.out.clone() + &ran.err).to_lowercase();
    assert!(said.contains("drain") || said.contains("move"), "{ran:?}");
    world.on("d1", "docker image inspect held:1 >/dev/null");
}

/// With `--wipe` the named disk is erased after its serial was typed, and no other.
pub(crate) fn wipe(world: &World) {
    let storage = format!(
        "[storage.lvm]\ndevice = [\"{}\", \"{}\"]\n",
        disk(9),
        disk(2)
    );
    one(world, "wipe.toml", DISKS, &storage);
    let named = format!("d1:{}", disk(2));
    let before = world.on("d1", SUMS);
    // Nobody to type it: refused, whatever was agreed to before.
    let ran = world.skep("wipe.toml", &["up", "--yes", "--wipe", &named]);
    assert!(matches!(ran.code, Some(2 | 4)), "{ran:?}");
    assert_eq!(world.on("d1", SUMS), before);
    let plan = world.skep("wipe.toml", &["plan", "--wipe", &named]);
    plan.says("ERASE").says("disk2");
    // The wrong word, then the right one.
    for (word, code) in [("disk1", false), ("disk2", true)] {
        let mut terminal = world.terminal("wipe.toml", &["up", "--yes", "--wipe", &named]);
        terminal.exp_string("disk2").unwrap();
        terminal.exp_regex("(serial|Type|type)").unwrap();
        std::thread::sleep(Duration::from_secs(1));
        terminal.send_line(word).unwrap();
        terminal.exp_eof().unwrap();
        let status = terminal.process().wait().unwrap();
        assert_eq!(
            matches!(status, WaitStatus::Exited(_, 0)),
            code,
            "{status:?}"
        );
    }
    let after = world.on("d1", SUMS);
    for (number, (one, two)) in (1..).zip(before.lines().zip(after.lines())) {
        // The eighth is mounted, and may be written to.
        assert_eq!(one == two, number != 2 || number == 8, "disk {number}");
    }
    world.on("d1", "docker image inspect held:1 >/dev/null");
    world
        .skep("wipe.toml", &["up", "--yes"])
        .ends(0)
        .says("nothing to change");
}

const TRIXIE: &str = "release = \"trixie\"\ndisks = [\"4 GiB\", \"2 GiB\"]";

/// An engine of 25 or later has no devicemapper: refused before anything is touched.
pub(crate) fn no_devicemapper(world: &World) {
    one(world, "pool.toml", TRIXIE, STORAGE);
    let ran = world.skep("pool.toml", &["up", "--yes"]);
    assert!(matches!(ran.code, Some(2 | 4)), "{ran:?}");
    ran.says("[storage.lvm]");
}

/// Logical volumes with xfs at the data root.
pub(crate) fn volumes(world: &World) {
    let storage = format!("[storage.lvm]\ndevice = \"{}\"\npercent = 90\n", disk(1));
    one(world, "lvm.toml", TRIXIE, &storage);
    world.skep("lvm.toml", &["up", "--yes"]).ends(0);
    let info = world.on("d1", "docker info 2>/dev/null");
    assert!(info.contains("Storage Driver: overlay2"), "{info}");
    assert!(info.contains("Backing Filesystem: xfs"), "{info}");
    assert!(
        world
            .on("d1", "xfs_info /var/lib/docker")
            .contains("ftype=1")
    );
    world
        .skep("lvm.toml", &["up", "--yes"])
        .ends(0)
        .says("nothing to change");
}

/// Another disk in the list makes the volume larger while the engine runs.
pub(crate) fn grow(world: &World) {
    let size = "df -Pk /var/lib/docker | awk 'NR == 2 { print $2 }'";
    let before: u64 = world.on("d1", size).parse().unwrap();
    let started = world.on("d1", "systemctl show -p MainPID docker.service");
    let storage = format!(
        "[storage.lvm]\ndevice = [\"{}\", \"{}\"]\npercent = 90\n",
        disk(1),
        disk(2)
    );
    one(world, "lvm.toml", TRIXIE, &storage);
    world.skep("lvm.toml", &["up", "--yes"]).ends(0);
    let after: u64 = world.on("d1", size).parse().unwrap();
    assert!(after > before + 1_000_000, "{before} {after}");
    assert_eq!(
        world.on("d1", "systemctl show -p MainPID docker.service"),
        started
    );
    world
        .skep("lvm.toml", &["up", "--yes"])
        .ends(0)
        .says("nothing to change");
}
