//! The steps of skep's own procedures, which the tasks of their playbooks name: which verb each
//! belongs to, and what must come before it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::inventory::diagnostic::Diagnostic;
use crate::inventory::read::{Read, Value, unknown_word};

/// Which verb carries a playbook out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `skep run`: tasks for hosts.
    Run,
    /// `skep shutdown`.
    Shutdown,
    /// `skep start`.
    Start,
}

impl Verb {
    /// The verbs that have a playbook of their own.
    pub const PROCEDURES: [Self; 2] = [Self::Shutdown, Self::Start];

    /// The word of the command line, which is also the name of its playbook.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Shutdown => "shutdown",
            Self::Start => "start",
        }
    }

    /// The text of the playbook that skep brings along for it; empty for `skep run`, which has many.
    pub fn shipped(self) -> &'static str {
        match self {
            Self::Run => "",
            Self::Shutdown => include_str!("../../playbooks/shutdown.toml"),
            Self::Start => include_str!("../../playbooks/start.toml"),
        }
    }

    /// The procedure whose playbook has this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::PROCEDURES.into_iter().find(|it| it.name() == name)
    }
}

/// A step of a procedure. What it does, waits for and refuses is in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Records nodes and services, here and on the last manager.
    Record,
    /// Demotes the other managers, one at a time.
    Demote,
    /// Scales services to zero or removes them, and waits for their tasks.
    StopServices,
    /// Unmounts folders of servers until the next boot.
    Unmount,
    /// Switches the workers off.
    WorkersOff,
    /// Switches the managers off, but the last one.
    ManagersOff,
    /// Switches the last manager off.
    LastOff,
    /// Switches hosts on.
    PowerOn,
    /// Starts engines, unlocks managers, waits for folders.
    Engines,
    /// Waits for the quorum.
    Quorum,
    /// Promotes the managers again, and gives nodes their labels and availability.
    Promote,
    /// Starts the services that others need.
    StartFirst,
    /// Starts the other services.
    StartServices,
}

use Action as A;

/// The steps with the words for them.
const WORDS: [(&str, Action); 13] = [
    ("swarm.record", A::Record),
    ("swarm.demote", A::Demote),
    ("services.stop", A::StopServices),
    ("nfs.unmount", A::Unmount),
    ("power.off-workers", A::WorkersOff),
    ("power.off-managers", A::ManagersOff),
    ("power.off-last", A::LastOff),
    ("power.on", A::PowerOn),
    ("engines.start", A::Engines),
    ("swarm.quorum", A::Quorum),
    ("swarm.promote", A::Promote),
    ("services.start-first", A::StartFirst),
    ("services.start", A::StartServices),
];

const RECORDED: &str = "what is changed before it is recorded is not brought back by `skep start`";
const RUNNING: &str =
    "tasks of a node that is switched off are lost or moved to the others in a hurry";
const VOTES: &str = "a manager that is switched off before it is demoted takes its vote with it, and one alone has no quorum when it boots";
const NO_ANSWER: &str = "a host that is off unmounts nothing";

impl Action {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        let mut words = WORDS.iter();
        words.find(|it| it.1 == self).map_or("", |it| it.0)
    }

    /// The verb that has it.
    pub fn verb(self) -> Verb {
        if self < A::PowerOn {
            Verb::Shutdown
        } else {
            Verb::Start
        }
    }

    /// Whether it switches hosts off.
    pub fn powers_off(self) -> bool {
        matches!(self, A::WorkersOff | A::ManagersOff | A::LastOff)
    }

    /// Why a procedure cannot go without it; `None` for one that may be left out.
    pub(super) fn needed(self) -> Option<&'static str> {
        match self {
            A::Record => Some(RECORDED),
            A::Demote => Some(
                "`skep start` begins with the last manager alone, which has a quorum only where the others were demoted",
            ),
            A::StopServices => Some(
                "with services that run there is nothing to wait for, and their tasks are lost with their hosts",
            ),
            A::Unmount | A::WorkersOff | A::ManagersOff | A::LastOff => None,
            A::PowerOn | A::Engines | A::Quorum => {
                Some("nothing can be started on a host that is off, or in a swarm without a quorum")
            }
            A::Promote | A::StartFirst | A::StartServices => Some(
                "the record is put aside when all is done, and what was not brought back by then would stay away",
            ),
        }
    }

    /// The steps that must come before it, where they are in the file, each with the reason.
    pub(super) fn comes_after(self) -> &'static [(Self, &'static str)] {
        match self {
            A::Record | A::PowerOn => &[],
            A::Demote | A::StopServices => &[(A::Record, RECORDED)],
            A::Unmount => &[
                (A::Record, RECORDED),
                (
                    A::StopServices,
                    "a folder that tasks still use cannot be unmounted",
                ),
            ],
            A::WorkersOff => &[
                (A::Record, RECORDED),
                (A::Demote, VOTES),
                (A::StopServices, RUNNING),
                (A::Unmount, NO_ANSWER),
            ],
            A::ManagersOff => &[
                (A::Record, RECORDED),
                (A::Demote, VOTES),
                (A::StopServices, RUNNING),
                (A::Unmount, NO_ANSWER),
                (
                    A::WorkersOff,
                    "workers go while there are managers that look after them",
                ),
            ],
            A::LastOff => &[
                (A::Record, RECORDED),
                (A::Demote, VOTES),
                (A::StopServices, RUNNING),
                (A::Unmount, NO_ANSWER),
                (A::WorkersOff, "it has the record, and goes last"),
                (A::ManagersOff, "it has the record, and goes last"),
            ],
            A::Engines => &[(A::PowerOn, "an engine is started on a host that is on")],
            A::Quorum => &[(A::Engines, "managers without their engines elect nobody")],
            A::Promote => &[(A::Quorum, "without a quorum nobody can be promoted")],
            A::StartFirst => &[(
                A::Promote,
                "services are started by a cluster that bears a loss, on nodes with their labels",
            )],
            A::StartServices => &[
                (
                    A::Promote,
                    "services are started by a cluster that bears a loss, on nodes with their labels",
                ),
                (
                    A::StartFirst,
                    "the images of the others come from the registry",
                ),
            ],
        }
    }

    /// All steps of a procedure.
    pub(super) fn all(verb: Verb) -> impl Iterator<Item = Self> {
        let words = WORDS.iter();
        words.map(|it| it.1).filter(move |it| it.verb() == verb)
    }
}

impl Read for Action {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let word = String::read(value, out)?;
        let found = WORDS.iter().find(|it| it.0 == word);
        if found.is_none() {
            let words = WORDS.map(|it| it.0);
            out.push(unknown_word(&word, &value.span(), &words));
        }
        found.map(|it| it.1)
    }
}

impl JsonSchema for Action {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Action".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": WORDS.map(|it| it.0) })
    }
}
