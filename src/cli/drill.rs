//! `skep drill`: practises failures on a cluster of the lab.

mod eyes;
mod heal;
mod perform;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::drill::{Drill, fit};
use crate::error::{Error, Kind, Result};
use crate::inventory::nearest::nearest;
use crate::inventory::{Inventory, Provider, Role};
use crate::nfs;
use crate::procedure::Procedure;
use crate::provider::lab::{self, Lab};
use crate::ui::drill::{self as show, Drills};
use crate::ui::{Printer, text};

use super::cluster::Cluster;
use super::load::load;
use super::lock::{self, Break};
use super::reset::confirm_name;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep drill`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
It is for clusters with `provider = \"lab\"` and no other, and for healthy ones. A service of its own is
brought along and taken away again; what else runs there is hit as it would be. `skep drill heal` mends
what an interrupted drill left; `skep up` too, but for a network that `split` has cut.

The cluster's name must be typed, or given with --confirm; --yes is no answer.

Examples:
  skep drill list
  skep drill one-manager split
  skep drill --all --confirm lab --report reports -i inventories/lab.toml
  skep drill heal")]
pub struct DrillArgs {
    /// The drills, one after the other; `list` tells which there are, `heal` mends what one left
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// All drills that the cluster has hosts enough for
    #[arg(long, conflicts_with = "names")]
    pub all: bool,

    /// The folder for the report: `drill-CLUSTER-DATE.md` and `.html`
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub report: PathBuf,

    /// The cluster's name, to go ahead without being asked for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    List,
    Heal,
    Some(Vec<Drill>),
    All,
}

/// Practises.
///
/// # Errors
///
/// A refusal where the cluster is not one of the lab, or not healthy; a drill that was not healed.
pub fn run(args: &DrillArgs, global: &Global, printer: &Printer) -> Result<()> {
    let wanted = wanted(args)?;
    if wanted == Wanted::List {
        return list(args.work.json, printer);
    }
    let inventory = load(global, printer)?;
    block_on(async {
        lab_only(&inventory).await?;
        let drills = drills(&wanted, &inventory, printer)?;
        let cluster = Cluster::open_with(inventory, None, printer).await?;
        cluster.is_made().await?;
        if wanted != Wanted::Heal {
            std::fs::create_dir_all(&args.report).map_err(|error| {
                let shown = args.report.display();
                Error::usage(format!("cannot make the folder `{shown}`")).because(error)
            })?;
        }
        let up = Procedure::UP;
        // Whoever gives the name has answered for all that it takes to heal it.
        let yes = WorkArgs {
            yes: true,
            ..args.work.clone()
        };
        let mut work = Work::begin(cluster, up, "drill", &args.work, printer)?;
        let names: Vec<&str> = drills.iter().map(|drill| drill.name()).collect();
        let told = if drills.is_empty() {
            "heal".to_owned()
        } else {
            names.join(" ")
        };
        work.audit.named(format!("drill {told}"));
        let result = confirmed(&mut work, &drills, args, &yes).await;
        work.finished(&result).await?;
        result
    })
}

fn wanted(args: &DrillArgs) -> Result<Wanted> {
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] if args.all => return Ok(Wanted::All),
        [] => {
            let error = Error::usage("no drill is named");
            return Err(
                error.hint("`skep drill list` tells which there are, `--all` does them all.")
            );
        }
        ["list"] => return Ok(Wanted::List),
        ["heal"] => return Ok(Wanted::Heal),
        _ => {}
    }
    let drills = names.into_iter().map(|name| {
        Drill::named(name).ok_or_else(|| {
            if matches!(name, "list" | "heal") {
                return Error::usage(format!("`{name}` stands alone"));
            }
            let known = Drill::ALL.iter().map(|drill| drill.name());
            let error = Error::usage(format!("there is no drill `{name}`"));
            error.hint(match nearest(name, known) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => "`skep drill list` tells which there are.".to_owned(),
            })
        })
    });
    drills.collect::<Result<_>>().map(Wanted::Some)
}

/// A drill as programs get it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    name: &'static str,
    needs: &'static str,
    seconds: u32,
    what: &'static str,
    healed_by: &'static str,
}

fn list(json: bool, printer: &Printer) -> Result<()> {
    if !json {
        return printer.data(&show::list());
    }
    let listed = Drill::ALL.map(|drill| Listed {
        name: drill.name(),
        needs: drill.needs(),
        seconds: drill.about(),
        what: drill.what(),
        healed_by: drill.healed_by(),
    });
    printer.json(&listed)
}

