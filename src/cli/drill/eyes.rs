//! Those who look during a drill, and the picture that comes of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::drill::Drill;
use crate::drill::script::{Until, Wait};
use crate::drill::watch::{Event, Observer, Stage, What};
use crate::error::Result;
use crate::execute::Stop;
use crate::fleet::live::drill::{Watch, Way};
use crate::fleet::live::{Live, Secrets};
use crate::inventory::Inventory;
use crate::provider::lab::Lab;
use crate::swarm::{Membership, Up};
use crate::ui::Printer;
use crate::ui::drill::line;

use super::interrupted;

/// How often it is looked whether what is waited for has come.
const LOOK: Duration = Duration::from_millis(100);

/// Those who look. They end when this is dropped.
pub(super) struct Eyes {
    shared: Arc<Mutex<Picture>>,
    _watch: Watch,
    collector: JoinHandle<()>,
}

/// What is seen, and what was told of it.
struct Picture {
    observer: Observer,
    began: Instant,
    /// How many of the events were told; those before the failure are not.
    told: usize,
    broken: Option<u64>,
    say: Say,
}

/// To whom it is told while it goes on.
struct Say {
    printer: Printer,
    json: bool,
    drill: Option<Drill>,
}

/// An event of a drill as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    event: &'static str,
    drill: Option<Drill>,
    #[serde(flatten)]
    what: &'a Event,
}

impl Eyes {
    /// Begins to look at the cluster of `lab`, whose swarm is `up`, with `wanted` tasks of the probe.
    pub(super) fn open(
        inventory: &Inventory,
        lab: &Arc<Lab>,
        up: &Up,
        (voices, wanted): (Vec<String>, usize),
        way: Way,
        (printer, json, drill): (&Printer, bool, Option<Drill>),
    ) -> Self {
        let hosts: Vec<String> = inventory.members().map(|host| host.name.clone()).collect();
        let managers: Vec<String> = inventory.managers().map(|host| host.name.clone()).collect();
        let ids = up.members.iter().filter_map(|(host, member)| match member {
            Membership::Member { id } => Some((id.clone(), host.clone())),
            _ => None,
        });
        // Logins of their own: those of the run are not disturbed when one of these hangs.
        let live = Live::new(inventory, &Secrets::default(), Some(lab.clone()));
        let (sender, mut receiver) = unbounded_channel();
        let watch = Watch::begin(live, &managers, ids.collect(), way, &sender);
        let shared = Arc::new(Mutex::new(Picture {
            observer: Observer::new(voices, &hosts, wanted),
            began: Instant::now(),
            told: 0,
            broken: None,
            say: Say {
                printer: printer.clone(),
                json,
                drill,
            },
        }));
        let picture = shared.clone();
        let collector = tokio::spawn(async move {
            while let Some(seen) = receiver.recv().await {
                let mut picture = lock(&picture);
                let at = picture.now();
                picture.observer.see(at, seen);
                picture.tell();
            }
        });
        Self {
            shared,
            _watch: watch,
            collector,
        }
    }

    /// Begins at time 0 again, with the picture as it is.
    pub(super) fn restart(&self) {
        let mut picture = lock(&self.shared);
        picture.began = Instant::now();
        picture.observer.restart();
        picture.told = picture.observer.events().len();
    }

    /// The drill gets to another stage.
    pub(super) fn stage(&self, stage: Stage) {
        let mut picture = lock(&self.shared);
        let at = picture.now();
        if stage == Stage::Broken {
            picture.broken = Some(at);
        }
        picture.observer.note(at, What::Stage(stage));
        picture.tell();
    }

    /// Gives the word to managers in another order.
    pub(super) fn listen_to(&self, voices: Vec<String>) {
        lock(&self.shared).observer.listen_to(voices);
    }

    /// Notes what skep does while `work` goes on.
    pub(super) async fn did<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let at = lock(&self.shared).now();
        let done = work.await;
        let mut picture = lock(&self.shared);
        let millis = picture.now() - at;
        let what = what.to_owned();
        picture.observer.note(at, What::Did { what, millis });
        picture.tell();
        done
    }

    /// Waits; whether it came in time.
    ///
    /// # Errors
    ///
    /// An interruption.
    pub(super) async fn until(&self, wait: &Wait, stop: &Stop) -> Result<bool> {
        let since = lock(&self.shared).now();
        let end = Instant::now() + Duration::from_secs(u64::from(wait.seconds));
        loop {
            {
                let picture = lock(&self.shared);
                if picture.observer.has(&wait.until, picture.now(), since) {
                    return Ok(true);
                }
            }
            if Instant::now() >= end {
                return Ok(wait.until == Until::Time);
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.soft.cancelled() => return Err(interrupted()),
            }
        }
    }

    /// What is not as it should be, for people.
    pub(super) fn unwell(&self) -> Vec<String> {
        lock(&self.shared).observer.unwell()
    }

    /// All that was seen.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = lock(&self.shared).observer.events().to_vec();
        // What skep did is noted when it has ended, with the time at which it began.
        events.sort_by_key(|event| event.at);
        events
    }
}

impl Drop for Eyes {
    fn drop(&mut self) {
        self.collector.abort();
    }
}

impl Picture {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells what is new since the failure.
    fn tell(&mut self) {
        let events = self.observer.events();
        let new = events.get(self.told..).unwrap_or_default();
        if let Some(since) = self.broken {
            for event in new {
                self.say.event(event, since);
            }
        }
        self.told = events.len();
    }
}

impl Say {
    fn event(&self, event: &Event, since: u64) {
        if self.json {
            if !matches!(event.what, What::Request { .. }) {
                // Nobody reads it any more; the drill goes on.
                let _gone = self.printer.json_line(&Line {
                    time: Timestamp::now(),
                    event: "drill",
                    drill: self.drill,
                    what: event,
                });
            }
        } else if let Some(line) = line(event, since) {
            self.printer.say(line);
        }
    }
}

fn lock(picture: &Mutex<Picture>) -> MutexGuard<'_, Picture> {
    picture.lock().unwrap_or_else(PoisonError::into_inner)
}
