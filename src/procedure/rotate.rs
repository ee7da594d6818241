//! New secrets for a swarm: join tokens, the unlock key, the certificate authority; and the unlock key
//! saved, without which a locked manager is lost.
//!
//! What was there before is known by its digest. That something new is there is proven by planning once
//! more: the digests must be others.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::facts::{Authority, HostFacts, Node, Probe, SwarmSecrets};
use crate::inventory::Inventory;
use crate::known::Known;
use crate::plan::step::{KEY_NOTE, KeyNote, KeyTo, RotateCall, WhichKey};
use crate::plan::{Change, ChangeId, Diff, Outlook, Plan, Refusal, Risk, Step};
use crate::quorum::majority;
use crate::swarm::{Gathered, Swarm, Up};

use super::node::no_swarm;

/// How long the nodes may take to fetch certificates of a new authority, in seconds. Each asks for one
/// as soon as it hears of it; the managers sign in batches (swarmkit's `rootReconciliationRetryInterval`
/// is 3 s).
const CERTIFICATE_SECONDS: u32 = 900;

/// What is to be made anew, and what is known of what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotateProcedure {
    /// What.
    pub what: RotateWhat,
    /// The nodes that are away and that it is done without: names of the inventory, host names, IDs.
    pub without: BTreeSet<String>,
    /// The digests of what this very run has replaced; `None` where it has not begun.
    pub replaced: Option<BTreeSet<String>>,
}

/// What is to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateWhat {
    /// Join tokens.
    Tokens {
        /// That of workers.
        worker: bool,
        /// That of managers.
        manager: bool,
    },
    /// The unlock key.
    UnlockKey {
        /// Where the new one goes.
        to: KeyTo,
        /// Who saves it, as `user@machine`.
        by: String,
    },
    /// Nothing: the present unlock key is saved.
    SavedKey {
        /// Where it goes.
        to: KeyTo,
        /// Who saves it, as `user@machine`.
        by: String,
    },
    /// The certificate authority.
    Authority {
        /// The life of node certificates in days, where it changes too.
        cert_expiry_days: Option<u32>,
    },
}

impl RotateProcedure {
    /// Nothing was begun.
    pub fn new(what: RotateWhat, without: impl IntoIterator<Item = String>) -> Self {
        Self {
            what,
            without: without.into_iter().collect(),
            replaced: None,
        }
    }

    /// Takes note of what a plan replaces that begins to run.
    pub(super) fn remember(&mut self, plan: &Plan) {
        let replaced = self.replaced.get_or_insert_default();
        for step in plan.changes.iter().flat_map(|change| &change.steps) {
            let Step::Rotate(call) = step else { continue };
            match call {
                RotateCall::Tokens { worker, manager } => {
                    replaced.extend(worker.iter().chain(manager).cloned());
                }
                RotateCall::UnlockKey { from } => {
                    replaced.insert(from.clone());
                }
                RotateCall::Authority { from, root, .. } => {
                    replaced.extend(from.iter().chain(root).cloned());
                }
                RotateCall::TakeUnlockKey { .. } | RotateCall::NoteUnlockKey { .. } => {}
            }
        }
    }

    /// Whether what has this digest is to go.
    fn is_old(&self, digest: &str) -> bool {
        let replaced = self.replaced.as_ref();
        replaced.is_none_or(|replaced| replaced.contains(digest))
    }
}

/// The digests, and the note of who saved the key.
pub(super) fn probes() -> Vec<Probe> {
    vec![Probe::SwarmSecrets, Probe::File(KEY_NOTE.to_owned())]
}

/// Adds the changes to `plan`.
pub(super) fn plan(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    procedure: &RotateProcedure,
) {
    let Swarm::Up(up) = seen else {
        plan.refusals.push(no_swarm(seen));
        return;
    };
    let Some(leader) = up.managers.first() else {
        return;
    };
    let rotation = Rotation {
        inventory,
        gathered,
        up,
        leader,
        procedure,
    };
    let without = rotation.without(plan);
    match &procedure.what {
        RotateWhat::Tokens { worker, manager } => rotation.tokens(plan, *worker, *manager),
        RotateWhat::UnlockKey { to, by } => rotation.unlock_key(plan, to, by, &without),
        RotateWhat::SavedKey { to, by } => rotation.saved_key(plan, to, by),
        RotateWhat::Authority { cert_expiry_days } => {
            rotation.authority(plan, *cert_expiry_days, &without);
        }
    }
}

struct Rotation<'a> {
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    up: &'a Up,
    leader: &'a str,
    procedure: &'a RotateProcedure,
}

