//! Engines are upgraded while somebody asks a service ten times a second.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::life::{self, is_healthy};
use super::run::Running;
use super::tell::told;
use super::world::World;

const HOSTS: [&str; 5] = ["m1", "m2", "m3", "w1", "w2"];

/// Debian 13 beside Debian 12, for what is asked for by its version only.
const NEWER: &str = r"set -e
from=$(grep -l bookworm /etc/apt/sources.list.d/*.sources | head -n 1)
sed '/^$/,$d; s/^Suites:.*/Suites: trixie/' $from >/etc/apt/sources.list.d/trixie.sources
printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' >/etc/apt/preferences.d/trixie
apt-get update -qq";

/// An image without a registry, that answers requests.
const IMAGE: &str = r"set -e
cd /tmp
apt-get download -qq busybox-static
dpkg-deb -x busybox-static_*.deb box
mkdir -p image/www
cp box/bin/busybox image/
hostname >image/www/index.html
tar -C image -c . | docker import - web:1 >/dev/null";

/// A swarm on Debian's engine, with a service of three tasks. Published on the hosts themselves, since
/// the machine's kernel may have no IPVS for the routing mesh.
pub(crate) fn begin(world: &World) {
    life::inventories(world);
    world.skep("lab.toml", &["up", "--yes"]).ends(0);
    let on_all = |script: &str| {
        let line = ["exec", "--on", "all", "--", "sh", "-c", script];
        world.skep("lab.toml", &line).ends(0);
    };
    on_all(IMAGE);
    on_all(NEWER);
    world.on(
        "m1",
        "docker service create -d -q --no-resolve-image --name web --replicas 3 \
         --update-order start-first --stop-grace-period 2s \
         --publish mode=host,published=8080,target=80 \
         web:1 /busybox httpd -f -p 80 -h /www",
    );
    world.until(
        "m1",
        60,
        "docker service ls --format '{{.Replicas}}' | grep -q 3/3",
    );
}

/// What no source has, and what cannot be rebooted, is refused before anything is touched.
pub(crate) fn refused(world: &World) {
    world
        .skep("lab.toml", &["upgrade", "--to", "30", "--yes"])
        .ends(4)
        .says("no package source of the host offers `docker.io` 30");
    world
        .skep("lab.toml", &["reboot", "w1", "--yes"])
        .ends(4)
        .says("a container of the lab");
}

/// Around each upgrade a host writes down which engine runs.
const HOOKS: &str = r#"
[[hook]]
when = "before-upgrade"
at = "host"
run = "docker version --format '{{.Server.Version}}' >/run/hooked"

[[hook]]
when = "after-upgrade"
at = "host"
run = "docker version --format '{{.Server.Version}}' >>/run/hooked"
"#;

/// From 20.10 to 26.1, five engines one after the other, and not one request is lost. The managers
/// start locked. The first run finds itself cut off from the first worker while it upgrades it, and
/// the second is killed when a manager's engine is down for it.
pub(crate) fn upgraded(world: &World) {
    world.on("w1", "apt-mark hold docker.io");
    world.on("m1", "docker swarm update --autolock=true >/dev/null");
    let file = world.path("lab.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + HOOKS).unwrap();
    let asking = Asking::begin(world);
    let mut run = world.start("lab.toml", &["upgrade", "--to", "26.1", "--yes"]);
    let worker = one_at_work(world, &mut run, 'w');
    world.cut(worker);
    let cut = run.end();
    assert_eq!(cut.code, Some(1), "{cut:?}");
    world.mend(worker);
    told(&format!("  {worker} was cut off while it was upgraded"));
    let mut run = world.start("lab.toml", &["upgrade", "--to", "26.1", "--yes"]);
    let first = one_at_work(world, &mut run, 'm');
    run.kill();
    told(&format!("  killed while {first} was upgraded"));
    let ran = world.skep("lab.toml", &["upgrade", "--to", "26.1", "--yes"]);
    let (asked, lost) = asking.end();
    ran.ends(0).says("verified: a second plan is empty");
    told(&format!("  {asked} requests, {lost} lost"));
    assert_eq!(lost, 0, "of {asked} requests");
    assert!(asked > 100, "{asked} requests");

    for host in HOSTS {
        let version = world.on(host, "docker version --format '{{.Server.Version}}'");
        assert!(version.starts_with("26.1"), "{host}: {version}");
        if host != first && host != worker {
            let hooked = world.on(host, "cat /run/hooked");
            assert_eq!(hooked, format!("20.10.24+dfsg1\n{version}"), "{host}");
        }
    }
    let held = world.on("w1", "apt-mark showhold");
    assert!(
        held.contains("docker.io"),
        "held before, held after: {held}"
    );
    is_healthy(&world.status("lab.toml"), 3, 5);
    let drained = world.on(
        "m1",
        "docker node ls --format '{{.Availability}}' | sort -u",
    );
    assert_eq!(drained, "Active");
    world
        .skep("lab.toml", &["upgrade", "--to", "26.1", "--yes"])
        .ends(0)
        .says("nothing to change");
    world.skep("lab.toml", &["plan", "--exit-code"]).ends(0);
}

/// Waits until `run` upgrades the packages of a host whose name begins so.
fn one_at_work(world: &World, run: &mut Running, initial: char) -> &'static str {
    let began = Instant::now();
    let works = |host: &&str| world.try_on(host, "grep -q '^upgrade ' /run/skep/step").0;
    loop {
        if let Some(host) = HOSTS
            .into_iter()
            .filter(|it| it.starts_with(initial))
            .find(works)
        {
            return host;
        }
        let goes_on = run.runs() && began.elapsed() < Duration::from_mins(5);
        assert!(goes_on, "the turn of no {initial} has come: {}", run.said());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Somebody who asks the service ten times a second, at one host after the other until one answers.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, u32)>,
}

impl Asking {
    fn begin(world: &World) -> Self {
        let addresses: Vec<SocketAddr> = HOSTS
            .iter()
            .map(|host| format!("{}:8080", world.address(host)).parse().unwrap())
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut asked, mut lost, mut last) = (0, 0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let mut places = (0..addresses.len()).map(|place| (last + place) % addresses.len());
                let answers = places.find(|place| answers(addresses[*place]));
                asked += 1;
                match answers {
                    Some(place) => last = place,
                    None => lost += 1,
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            (asked, lost)
        });
        Self { stop, thread }
    }

    /// How many requests there were, and how many got no answer anywhere.
    fn end(self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn answers(address: SocketAddr) -> bool {
    let second = Duration::from_secs(1);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, second)?;
        stream.set_read_timeout(Some(second))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(" 200 "))
}
