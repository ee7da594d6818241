//! `skep node`: the life of single nodes.

mod change;
mod edit;
mod list;

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};

use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::procedure::{NodeAct, NodeProcedure, Procedure};
use crate::shell;
use crate::ui::Printer;

use super::cluster::Cluster;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};
use edit::Edit;

/// The arguments of `skep node`.
#[derive(Debug, Clone, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
A node is named as in the inventory, or by its node ID or host name; a selector works too. What the
inventory says of a node is edited in place, with its comments kept.

Examples:
  skep node list
  skep node add w4 --address 10.0.0.24
  skep node drain w3
  skep node activate w3 && skep rebalance
  skep node remove w3"
)]
pub struct NodeArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: NodeVerb,
}

/// The verbs of `skep node`.
#[derive(Debug, Clone, Subcommand)]
pub enum NodeVerb {
    /// List the nodes of the swarm
    #[command(visible_alias = "ls", after_help = "Example:\n  skep node list --json")]
    List(list::ListArgs),
    /// Add hosts to the inventory and to the swarm
    Add(change::AddArgs),
    /// Replace a node by another host, in the order that is safe
    Replace(change::ReplaceArgs),
    /// Take the work away from nodes, and wait until it is done elsewhere
    #[command(after_help = "\
Services with `update-order: start-first` get their new tasks before the old ones end. When the
tasks do not come up elsewhere in 10 minutes, the node gets its work back.

Example:
  skep node drain w3")]
    Drain(OnNodes),
    /// Let nodes take work again
    #[command(after_help = "Example:\n  skep node activate w3 && skep rebalance")]
    Activate(OnNodes),
    /// Make workers managers
    #[command(after_help = "Example:\n  skep node promote w1 w2")]
    Promote(OnNodes),
    /// Make managers workers, and wait until they are really out of raft
    #[command(after_help = "Example:\n  skep node demote m3")]
    Demote(OnNodes),
    /// Set labels of nodes, or take them away
    #[command(
        after_help = "Examples:\n  skep node label w1 disk=ssd\n  skep node label 'w*' disk-"
    )]
    Label(LabelArgs),
    /// Take nodes out of the swarm: drain, demote, leave, forget; dead ones too
    #[command(
        visible_alias = "rm",
        after_help = "\
A node whose host is dead is taken out by the managers alone. The host goes out of the inventory
too, when it has left.

Examples:
  skep node remove w3
  skep node remove qv3l8c7k"
    )]
    Remove(OnNodes),
}

/// Which nodes.
#[derive(Debug, Clone, Args)]
pub struct OnNodes {
    /// The nodes: names, selectors such as `w[1-3]` or `@disk=ssd`, node IDs, host names
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,

    /// Leave the inventory as it is; the next `skep up` may take back what this does
    #[arg(long)]
    pub keep_inventory: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Which labels.
#[derive(Debug, Clone, Args)]
pub struct LabelArgs {
    /// The nodes: names, selectors, node IDs, host names
    #[arg(value_name = "NODE")]
    pub node: String,

    /// `KEY=VALUE` to set one, `KEY-` to take one away
    #[arg(required = true, value_name = "LABEL")]
    pub labels: Vec<String>,