impl<'a> Rotation<'a> {
    fn facts(&self, host: &str) -> Option<&'a HostFacts> {
        self.gathered.get(host)?.as_ref().ok()
    }

    /// What a node is called: its host in the inventory, else its host name.
    fn name<'n>(&'n self, node: &'n Node) -> &'n str {
        let is = |host: &&String| self.up.node_of(host).is_some_and(|own| own.id == node.id);
        self.up
            .members
            .keys()
            .find(is)
            .map_or(&node.hostname, |host| host)
    }

    /// Whether the command line says of a node that it is done without.
    fn is_without(&self, node: &Node) -> bool {
        let names = [self.name(node), &node.hostname, &node.id];
        names
            .iter()
            .any(|name| self.procedure.without.contains(*name))
    }

    /// The nodes that it is done without. One that is not away is refused: what is there is waited for.
    fn without(&self, plan: &mut Plan) -> Vec<String> {
        let mut unused = self.procedure.without.clone();
        let mut ids = Vec::new();
        for node in self.up.nodes.iter().filter(|node| self.is_without(node)) {
            for name in [self.name(node), &node.hostname, &node.id] {
                unused.remove(name);
            }
            ids.push(node.id.clone());
        }
        for name in unused {
            plan.refusals.push(Refusal {
                host: None,
                why: format!("`{name}`: the swarm has no such node"),
                hint: "`skep node list` shows the nodes; name one by its host, its host name or its ID.".to_owned(),
            });
        }
        ids
    }

    /// The digests, as a manager tells them; else it is refused.
    fn secrets(&self, plan: &mut Plan) -> Option<&'a SwarmSecrets> {
        let told = self.up.managers.iter().filter_map(|host| self.facts(host));
        let known: Vec<&Known<SwarmSecrets>> = told.map(|facts| &facts.secrets).collect();
        let found = known.iter().find_map(|secrets| secrets.value());
        if found.is_none() {
            let why = known.iter().find_map(|secrets| secrets.why_unknown());
            plan.refusals.push(Refusal {
                host: None,
                why: format!(
                    "no manager tells what its secrets are by their digests: {}",
                    why.unwrap_or("no answer")
                ),
                hint:
                    "A manager needs `curl` or `perl`, and `sha256sum`; else run the command again."
                        .to_owned(),
            });
        }
        found
    }

    fn tokens(&self, plan: &mut Plan, worker: bool, manager: bool) {
        let Some(secrets) = self.secrets(plan) else {
            return;
        };
        let old = |wanted: bool, digest: &String| {
            (wanted && self.procedure.is_old(digest)).then(|| digest.clone())
        };
        let worker = old(worker, &secrets.worker_token);
        let manager = old(manager, &secrets.manager_token);
        let diff: Vec<Diff> = [("workers", &worker), ("managers", &manager)]
            .into_iter()
            .filter_map(|(who, old)| Some(replaced(&format!("join token of {who}"), old.as_ref()?)))
            .collect();
        if diff.is_empty() {
            return;
        }
        push(
            plan,
            self.leader,
            "swarm.tokens",
            "make new join tokens: whoever has an old one cannot join with it any more",
            diff,
            vec![Step::Rotate(RotateCall::Tokens { worker, manager })],
            BTreeSet::new(),
        );
    }

    /// The digest of the unlock key; else it is refused.
    fn key(&self, plan: &mut Plan) -> Option<&'a str> {
        if !self.up.settings.autolock {
            plan.refusals.push(Refusal {
                host: None,
                why: "autolock is off, so there is no unlock key".to_owned(),
                hint: "`autolock = true` in `[swarm]` of the inventory and `skep up` turn it on."
                    .to_owned(),
            });
            return None;
        }
        let secrets = self.secrets(plan)?;
        if secrets.unlock_key.is_none() {
            plan.refusals.push(Refusal {
                host: None,
                why: "autolock is on, and the managers tell no unlock key".to_owned(),
                hint: "Wait a moment and run the command again.".to_owned(),
            });
        }
        secrets.unlock_key.as_deref()
    }

    fn unlock_key(&self, plan: &mut Plan, to: &KeyTo, by: &str, without: &[String]) {
        let Some(key) = self.key(plan) else { return };
        if !self.procedure.is_old(key) {
            self.notes(plan, by, Some(key), &BTreeSet::new());
            return;
        }
        self.refuse_away(plan, without);
        let mut steps = Vec::new();
        if let (KeyTo::File(path), false) = (to, without.is_empty()) {
            let old = old_key_file(path);
            plan.warnings.push(format!(
                "the old key is saved to {} first: the managers that are away want it when they come back",
                old.display()
            ));
            steps.push(Step::Rotate(RotateCall::TakeUnlockKey {
                to: KeyTo::File(old),
                which: WhichKey::Is(key.to_owned()),
            }));
        }
        steps.push(Step::Rotate(RotateCall::UnlockKey {
            from: key.to_owned(),
        }));
        steps.push(Step::Rotate(RotateCall::TakeUnlockKey {
            to: to.clone(),
            which: WhichKey::Not(key.to_owned()),
        }));
        plan.warnings.push(
            "keep the old unlock key for some minutes: a manager that restarts before it has heard of the new one wants the old one".to_owned(),
        );
        let id = push(
            plan,
            self.leader,
            "swarm.unlock-key",
            "make a new unlock key, and save it",
            vec![replaced("unlock key", key)],
            steps,
            BTreeSet::new(),
        );
        self.notes(plan, by, None, &BTreeSet::from([id]));
    }

    /// A manager that is off now is locked with the present key for ever: it wants that one when it comes
    /// back, and nobody has it then.
    fn refuse_away(&self, plan: &mut Plan, without: &[String]) {
        let (total, reachable) = self.up.raft();
        let away = |node: &&Node| {
            let raft = node.manager.as_ref();
            raft.is_some_and(|raft| !raft.reachable || node.state != "ready")
        };
        for node in self.up.nodes.iter().filter(away) {
            let name = self.name(node);
            if without.contains(&node.id) {
                plan.warnings.push(format!(
                    "{name} is away: when it comes back it is unlocked with the OLD key (`docker swarm unlock` there), and with no other"
                ));
                continue;
            }
            plan.refusals.push(Refusal {
                host: Some(name.to_owned()),
                why: format!(
                    "managers {total}, reachable {reachable}, majority {}: it is away, and when it comes back it wants the OLD unlock key, which no manager gives then",
                    majority(total)
                ),
                hint: format!(
                    "Bring it back first, or take it out (`skep node remove {name}`). To go on, and keep the old key for it: `--old-key-for {name}`."
                ),
            });
        }
    }

    fn saved_key(&self, plan: &mut Plan, to: &KeyTo, by: &str) {
        let Some(key) = self.key(plan) else { return };
        if self.procedure.replaced.is_some() {
            self.notes(plan, by, Some(key), &BTreeSet::new());
            return;
        }
        let id = push(
            plan,
            self.leader,
            "swarm.unlock-key",
            "save the present unlock key; it stays as it is",
            Vec::new(),
            vec![Step::Rotate(RotateCall::TakeUnlockKey {
                to: to.clone(),
                which: WhichKey::Is(key.to_owned()),
            })],
            BTreeSet::new(),
        );
        self.notes(plan, by, None, &BTreeSet::from([id]));
    }

    /// Notes on the managers that the key was saved; with `key` only where the note is not of this one.
    fn notes(&self, plan: &mut Plan, by: &str, key: Option<&str>, needs: &BTreeSet<ChangeId>) {
        for host in &self.up.managers {
            let note = self.facts(host).and_then(key_note);
            if key.is_some() && note.as_ref().map(|note| note.sha256.as_str()) == key {
                continue;
            }
            let diff = Diff::Value {
                name: "unlock key saved by".to_owned(),
                old: note.map(|note| note.who),
                new: Some(by.to_owned()),
            };
            push(
                plan,
                host,
                "swarm.unlock-key-note",
                "note that the unlock key was saved: when, by whom, and its digest",
                vec![diff],
                vec![Step::Rotate(RotateCall::NoteUnlockKey {
                    by: by.to_owned(),
                })],
                needs.clone(),
            );
        }
    }

    fn authority(&self, plan: &mut Plan, cert_expiry_days: Option<u32>, without: &[String]) {
        let told = self.up.managers.iter().filter_map(|host| self.facts(host));
        let known = told.filter_map(|facts| facts.authority.value());
        let Some(now) = known.into_iter().next() else {
            plan.refusals.push(Refusal {
                host: None,
                why: "no manager tells who issues its certificates".to_owned(),
                hint: "Run the command again; `docker info` on a manager shows it.".to_owned(),
            });
            return;
        };
        self.refuse_other_life(plan, cert_expiry_days);
        if !self.procedure.is_old(&now.issuer) {
            self.is_proven(plan, now, without);
            return;
        }
        let (total, ready) = self.ready();
        for (node, state) in self.up.nodes.iter().filter_map(|it| Some((it, away(it)?))) {
            let name = self.name(node);
            if without.contains(&node.id) {
                plan.warnings.push(format!(
                    "{name} is {state}: the change does not end, and the old authority stays trusted, until it is back or removed"
                ));
                continue;
            }
            plan.refusals.push(Refusal {
                host: Some(name.to_owned()),
                why: format!(
                    "nodes {total}, ready {ready}: it is {state}, and a new authority is not in force before every node has a certificate of it"
                ),
                hint: format!(
                    "Bring it back first, or take it out (`skep node remove {name}`). To begin without it, and end when it is back: `--without {name}`."
                ),
            });
        }
        let goes_on = now.rotating;
        if goes_on {
            plan.warnings.push(
                "a change of the certificate authority goes on already: it is waited for, and no other is begun".to_owned(),
            );
        } else {
            plan.warnings.push(
                "the join tokens change with it, for they hold the digest of the authority"
                    .to_owned(),
            );
        }
        let diff = vec![replaced("certificate authority", &now.root)];
        push(
            plan,
            self.leader,
            "swarm.ca",
            if goes_on {
                "wait until the new certificate authority is in force"
            } else {
                "make a new certificate authority, and wait until all nodes have certificates of it"
            },
            if goes_on { Vec::new() } else { diff },
            vec![Step::Rotate(RotateCall::Authority {
                from: (!goes_on).then(|| now.issuer.clone()),
                root: (!goes_on).then(|| now.root.clone()),
                cert_expiry_days: cert_expiry_days.filter(|_| !goes_on),
                without: without.to_vec(),
                deadline: CERTIFICATE_SECONDS,
            })],
            BTreeSet::new(),
        );
    }

    /// Refuses a life of certificates that the next `skep up` would take back.
    fn refuse_other_life(&self, plan: &mut Plan, days: Option<u32>) {
        let wanted = self.inventory.swarm.cert_expiry_days;
        if let (Some(days), Some(wanted)) = (days, wanted)
            && days != wanted
        {
            plan.refusals.push(Refusal {
                host: None,
                why: format!(
                    "the inventory says that certificates live {wanted} days, not {days}: `skep up` would take it back"
                ),
                hint: "Change `cert-expiry` in `[swarm]` of the inventory instead.".to_owned(),
            });
        }
    }

    /// Whether what was begun has come to its end.
    fn is_proven(&self, plan: &mut Plan, now: &Authority, without: &[String]) {
        let replaced = self.procedure.replaced.as_ref();
        let old_root = replaced.is_some_and(|replaced| replaced.contains(&now.root));
        if now.rotating && without.is_empty() {
            plan.refusals.push(Refusal {
                host: None,
                why: "the managers say that the change of the certificate authority still goes on"
                    .to_owned(),
                hint: "`skep rotate ca` again only waits for its end.".to_owned(),
            });
        } else if now.rotating {
            plan.warnings.push(
                "the new authority issues all certificates; the old one stays trusted until the nodes that are away are back or removed".to_owned(),
            );
        } else if old_root {
            plan.refusals.push(Refusal {
                host: None,
                why: "the change has ended, and the root certificate is the old one".to_owned(),
                hint: "Look at `docker swarm ca` on a manager.".to_owned(),
            });
        }
    }

    /// How many nodes there are, and how many are ready.
    fn ready(&self) -> (usize, usize) {
        let ready = self.up.nodes.iter().filter(|node| away(node).is_none());
        (self.up.nodes.len(), ready.count())
    }
}

