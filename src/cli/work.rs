//! What all verbs that change something have in common: take the lock, ask the hosts, plan, show,
//! refuse or confirm, carry out, and prove by a second plan that it is done.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::error::{Error, Kind, Result};
use crate::execute::journal::Journal;
use crate::execute::{self, Event, Stop};
use crate::fleet::live::RemoteLock;
use crate::plan::saved::Saved;
use crate::plan::{Outlook, Plan};
use crate::procedure::Procedure;
use crate::state::{Owner, RunLock, State};
use crate::swarm::Gathered;
use crate::ui::follow::Format;
use crate::ui::{Printer, diff, interrupt, plan as show, prompt, text};

use super::audit::Audit;
use super::cluster::{Cluster, Emit, Follow};
use super::last::{LastWord, Off};
use super::lock::{self, Break};
use super::{held, recover, reset, restore, shutdown, wipe};

/// The options of every verb that changes something.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options of the command line")]
pub struct WorkArgs {
    /// Go ahead without asking
    #[arg(short, long)]
    pub yes: bool,

    /// Let tasks stop that can run on no other node, until theirs works again
    #[arg(long)]
    pub allow_downtime: bool,

    /// Make a run that hangs let go of the cluster's lock; asks first
    #[arg(long)]
    pub break_lock: bool,

    /// Print what happens as lines of JSON
    #[arg(long)]
    pub json: bool,
}

/// How often it is planned anew for what could not be known before: an engine is started, then a
/// restart that is owed is made. One that stops again and again is not started for ever.
const ROUNDS: usize = 3;

/// The rounds that a recovery takes before it does what `up` does.
const RECOVER_ROUNDS: usize = 2;

/// How long the last manager may take to note how the run went before it is switched off.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What comes after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: all is as wanted.
    Done,
    /// Another round, for what could not be known before this one.
    Again,
}

/// A verb at work.
pub(super) struct Work<'a> {
    pub(super) cluster: Cluster,
    pub(super) procedure: Procedure,
    pub(super) args: &'a WorkArgs,
    /// A plan that was saved before, which must still hold.
    pub(super) saved: Option<Saved>,
    pub(super) stop: Stop,
    pub(super) follow: Follow<'a>,
    pub(super) printer: &'a Printer,
    verb: &'static str,
    /// What was typed on the command line for a procedure that wants the cluster's name.
    pub(super) typed: Option<String>,
    /// Whether the plan is only shown.
    pub(super) dry_run: bool,
    /// The hosts that are switched off by now: they cannot be told anything, and hold no lock.
    off: Arc<Off>,
    /// What the managers are told of it.
    pub(super) audit: Audit<'a>,
    began: std::time::Instant,
    /// What this run starts itself, such as a hook, gets its token in the environment.
    pub(super) alone_here: RunLock,
}

impl<'a> Work<'a> {
    /// Takes the lock of this machine and opens the journal. Nobody is connected to yet.
    pub(super) fn begin(
        cluster: Cluster,
        procedure: Procedure,
        verb: &'static str,
        args: &'a WorkArgs,
        printer: &'a Printer,
    ) -> Result<Self> {
        let state = State::of(&cluster.inventory.cluster)?;
        let alone_here = lock::here(&state, verb, Break::of(args.break_lock, args.yes))?;
        cluster.live.lend(alone_here.token());
        let stop = interrupt::watch(printer)?;
        let journal = Journal::begin(&state, verb, Timestamp::now());
        let format = if args.json {
            Format::Json
        } else {
            Format::Human
        };
        let mut follow = Follow::new(printer, format, Some(journal));
        follow.report = cluster.report();
        Ok(Self {
            cluster,
            procedure,
            args,
            saved: None,
            stop,
            follow,
            printer,
            verb,
            typed: None,
            dry_run: false,
            off: Arc::default(),
            audit: Audit::new(verb.to_owned(), printer),
            began: std::time::Instant::now(),
            alone_here,
        })
    }

    /// Answers from now on as `args` say: what follows was agreed to in another way.
    pub(super) fn answer(&mut self, args: &'a WorkArgs) {
        self.args = args;
    }

