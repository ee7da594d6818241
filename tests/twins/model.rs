//! The tales on the simulated fleet, with the real planner, guards and executor: what `skep` does around
//! them is done here as there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use skep::execute::{self, Event, Stop};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::gather::gather;
use skep::inventory::edit::{self, NewHost};
use skep::inventory::{self, Availability, Inventory, Role};
use skep::plan::{Outlook, Plan};
use skep::procedure::{NodeAct, NodeProcedure, Procedure};
use skep::swarm::{Gathered, Membership, Swarm};
use tokio::sync::Notify;

use super::tale::{self, Act, End, HOSTS, LEADERLESS, Seen};

/// As `skep` does it.
const ROUNDS: usize = 3;
const FILE: &str = "skep.toml";

/// What happens in the middle of a run.
#[derive(Debug, Clone, Copy)]
enum Accident {
    /// The run is killed.
    Killed,
    /// A host is cut off.
    CutOff(&'static str),
}

pub(crate) struct Model {
    fleet: SimFleet,
    /// The text of the inventory.
    text: String,
    /// What the last run planned and what came of it.
    pub(crate) said: Vec<String>,
}

fn address(host: &str) -> String {
    let place = HOSTS.iter().position(|it| *it == host).unwrap();
    World::address(place)
}

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = World::default();
        for host in HOSTS {
            world.add(host, &address(host));
        }
        Self {
            fleet: SimFleet::new(world, Faults::default(), seed),
            text: String::new(),
            said: Vec::new(),
        }
    }

    /// Does it; how a run ended that was not cut.
    pub(crate) fn act(&mut self, act: Act) -> Option<End> {
        match act {
            Act::File(hosts) => self.write(hosts),
            Act::Skep(words) => return self.skep(words, None),
            Act::Killed(words, step) => return self.skep(words, Some((step, Accident::Killed))),
            Act::CutOff(host, step, words) => {
                return self.skep(words, Some((step, Accident::CutOff(host))));
            }
            Act::Mend(host) => self.fleet.with(|world| world.reach(host, true)),
            Act::Kill(hosts) => self.power(hosts, false),
            Act::Boot(hosts) => self.power(hosts, true),
            Act::StopEngine(host) => self.fleet.with(|world| world.stop_engine(host)),
            Act::Leave(host) => self.fleet.with(|world| world.leave_by_hand(host)),
            Act::Service(replicas) => self.fleet.with(|world| {
                let service = SimService {
                    replicas,
                    ..SimService::default()
                };
                world.services.insert("web".to_owned(), service);
            }),
        }
        None
    }

    fn power(&mut self, hosts: &str, on: bool) {
        for host in hosts.split(' ') {
            self.fleet.with(|world| world.power(host, on));
        }
    }

    fn write(&mut self, hosts: &'static str) {
        let mut text = "[cluster]\nname = \"twins\"\n".to_owned();
        for (name, role) in tale::roster(hosts) {
            let address = address(name);
            let _ = write!(
                text,
                "\n[[host]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{address}\"\n"
            );
        }
        self.text = text;
    }

    /// The swarm, as its managers see it when all has settled.
    pub(crate) fn seen(&self) -> String {
        self.fleet.with(|world| {
            world.settle();
            let swarms: Vec<String> = world.clusters.keys().cloned().collect();
            let [swarm] = &swarms[..] else {
                return format!("{} swarms", swarms.len());
            };
            if !world.has_quorum(swarm) {
                return LEADERLESS.to_owned();
            }
            let nodes = world.clusters[swarm].nodes.iter().map(|(id, node)| Seen {
                host: node.host.clone(),
                manager: node.raft,
                active: node.availability == Availability::Active,
                ready: world.node_lives(id, node),
            });
            tale::draw(nodes.collect(), world.running(swarm, "web"))
        })
    }

    /// What a step of skep's took that it must not take.
    pub(crate) fn lost(&self) -> Vec<String> {
        self.fleet
            .with(|world| [world.quorum_lost_by.clone(), world.tasks_lost_by.clone()].concat())
    }

    fn skep(&mut self, words: &'static str, accident: Option<(usize, Accident)>) -> Option<End> {
        self.said = vec![format!("skep {words}")];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        runtime.block_on(self.verb(&words, accident))
    }

    async fn verb(&mut self, words: &[&str], accident: Option<(usize, Accident)>) -> Option<End> {
        let Some(before) = inventory::parse(&self.text, Path::new(FILE)).0 else {
            return Some(End::Refused);
        };
        let all: BTreeSet<String> = before.hosts.iter().map(|it| it.name.clone()).collect();
        let mut run = Run {
            fleet: &self.fleet,
            said: &mut self.said,
            accident,
        };
        match words {
            ["up", flags @ ..] => {
                let prune = flags.contains(&"--prune");
                run.rounds(&before, &all, &Procedure::Up { prune }).await
            }
            ["rebalance", services @ ..] => {
                let services = services.iter().map(ToString::to_string).collect();
                run.rounds(&before, &all, &Procedure::Rebalance { services })
                    .await
            }
            ["node", "add", new] => {
                let host = NewHost {
                    role: Some(Role::Worker),
                    ..new_host(new)
                };
                let text = edit::add_host(&self.text, &host).unwrap();
                self.text.clone_from(&text);
                let inventory = inventory::parse(&text, Path::new(FILE)).0.unwrap();
                run.rounds(
                    &inventory,
                    &BTreeSet::from([(*new).to_owned()]),
                    &Procedure::UP,
                )
                .await
            }
            ["node", "replace", old, new] => {
                let text = edit::rename_or_replace(&self.text, old, &new_host(new)).unwrap();
                let mut both = inventory::parse(&text, Path::new(FILE)).0.unwrap();
                both.hosts.push(before.host(old).unwrap().clone());
                let end = run.swap(&both, old, new).await;
                if end == Some(End::Done) {
                    self.text = text;
                }
                end
            }
            ["node", verb, nodes @ ..] => {
                let keep = nodes.last() == Some(&"--keep-inventory");
                let nodes = &nodes[..nodes.len() - usize::from(keep)];
                let act = act_of(verb);
                let text = if keep {
                    self.text.clone()
                } else if let Some(text) = edited(&self.text, &before, &act, nodes) {
                    text
                } else {
                    return Some(End::Refused);
                };
                let nodes = nodes.iter().map(ToString::to_string).collect();
                let procedure = Procedure::Node(NodeProcedure { act, nodes });
                let end = run.rounds(&before, &all, &procedure).await;
                if end == Some(End::Done) {
                    self.text = text;
                }
                end
            }
            _ => panic!("{words:?}"),
        }
    }
}

