//! The twenty tales on real engines: after each act the swarm is what it is on the simulated fleet.

use std::time::{Duration, Instant};

use super::nodes;
use super::run::{Ran, Running};
use super::tale::{self, Act, End, HOSTS, LEADERLESS, Scene, Seen, Tale};
use super::tell::told;
use super::twenty::{ALL, TWENTY};
use super::world::World;

const FILE: &str = "machines.toml";
/// A dead host is waited for in many of the tales.
const SSH: &str = "user = \"root\"\nconnect-timeout = 4";
/// How long a run is waited for whose host was cut off.
const ENOUGH: Duration = Duration::from_secs(30);
/// After how long the lock of a run that was killed while it was cut off is free again.
const FREED: Duration = Duration::from_mins(1);
/// How long the managers may take to see what has happened.
const PATIENCE: Duration = Duration::from_secs(100);

/// Five hosts with nothing on them.
pub(crate) fn hosts(world: &World) {
    let hosts = tale::roster(ALL);
    world.inventory("lab.toml", &hosts, "");
    world.fresh("lab.toml", &HOSTS);
}

pub(crate) fn twenty(world: &World) {
    let from = std::env::var("SKEP_TEST_TALE").unwrap_or_default();
    let first = TWENTY.iter().position(|tale| tale.name.contains(&from));
    if !from.is_empty() {
        act(world, Act::File(ALL));
        start(world, "up --prune").end().ends(0);
        world.try_on("m1", "docker service rm web");
        act(world, Act::Service(3));
    }
    for tale in &TWENTY[first.unwrap_or(0)..] {
        let began = Instant::now();
        tell(world, tale);
        let took = began.elapsed().as_secs_f64();
        told(&format!("  tale: {}: {took:.1} s", tale.name));
    }
}

fn tell(world: &World, tale: &Tale) {
    for (number, scene) in tale.scenes.iter().enumerate() {
        let began = Instant::now();
        let what = format!("{}, act {}: {:?}", tale.name, number + 1, scene.act);
        let ran = act(world, scene.act);
        if let (Some(end), Some(ran)) = (scene.end, &ran) {
            assert_eq!(Some(end), end_of(ran), "{what}\n{ran:?}");
        }
        let acted = began.elapsed().as_secs_f64();
        sees(world, scene, &what, ran.as_ref());
        let took = began.elapsed().as_secs_f64();
        told(&format!(
            "    {:?}: {acted:.1} s, seen after {took:.1} s",
            scene.act
        ));
    }
}

fn end_of(ran: &Ran) -> Option<End> {
    match ran.code? {
        0 => Some(End::Done),
        1 => Some(End::Failed),
        // An inventory that is not sound is refused like a plan.
        2 | 4 => Some(End::Refused),
        _ => None,
    }
}

