//! What is seen during a drill, and what comes of it: a list of changes with their times.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::script::Until;

/// How long a manager's answer counts, in milliseconds: each is asked at least as often.
const FRESH: u64 = 8_000;

/// What somebody saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A manager was asked for the nodes and the tasks of the probe.
    Manager {
        /// The manager.
        host: String,
        /// What it said.
        answer: Answer,
    },
    /// A request was sent to a task of the probe.
    Request {
        /// The host of the task.
        host: String,
        /// Whether it was answered.
        ok: bool,
    },
}

/// What a manager said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Silent,
    /// Its engine answers, and not for the swarm.
    NoOrders,
    /// It answers for the swarm.
    Orders {
        /// The nodes.
        nodes: Vec<NodeSeen>,
        /// How many tasks of the probe run; `None` where that was not told.
        tasks: Option<usize>,
    },
}

/// A node as a manager tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// The host.
    pub host: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is down.
    pub down: bool,
    /// Whether it leads.
    pub leader: bool,
}

/// What a node is to the managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It is ready.
    Ready,
    /// It is down.
    Down,
    /// The managers do not know, or no manager tells.
    Unknown,
}

/// What a manager does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voice {
    /// It answers for the swarm.
    Orders,
    /// Its engine answers, and not for the swarm.
    NoOrders,
    /// It does not answer.
    Silent,
}

/// Where a drill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing has been done yet.
    Before,
    /// The failure is there.
    Broken,
    /// It is being healed.
    Healing,
    /// It is healed, and being proven.
    Proof,
    /// It is over.
    Over,
}

/// Something that changed, with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When, in milliseconds since the drill began.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The drill got to another stage.
    Stage(Stage),
    /// skep did something, from this time on for so long.
    Did {
        /// What, for people.
        what: String,
        /// For how long, in milliseconds.
        millis: u64,
    },
    /// A node is something else to the managers.
    Node {
        /// The host.
        host: String,
        /// What it is now.
        state: NodeState,
    },
    /// Another manager leads, or none.
    Leader {
        /// The host.
        host: Option<String>,
    },
    /// A manager answers otherwise.
    Manager {
        /// The host.
        host: String,
        /// How.
        voice: Voice,
    },
    /// Another number of the probe's tasks runs, as the managers tell; `None`: none tells.
    Tasks {
        /// How many.
        running: Option<usize>,
    },
    /// A request was answered, or not.
    Request {
        /// The host that was asked.
        host: String,
        /// Whether it answered.
        ok: bool,
    },
}

/// The picture as it is now, and how it came to be.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    wanted: usize,
    voices: Vec<String>,
    answers: BTreeMap<String, (u64, Answer)>,
    nodes: BTreeMap<String, NodeState>,
    told: BTreeMap<String, Voice>,
    leader: Option<String>,
    tasks: Option<usize>,
    requests: Requests,
    events: Vec<Event>,
}

/// What became of the latest requests.
#[derive(Debug, Clone, Default)]
struct Requests {
    last: Option<u64>,
    failed: Option<u64>,
    first: Option<u64>,
}

impl Observer {
    /// Nothing was seen yet. `voices` are the managers in the order in which their word counts,
    /// `hosts` all nodes, and `wanted` is how many tasks the probe should have.
    pub fn new(voices: Vec<String>, hosts: &[String], wanted: usize) -> Self {
        let unknown = |host: &String| (host.clone(), NodeState::Unknown);
        Self {
            wanted,
            voices,
            nodes: hosts.iter().map(unknown).collect(),
            ..Self::default()
        }
    }

    /// Gives the word to managers in another order.
    pub fn listen_to(&mut self, voices: Vec<String>) {
        self.voices = voices;
    }

    /// Begins at time 0 again, with the picture as it is.
    pub fn restart(&mut self) {
        self.events.clear();
        self.requests = Requests::default();
        for (when, _) in self.answers.values_mut() {
            *when = 0;
        }
        let voices = self.told.iter().map(|(host, voice)| What::Manager {
            host: host.clone(),
            voice: *voice,
        });
        let nodes = self.nodes.iter().map(|(host, state)| What::Node {
            host: host.clone(),
            state: *state,
        });
        let leader = What::Leader {
            host: self.leader.clone(),
        };
        let running = self.tasks;
        let all = voices.chain(nodes).chain([leader, What::Tasks { running }]);
        self.events = all.map(|what| Event { at: 0, what }).collect();
    }

    /// All that has changed until now.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many tasks the probe should have.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Notes what the drill itself does.
    pub fn note(&mut self, at: u64, what: What) {
        self.events.push(Event { at, what });
    }

