//! Playbooks: the user's own tasks for hosts, checked.
//!
//! A playbook goes the way of an inventory: the raw file with its spans, a check that finds all
//! errors at once, and this model. For a host its texts are rendered, and the tasks become resources
//! that are planned like all others.

mod action;
mod check;
mod raw;
mod rendered;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::inventory::diagnostic::{Diagnostic, tidy};
use crate::inventory::read::Read as _;
use crate::inventory::source::{decode, root};
use crate::inventory::{Inventory, SecretRef, Selector};
use crate::procedure::Unavailable;
use crate::template::{Text, Vars};

pub use action::{Action, Verb};
pub use check::Around;
pub use rendered::{Context, all_hosts, command_line_vars};

/// The playbooks for `skep run` that skep ships: name and text. Those of its own procedures are
/// [`Verb::shipped`].
pub const SHIPPED: &[(&str, &str)] = &[
    ("chrony", include_str!("../playbooks/chrony.toml")),
    (
        "reboot-if-required",
        include_str!("../playbooks/reboot-if-required.toml"),
    ),
    (
        "security-upgrades",
        include_str!("../playbooks/security-upgrades.toml"),
    ),
];

/// The largest file that a playbook writes, in bytes: what is larger is not read back from a host, so
/// that nobody could tell whether it is there.
pub const FILE_LIMIT: usize = 256 * 1024;

/// A checked playbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playbook {
    /// Its name: that of the file without `.toml`.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whether each task waits until the former one is done on all hosts.
    pub ordered: bool,
    /// Its variables.
    pub vars: Vars,
    /// Where its secrets are found, by name.
    pub secrets: BTreeMap<String, SecretRef>,
    /// The tasks, in the order of the file.
    pub tasks: Vec<Task>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// The hosts that it is for; `None` is all.
    pub on: Option<Selector>,
    /// The tasks that must be done on all their hosts before.
    pub needs: Vec<String>,
    /// What must hold for the host.
    pub when: Option<Text>,
    /// How many hosts may do it at once.
    pub serial: Option<Unavailable>,
    /// What it does.
    pub kind: Kind,
}

/// What a task does. Texts are templates until [`Context::render`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Packages.
    Package(Package),
    /// A file.
    File(File),
    /// A folder.
    Directory(Directory),
    /// A unit of systemd.
    Service(Service),
    /// A user.
    User(User),
    /// Settings of the kernel.
    Sysctl(BTreeMap<String, Text>),
    /// A mount.
    Mount(Mount),
    /// A command.
    Command(Command),
    /// Something to wait for.
    Wait(Wait),
    /// A reboot.
    Reboot(Reboot),
    /// A step of a procedure, which knows its hosts itself.
    Use(Action),
}

/// Packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Their names.
    pub names: Vec<Text>,
    /// Whether they should be there.
    pub state: Presence,
}

/// Whether something should be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// It should.
    #[default]
    Present,
    /// It should not.
    Absent,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: Text,
    /// What is in it; `None` where there should be no file.
    pub content: Option<Content>,
    /// Its permissions.
    pub mode: u32,
    /// The user that it belongs to.
    pub owner: Text,
    /// The group that it belongs to.
    pub group: Text,
    /// The unit that is restarted after it has changed.
    pub restart: Option<Text>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The text.
    pub text: Text,
    /// Whether it is a template.
    pub template: bool,
    /// The secrets in it, by name. Such a content is never shown.
    pub secrets: BTreeMap<String, SecretRef>,
    /// The variables that it takes.
    pub vars: Vars,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: Text,
    /// Its permissions.
    pub mode: u32,
    /// The user that it belongs to.
    pub owner: Text,
    /// The group that it belongs to.
    pub group: Text,
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub unit: Text,
    /// Whether it runs; `None` leaves that alone.
    pub state: Option<UnitState>,
    /// Whether it starts at boot; `None` leaves that alone.
    pub enabled: Option<bool>,
}