/// What the managers say of a node that is not there. The row of one whose engine has just gone says
/// `ready` for some time, when a manager is known to be unreachable already.
fn away(node: &Node) -> Option<&str> {
    let raft = node.manager.as_ref();
    if node.state != "ready" {
        return Some(&node.state);
    }
    raft.filter(|raft| !raft.reachable).map(|_| "unreachable")
}

/// Adds a change.
fn push(
    plan: &mut Plan,
    host: &str,
    resource: &str,
    summary: &str,
    diff: Vec<Diff>,
    steps: Vec<Step>,
    needs: BTreeSet<ChangeId>,
) -> ChangeId {
    let id = ChangeId::new(host, resource);
    plan.hosts.insert(host.to_owned(), Outlook::Changes);
    plan.changes.push(Change {
        id: id.clone(),
        host: host.to_owned(),
        resource: resource.to_owned(),
        summary: summary.to_owned(),
        diff,
        steps,
        risk: Risk::Safe,
        lane: None,
        needs,
        follows: BTreeSet::new(),
    });
    id
}

/// Beside the file of a new key, where the old one goes.
pub(crate) fn old_key_file(path: &std::path::Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// The note on a manager that somebody saved the unlock key.
pub(crate) fn key_note(facts: &HostFacts) -> Option<KeyNote> {
    let text = facts.files.get(KEY_NOTE)?.value()?.content.as_deref()?;
    serde_json::from_str(text).ok()
}

/// A secret that is made anew, by the beginning of its digest.
fn replaced(name: &str, digest: &str) -> Diff {
    let short: String = digest.chars().take(12).collect();
    Diff::Value {
        name: name.to_owned(),
        old: Some(format!("sha256 {short}...")),
        new: Some("a new one".to_owned()),
    }
}
