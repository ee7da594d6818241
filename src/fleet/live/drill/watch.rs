//! Who looks at the cluster during a drill: each manager is asked again and again, and requests go
//! to the tasks of the probe. Their connections are their own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::docker::{Docker, ServiceTask};
use crate::drill::watch::{Answer, NodeSeen, Seen};
use crate::facts::Node;
use crate::fleet::live::Live;

use super::Probe;

/// How often each manager is asked.
const ASK: Duration = Duration::from_millis(500);

/// How often it is looked, and how long an answer may take.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long a manager may take to answer; one that has lost its leader takes up to 20 s.
    answer: Duration,
    /// How long an engine may take to say that it is there.
    ping: Duration,
    /// How often a request is sent.
    request: Duration,
    /// How long a request may take.
    reply: Duration,
}

/// For containers, which answer within milliseconds.
const QUICK: Pace = Pace {
    answer: Duration::from_secs(2),
    ping: Duration::from_millis(1500),
    request: Duration::from_millis(250),
    reply: Duration::from_secs(1),
};

/// For virtual machines: without KVM a login takes seconds, and so does each command.
const SLOW: Pace = Pace {
    answer: Duration::from_secs(15),
    ping: Duration::from_secs(10),
    request: Duration::from_secs(2),
    reply: Duration::from_secs(15),
};

/// How to get to the tasks of the probe.
#[derive(Debug, Clone)]
pub enum Way {
    /// From here, at the addresses of the hosts: containers are in a network of this machine.
    Direct(BTreeMap<String, Ipv4Addr>),
    /// From the host itself, over SSH: virtual machines hear each other alone.
    Inside,
}

impl Way {
    fn pace(&self) -> Pace {
        match self {
            Self::Direct(_) => QUICK,
            Self::Inside => SLOW,
        }
    }
}

/// Those who look; they end when this is dropped.
#[derive(Debug)]
pub struct Watch {
    _all: JoinSet<()>,
}

/// The tasks that requests go to: host and port.
type Places = Arc<Mutex<Vec<(String, u16)>>>;

/// Who is which node.
type Ids = Arc<BTreeMap<String, String>>;

impl Watch {
    /// Begins to look. `live` is for those who look alone, `managers` are asked, `hosts` are the
    /// names of the hosts by the IDs of their nodes, as they were before the drill.
    pub fn begin(
        live: Live,
        managers: &[String],
        hosts: BTreeMap<String, String>,
        way: Way,
        seen: &UnboundedSender<Seen>,
    ) -> Self {
        let live = Arc::new(live);
        let places = Places::default();
        let hosts = Arc::new(hosts);
        let mut all = JoinSet::new();
        for manager in managers {
            let asker = Asker {
                live: live.clone(),
                host: manager.clone(),
                hosts: hosts.clone(),
                places: places.clone(),
                pace: way.pace(),
            };
            all.spawn(asker.ask(seen.clone()));
        }
        all.spawn(request(live, places, way, seen.clone()));
        Self { _all: all }
    }
}

struct Asker {
    live: Arc<Live>,
    host: String,
    hosts: Ids,
    places: Places,
    pace: Pace,
}

impl Asker {
    async fn ask(self, seen: UnboundedSender<Seen>) {
        loop {
            let answer = self.answer().await;
            let host = self.host.clone();
            if seen.send(Seen::Manager { host, answer }).is_err() {
                return;
            }
            sleep(ASK).await;
        }
    }

    async fn answer(&self) -> Answer {
        let Ok(remote) = self.live.remote(&self.host) else {
            return Answer::Silent;
        };
        let docker = remote.docker();
        if let Ok(Some(answer)) = timeout(self.pace.answer, self.orders(&docker)).await {
            return answer;
        }
        if matches!(timeout(self.pace.ping, docker.answers()).await, Ok(true)) {
            return Answer::NoOrders;
        }
        // A connection to a host that lost its power would be found dead only much later.
        remote.hang_up().await;
        Answer::Silent
    }

    async fn orders(&self, docker: &Docker) -> Option<Answer> {
        let nodes = docker.nodes().await.ok()?;
        let tasks = docker.tasks_of(Probe::SERVICE).await.ok();
        if let Some(tasks) = &tasks {
            self.place(&nodes, tasks);
        }
        let seen = nodes.iter().map(|node| NodeSeen {
            host: self.host_of(node),
            ready: node.state == "ready",
            down: node.state == "down",
            leader: node.manager.as_ref().is_some_and(|it| it.leader),
        });
        Some(Answer::Orders {
            nodes: seen.collect(),
            tasks: tasks.map(|tasks| tasks.len()),
        })
    }

    /// The host of a node; of one that came during the drill its own name.
    fn host_of(&self, node: &Node) -> String {
        let host = self.hosts.get(&node.id);
        host.unwrap_or(&node.hostname).clone()
    }

    /// Sends requests to these tasks from now on, as a load balancer that follows the managers.
    fn place(&self, nodes: &[Node], tasks: &[ServiceTask]) {
        let found = tasks.iter().filter_map(|task| {
            let node = nodes.iter().find(|node| node.id == task.node)?;
            Some((self.host_of(node), task.port?))
        });
        let mut found: Vec<(String, u16)> = found.collect();
        found.sort_unstable();
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

/// Sends a request to one task after the other.
async fn request(live: Arc<Live>, places: Places, way: Way, seen: UnboundedSender<Seen>) {
    let mut turn = 0_usize;
    let pace = way.pace();
    let mut ticks = interval(pace.request);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let way = Arc::new(way);
    let mut asked = JoinSet::new();
    while !seen.is_closed() {
        ticks.tick().await;
        while asked.try_join_next().is_some() {}
        let place = {
            let places = places.lock().unwrap_or_else(PoisonError::into_inner);
            places.get(turn % places.len().max(1)).cloned()
        };
        turn = turn.wrapping_add(1);
        let Some((host, port)) = place else { continue };
        let (live, way, seen) = (live.clone(), way.clone(), seen.clone());
        asked.spawn(async move {
            let ok = matches!(
                timeout(pace.reply, reply(&live, &way, &host, port)).await,
                Ok(true)
            );
            // Nobody listens any more when the drill is over.
            let _over = seen.send(Seen::Request { host, ok });
        });
    }
}

async fn reply(live: &Live, way: &Way, host: &str, port: u16) -> bool {
    match way {
        Way::Direct(addresses) => match addresses.get(host) {
            Some(address) => get(*address, port).await.unwrap_or(false),
            None => false,
        },
        Way::Inside => {
            let longest = SLOW.reply.as_secs();
            let script = format!("curl -sf -m {longest} http://127.0.0.1:{port}/ >/dev/null\n");
            live.script_on(host, &script, SLOW.reply).await.is_ok()
        }
    }
}

async fn get(address: Ipv4Addr, port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((address, port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.0 200"))
}