    /// Leave the inventory as it is; the next `skep up` may take back what this does
    #[arg(long)]
    pub keep_inventory: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// The arguments of `skep rebalance`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Docker leaves tasks where they are when a node comes back. This places the tasks of services anew,
one service at a time, in the order that its owner gave it (`update-order`); services that are
spread evenly are left alone.

Examples:
  skep rebalance
  skep rebalance web api")]
pub struct RebalanceArgs {
    /// The services; all where none is named
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Runs a verb of `skep node`.
///
/// # Errors
///
/// A usage error, a refusal, a node to which it could not be done.
pub fn run(args: &NodeArgs, global: &Global, printer: &Printer) -> Result<()> {
    let (verb, act, on) = match &args.verb {
        NodeVerb::List(args) => return list::run(args, global, printer),
        NodeVerb::Add(args) => return change::add(args, global, printer),
        NodeVerb::Replace(args) => return change::replace(args, global, printer),
        NodeVerb::Drain(on) => ("node drain", NodeAct::Drain, on),
        NodeVerb::Activate(on) => ("node activate", NodeAct::Activate, on),
        NodeVerb::Promote(on) => ("node promote", NodeAct::Promote, on),
        NodeVerb::Demote(on) => ("node demote", NodeAct::Demote, on),
        NodeVerb::Remove(on) => ("node remove", NodeAct::Remove, on),
        NodeVerb::Label(args) => {
            let (set, unset) = labels(&args.labels)?;
            let on = OnNodes {
                nodes: vec![args.node.clone()],
                keep_inventory: args.keep_inventory,
                work: args.work.clone(),
            };
            let words = [on.nodes.as_slice(), &args.labels].concat();
            let command = ("node label", told("node label", &words));
            return act_on(command, NodeAct::Label { set, unset }, &on, global, printer);
        }
    };
    let command = (verb, told(verb, &on.nodes));
    act_on(command, act, on, global, printer)
}

/// The command as the audit tells it.
fn told(verb: &str, words: &[String]) -> String {
    let words = shell::join(words.iter().map(String::as_str));
    format!("{verb} {words}").trim_end().to_owned()
}

/// Does `act` to `nodes`. A command is its verb, and with its arguments.
fn act_on(
    (verb, told): (&'static str, String),
    act: NodeAct,
    on: &OnNodes,
    global: &Global,
    printer: &Printer,
) -> Result<()> {
    block_on(async {
        let mut cluster = Cluster::open(global, None, printer).await?;
        let nodes = names(&cluster.inventory, &on.nodes)?;
        cluster.selected.retain(|host| nodes.contains(host));
        let edit = if on.keep_inventory {
            None
        } else {
            Some(Edit::of_act(&cluster.inventory, &act, &nodes)?)
        };
        let contradicted = contradictions(&cluster.inventory, &act, &nodes);
        if let (Some(edit), false) = (&edit, on.work.json) {
            edit.show(printer);
        }
        let leaves = act == NodeAct::Remove && cluster.cloud.is_some();
        let leaving = leaves.then(|| nodes.clone());
        let procedure = Procedure::Node(NodeProcedure { act, nodes });
        let mut work = Work::begin(cluster, procedure, verb, &on.work, printer)?;
        work.audit.named(told);
        if let Some(nodes) = leaving {
            let result = leave(&mut work, &nodes).await;
            work.finished(&result).await?;
            result?;
        } else {
            work.run().await?;
        }
        if let Some(edit) = edit {
            return edit.write();
        }
        for line in contradicted {
            printer.warn(line);
        }
        Ok(())
    })
}

/// Takes nodes out of the swarm, and then their servers out of the cloud.
async fn leave(work: &mut Work<'_>, nodes: &[String]) -> Result<()> {
    work.started().await?;
    let lock = work.lock().await?;
    let result = work.rounds(&[], &lock).await;
    work.let_go(lock, &result).await;
    result?;
    super::destroy::remove_servers(work, nodes).await
}

/// Places tasks anew.
///
/// # Errors
///
/// A refusal, or a service whose tasks did not come up.
pub fn rebalance(args: &RebalanceArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        let services = args.services.clone();
        let procedure = Procedure::Rebalance { services };
        let mut work = Work::begin(cluster, procedure, "rebalance", &args.work, printer)?;
        work.audit.named(told("rebalance", &args.services));
        work.run().await
    })
}

/// The hosts that selectors select; what names nothing of the inventory may be a node's own name.
fn names(inventory: &Inventory, given: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in given {
        match inventory.select(name) {
            Ok(hosts) => names.extend(hosts.into_iter().map(|host| host.name.clone())),
            Err(_)
                if name
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || "-._".contains(it)) =>
            {
                names.push(name.clone());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// `KEY=VALUE` and `KEY-`.
fn labels(given: &[String]) -> Result<(BTreeMap<String, String>, BTreeSet<String>)> {
    let (mut set, mut unset) = (BTreeMap::new(), BTreeSet::new());
    for label in given {
        match (label.split_once('='), label.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => {
                set.insert(key.to_owned(), value.to_owned());
            }
            (None, Some(key)) if !key.is_empty() => {
                unset.insert(key.to_owned());
            }
            _ => {
                return Err(Error::usage(format!("`{label}` is no label"))
                    .hint("Write `KEY=VALUE` to set one, `KEY-` to take one away."));
            }
        }
    }
    if let Some(key) = unset.iter().find(|key| set.contains_key(*key)) {
        return Err(Error::usage(format!("`{key}` is both set and taken away")));
    }
    Ok((set, unset))
}

/// Where the inventory says otherwise: the next `skep up` would take it back.
fn contradictions(inventory: &Inventory, act: &NodeAct, nodes: &[String]) -> Vec<String> {
    use crate::inventory::{Availability, Role};
    let path = inventory.path.display();
    let hosts = nodes.iter().filter_map(|name| inventory.host(name));
    let tell = |host: &crate::inventory::Host| {
        let name = &host.name;
        let says = match act {
            NodeAct::Drain if host.availability == Some(Availability::Active) => {
                "`availability = \"active\"`".to_owned()
            }
            NodeAct::Activate if matches!(host.availability, Some(it) if it != Availability::Active) => {
                "another `availability`".to_owned()
            }
            NodeAct::Promote if host.role == Role::Worker => "`role = \"worker\"`".to_owned(),
            NodeAct::Demote if host.role == Role::Manager => "`role = \"manager\"`".to_owned(),
            NodeAct::Remove if host.role != Role::None => "that it is in the swarm".to_owned(),
            NodeAct::Label { set, unset } => {
                let differs = |key: &&String| host.labels.get(*key) != set.get(*key);
                let mut keys = set
                    .keys()
                    .chain(unset)
                    .filter(|key| host.labels.contains_key(*key));
                match keys.find(differs) {
                    Some(key) => format!("another label `{key}`"),
                    None => return None,
                }
            }
            _ => return None,
        };
        Some(format!(
            "`{path}` says {says} of {name}: change it there too, or the next `skep up` takes this back"
        ))
    };
    hosts.filter_map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_taken_away() {
        let given = [
            "disk=ssd".to_owned(),
            "old-".to_owned(),
            "note=a=b-".to_owned(),
        ];
        let (set, unset) = labels(&given).unwrap();
        assert_eq!(set["disk"], "ssd");
        assert_eq!(set["note"], "a=b-");
        assert_eq!(unset, BTreeSet::from(["old".to_owned()]));
        for wrong in ["", "-", "=x", "disk"] {
            assert!(labels(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
