//! Runs that are disturbed or cut: whatever the moment, the next run goes on to one healthy swarm.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::life::is_healthy;
use super::tell::told;
use super::world::World;

const HOSTS: [(&str, &str); 3] = [("m1", "manager"), ("m2", "manager"), ("m3", "manager")];
const NAMES: [&str; 3] = ["m1", "m2", "m3"];

/// How often a run is killed, and how often of these on hosts without anything.
const KILLS: usize = 10;
const FRESH: usize = 2;

fn converges(world: &World) {
    world.skep("machines.toml", &["up", "--yes"]).ends(0);
    is_healthy(&world.status("machines.toml"), 3, 3);
    let mut swarms = NAMES.map(|host| {
        world.on(host, "docker info --format '{{.Swarm.Cluster.ID}} {{.Swarm.Managers}} {{.Swarm.Nodes}}' 2>/dev/null")
    });
    swarms.sort();
    assert!(swarms[0].ends_with(" 3 3"), "{swarms:?}");
    assert_eq!(swarms[0], swarms[2]);
}

/// Three hosts with nothing on them.
fn make(world: &World) {
    world.inventory("lab.toml", &HOSTS, "");
    world.fresh("lab.toml", &NAMES);
    world.machines("machines.toml", &HOSTS, "", &[]);
}

/// Another package manager holds dpkg's lock when the installation begins.
pub(crate) fn apt_lock(world: &World) {
    make(world);
    // POSIX record locks, as dpkg takes them.
    let hold = "perl -MFcntl -e 'open F, \">>/var/lib/dpkg/lock-frontend\" or die; \
                $lock = pack(\"s s x4 q q l\", F_WRLCK, 0, 0, 0, 0); \
                fcntl(F, F_SETLK, $lock) or die; \
                open G, \">/run/held\"; close G; sleep 20'";
    let name = skep::provider::lab::container_name(&world.cluster, "m1");
    world.docker(&["exec", "--detach", &name, "sh", "-c", hold]);
    world.until("m1", 10, "test -e /run/held");
    world
        .skep("machines.toml", &["up", "--yes", "-v"])
        .ends(0)
        .says("waiting for another package manager: process ")
        .says("verified: a second plan is empty");
    converges(world);
}

/// One host's connection is cut while it installs, and another's cable is pulled.
pub(crate) fn connection_cut(world: &World) {
    make(world);
    let mut run = world.start("machines.toml", &["up", "--yes", "-v"]);
    installs(world);
    let cut = "for id in $(pgrep -f 'sshd: root'); do kill -9 $id; done";
    world.on("m2", cut);
    world.cut("m3");
    // Keepalives find it out.
    assert!(run.runs(), "{}", run.said());
    run.end().ends(1).says("m3");
    world.mend("m3");
    converges(world);
}

/// Ctrl-C finishes what runs and starts nothing more.
pub(crate) fn interrupted(world: &World) {
    make(world);
    let run = world.start("machines.toml", &["up", "--yes"]);
    installs(world);
    run.interrupt();
    run.end()
        .ends(130)
        .says("finishing what runs")
        .says("not started");
    for host in NAMES {
        // What ran was finished: nothing is half installed.
        world.on(
            host,
            "test -z \"$(dpkg --audit)\" && dpkg -s docker.io >/dev/null",
        );
        assert!(
            !world
                .on(host, "ls /var/lib/docker 2>/dev/null; true")
                .contains("swarm/")
        );
    }
    converges(world);
}

/// `kill -9` at any moment, again and again.
pub(crate) fn killed(world: &World) {
    let seed = std::env::var("SKEP_TEST_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let seed = seed.unwrap_or_else(now);
    told(&format!("  SKEP_TEST_SEED={seed}"));
    let mut random = Random(seed);
    for round in 1..=KILLS {
        let longest = if round <= FRESH {
            make(world);
            25.0
        } else {
            leave(world);
            5.0
        };
        let delay = 0.5 + random.next() * (longest - 0.5);
        let run = world.start("machines.toml", &["up", "--yes"]);
        std::thread::sleep(Duration::from_secs_f64(delay));
        let said = run.kill();
        let last = said.err.lines().last().unwrap_or_default().to_owned();
        told(&format!("  kill {round} after {delay:.1} s, at: {last}"));
        converges(world);
    }
}

/// Takes all hosts out of their swarm, so that the next run makes a new one.
fn leave(world: &World) {
    std::thread::scope(|scope| {
        for host in NAMES {
            let name = skep::provider::lab::container_name(&world.cluster, host);
            scope.spawn(move || {
                world.docker(&["exec", &name, "docker", "swarm", "leave", "--force"]);
            });
        }
    });
}

/// Waits until all hosts are installing the engine.
fn installs(world: &World) {
    for host in NAMES {
        world.until(host, 60, "grep -q '^install ' /run/skep/step");
    }
}

/// Numbers from 0 to 1 that a seed gives again (`SplitMix64`).
struct Random(u64);

impl Random {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
