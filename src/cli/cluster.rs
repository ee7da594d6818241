//! What every verb that talks to hosts begins with: the inventory, its secrets, the lab, the fleet,
//! and the stream of events that a person or a program follows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::error::{Error, Result};
use crate::execute::journal::Journal;
use crate::execute::{Event, Record};
use crate::facts::Probe;
use crate::fleet::live::{Live, Secrets};
use crate::gather::{gather, gather_later};
use crate::guard;
use crate::inventory::{Host, Inventory, Provider};
use crate::known::Known;
use crate::openstack::BoxedCloud;
use crate::plan::{Plan, Refusal};
use crate::procedure::Procedure;
use crate::provider::lab::Lab;
use crate::secret;
use crate::state::{State, Token};
use crate::swarm::{Gathered, LastSeen, Swarm};
use crate::ui::follow::{Format, follow};
use crate::ui::report::Report;
use crate::ui::{Printer, prompt};

use super::Global;
use super::load::load;
use super::servers;

/// How long to wait before managers without a leader are asked again. An election begins after
/// 10 to 19 s without a heartbeat of the leader (swarmkit's `ElectionTick` of 10 and its random
/// part), most of which has passed by the time that the first answer is in.
const ELECTION: Duration = Duration::from_secs(4);

/// A cluster that is about to be talked to.
pub struct Cluster {
    /// What is wanted.
    pub inventory: Inventory,
    /// The hosts.
    pub live: Arc<Live>,
    /// The lab, for an inventory that has hosts in it.
    pub lab: Option<Arc<Lab>>,
    /// The cloud, for an inventory that has servers on one.
    pub cloud: Option<BoxedCloud>,
    /// The hosts that the verb is about.
    pub selected: BTreeSet<String>,
    /// Whether a new swarm may be made beside one that was seen before and may live still.
    pub new_swarm: bool,
    state: Option<State>,
    secrets: Secrets,
}

impl Cluster {
    /// Reads the inventory and everything that it refers to. Nobody is connected to yet.
    ///
    /// # Errors
    ///
    /// A usage error of the inventory, of the selector, or of a secret or file that is not there.
    pub async fn open(global: &Global, on: Option<&str>, printer: &Printer) -> Result<Self> {
        Self::open_with(load(global, printer)?, on, printer).await
    }

    /// The same for an inventory that was read already.
    ///
    /// # Errors
    ///
    /// A usage error of the selector, or of a secret or file that is not there.
    pub async fn open_with(
        mut inventory: Inventory,
        on: Option<&str>,
        printer: &Printer,
    ) -> Result<Self> {
        inventory.read_brought_files()?;
        let selected = match on {
            Some(selector) => inventory.select(selector)?,
            None => inventory.hosts.iter().collect(),
        };
        let selected = selected.into_iter().map(|host| host.name.clone()).collect();
        let lab = if inventory
            .hosts
            .iter()
            .any(|host| host.provider == Provider::Lab)
        {
            Some(Arc::new(Lab::open(&inventory)?))
        } else {
            None
        };
        servers::read_files(&mut inventory)?;
        let cloud = servers::connect(&inventory)?;
        let state = State::of(&inventory.cluster).ok();
        if let Some(cloud) = &cloud {
            servers::learn(&mut inventory, cloud, state.as_ref(), printer).await?;
        }
        let secrets = secrets(&inventory, printer).await?;
        // Where the system does not let us, fewer hosts at once is all that comes of it.
        let _kept = crate::ssh::raise_open_files();
        let live = Live::new(&inventory, &secrets, lab.clone());
        if let Some(cloud) = &cloud {
            live.keep_cloud(Arc::clone(cloud));
        }
        Ok(Self {
            inventory,
            live: Arc::new(live),
            lab,
            cloud,
            selected,
            new_swarm: false,
            state,
            secrets,
        })
    }