    /// Tells that the work has begun.
    pub(super) async fn started(&mut self) -> Result<()> {
        let started = Event::RunStarted {
            cluster: self.cluster.inventory.cluster.clone(),
            command: self.verb.to_owned(),
            who: Owner::this(self.verb).name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.follow.during(async |it: &Emit| it.emit(started)).await
    }

    /// Tells how it ended, and where that is written down.
    pub(super) async fn finished(&mut self, result: &Result<()>) -> Result<()> {
        let code = exit_code(result);
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.follow
            .during(async |it: &Emit| it.emit(Event::RunFinished { code, millis }))
            .await?;
        if code != 0
            && let Some(journal) = &self.follow.journal
        {
            let path = journal.path().display();
            self.printer
                .detail(format!("the journal of this run is `{path}`"));
        }
        Ok(())
    }

    /// All of it, for a verb with nothing to do before.
    pub(super) async fn run(&mut self) -> Result<()> {
        let result = self.run_and_let_go().await;
        self.finished(&result).await?;
        result
    }

    async fn run_and_let_go(&mut self) -> Result<()> {
        self.started().await?;
        let lock = self.lock().await?;
        let result = self.rounds(&[], &lock).await;
        self.let_go(lock, &result).await;
        result
    }

    /// Tells the managers how it ended, and lets go of their lock.
    pub(super) async fn let_go(&mut self, lock: RemoteLock, result: &Result<()>) {
        let (live, code) = (&self.cluster.live, exit_code(result));
        let left = self.off.left(lock.hosts());
        self.audit.ended(live, &left, code).await;
        lock.release().await;
    }

    /// Plans and runs until all is as wanted. Hosts that this very run has `made` need no
    /// confirmation.
    pub(super) async fn rounds(&mut self, made: &[String], lock: &RemoteLock) -> Result<()> {
        let more = match self.procedure {
            Procedure::Recover(_) => RECOVER_ROUNDS,
            // And one for the engine of a new machine.
            Procedure::Restore(_) => RECOVER_ROUNDS + 1,
            _ => 0,
        };
        let mut next = Next::Again;
        for _ in 0..ROUNDS + more {
            next = self.round(made, lock).await?;
            if next == Next::Done {
                break;
            }
        }
        if next == Next::Again {
            self.verify().await?;
        }
        if !self.dry_run && !self.off.has_begun() {
            Box::pin(held::look(&self.cluster, &self.procedure, self.printer)).await;
        }
        Ok(())
    }

    /// Plans and runs once.
    pub(super) async fn round(&mut self, made: &[String], lock: &RemoteLock) -> Result<Next> {
        let (cluster, procedure) = (&self.cluster, &self.procedure);
        let planning = self.follow.during(async |it: &Emit| {
            let (gathered, plan) = cluster.plan(procedure, &|event| it.emit(event)).await;
            tell_unplanned(&plan, &gathered, it);
            plan
        });
        // Asking changes nothing, so there is nothing to finish.
        let mut plan = tokio::select! {
            plan = planning => plan?,
            () = self.stop.soft.cancelled() => return Err(interrupted()),
        };
        if self.args.allow_downtime {
            plan.allow_downtime();
        }
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
        if self.dry_run {
            self.printer.say("nothing was done: this was a dry run");
            return Ok(Next::Done);
        }
        wipe::confirm(&plan)?;
        self.confirm(&plan, made)?;
        wipe::forget(&mut self.cluster.inventory);
        self.audit.began(&self.cluster.live, lock, &plan).await;
        self.procedure.remember(&plan);
        let ran = self.execute(&plan, Some(lock)).await?;
        self.procedure.done(&ran);
        self.audit.ran(ran);
        if !self.args.json {
            self.printer
                .say(format!("\n{}", self.follow.report.render()));
        }
        if !self.off.has_begun() {
            still_alone(lock)?;
        }
        self.follow.report.result()?;
        if plan.goes_on() {
            return Ok(Next::Again);
        }
        self.verify().await.map(|()| Next::Done)
    }

    /// Takes the cluster's lock before anything is asked, so that the plan is made from what
    /// nobody else is changing.
    pub(super) async fn lock(&mut self) -> Result<RemoteLock> {
        let how = Break::of(self.args.break_lock, self.args.yes);
        let reboots = match &self.procedure {
            Procedure::Reboot { .. } => true,
            Procedure::Playbook(run) => run.reboots(),
            _ => false,
        };
        let (cluster, here) = (&self.cluster, &self.alone_here);
        let (lock, broke) = lock::managers(cluster, here, how, reboots, self.printer).await?;
        if let Some(of) = broke {
            self.audit.broke_lock(&cluster.live, &lock, of).await;
        }
        Ok(lock)
    }

    /// Ends with another error than that of [`go_on`](Self::go_on) where it was interrupted.
    pub(super) fn go_on_with(&self, interrupted: impl FnOnce() -> Error) -> Result<()> {
        if self.stop.soft.is_cancelled() {
            return Err(interrupted());
        }
        Ok(())
    }

    pub(super) fn go_on(&self) -> Result<()> {
        self.go_on_with(interrupted)
    }

    pub(super) fn show(&self, plan: &Plan) {
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
        if let Procedure::Shutdown(_) = &self.procedure {
            return shutdown::confirm(plan, self.typed.as_deref());
        }
        if self.procedure == Procedure::Reset {
            return reset::confirm(&plan.cluster, self.typed.as_deref());
        }
        // The hosts were switched on for what comes now.
        if let Procedure::Start(start) = &self.procedure
            && start.begun
        {
            return self.go_on();
        }
        let mut yes = self.args.yes;
        if let Procedure::Recover(recover) = &self.procedure {
            if !recover.begun {
                return recover::confirm(&plan.cluster, self.typed.as_deref());
            }
            // Whoever gave the name has answered for what it takes to end it.
            yes |= self.typed.is_some();
        }
        if let Procedure::Restore(restore) = &self.procedure {
            if !restore.begun {
                return restore::confirm(&plan.cluster, &restore.on, self.typed.as_deref());
            }
            yes |= self.typed.is_some();
        }
        let changes = text::count(plan.changes.len(), "change");
        if prompt::confirm(&format!("Make {changes}?"), yes)? {
            return self.go_on();
        }
        Err(Error::new(
            Kind::Interrupted,
            "not confirmed; nothing was changed",
        ))
    }

    /// Carries `plan` out; when `lock` is lost meanwhile, what runs is finished and nothing more is
    /// started.
    pub(super) async fn execute(
        &mut self,
        plan: &Plan,
        lock: Option<&RemoteLock>,
    ) -> Result<execute::Report> {
        let (live, stop) = (&self.cluster.live, &self.stop);
        let off = self.off.as_ref();
        let watch = lock.map(|lock| {
            let (lost, soft) = (lock.lost().clone(), stop.soft.clone());
            let off = Arc::clone(&self.off);
            tokio::spawn(async move {
                lost.cancelled().await;
                // Managers that are switched off hold no lock, and that is meant.
                if !off.has_begun() {
                    soft.cancel();
                }
            })
        });
        let audit = &self.audit;
        let tell = |host: String, report| -> BoxFuture<'_, ()> {
            let entry = audit.last(report);
            Box::pin(async move {
                // One that cannot note it is switched off all the same.
                let _faults = timeout(LAST_WORD, live.append_audit(&[host], &entry)).await;
            })
        };
        let fleet = LastWord {
            fleet: live.as_ref(),
            managers: lock.map_or(&[], RemoteLock::hosts),
            off,
            tell: &tell,
        };
        let began = tokio::time::Instant::from_std(self.began);
        let ran = self
            .follow
            .during(async |it: &Emit| {
                let emit = |event| {
                    off.follow(plan, &event);
                    it.emit(event);
                };
                execute::run_since(&fleet, &plan.changes, stop, began, &emit).await
            })
            .await?;
        if let Some(watch) = watch {
            watch.abort();
        }
        ran.map_err(|error| Error::failed(error.to_string()))
    }

