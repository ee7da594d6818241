//! What is left of a swarm whose quorum is lost: which managers it had, which of them live, and
//! whether the others are really gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{HostFacts, LocalSwarm, RaftLog};
use crate::inventory::{Host, Inventory, Role};
use crate::known::Known;
use crate::plan::Refusal;
use crate::quorum::majority;
use crate::swarm::{Down, Gathered, ip};

/// A manager that lives and has no quorum.
pub(super) struct Survivor<'a> {
    pub(super) host: &'a Host,
    pub(super) local: &'a LocalSwarm,
    pub(super) raft: Known<RaftLog>,
}

/// What became of a manager that the survivors know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its machine answers and is that manager no more.
    Gone(String),
    /// It does not answer; the command line says that it is lost.
    Lost,
}

/// What was found.
pub(super) struct Diagnosis<'a> {
    /// The managers that live, in the order of the inventory.
    pub(super) living: Vec<Survivor<'a>>,
    /// The others by NodeID: what they are called, and what became of them.
    pub(super) others: BTreeMap<String, (String, Fate)>,
    /// How many managers the swarm had, those of which nothing is known too.
    pub(super) total: usize,
    /// What keeps the swarm from being recovered.
    pub(super) refusals: Vec<Refusal>,
}

impl Diagnosis<'_> {
    /// The managers that are lost because somebody said so.
    pub(super) fn lost(&self) -> Vec<&str> {
        let lost = self.others.values().filter(|(_, fate)| *fate == Fate::Lost);
        lost.map(|(name, _)| name.as_str()).collect()
    }
}

/// Finds out. `said` are the managers that the command line calls lost.
pub(super) fn diagnose<'a>(
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    down: &Down,
    said: &BTreeSet<String>,
) -> Diagnosis<'a> {
    let mut found = Diagnosis {
        living: Vec::new(),
        others: BTreeMap::new(),
        total: 0,
        refusals: Vec::new(),
    };
    for host in inventory.members() {
        if let Some(facts) = facts_of(gathered, &host.name)
            && let Some(local) = facts.swarm.value()
        {
            found.see(host, local, facts);
        }
    }
    let mut unused = said.clone();
    let missing = missing(&found, inventory, gathered, down);
    found.total = found.living.len() + missing.len();
    for (id, address, known) in missing {
        let name = known.map_or_else(|| address.clone(), |host| host.name.clone());
        let names = [&name, &id, &address, &ip(&address).to_owned()];
        let mentioned = names.iter().any(|name| said.contains(*name));
        unused.retain(|it| !names.contains(&it));
        let answer = known.and_then(|host| facts_of(gathered, &host.name));
        let fate = match answer.map(|facts| gone(facts, &id)) {
            Some(Some(why)) => Fate::Gone(why),
            Some(None) => {
                found.refuse(
                    known,
                    format!("it may still be manager {id}, and does not tell"),
                    "Start its engine (`systemctl start docker`), or have it forget the old swarm (`docker swarm leave --force`), and run the command again.",
                );
                continue;
            }
            None if mentioned => Fate::Lost,
            None => {
                let why = format!(
                    "manager {id} at {address} does not answer us, which is no proof that it is lost"
                );
                found.refuse(known, why, &say_lost(&name));
                continue;
            }
        };
        found.others.insert(id, (name, fate));
    }
    found.unheard(inventory, gathered, down, said, &mut unused);
    for name in unused {
        let answers = found.living.iter().any(|it| it.host.name == name);
        let why = if answers {
            format!("`--lost {name}`: it answers, and is a manager")
        } else {
            format!("`--lost {name}`: that is none of the managers which do not answer")
        };
        found.refuse(
            None,
            why,
            "`skep status` shows who is missing; name a host, its address or its node ID.",
        );
    }
    found.is_really_lost();
    found
}

impl<'a> Diagnosis<'a> {
    fn refuse(&mut self, host: Option<&Host>, why: String, hint: &str) {
        self.refusals.push(Refusal {
            host: host.map(|host| host.name.clone()),
            why,
            hint: hint.to_owned(),
        });
    }

    /// Takes a host that says that it is in a swarm.
    fn see(&mut self, host: &'a Host, local: &'a LocalSwarm, facts: &HostFacts) {
        let hint = "Wait a moment and run the command again; `skep status` shows how it is.";
        match local.state.as_str() {
            "locked" => self.refuse(
                Some(host),
                "it is a manager whose state is locked, and may have what the others miss".to_owned(),
                "Unlock it on the host (`docker swarm unlock`): with it the quorum may be back.",
            ),
            "active" | "pending" if local.has_quorum() => {
                let why = format!("it counts {} managers and no error: it may have quorum", local.managers);
                self.refuse(Some(host), why, hint);
            }
            // One whose engine was started without quorum waits to be a part of its swarm.
            "active" | "pending" if local.control => self.living.push(Survivor {
                host,
                local,
                raft: facts.raft.clone(),
            }),
            "error" if host.role == Role::Manager => self.refuse(
                Some(host),
                format!("its swarm state is in error: {}", local.error),
                "Look at `docker info` there. If nothing there is needed any more, `docker swarm leave --force`, and run the command again.",
            ),
            _ => {}
        }
    }

