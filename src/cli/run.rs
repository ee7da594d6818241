//! `skep run`: the user's own tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::fleet::live::Secrets;
use crate::inventory::Inventory;
use crate::inventory::nearest::nearest;
use crate::playbook::{self, Around, Kind, Playbook, SHIPPED, Verb, command_line_vars};
use crate::procedure::{PlaybookRun, Procedure};
use crate::resource::task::SecretValues;
use crate::secret;
use crate::ui::follow::Format;
use crate::ui::style::{self, paint};
use crate::ui::{Printer, diff, plan as show, prompt, text};

use super::cluster::{Cluster, Emit, Follow};
use super::load::{load, show_findings};
use super::work::{Work, WorkArgs};
use super::{Global, block_on, plan, reboot};

/// The arguments of `skep run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A name is a file of `playbooks/` beside the inventory, else a playbook that skep brings along; what
has a slash or ends with `.toml` is a file. The hosts are asked, the plan is shown, and a second plan
proves it.

Examples:
  skep run --list
  skep run security-upgrades --plan
  skep run ./web.toml --on workers --var port=8080")]
pub struct RunArgs {
    /// The playbook: its name or its file
    #[arg(value_name = "PLAYBOOK", required_unless_present = "list")]
    pub playbook: Option<String>,

    /// These hosts only: names, globs, `managers`, `workers`, `@label=value`, `!host`
    #[arg(long, value_name = "SELECTOR")]
    pub on: Option<String>,

    /// Give a variable of the playbook another value
    #[arg(long = "var", value_name = "KEY=VALUE")]
    pub vars: Vec<String>,

    /// Show what would change, and change nothing
    #[arg(long, conflicts_with_all = ["yes", "list"])]
    pub plan: bool,

    /// List the playbooks that there are
    #[arg(long, conflicts_with_all = ["playbook", "on", "vars", "yes"])]
    pub list: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Runs a playbook.
///
/// # Errors
///
/// A usage error of the playbook or the inventory, a refusal, a task that failed.
pub fn run(args: &RunArgs, global: &Global, printer: &Printer) -> Result<()> {
    let Some(name) = &args.playbook else {
        return list(&folder(&global.inventory_path()), args.work.json, printer);
    };
    let inventory = load(global, printer)?;
    let playbook = open(name, args, &inventory, printer)?;
    let given = command_line_vars(&args.vars, Some(&playbook)).map_err(|why| wrong_var(&why))?;
    block_on(async {
        let (secrets, kept) = secrets(&playbook, printer).await?;
        let mut cluster = Cluster::open_with(inventory, args.on.as_deref(), printer).await?;
        cluster.live.keep(kept);
        cluster.is_made().await?;
        let name = playbook.name.clone();
        let mut run = PlaybookRun::new(playbook, given, secrets, crate::ssh::nonce());
        if run.reboots() {
            run.before = boots(&mut cluster, &run).await?;
        }
        let procedure = Procedure::Playbook(Box::new(run));
        if args.plan {
            return plan_only(&cluster, &procedure, args.work.json, printer).await;
        }
        let mut work = Work::begin(cluster, procedure, "run", &args.work, printer)?;
        work.audit.named(format!("run {name}"));
        work.run().await
    })
}

fn wrong_var(why: &str) -> Error {
    Error::usage(format!("`--var`: {why}")).hint("Write it like `--var port=8080`.")
}

/// Finds the playbook, reads it, and shows what is wrong with it.
fn open(name: &str, args: &RunArgs, inventory: &Inventory, printer: &Printer) -> Result<Playbook> {
    let (path, bytes) = find(name, &folder(&inventory.path))?;
    let names = command_line_vars(&args.vars, None).map_err(|why| wrong_var(&why))?;
    let given: BTreeSet<String> = names.keys().cloned().collect();
    let around = Around {
        inventory,
        given: &given,
    };
    let mut source = playbook::parse(bytes, &path, &|path| std::fs::read(path), Some(&around));
    let shown = source.path.display().to_string();
    show_findings(&shown, &source.text, &source.diagnostics, printer);
    source.playbook.take().ok_or_else(|| {
        let errors = source.diagnostics.iter().filter(|it| it.is_error()).count();
        let errors = text::count(errors, "error");
        Error::usage(format!("the playbook `{shown}` has {errors}"))
    })
}

/// Where the user's own playbooks are: beside the inventory.
pub(super) fn folder(inventory: &Path) -> PathBuf {
    let parent = inventory.parent().unwrap_or(Path::new(""));
    parent.join("playbooks")
}

/// The file of a playbook as it is shown, and what is in it.
fn find(name: &str, folder: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let is_file = name.contains('/') || Path::new(name).extension().is_some_and(|it| it == "toml");
    let path = if is_file {
        PathBuf::from(name)
    } else {
        folder.join(format!("{name}.toml"))
    };
    if let (Some(verb), false) = (Verb::of(name), is_file) {
        let wrong = Error::usage(format!("`{name}` is the playbook of `skep {name}`"));
        return Err(wrong.hint(format!(
            "`skep {name}` goes by it, `skep {} --playbook` prints it.",
            verb.name()
        )));
    }
    match std::fs::read(&path) {
        Ok(bytes) => return Ok((path, bytes)),
        Err(error) if is_file || error.kind() != std::io::ErrorKind::NotFound => {
            let shown = path.display();
            let wrong = Error::usage(format!("cannot read the playbook `{shown}`: {error}"));
            return Err(wrong.hint("`skep run --list` lists the playbooks that there are."));
        }
        Err(_) => {}
    }
    if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        let path = PathBuf::from(format!("{name}.toml"));
        return Ok((path, text.as_bytes().to_vec()));
    }
    let known = known(folder)?;
    let wrong = Error::usage(format!("there is no playbook `{name}`"));
    Err(
        match nearest(name, known.iter().map(|it| it.name.as_str())) {
            Some(near) => wrong.hint(format!("Did you mean `{near}`?")),
            None => wrong.hint(format!(
                "Put it into `{}`, or choose one of `skep run --list`.",
                path.display()
            )),
        },
    )
}

