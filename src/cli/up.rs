//! `skep up`: makes the cluster what the inventory says.

mod lab;

use std::fs;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::execute::journal::Journal;
use crate::execute::{self, Event, Stop};
use crate::fleet::live::{LockError, RemoteLock};
use crate::plan::saved::Saved;
use crate::plan::{Outlook, Plan};
use crate::state::{Owner, State};
use crate::ui::follow::Format;
use crate::ui::{Printer, diff, interrupt, plan as show, prompt, text};

use super::cluster::{Cluster, Emit, Follow};
use super::{Global, block_on, wipe};

/// The arguments of `skep up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep up
  skep up -i inventories/lab.toml --yes
  skep up --on w7
  skep plan --out today.plan && skep up today.plan")]
pub struct UpArgs {
    /// Carry out exactly this saved plan, or refuse because facts have changed
    #[arg(value_name = "PLAN", conflicts_with = "on")]
    pub plan: Option<PathBuf>,

    /// Change these hosts only: names, globs, `managers`, `workers`, `@label=value`, `!host`
    #[arg(long, value_name = "SELECTOR")]
    pub on: Option<String>,

    /// Go ahead without asking
    #[arg(short, long)]
    pub yes: bool,

    /// Allow this one device to be erased; asks for its serial number, with --yes too
    #[arg(long, value_name = "HOST:DEVICE", conflicts_with = "plan")]
    pub wipe: Option<String>,

    /// Print what happens as lines of JSON
    #[arg(long)]
    pub json: bool,
}

/// Brings the cluster up.
///
/// # Errors
///
/// A refusal, a host that failed, an interruption; what happened has been shown by then.
pub fn run(args: &UpArgs, global: &Global, printer: &Printer) -> Result<()> {
    let saved = args.plan.as_ref().map(read_saved).transpose()?;
    block_on(async {
        let mut cluster = Cluster::open(global, args.on.as_deref(), printer).await?;
        wipe::allow(&mut cluster.inventory, args.wipe.as_deref())?;
        if let Some(saved) = &saved {
            cluster.selected.clone_from(&saved.selected);
        }
        let state = State::of(&cluster.inventory.cluster)?;
        let _alone_here = state.lock("up")?;
        let stop = interrupt::watch(printer)?;
        let journal = Journal::begin(&state, "up", Timestamp::now());
        let path = journal.path().display().to_string();
        let format = if args.json {
            Format::Json
        } else {
            Format::Human
        };
        let mut follow = Follow::new(printer, format, Some(journal));
        follow.report = cluster.report();
        let mut up = Up {
            cluster,
            args,
            saved,
            stop,
            follow,
            printer,
        };
        let began = std::time::Instant::now();
        let result = up.run().await;
        let code = result
            .as_ref()
            .err()
            .map_or(0, |error| error.kind().exit_code());
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        up.follow
            .during(async |it: &Emit| it.emit(Event::RunFinished { code, millis }))
            .await?;
        if code != 0 {
            printer.detail(format!("the journal of this run is `{path}`"));
        }
        result
    })
}

fn read_saved(path: &PathBuf) -> Result<Saved> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read `{shown}`")).because(error))?;
    Saved::from_text(&text).map_err(|error| {
        Error::usage(format!("cannot use `{shown}`: {error}"))
            .hint("`skep plan --out FILE` writes such a file.")
    })
}

/// How often it is planned anew for what could not be known before: an engine is started, then a
/// restart that is owed is made. One that stops again and again is not started for ever.
const ROUNDS: usize = 3;

/// What comes after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing: all is as wanted.
    Done,
    /// Another round, for what could not be known before this one.
    Again,
}

struct Up<'a> {
    cluster: Cluster,
    args: &'a UpArgs,
    saved: Option<Saved>,
    stop: Stop,
    follow: Follow<'a>,
    printer: &'a Printer,
}

