//! Looks for join tokens wherever one could leak.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::world::World;

/// How every join token begins.
const TOKEN: &str = "SWMTKN-1-";

/// Watches the command lines and environments of all processes of a lab's hosts, and of those that
/// this test started, until it is asked what it saw.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<Seen>,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// How many processes were looked at.
    pub(crate) processes: usize,
    /// The command lines of those that held a token.
    pub(crate) tokens: BTreeSet<String>,
}

impl Watch {
    pub(crate) fn begin(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, group) = (stop.clone(), world.dirs().cgroup());
        let watcher = std::thread::spawn(move || {
            let mut seen = Seen::default();
            let mut known = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                look(&group, &mut known, &mut seen);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            seen
        });
        Self { stop, watcher }
    }

    pub(crate) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap()
    }
}

fn look(group: &str, known: &mut BTreeSet<(u32, Vec<u8>)>, seen: &mut Seen) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|it| it.parse::<u32>().ok())
        else {
            continue;
        };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let line = read("cmdline");
        // A process changes its command line when it becomes another program.
        if line.is_empty() || known.contains(&(id, line.clone())) {
            continue;
        }
        let groups = String::from_utf8_lossy(&read("cgroup")).into_owned();
        if groups.contains(&format!("{group}/")) || is_ours(id) {
            seen.processes += 1;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            if line.contains(TOKEN) || environment.contains(TOKEN) {
                seen.tokens.insert(line);
            }
        }
        known.insert((id, line));
    }
}

/// Whether the process descends from this test.
fn is_ours(id: u32) -> bool {
    let mut id = id;
    while id > 1 {
        if id == std::process::id() {
            return true;
        }
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        id = parent.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
    }
    false
}

/// The files, on the hosts and here, that hold a token. Docker's own store may.
pub(crate) fn files(world: &World, hosts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for host in hosts {
        let script = "grep -rlsI -D skip -e 'SWMTKN[-]1-' /etc /run /tmp /root /home /srv /opt \
                      /var/log /var/tmp /var/spool /var/cache /var/lib --exclude-dir=swarm \
                      --exclude-dir=overlay2; \
                      journalctl --no-pager -q -o export | grep -a -c -e 'SWMTKN[-]1-'; true";
        let lines = world.on(host, script);
        let lines = lines.lines().filter(|line| *line != "0");
        found.extend(lines.map(|line| format!("{host}: {line}")));
    }
    for path in world.files() {
        let bytes = fs::read(&path).unwrap_or_default();
        if String::from_utf8_lossy(&bytes).contains(TOKEN) {
            found.push(path.display().to_string());
        }
    }
    found
}
