//! What the twenty tales are made of: acts as data, and what must be seen after each. They are told
//! twice, on the simulated fleet and on real engines in the lab, and both must see the same.

/// What all hosts are called, in the order of their addresses.
pub(crate) const HOSTS: [&str; 5] = ["m1", "m2", "m3", "w1", "w2"];

/// A tale.
pub(crate) struct Tale {
    pub(crate) name: &'static str,
    pub(crate) scenes: &'static [Scene],
}

/// An act, and what is seen after it.
pub(crate) struct Scene {
    pub(crate) act: Act,
    /// How the run ends; `None` for what is no run, and for one that is cut somewhere.
    pub(crate) end: Option<End>,
    /// The swarm, as [`draw`] tells it; empty where that depends on the moment.
    pub(crate) seen: &'static str,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// Somebody writes the inventory anew: managers, a stroke, workers.
    File(&'static str),
    /// skep runs, with these words.
    Skep(&'static str),
    /// skep runs, and is killed when it begins its so-many-th step.
    Killed(&'static str, usize),
    /// skep runs, and when it begins its so-many-th step, the network of a host is cut.
    CutOff(&'static str, usize, &'static str),
    /// The network is there again.
    Mend(&'static str),
    /// Some hosts lose power.
    Kill(&'static str),
    /// Their power is back.
    Boot(&'static str),
    /// Somebody stops the engine.
    StopEngine(&'static str),
    /// Somebody makes the host leave its swarm by hand.
    Leave(&'static str),
    /// Somebody makes the service `web` with so many replicas, that start before others end.
    Service(usize),
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
    Refused,
}

/// What is not a run of skep, or one that does not come to its end.
pub(crate) const fn then(act: Act, seen: &'static str) -> Scene {
    Scene {
        act,
        end: None,
        seen,
    }
}

/// A run of skep.
pub(crate) const fn skep(words: &'static str, end: End, seen: &'static str) -> Scene {
    Scene {
        act: Act::Skep(words),
        end: Some(end),
        seen,
    }
}

/// The managers and the workers of a roster such as `m1 m2 / w1`.
pub(crate) fn roster(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let (managers, workers) = text.split_once('/').unwrap_or((text, ""));
    let managers = managers.split_whitespace().map(|host| (host, "manager"));
    let workers = workers.split_whitespace().map(|host| (host, "worker"));
    managers.chain(workers).collect()
}

/// A node of a swarm, as its managers see it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) host: String,
    pub(crate) manager: bool,
    pub(crate) active: bool,
    pub(crate) ready: bool,
}

/// A swarm with a leader in one line: its managers, its workers, how many tasks run. `!` is a node that
/// is down, `-` one that is drained.
pub(crate) fn draw(mut nodes: Vec<Seen>, tasks: usize) -> String {
    nodes.sort_by(|one, other| (&one.host, one.ready).cmp(&(&other.host, other.ready)));
    let list = |manager: bool| {
        let mut line = String::new();
        for node in nodes.iter().filter(|node| node.manager == manager) {
            line += &node.host;
            line += if node.active { "" } else { "-" };
            line += if node.ready { " " } else { "! " };
        }
        line
    };
    format!("{}/ {}/ {tasks}", list(true), list(false))
}

/// A swarm whose managers have no leader.
pub(crate) const LEADERLESS: &str = "no leader";