impl Up<'_> {
    async fn run(&mut self) -> Result<()> {
        self.begin().await?;
        let made = self.make_lab_hosts().await?;
        let lock = self.lock().await?;
        let result = self.rounds(&made, &lock).await;
        lock.release().await;
        result?;
        self.tell_of_lab(&made);
        Ok(())
    }

    async fn rounds(&mut self, made: &[String], lock: &RemoteLock) -> Result<()> {
        for _ in 0..ROUNDS {
            if self.round(made, lock).await? == Next::Done {
                return Ok(());
            }
        }
        self.verify().await
    }

    /// Says what can be done with a lab that was made just now.
    fn tell_of_lab(&self, made: &[String]) {
        if made.is_empty() {
            return;
        }
        let inventory = self.cluster.inventory.path.display();
        self.printer.hint(format!(
            "`skep status -i {inventory}` shows it, `skep lab down -i {inventory}` ends it."
        ));
    }

    /// Plans and runs once.
    async fn round(&mut self, made: &[String], lock: &RemoteLock) -> Result<Next> {
        let cluster = &self.cluster;
        let planning = self.follow.during(async |it: &Emit| {
            let (gathered, plan) = cluster.plan(&|event| it.emit(event)).await;
            tell_unplanned(&plan, &gathered, it);
            plan
        });
        // Asking changes nothing, so there is nothing to finish.
        let plan = tokio::select! {
            plan = planning => plan?,
            () = self.stop.soft.cancelled() => return Err(interrupted()),
        };
        self.show(&plan);
        refuse(&plan)?;
        // What comes in a later round could not be in the file.
        if let Some(saved) = self.saved.take() {
            saved.still_holds(&plan).map_err(|error| {
                Error::refused(error.to_string())
                    .hint("Look at the new plan, and save it again: `skep plan --out FILE`.")
            })?;
        }
        if plan.changes.is_empty() {
            return self.follow.report.result().map(|()| Next::Done);
        }
        wipe::confirm(&plan)?;
        self.confirm(&plan, made)?;
        wipe::forget(&mut self.cluster.inventory);
        self.execute(&plan, Some(lock)).await?;
        if !self.args.json {
            self.printer
                .say(format!("\n{}", self.follow.report.render()));
        }
        still_alone(lock)?;
        self.follow.report.result()?;
        if plan.goes_on() {
            return Ok(Next::Again);
        }
        self.verify().await.map(|()| Next::Done)
    }

    async fn begin(&mut self) -> Result<()> {
        let started = Event::RunStarted {
            cluster: self.cluster.inventory.cluster.clone(),
            command: "up".to_owned(),
            who: Owner::this("up").name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.follow.during(async |it: &Emit| it.emit(started)).await
    }

    /// Takes the cluster's lock before anything is asked, so that the plan is made from what
    /// nobody else is changing.
    async fn lock(&self) -> Result<RemoteLock> {
        let owner = Owner::this("up");
        let lock = self
            .cluster
            .live
            .lock(&self.cluster.managers(), &owner)
            .await;
        lock.map_err(|error| match &error {
            LockError::Taken { .. } => Error::refused(error.to_string())
                .hint("Wait until it has ended: the lock is free as soon as its owner ends."),
            LockError::Cannot { hint, .. } => {
                let hints = hint.iter().cloned();
                hints.fold(Error::failed(error.to_string()), Error::hint)
            }
        })
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.soft.is_cancelled() {
            return Err(interrupted());
        }
        Ok(())
    }

    fn show(&self, plan: &Plan) {
        if self.args.json {
            return;
        }
        let verbose = self.printer.level() >= crate::ui::Level::Verbose;
        self.printer
            .say(show::render(plan, verbose, &diff::hide_passwords));
    }

    /// Asks, unless everything that is to be changed was made a moment ago by this very run: the
    /// question whether to make it was the question whether to set it up.
    fn confirm(&self, plan: &Plan, made: &[String]) -> Result<()> {
        if plan
            .changes
            .iter()
            .all(|change| made.contains(&change.host))
        {
            return Ok(());
        }
        let changes = text::count(plan.changes.len(), "change");
        if prompt::confirm(&format!("Make {changes}?"), self.args.yes)? {
            return self.go_on();
        }
        Err(Error::new(
            Kind::Interrupted,
            "not confirmed; nothing was changed",
        ))
    }

    /// Carries `plan` out; when `lock` is lost meanwhile, what runs is finished and nothing more is
    /// started.
    async fn execute(&mut self, plan: &Plan, lock: Option<&RemoteLock>) -> Result<execute::Report> {
        let (live, stop) = (&self.cluster.live, &self.stop);
        let watch = lock.map(|lock| {
            let (lost, soft) = (lock.lost().clone(), stop.soft.clone());
            tokio::spawn(async move {
                lost.cancelled().await;
                soft.cancel();
            })
        });
        let ran = self
            .follow
            .during(async |it: &Emit| {
                execute::run(live.as_ref(), &plan.changes, stop, &|event| it.emit(event)).await
            })
            .await?;
        if let Some(watch) = watch {
            watch.abort();
        }
        ran.map_err(|error| Error::failed(error.to_string()))
    }

    /// Plans once more: what was to be done must be done.
    async fn verify(&mut self) -> Result<()> {
        let cluster = &self.cluster;
        let planning = self
            .follow
            .during(async |it: &Emit| cluster.plan(&|event| it.emit(event)).await);
        let (_, plan) = tokio::select! {
            planned = planning => planned?,
            () = self.stop.soft.cancelled() => return Err(Error::new(
                Kind::Interrupted,
                "interrupted while the result was being verified; the changes are made",
            )),
        };
        if plan.is_empty() {
            self.printer.say("verified: a second plan is empty");
            return Ok(());
        }
        self.show(&plan);
        refuse(&plan)?;
        Err(
            Error::failed("a second plan, made to prove the first, is not empty")
                .hint("Look at what it shows; `skep up` again goes on from here."),
        )
    }
}

/// The error of a run that was interrupted before anything of its plan began. Hosts of a lab may have
/// been made by then, or an earlier plan run.
fn interrupted() -> Error {
    Error::new(
        Kind::Interrupted,
        "interrupted; nothing of this plan was begun",
    )
}

/// Counts hosts that answered and could not be planned for among those that failed.
fn tell_unplanned(plan: &Plan, gathered: &crate::swarm::Gathered, emit: &Emit) {
    for (host, outlook) in &plan.hosts {
        let answered = gathered.get(host).is_some_and(Result::is_ok);
        if let (Outlook::Unknown(why), true) = (outlook, answered) {
            emit.emit(Event::NotPlanned {
                host: host.clone(),
                why: why.clone(),
            });
        }
    }
}

/// Fails a run that lost its lock on the way: what it left is nobody's promise.
fn still_alone(lock: &RemoteLock) -> Result<()> {
    if !lock.lost().is_cancelled() {
        return Ok(());
    }
    Err(
        Error::failed("the cluster's lock was lost on the way, so nothing more was started").hint(
            "The connections to the managers ended; run the command again to go on from here.",
        ),
    )
}

fn refuse(plan: &Plan) -> Result<()> {
    if plan.refusals.is_empty() {
        return Ok(());
    }
    let reasons = text::count(plan.refusals.len(), "reason");
    Err(Error::refused(format!(
        "refused for {reasons}; nothing was changed"
    )))
}