/// Whether a unit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// It does.
    Running,
    /// It does not.
    Stopped,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: Text,
    /// The number of a new one.
    pub uid: Option<u32>,
    /// Whether a new one is a user of a service.
    pub system: bool,
    /// The login shell.
    pub shell: Option<Text>,
    /// The home folder of a new one.
    pub home: Option<Text>,
    /// The groups that it must be in.
    pub groups: Vec<Text>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: Text,
    /// Where.
    pub target: Text,
    /// The type of the file system.
    pub fstype: Text,
    /// The options.
    pub options: Text,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The command, for `sh`.
    pub run: Text,
    /// What is there when it has been run.
    pub creates: Option<Text>,
    /// What succeeds when there is nothing to do.
    pub unless: Option<Text>,
    /// After how many seconds it is ended.
    pub timeout: u32,
}

/// Something to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What.
    pub until: Until,
    /// After how many seconds it is given up.
    pub timeout: u32,
}

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// Something listens on a TCP port.
    Port(u16),
    /// A file or folder is there.
    Path(Text),
    /// A command succeeds.
    Command(Text),
}

/// A reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reboot {
    /// The file that must be there for it.
    pub if_exists: Option<Text>,
}

/// A playbook's text with all that was found in it.
#[derive(Debug)]
pub struct Source {
    /// The file, as it is shown.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The model; `None` when a finding is an error.
    pub playbook: Option<Playbook>,
    /// Errors and warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a file beside a playbook.
pub type ReadFile<'a> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'a;

/// Reads a playbook's bytes as those of the file `path`, from whose folder `source` starts; `read`
/// gives the content of such a file. `around` is what it is run on, for what can be wrong with it
/// there: unknown hosts and variables.
pub fn parse(
    bytes: Vec<u8>,
    path: &Path,
    read: &ReadFile<'_>,
    around: Option<&Around<'_>>,
) -> Source {
    parse_for(Verb::Run, bytes, path, read, around)
}

/// The same for the playbook of a procedure: also what is wrong with its order is told.
pub fn parse_for(
    verb: Verb,
    bytes: Vec<u8>,
    path: &Path,
    read: &ReadFile<'_>,
    around: Option<&Around<'_>>,
) -> Source {
    let (text, bad) = decode(bytes);
    let mut found = Vec::new();
    let mut playbook = None;
    if let Some(error) = bad {
        found.push(error);
    } else {
        playbook = root(&text, &mut found)
            .and_then(|root| raw::Playbook::read(&root, &mut found))
            .map(|raw| check::check(&raw, &text, path, read, (verb, around), &mut found));
    }
    tidy(&mut found);
    let playbook = playbook.filter(|_| !found.iter().any(Diagnostic::is_error));
    Source {
        path: path.to_owned(),
        text,
        playbook,
        diagnostics: found,
    }
}

/// The JSON Schema of a playbook (draft 2020-12).
pub fn schema() -> Value {
    let mut schema = schemars::SchemaGenerator::default()
        .into_root_schema_for::<raw::Playbook>()
        .to_value();
    schema["title"] = "skep playbook".into();
    schema["required"] = serde_json::json!(["task"]);
    schema["$defs"]["Task"]["required"] = serde_json::json!(["name"]);
    schema
}

impl Playbook {
    /// The playbook of a procedure that skep brings along; `None` for `skep run`.
    pub fn shipped(verb: Verb) -> Option<Self> {
        let path = PathBuf::from(format!("{}.toml", verb.name()));
        let none = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let text = verb.shipped().as_bytes().to_vec();
        parse_for(verb, text, &path, &none, None).playbook
    }
}

impl Task {
    /// The hosts that it is for, by name; none for a step of a procedure.
    pub fn hosts<'a>(&self, inventory: &'a Inventory) -> BTreeSet<&'a str> {
        let hosts = match &self.on {
            // It knows its hosts itself.
            _ if matches!(self.kind, Kind::Use(_)) => Vec::new(),
            None => inventory.hosts.iter().collect(),
            // What it names was found when the playbook was checked.
            Some(on) => on.select(inventory).unwrap_or_default(),
        };
        hosts.into_iter().map(|host| host.name.as_str()).collect()
    }
}