fn new_host(name: &str) -> NewHost {
    NewHost {
        name: name.to_owned(),
        address: Some(address(name)),
        role: None,
        labels: BTreeMap::new(),
    }
}

fn act_of(verb: &str) -> NodeAct {
    match verb {
        "drain" => NodeAct::Drain,
        "activate" => NodeAct::Activate,
        "promote" => NodeAct::Promote,
        "demote" => NodeAct::Demote,
        "remove" => NodeAct::Remove,
        _ => panic!("{verb}"),
    }
}

/// The inventory after a verb on nodes; `None` where it would not be sound.
fn edited(text: &str, inventory: &Inventory, act: &NodeAct, nodes: &[&str]) -> Option<String> {
    let mut after = text.to_owned();
    for name in nodes.iter().filter(|name| inventory.host(name).is_some()) {
        after = match act {
            NodeAct::Promote => edit::set_role(&after, name, Role::Manager).ok()?,
            NodeAct::Demote => edit::set_role(&after, name, Role::Worker).ok()?,
            NodeAct::Remove => edit::remove_host(&after, name).ok()?,
            _ => after,
        };
    }
    edit::check(text, &after, Path::new(FILE)).ok()?;
    Some(after)
}

/// A run of skep.
struct Run<'a> {
    fleet: &'a SimFleet,
    said: &'a mut Vec<String>,
    accident: Option<(usize, Accident)>,
}