    /// Asks the cloud anew for the addresses of its servers, some of which were made since. Hooks on
    /// this machine work under the lock with `token`.
    ///
    /// # Errors
    ///
    /// When the cloud does not tell.
    pub async fn look_again(&mut self, printer: &Printer, token: &Token) -> Result<()> {
        let Some(cloud) = &self.cloud else {
            return Ok(());
        };
        servers::learn(&mut self.inventory, cloud, self.state.as_ref(), printer).await?;
        let live = Live::new(&self.inventory, &self.secrets, self.lab.clone());
        live.keep_cloud(Arc::clone(cloud));
        live.lend(token);
        self.live = Arc::new(live);
        Ok(())
    }

    /// Asks all hosts, and plans the procedure.
    pub async fn plan(
        &self,
        procedure: &Procedure,
        emit: &(dyn Fn(Event) + Send + Sync),
    ) -> (Gathered, Plan) {
        self.plan_and(procedure, &[], emit).await
    }

    /// The same, with more questions in the same round trip.
    pub async fn plan_and(
        &self,
        procedure: &Procedure,
        more: &[Probe],
        emit: &(dyn Fn(Event) + Send + Sync),
    ) -> (Gathered, Plan) {
        let more = [&procedure.probes(), more].concat();
        let hosts = &self.inventory.hosts;
        let mut gathered = gather(self.live.as_ref(), hosts, &more, emit).await;
        self.ask_again(&mut gathered, &more).await;
        let later = procedure.later_probes(&self.inventory, &gathered, &self.selected);
        gather_later(self.live.as_ref(), &mut gathered, later).await;
        let mut plan = procedure.plan(&self.inventory, &gathered, &self.selected);
        self.remember(&gathered);
        plan.refusals.extend(self.second_swarm(&plan, &gathered));
        (gathered, plan)
    }

    /// Writes down which swarm there is, where that is not what is written already.
    fn remember(&self, gathered: &Gathered) {
        let Some(state) = &self.state else { return };
        if let Swarm::Up(up) = Swarm::see(&self.inventory, gathered) {
            let seen = LastSeen::of(&up);
            let known = matches!(state.last_seen(), Ok(Some(last)) if last == seen);
            if !known && let Err(error) = state.remember(&seen) {
                tracing::warn!(%error, "the swarm cannot be remembered");
            }
        }
    }

    /// Why the plan must not make a swarm: the one that was seen last may live still.
    fn second_swarm(&self, plan: &Plan, gathered: &Gathered) -> Option<Refusal> {
        if self.new_swarm || plan.new_swarms() == 0 {
            return None;
        }
        match self.state.as_ref()?.last_seen() {
            Ok(last) => guard::forgotten(plan, &self.inventory, gathered, &last?),
            Err(error) => Some(Refusal {
                host: None,
                why: format!("whether this cluster had a swarm is not known: {error}"),
                hint: error.hints().join(" "),
            }),
        }
    }

    /// What is kept on this machine; `None` where there is no place for it.
    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Forgets the swarm that was seen last.
    pub fn forget(&self) {
        if let Some(Err(error)) = self.state.as_ref().map(State::forget_swarm) {
            tracing::warn!(%error, "the swarm cannot be forgotten");
        }
    }

    /// Asks once more where the first answer may be out of date: the managers, when another manager
    /// took long to give none, because the loss of a quorum shows only some seconds after it; the
    /// managers, when none has quorum, because the others need some seconds to elect a new leader;
    /// else the hosts whose engine did not answer, as one does for up to 20 s around an election.
    async fn ask_again(&self, gathered: &mut Gathered, more: &[Probe]) {
        if self.live.is_late() {
            return;
        }
        let answered = |host: &&Host| gathered.get(&host.name).is_some_and(Result::is_ok);
        let managers: Vec<&Host> = self.inventory.managers().filter(answered).collect();
        if managers.is_empty() {
            return;
        }
        if managers.len() < self.inventory.managers().count() {
            self.gather_into(gathered, &managers, more).await;
        }
        let down = matches!(Swarm::see(&self.inventory, gathered), Swarm::Down(_));
        let hangs = |host: &&Host| {
            let facts = gathered.get(&host.name).and_then(|it| it.as_ref().ok());
            facts.is_some_and(|facts| matches!(facts.engine, Known::Unknown(_)))
        };
        let doubtful: Vec<&Host> = if down {
            managers
        } else {
            self.inventory.hosts.iter().filter(hangs).collect()
        };
        if !doubtful.is_empty() {
            tokio::time::sleep(ELECTION).await;
            self.gather_into(gathered, &doubtful, more).await;
        }
    }

