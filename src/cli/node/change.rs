//! `skep node add` and `skep node replace`: hosts that come, and hosts that go for them.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use crate::cli::cluster::Cluster;
use crate::cli::load::load;
use crate::cli::up;
use crate::cli::work::{Work, WorkArgs};
use crate::cli::{Global, block_on};
use crate::error::{Error, Kind, Result};
use crate::inventory::edit::{self, NewHost};
use crate::inventory::{Inventory, Role};
use crate::procedure::{NodeAct, NodeProcedure, Procedure};
use crate::swarm::{Membership, Swarm};
use crate::ui::{Printer, prompt};

use super::edit::Edit;

/// The arguments of `skep node add`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The host is written into the inventory, below the others, and brought up; everything else in the
file stays as it is.

Examples:
  skep node add w4 --address 10.0.0.24
  skep node add 'w[4-6]' --address '10.0.0.[24-26]' --label disk=ssd
  skep node add 'm[4-5]' --address '10.0.0.[14-15]' --role manager")]
pub struct AddArgs {
    /// Its name; a range such as `w[4-6]` adds several
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Its address or DNS name, a range where the name is one; not for hosts of a lab
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,

    /// `worker` or `manager`
    #[arg(long, value_name = "ROLE", default_value = "worker", value_parser = role)]
    pub role: Role,

    /// A label of the node, `KEY=VALUE`; may be given again
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// The arguments of `skep node replace`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The new host gets the role, the labels and the other settings of the old one. A living host is
replaced by adding the new one first, so that no vote and no room for tasks is missing; a dead one
is taken out first, because a manager that is counted and not there makes the majority larger. The
same name twice is a machine that was installed anew.

Examples:
  skep node replace m2 m4 --address 10.0.0.14
  skep node replace m2 m2")]
pub struct ReplaceArgs {
    /// The node that goes
    #[arg(value_name = "OLD")]
    pub old: String,

    /// The host that comes; the same name for a machine that was installed anew
    #[arg(value_name = "NEW")]
    pub new: String,

    /// The new host's address; the old one's where the name is the same
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

fn role(text: &str) -> Result<Role, String> {
    match text {
        "worker" => Ok(Role::Worker),
        "manager" => Ok(Role::Manager),
        _ => Err("a node is a `worker` or a `manager`".to_owned()),
    }
}

/// Adds hosts.
///
/// # Errors
///
/// The inventory would not be sound; and those of `skep up`. A refused run puts the inventory back.
pub(super) fn add(args: &AddArgs, global: &Global, printer: &Printer) -> Result<()> {
    let (labels, _) = super::labels(&args.label)?;
    let before = load(global, printer)?;
    let mut edit = Edit::of(&before.path)?;
    let host = NewHost {
        name: args.name.clone(),
        address: args.address.clone(),
        role: Some(args.role),
        labels,
    };
    edit.change(|text| edit::add_host(text, &host))?;
    edit.check()?;
    let inventory = edit.model()?;
    let known: BTreeSet<&str> = before.hosts.iter().map(|host| host.name.as_str()).collect();
    let added = |name: &str| !known.contains(name);
    let added: BTreeSet<String> = inventory
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .filter(|name| added(name))
        .collect();
    confirm(&edit, &args.work, printer)?;
    block_on(async {
        let mut cluster = Cluster::open_with(inventory, None, printer).await?;
        cluster.selected = added;
        let mut work = Work::begin(cluster, Procedure::UP, "node add", &args.work, printer)?;
        let words = [args.name.clone()];
        work.audit.named(super::told("node add", &words));
        edit.write()?;
        let result = up::bring_up(&mut work).await;
        if let Err(error) = &result {
            let begun = !matches!(error.kind(), Kind::Refused | Kind::Interrupted);
            let path = work.cluster.inventory.path.display();
            printer.hint(format!(
                "`{path}` has the new entry{}",
                if begun {
                    ": `skep up` goes on from here."
                } else {
                    "; take it out again if you do not want it."
                }
            ));
        }
        result
    })
}

/// Replaces a node by another host.
///
/// # Errors
///
/// The inventory would not be sound; and those of `skep up` and `skep node remove`. The same command
/// again goes on from where things are.
pub(super) fn replace(args: &ReplaceArgs, global: &Global, printer: &Printer) -> Result<()> {
    if edit::is_range(&args.old) || edit::is_range(&args.new) {
        return Err(Error::usage("one host is replaced by one")
            .hint("Call it once for each; one is replaced at a time anyway."));
    }
    let before = load(global, printer)?;
    let Some(old) = before.host(&args.old).cloned() else {
        return Err(
            Error::usage(format!("the inventory has no host `{}`", args.old))
                .hint("`skep inventory list` shows its hosts."),
        );
    };
    let same = args.old == args.new;
    let mut edit = Edit::of(&before.path)?;
    if !same || args.address.is_some() {
        let host = NewHost {
            name: args.new.clone(),
            address: args.address.clone(),
            role: None,
            labels: BTreeMap::new(),
        };
        edit.change(|text| edit::rename_or_replace(text, &args.old, &host))?;
        edit.check()?;
    }
    let mut both: Inventory = edit.model()?;
    let new_address = both.host(&args.new).and_then(|host| host.address.clone());
    let same_machine = same || (new_address.is_some() && new_address == old.address);
    if !same {
        both.hosts.push(old);
    }
    confirm(&edit, &args.work, printer)?;
    block_on(async {
        let mut cluster = Cluster::open_with(both, None, printer).await?;
        cluster.selected = BTreeSet::from([args.new.clone()]);
        let mut work = Work::begin(cluster, Procedure::UP, "node replace", &args.work, printer)?;
        let words = [args.old.clone(), args.new.clone()];
        work.audit.named(super::told("node replace", &words));
        let result = swap(&mut work, args, same_machine).await;
        work.finished(&result).await?;
        result?;
        edit.write()
    })
}

/// Adds the new one and removes the old one, in the order that is safe.
async fn swap(work: &mut Work<'_>, args: &ReplaceArgs, same_machine: bool) -> Result<()> {
    work.started().await?;
    let made = up::make_hosts(work).await?;
    let lock = work.lock().await?;
    let out = Procedure::Node(NodeProcedure {
        act: NodeAct::Remove,
        nodes: vec![args.old.clone()],
    });
    let first_out = same_machine || !lives(work, &args.old).await?;
    let order = if first_out {
        [out, Procedure::UP]
    } else {
        [Procedure::UP, out]
    };
    let mut result = Ok(());
    for procedure in order {
        work.procedure = procedure;
        result = work.rounds(&made, &lock).await;
        if result.is_err() {
            break;
        }
    }
    work.let_go(lock, &result).await;
    result
}

/// Whether a host answers and is a node of the swarm.
async fn lives(work: &mut Work<'_>, host: &str) -> Result<bool> {
    let cluster = &work.cluster;
    let (gathered, _) = work
        .follow
        .during(async |_| cluster.plan(&Procedure::UP, &|_| {}).await)
        .await?;
    Ok(match Swarm::see(&cluster.inventory, &gathered) {
        Swarm::Up(up) => matches!(up.members.get(host), Some(Membership::Member { .. })),
        _ => false,
    })
}

fn confirm(edit: &Edit, args: &WorkArgs, printer: &Printer) -> Result<()> {
    if !args.json {
        edit.show(printer);
    }
    if prompt::confirm("Edit the inventory and go on?", args.yes)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Interrupted,
        "not confirmed; nothing was changed",
    ))
}