    /// Notes what was seen at `at`.
    pub fn see(&mut self, at: u64, seen: Seen) {
        match seen {
            Seen::Request { host, ok } => {
                self.requests.last = Some(at);
                self.requests.first.get_or_insert(at);
                if !ok {
                    self.requests.failed = Some(at);
                }
                self.note(at, What::Request { host, ok });
            }
            Seen::Manager { host, answer } => {
                let voice = match answer {
                    Answer::Silent => Voice::Silent,
                    Answer::NoOrders => Voice::NoOrders,
                    Answer::Orders { .. } => Voice::Orders,
                };
                if self.told.insert(host.clone(), voice) != Some(voice) {
                    let host = host.clone();
                    self.note(at, What::Manager { host, voice });
                }
                self.answers.insert(host, (at, answer));
                self.draw(at);
            }
        }
    }

    /// Draws the picture anew from the manager whose word counts.
    fn draw(&mut self, at: u64) {
        let (nodes, tasks) = match self.word(at) {
            Some(Answer::Orders { nodes, tasks }) => (nodes.clone(), *tasks),
            _ => (Vec::new(), None),
        };
        let leader = nodes.iter().find(|node| node.leader);
        let leader = leader.map(|node| node.host.clone());
        if leader != self.leader {
            self.leader.clone_from(&leader);
            self.note(at, What::Leader { host: leader });
        }
        let mut states = BTreeMap::new();
        for node in &nodes {
            let state = match (node.ready, node.down) {
                (true, _) => NodeState::Ready,
                (_, true) => NodeState::Down,
                _ => NodeState::Unknown,
            };
            // A node that joined anew stands beside its former self, which is down.
            let best = states.entry(node.host.as_str()).or_insert(state);
            *best = state.min(*best);
        }
        let mut changed = Vec::new();
        for (host, old) in &mut self.nodes {
            let new = states.get(host.as_str()).copied();
            let new = new.unwrap_or(NodeState::Unknown);
            if *old != new {
                *old = new;
                changed.push((host.clone(), new));
            }
        }
        for (host, state) in changed {
            self.note(at, What::Node { host, state });
        }
        if tasks != self.tasks {
            self.tasks = tasks;
            self.note(at, What::Tasks { running: tasks });
        }
    }

    /// The latest answer of the first manager that takes orders.
    fn word(&self, at: u64) -> Option<&Answer> {
        self.voices.iter().find_map(|host| {
            let (when, answer) = self.answers.get(host)?;
            let counts = at.saturating_sub(*when) <= FRESH;
            (counts && matches!(answer, Answer::Orders { .. })).then_some(answer)
        })
    }

    /// Whether it has come to that at `now`; `since` is when it began to be waited for.
    pub fn has(&self, until: &Until, now: u64, since: u64) -> bool {
        let takes = |host: &String| self.told.get(host) == Some(&Voice::Orders);
        match until {
            Until::Leader { not } => self.leader.as_ref().is_some_and(|it| !not.contains(it)),
            Until::NoOrders => !self.voices.iter().any(takes),
            Until::Mute(hosts) => !hosts.iter().any(takes),
            Until::Down(hosts) => {
                let down = |host: &String| self.nodes.get(host) == Some(&NodeState::Down);
                hosts.iter().all(down)
            }
            Until::Whole => self.tasks == Some(self.wanted),
            Until::Answering(seconds) => self.answering(now, since, *seconds),
            Until::Well => {
                self.leader.is_some()
                    && self.voices.iter().all(takes)
                    && self.nodes.values().all(|state| *state == NodeState::Ready)
                    && self.tasks == Some(self.wanted)
                    && self.answering(now, 0, 2)
            }
            Until::Time => false,
        }
    }

    /// Whether no request has failed for so long, and some were sent meanwhile.
    fn answering(&self, now: u64, since: u64, seconds: u32) -> bool {
        let span = u64::from(seconds) * 1000;
        let Requests {
            last: Some(last),
            failed,
            first: Some(first),
        } = self.requests
        else {
            return false;
        };
        let from = failed.unwrap_or(first).max(since);
        now.saturating_sub(from) >= span && last > from && now.saturating_sub(last) < span
    }

    /// What of it is not so, for people; empty where all is well.
    pub fn unwell(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let silent = self
            .told
            .iter()
            .filter(|(_, voice)| **voice != Voice::Orders);
        wrong.extend(silent.map(|(host, _)| format!("manager {host} takes no orders")));
        let away = self.nodes.iter().filter(|(_, it)| **it != NodeState::Ready);
        wrong.extend(away.map(|(host, _)| format!("node {host} is not ready")));
        if self.tasks != Some(self.wanted) {
            let running = self.tasks.map_or("unknown".to_owned(), |it| it.to_string());
            let wanted = self.wanted;
            wrong.push(format!("the probe runs {running} of {wanted} tasks"));
        }
        wrong
    }

    /// The nodes that are not ready, as the managers tell.
    pub fn away(&self) -> BTreeSet<&str> {
        let away = self.nodes.iter().filter(|(_, it)| **it != NodeState::Ready);
        away.map(|(host, _)| host.as_str()).collect()
    }
}

#[cfg(test)]
mod tests;