    async fn gather_into(&self, gathered: &mut Gathered, hosts: &[&Host], more: &[Probe]) {
        let hosts = hosts.iter().copied();
        gathered.extend(gather(self.live.as_ref(), hosts, more, &|_| {}).await);
    }

    /// A report that names the hosts in the inventory's order.
    pub fn report(&self) -> Report {
        Report::of(self.inventory.hosts.iter().map(|host| host.name.as_str()))
    }

    /// Whether there is anybody to ask.
    ///
    /// # Errors
    ///
    /// A failure where all hosts belong to a lab that is not made yet: to ask each of them would
    /// only tell the same of every one.
    pub async fn is_made(&self) -> Result<()> {
        let Some(lab) = &self.lab else {
            return Ok(());
        };
        let mut providers = self.inventory.hosts.iter().map(|host| host.provider);
        if providers.any(|it| it != Provider::Lab) || !lab.reflect().await?.is_empty() {
            return Ok(());
        }
        let cluster = &self.inventory.cluster;
        let error = Error::failed(format!("the hosts of the lab `{cluster}` are not made yet"));
        Err(error.hint("`skep up` makes them and the swarm."))
    }

    /// The managers of the inventory, in its order.
    pub fn managers(&self) -> Vec<String> {
        self.inventory
            .managers()
            .map(|host| host.name.clone())
            .collect()
    }
}

async fn secrets(inventory: &Inventory, printer: &Printer) -> Result<Secrets> {
    let mut secrets = Secrets::default();
    for reference in Secrets::wanted(inventory) {
        let what = match inventory
            .hosts
            .iter()
            .find(|host| host.ssh.become_password.as_ref() == Some(reference))
        {
            Some(_) => "sudo's password",
            None => "the login password or passphrase",
        };
        let found = secret::resolve(reference, what, Arc::new(prompt::secret)).await;
        let found = found.map_err(|error| Error::usage(error.to_string()))?;
        if let Some(warning) = found.warning {
            printer.warn(warning);
        }
        secrets.insert(reference, found.secret);
    }
    Ok(secrets)
}

/// Who follows a run: a person or a program, the journal, the report.
pub struct Follow<'a> {
    /// Where it is shown.
    pub printer: &'a Printer,
    /// To whom.
    pub format: Format,
    /// Where it is written down.
    pub journal: Option<Journal>,
    /// What comes of it.
    pub report: Report,
}

impl<'a> Follow<'a> {
    /// Nothing has happened yet.
    pub fn new(printer: &'a Printer, format: Format, journal: Option<Journal>) -> Self {
        Self {
            printer,
            format,
            journal,
            report: Report::default(),
        }
    }

    /// Runs `work` and follows the events that it emits until it has ended.
    ///
    /// # Errors
    ///
    /// When they cannot be written to stdout.
    pub async fn during<T>(&mut self, work: impl AsyncFnOnce(&Emit) -> T) -> Result<T> {
        let (sender, receiver) = unbounded_channel();
        let following = follow(
            receiver,
            self.printer,
            self.format,
            self.journal.as_mut(),
            &mut self.report,
        );
        let working = async move {
            let emit = Emit { sender };
            work(&emit).await
        };
        let (done, followed) = tokio::join!(working, following);
        followed.map(|()| done)
    }
}

/// Where events go in.
pub struct Emit {
    sender: UnboundedSender<Record>,
}

impl Emit {
    /// Tells of an event that happens now.
    pub fn emit(&self, event: Event) {
        let time = Timestamp::now();
        match &event {
            Event::Output { change, line } => tracing::trace!(%change, line, "output"),
            event => tracing::debug!(?event, "event"),
        }
        // The follower lives until all senders are gone, so there is always somebody to hear it.
        let _heard = self.sender.send(Record { time, event });
    }
}