/// Waits until the managers see what the tale says.
fn sees(world: &World, scene: &Scene, what: &str, ran: Option<&Ran>) {
    let began = Instant::now();
    while !scene.seen.is_empty() {
        let seen = look(world);
        if seen == scene.seen {
            return;
        }
        if began.elapsed() >= PATIENCE {
            logs(world);
            panic!("{what}: seen is `{seen}`, not `{}`\n{ran:?}", scene.seen);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// What each engine says of the last minutes: a picture that does not come has its reason there.
fn logs(world: &World) {
    for host in HOSTS {
        let (_, text) = world.try_on(
            host,
            "date; timeout 5 docker info --format '{{json .Swarm}}'
             timeout 15 docker node ls
             journalctl -u docker --no-pager -o short-precise --since -4min |
             grep -v -e module=grpc -e 'kernel parameter' | cut -c 1-400 | tail -n 80",
        );
        told(&format!("---- {host}\n{text}"));
    }
}

/// The swarm as the first manager tells it that tells anything.
fn look(world: &World) -> String {
    let mut leaderless = false;
    for host in HOSTS {
        let (well, text) = world.try_on(
            host,
            "systemctl is-active -q docker || exit 1
             timeout 15 docker node ls --format 'node {{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}' || exit 1
             docker service ps web --filter desired-state=running --format 'task {{.Node}} {{.CurrentState}}' 2>/dev/null; true",
        );
        leaderless |= text.contains("does not have a leader") || text.contains("DeadlineExceeded");
        if well {
            return picture(&text);
        }
    }
    if leaderless { LEADERLESS } else { "nothing" }.to_owned()
}

fn picture(text: &str) -> String {
    let mut nodes = Vec::new();
    let mut tasks = 0;
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["node", host, state, availability, ref manager @ ..] => {
                // For a while after a change of the leader nodes are neither ready nor down.
                if state != "Ready" && state != "Down" {
                    return text.to_owned();
                }
                nodes.push(Seen {
                    host: host.to_owned(),
                    manager: !manager.is_empty(),
                    active: availability == "Active",
                    ready: state == "Ready" && manager != ["Unreachable"],
                });
            }
            ["task", _, "Running", ..] => tasks += 1,
            _ => {}
        }
    }
    tale::draw(nodes, tasks)
}

/// Runs skep when the lock is free: a host that was cut off lets go of it within 45 s.
fn run(world: &World, words: &str) -> Ran {
    let began = Instant::now();
    loop {
        let ran = start(world, words).end();
        if !ran.err.contains("another skep works") || began.elapsed() > FREED {
            return ran;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Does it; what came of a run that was not cut.
fn act(world: &World, act: Act) -> Option<Ran> {
    match act {
        Act::File(hosts) => world.machines(FILE, &tale::roster(hosts), SSH, &[]),
        Act::Skep(words) => return Some(run(world, words)),
        Act::Killed(words, step) => {
            let mut run = start(world, words);
            begins(&mut run, step);
            drop(run.kill());
        }
        Act::CutOff(host, step, words) => {
            let mut run = start(world, words);
            begins(&mut run, step);
            world.cut(host);
            // What it comes to depends on how far it was, and it may be given up as well.
            let began = Instant::now();
            while run.runs() && began.elapsed() < ENOUGH {
                std::thread::sleep(Duration::from_millis(100));
            }
            drop(run.kill());
        }
        Act::Mend(host) => world.mend(host),
        Act::Kill(hosts) => hosts
            .split(' ')
            .for_each(|host| world.machine("kill", host)),
        Act::Boot(hosts) => {
            let hosts = || hosts.split(' ');
            hosts().for_each(|host| world.machine("start", host));
            // An engine that is let in nowhere tells it after 20 s.
            for host in hosts() {
                world.until(
                    host,
                    90,
                    "systemctl is-active docker && systemctl is-active ssh",
                );
            }
        }
        Act::StopEngine(host) => {
            world.on(host, "systemctl stop docker.socket docker.service");
        }
        Act::Leave(host) => {
            world.on(host, "docker swarm leave --force");
        }
        Act::Service(replicas) => {
            nodes::serve(world, FILE, replicas);
            // So that deaths are noticed within seconds.
            world.on("m1", "docker swarm update --dispatcher-heartbeat 2s");
        }
    }
    None
}

fn start(world: &World, words: &str) -> Running {
    let words: Vec<&str> = words.split(' ').collect();
    let address = address_of_new(&words).map(|host| world.address(host));
    let mut line = words;
    line.extend(["--yes", "--json"]);
    if let Some(address) = &address {
        line.extend(["--address", address]);
    }
    world.start(FILE, &line)
}

/// Waits until a run begins its so-many-th step, or has ended.
fn begins(run: &mut Running, step: usize) {
    while run.said().matches("\"step-started\"").count() < step && run.runs() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a run is given beyond its words: the address of a host that comes.
fn address_of_new<'a>(words: &[&'a str]) -> Option<&'a str> {
    match words {
        ["node", "add", new, ..] | ["node", "replace", _, new, ..] => Some(new),
        _ => None,
    }
}