/// A playbook that there is.
#[derive(Debug, Serialize)]
struct Known {
    name: String,
    /// Its file; `None` for one that skep brings along.
    file: Option<PathBuf>,
    /// What it is for; `None` where the file cannot be read.
    description: Option<String>,
}

fn known(folder: &Path) -> Result<Vec<Known>> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let parse = |bytes: Vec<u8>, path: &Path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let verb = Verb::of(&name).unwrap_or(Verb::Run);
        let source = playbook::parse_for(verb, bytes, path, &|path| std::fs::read(path), None);
        source.playbook.map(|playbook| playbook.description)
    };
    for (name, text) in SHIPPED {
        let it = Known {
            name: (*name).to_owned(),
            file: None,
            description: parse(text.as_bytes().to_vec(), Path::new(name)),
        };
        known.insert((*name).to_owned(), it);
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(known.into_values().collect());
        }
        Err(error) => {
            let shown = folder.display();
            return Err(Error::failed(format!("cannot read `{shown}`")).because(error));
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let (Some(name), true) = (
            path.file_stem().map(|it| it.to_string_lossy().into_owned()),
            path.extension().is_some_and(|it| it == "toml"),
        ) else {
            continue;
        };
        let bytes = std::fs::read(&path).ok();
        let it = Known {
            name: name.clone(),
            description: bytes.and_then(|bytes| parse(bytes, &path)),
            file: Some(path),
        };
        known.insert(name, it);
    }
    Ok(known.into_values().collect())
}

fn list(folder: &Path, json: bool, printer: &Printer) -> Result<()> {
    let known = known(folder)?;
    if json {
        return printer.json(&known);
    }
    let width = known.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for it in &known {
        let about = match (&it.description, &it.file) {
            (Some(description), _) => text::clean(description).into_owned(),
            (None, Some(file)) => paint(
                style::ERROR,
                format!("has errors; `skep run {}` tells them", file.display()),
            ),
            (None, None) => String::new(),
        };
        let name = paint(style::STRONG, format!("{:width$}", it.name));
        printer.data(&format!("{name}  {about}\n"))?;
    }
    Ok(())
}

/// The secrets that the playbook's files take, for the planner and for those who write the files.
pub(super) async fn secrets(
    playbook: &Playbook,
    printer: &Printer,
) -> Result<(SecretValues, Secrets)> {
    let mut values = SecretValues::new();
    let mut kept = Secrets::default();
    let contents = playbook.tasks.iter().filter_map(|task| match &task.kind {
        Kind::File(file) => file.content.as_ref(),
        _ => None,
    });
    let used: BTreeSet<&String> = contents.flat_map(|it| it.secrets.keys()).collect();
    for (name, reference) in playbook
        .secrets
        .iter()
        .filter(|(name, _)| used.contains(name))
    {
        let found = secret::resolve(reference, name, Arc::new(prompt::secret)).await;
        let found = found.map_err(|error| {
            Error::usage(format!("the secret `{name}` of the playbook: {error}"))
        })?;
        if let Some(warning) = found.warning {
            printer.warn(warning);
        }
        kept.insert(reference, found.secret.clone());
        values.insert(name.clone(), found.secret);
    }
    Ok((values, kept))
}

/// Which boot the hosts run that the playbook may reboot.
async fn boots(cluster: &mut Cluster, run: &PlaybookRun) -> Result<BTreeMap<String, String>> {
    let inventory = &cluster.inventory;
    let tasks = run.playbook.tasks.iter();
    let reboots = tasks.filter(|task| matches!(task.kind, Kind::Reboot(_)));
    let hosts: BTreeSet<&str> = reboots.flat_map(|task| task.hosts(inventory)).collect();
    let selected = cluster.selected.iter();
    let hosts: BTreeSet<String> = selected
        .filter(|host| hosts.contains(host.as_str()))
        .cloned()
        .collect();
    let known = reboot::identities(cluster, &hosts).await;
    reboot::refuse_this_machine(&known)?;
    let boots = known.into_iter();
    Ok(boots.map(|(host, it)| (host, it.boot_id)).collect())
}

async fn plan_only(
    cluster: &Cluster,
    procedure: &Procedure,
    json: bool,
    printer: &Printer,
) -> Result<()> {
    let mut follow = Follow::new(printer, Format::Human, None);
    let (_, found) = follow
        .during(async |it: &Emit| cluster.plan(procedure, &|event| it.emit(event)).await)
        .await?;
    if json {
        printer.json(&found)?;
    } else {
        let verbose = printer.level() >= crate::ui::Level::Verbose;
        printer.data(&show::render(&found, verbose, &diff::hide_passwords))?;
    }
    plan::ending(&found, "run", false)
}