impl Run<'_> {
    async fn plan(
        &mut self,
        inventory: &Inventory,
        selected: &BTreeSet<String>,
        procedure: &Procedure,
    ) -> (Gathered, Plan) {
        let gathered = gather(self.fleet, &inventory.hosts, &[], &|_| {}).await;
        let plan = procedure.plan(inventory, &gathered, selected);
        let refusals = plan
            .refusals
            .iter()
            .map(|it| format!("  refused: {}", it.why));
        self.said.extend(refusals);
        let changes = plan.changes.iter();
        self.said
            .extend(changes.map(|it| format!("  {}: {}", it.id, it.summary)));
        (gathered, plan)
    }

    /// Plans and runs until all is as wanted; `None` for a run that was killed.
    async fn rounds(
        &mut self,
        inventory: &Inventory,
        selected: &BTreeSet<String>,
        procedure: &Procedure,
    ) -> Option<End> {
        for _ in 0..ROUNDS {
            let (gathered, plan) = self.plan(inventory, selected, procedure).await;
            if !plan.refusals.is_empty() {
                return Some(End::Refused);
            }
            if plan.changes.is_empty() {
                return Some(well(all_planned(&gathered, &plan)));
            }
            let report = self.execute(&plan).await?;
            for (change, outcome) in &report.outcomes {
                self.said.push(format!("  {change}: {outcome:?}"));
            }
            if !report.is_done() || !all_planned(&gathered, &plan) {
                return Some(End::Failed);
            }
            if !plan.goes_on() {
                break;
            }
        }
        if !procedure.is_proven_by_planning() {
            return Some(End::Done);
        }
        let (_, plan) = self.plan(inventory, selected, procedure).await;
        if !plan.refusals.is_empty() {
            return Some(End::Refused);
        }
        Some(well(plan.is_empty()))
    }

    /// Adds the new one and removes the old one, in the order that is safe.
    async fn swap(&mut self, both: &Inventory, old: &str, new: &str) -> Option<End> {
        let gathered = gather(self.fleet, &both.hosts, &[], &|_| {}).await;
        let lives = match Swarm::see(both, &gathered) {
            Swarm::Up(up) => matches!(up.members.get(old), Some(Membership::Member { .. })),
            _ => false,
        };
        let out = Procedure::Node(NodeProcedure {
            act: NodeAct::Remove,
            nodes: vec![old.to_owned()],
        });
        let order = if lives {
            [Procedure::UP, out]
        } else {
            [out, Procedure::UP]
        };
        let selected = BTreeSet::from([new.to_owned()]);
        for procedure in order {
            let end = self.rounds(both, &selected, &procedure).await;
            if end != Some(End::Done) {
                return end;
            }
        }
        Some(End::Done)
    }

    /// Carries a plan out, with the accident on the way.
    async fn execute(&self, plan: &Plan) -> Option<execute::Report> {
        let begun = AtomicUsize::new(0);
        let moment = Notify::new();
        let step = self.accident.map_or(usize::MAX, |(step, _)| step);
        let emit = |event: Event| {
            if matches!(event, Event::StepStarted { .. })
                && begun.fetch_add(1, Ordering::Relaxed) + 1 == step
            {
                moment.notify_one();
            }
        };
        let stop = Stop::default();
        let run = execute::run(self.fleet, &plan.changes, &stop, &emit);
        let mut run = std::pin::pin!(run);
        tokio::select! {
            report = &mut run => return Some(report.unwrap()),
            () = moment.notified() => {}
        }
        match self.accident {
            Some((_, Accident::CutOff(host))) => {
                self.fleet.with(|world| world.reach(host, false));
                Some(run.await.unwrap())
            }
            _ => None,
        }
    }
}

fn well(is_well: bool) -> End {
    if is_well { End::Done } else { End::Failed }
}

/// Whether every host that the plan is about answered and could be planned.
fn all_planned(gathered: &Gathered, plan: &Plan) -> bool {
    plan.hosts.iter().all(|(host, outlook)| {
        let silent = gathered.get(host).is_some_and(Result::is_err);
        !silent && !matches!(outlook, Outlook::Unknown(_))
    })
}