/// Refuses every cluster that is not the lab's alone.
async fn lab_only(inventory: &Inventory) -> Result<()> {
    let is_lab = |host: &crate::inventory::Host| host.provider == Provider::Lab;
    let (made, subnet) = if inventory.hosts.iter().any(is_lab) {
        let lab = Lab::open(inventory)?;
        (lab.reflect().await?, lab.network())
    } else {
        (Vec::new(), lab::POOL)
    };
    let address = |name: &str| made.iter().find(|host| host.name == name)?.address;
    let why = fit::no_lab(inventory, &address, subnet);
    if why.is_empty() {
        return Ok(());
    }
    let error = Error::refused(format!(
        "a drill breaks things, and this is no cluster of the lab: {}",
        some(&why)
    ));
    Err(error.hint("`skep init --lab` writes an inventory of one to practise on."))
}

/// The first of some reasons, and how many more there are.
fn some(why: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = why
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    match why.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// The drills to do. Those that were named must fit the cluster; of all those that do are taken.
fn drills(wanted: &Wanted, inventory: &Inventory, printer: &Printer) -> Result<Vec<Drill>> {
    let managers = inventory.managers().count();
    let workers = inventory.members().filter(|host| host.role == Role::Worker);
    let workers = workers.count();
    let servers = nfs::servers_outside(inventory).len();
    let all = match wanted {
        Wanted::Some(drills) => drills.as_slice(),
        Wanted::All => &Drill::ALL,
        Wanted::Heal | Wanted::List => &[],
    };
    let mut drills = Vec::new();
    for drill in all {
        match drill.unfit(managers, workers, servers) {
            None => drills.push(*drill),
            Some(why) if *wanted == Wanted::All => {
                printer.say(format!("{drill} is left out: {why}"));
            }
            Some(why) => {
                return Err(Error::refused(format!(
                    "{drill} cannot be done here: {why}"
                )));
            }
        }
    }
    Ok(drills)
}

/// Asks for the cluster's name, takes the lock, and does it.
async fn confirmed<'a>(
    work: &mut Work<'a>,
    drills: &[Drill],
    args: &DrillArgs,
    yes: &'a WorkArgs,
) -> Result<()> {
    work.started().await?;
    let cluster = work.cluster.inventory.cluster.clone();
    for drill in drills {
        let line = format!(
            "{drill}: {}; healed by {}; about {}",
            drill.what(),
            drill.healed_by(),
            show::about(*drill)
        );
        work.printer.say(line);
    }
    let typed = args.confirm.as_deref();
    let (question, help) = if drills.is_empty() {
        (
            format!("Heal `{cluster}`?"),
            "Hosts are started, made anew where they are gone, and joined. To go on, type the cluster's name",
        )
    } else {
        let drills = text::count(drills.len(), "drill");
        (
            format!("Break `{cluster}` in {drills}?"),
            "What runs there is hit by it. To go on, type the cluster's name",
        )
    };
    confirm_name(&cluster, typed, &question, help)?;
    let how = Break::of(args.work.break_lock, args.work.yes);
    work.answer(yes);
    work.typed = Some(cluster);
    // The managers lose their power, and come back: the lock is taken on them again.
    let (lock, broke) =
        lock::managers(&work.cluster, &work.alone_here, how, true, work.printer).await?;
    if let Some(of) = broke {
        work.audit.broke_lock(&work.cluster.live, &lock, of).await;
    }
    let result = if drills.is_empty() {
        heal::alone(work, &lock).await
    } else {
        perform::all(work, &lock, drills, &args.report).await
    };
    work.let_go(lock, &result).await;
    result
}

/// Writes the report of what was done until now, and gives its two files.
fn write(folder: &std::path::Path, drills: &Drills) -> Result<(PathBuf, PathBuf)> {
    let date = drills.began.strftime("%Y-%m-%d-%H%M%S");
    let name = format!("drill-{}-{date}", drills.cluster);
    let paths = ["md", "html"].map(|kind| folder.join(format!("{name}.{kind}")));
    let texts = [show::markdown(drills), show::page(drills)];
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).map_err(|error| {
            Error::failed(format!("cannot write `{}`", path.display())).because(error)
        })?;
    }
    let [md, html] = paths;
    Ok((md, html))
}

/// The report of drills of a cluster of which none was done yet.
fn none_yet(cluster: &str) -> Drills {
    Drills {
        cluster: cluster.to_owned(),
        began: Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        records: Vec::new(),
    }
}

fn interrupted() -> Error {
    Error::new(
        Kind::Interrupted,
        "interrupted; the cluster may be broken still",
    )
    .hint("`skep drill heal` mends what the drill left.")
}