    /// Plans once more: what was to be done must be done.
    async fn verify(&mut self) -> Result<()> {
        if !self.procedure.is_proven_by_planning() {
            return Ok(());
        }
        let (cluster, procedure) = (&self.cluster, &self.procedure);
        let planning = self.follow.during(async |it: &Emit| {
            let (gathered, plan) = cluster.plan(procedure, &|event| it.emit(event)).await;
            leave_out(&plan, &gathered, it);
            plan
        });
        let plan = tokio::select! {
            plan = planning => plan?,
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
            Error::failed("a second plan, made to prove the first, is not empty").hint(format!(
                "Look at what it shows; `skep {}` again goes on from here.",
                self.verb
            )),
        )
    }
}

fn exit_code(result: &Result<()>) -> u8 {
    let error = result.as_ref().err();
    error.map_or(0, |error| error.kind().exit_code())
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
fn tell_unplanned(plan: &Plan, gathered: &Gathered, emit: &Emit) {
    leave_out(plan, gathered, emit);
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

/// Says of the hosts that did not answer and that the plan is not about that it goes on without them:
/// they are no failure of this run.
fn leave_out(plan: &Plan, gathered: &Gathered, emit: &Emit) {
    for (host, facts) in gathered {
        if facts.is_err() && !plan.hosts.contains_key(host) {
            let host = host.clone();
            emit.emit(Event::LeftOut { host });
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
            "The connections to the managers ended, or somebody broke the lock (`skep log` tells); \
             run the command again to go on from here.",
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