    /// Hosts that should be managers and do not tell, beyond those that the survivors know.
    fn unheard(
        &mut self,
        inventory: &Inventory,
        gathered: &Gathered,
        down: &Down,
        said: &BTreeSet<String>,
        unused: &mut BTreeSet<String>,
    ) {
        for name in &down.silent {
            unused.remove(name);
            let told = |it: &Refusal| it.host.as_ref() == Some(name);
            let known = self.others.values().any(|(other, _)| other == name);
            if known || self.refusals.iter().any(told) {
                continue;
            }
            let host = inventory.host(name);
            if facts_of(gathered, name).is_some() {
                self.refuse(
                    host,
                    "it does not tell whether it is a manager".to_owned(),
                    "Start its engine (`systemctl start docker`), and run the command again.",
                );
            } else if !said.contains(name) {
                self.refuse(
                    host,
                    "it should be a manager and does not answer us, which is no proof that it is lost".to_owned(),
                    &say_lost(name),
                );
            }
        }
    }

    /// Refuses where those that live are enough, or none of them is there.
    fn is_really_lost(&mut self) {
        let (total, alive) = (self.total, self.living.len());
        if alive == 0 && self.refusals.is_empty() {
            self.refuse(
                None,
                "no manager that still knows the swarm answers".to_owned(),
                "Bring one of them back. Without any, `skep reset` takes the rest apart, and `skep up` makes a new swarm.",
            );
        }
        if alive > 0 && alive >= majority(total) {
            let need = majority(total);
            self.refuse(
                None,
                format!("managers {total}, alive {alive}, majority {need}: the quorum is not lost, they only do not find together"),
                "Look at the network between them (2377/tcp), or wait for their election.",
            );
        }
    }
}

fn say_lost(name: &str) -> String {
    format!(
        "Bring it back. If it is destroyed, or will never come back with what it knew, say so: `--lost {name}`."
    )
}

fn facts_of<'a>(gathered: &'a Gathered, host: &str) -> Option<&'a HostFacts> {
    gathered.get(host)?.as_ref().ok()
}

/// The managers that those who live know and that are none of them: NodeID, address, host. One at an
/// address that no host is known to have (an inventory may have names, or the addresses of another
/// network) is taken for a silent manager of the inventory that is none of the others.
fn missing<'a>(
    found: &Diagnosis<'_>,
    inventory: &'a Inventory,
    gathered: &Gathered,
    down: &Down,
) -> Vec<(String, String, Option<&'a Host>)> {
    let lives = |id: &String| found.living.iter().any(|it| it.local.node_id == *id);
    let known = found.living.iter().flat_map(|it| &it.local.remote_managers);
    let known: BTreeMap<String, String> = known.cloned().collect();
    let mut missing: Vec<_> = known
        .into_iter()
        .filter(|(id, _)| !lives(id))
        .map(|(id, address)| {
            let host = whose(inventory, gathered, &id, &address);
            (id, address, host)
        })
        .collect();
    let taken: BTreeSet<&str> = missing
        .iter()
        .filter_map(|(_, _, host)| Some(host.as_ref()?.name.as_str()))
        .collect();
    let silent = down.silent.iter().filter_map(|name| inventory.host(name));
    let silent: Vec<&Host> = silent
        .filter(|host| {
            facts_of(gathered, &host.name).is_none() && !taken.contains(host.name.as_str())
        })
        .collect();
    let mut silent = silent.into_iter();
    for (_, _, host) in &mut missing {
        *host = host.or_else(|| silent.next());
    }
    missing
}

/// The host of the inventory that is, or was, the manager `id` at `address`.
fn whose<'a>(
    inventory: &'a Inventory,
    gathered: &Gathered,
    id: &str,
    address: &str,
) -> Option<&'a Host> {
    let ip = ip(address);
    let says = |host: &&Host| {
        let facts = facts_of(gathered, &host.name);
        facts
            .and_then(|facts| facts.swarm.value())
            .is_some_and(|local| local.node_id == id)
    };
    let stands = |host: &&Host| {
        let own = facts_of(gathered, &host.name).and_then(|facts| facts.network.value());
        let mut own = own.into_iter().flat_map(|network| &network.interfaces);
        let advertised = host.advertise.address.map(|it| it.to_string());
        host.address.as_deref() == Some(ip)
            || advertised.as_deref() == Some(ip)
            || own.any(|it| it.addresses.iter().any(|it| it.addr().to_string() == ip))
    };
    let mut members = inventory.members();
    members
        .find(says)
        .or_else(|| inventory.members().find(stands))
}

/// Why the machine of `facts` is manager `id` no more; `None` where it may be.
fn gone(facts: &HostFacts, id: &str) -> Option<String> {
    let runs = facts
        .engine
        .value()
        .is_some_and(|engine| engine.version.is_some());
    let left = facts.leftovers.value().is_some_and(|left| left.swarm);
    match &facts.swarm {
        Known::Absent if runs || !left => Some("its machine answers and is in no swarm".to_owned()),
        Known::Value(local) if local.node_id != id && local.state == "active" => {
            Some(format!("its machine is node {} meanwhile", local.node_id))
        }
        Known::Value(local) if local.state == "active" && !local.control => {
            Some("it is a worker meanwhile".to_owned())
        }
        _ => None,
    }
}
