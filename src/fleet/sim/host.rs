//! What the tasks of playbooks do to simulated hosts, and what these answer.

use std::collections::BTreeMap;

use crate::facts::{Unit, User};
use crate::fleet::Fault;
use crate::known::Known;
use crate::plan::{HostCall, Note, ServiceAction};
use crate::resource::task::MOUNT_MARK;
use crate::shell;
use crate::template::Vars;

use super::world::{SimHost, fail};

/// What a host has that only playbooks care for.
#[derive(Debug, Clone, Default)]
pub struct SimTasks {
    /// Folders: permissions and owner.
    pub folders: BTreeMap<String, (u32, String)>,
    /// The owners of files, where they are not root.
    pub owners: BTreeMap<String, String>,
    /// Users.
    pub users: BTreeMap<String, User>,
    /// Units by name: whether active, and enabled.
    pub units: BTreeMap<String, (bool, bool)>,
    /// How often each unit was restarted.
    pub restarts: BTreeMap<String, u32>,
    /// The commands that were run, in order.
    pub ran: Vec<String>,
    /// What tells each command of a run from every other, to run it once.
    pub ids: Vec<String>,
    /// The tests that succeed.
    pub holds: Vec<String>,
    /// The test that succeeds after a command has run.
    pub makes: BTreeMap<String, String>,
    /// What the secrets of playbooks are.
    pub secrets: Vars,
}

/// Whether a unit is the engine's, which the rest of the model knows.
pub(super) fn is_engine(unit: &str) -> bool {
    unit.starts_with("docker") || unit.starts_with("containerd")
}

pub(super) fn unit(host: &SimHost, unit: &str) -> Known<Unit> {
    let Some((active, enabled)) = host.tasks.units.get(unit) else {
        return Known::Absent;
    };
    Known::Value(Unit {
        active: if *active { "active" } else { "inactive" }.to_owned(),
        enabled: if *enabled { "enabled" } else { "disabled" }.to_owned(),
        reload: false,
    })
}

pub(super) fn user(host: &SimHost, name: &str) -> Known<User> {
    let user = host.tasks.users.get(name).cloned();
    user.map_or(Known::Absent, Known::Value)
}

/// The status of a test.
pub(super) fn test(host: &SimHost, text: &str) -> u8 {
    let is = |verb: &str, path: &str| text == format!("test {verb} {}", shell::quote(path));
    let folder = host.tasks.folders.keys();
    let mut folders = folder.clone();
    let is_there = folders.any(|path| is("-d", path) || is("-e", path))
        || host.files.keys().any(|path| is("-e", path))
        || host.tasks.holds.iter().any(|it| it == text);
    u8::from(!is_there)
}

/// A package brings a service that runs.
pub(super) fn installed(host: &mut SimHost, package: &str) {
    let unit = format!("{package}.service");
    if !is_engine(&unit) {
        host.tasks.units.entry(unit).or_insert((true, true));
    }
}

/// Whether a unit is that of a mount which a playbook wrote.
fn is_mount(host: &SimHost, unit: &str) -> bool {
    let file = host.files.get(&format!("/etc/systemd/system/{unit}"));
    file.is_some_and(|(text, _)| text.starts_with(MOUNT_MARK))
}

/// Whether a unit is none that the rest of the model knows.
pub(super) fn knows(host: &SimHost, unit: &str) -> bool {
    host.tasks.units.contains_key(unit) || is_mount(host, unit)
}

/// What is done to a unit that is not the engine's.
pub(super) fn service(host: &mut SimHost, unit: &str, action: ServiceAction) -> Result<(), Fault> {
    if is_mount(host, unit) {
        host.tasks.units.entry(unit.to_owned()).or_default();
    }
    let Some((active, enabled)) = host.tasks.units.get_mut(unit) else {
        return Err(fail(format!("there is no unit {unit}")));
    };
    match action {
        ServiceAction::EnableNow => (*active, *enabled) = (true, true),
        ServiceAction::Start => *active = true,
        ServiceAction::Restart => {
            *active = true;
            *host.tasks.restarts.entry(unit.to_owned()).or_default() += 1;
        }
        ServiceAction::Stop => *active = false,
        ServiceAction::Enable => *enabled = true,
        ServiceAction::Disable => *enabled = false,
    }
    Ok(())
}

pub(super) fn act(host: &mut SimHost, call: &HostCall) -> Result<(), Fault> {
    match call {
        HostCall::PutFile {
            path,
            content,
            mode,
            owner,
        } => put(host, path, content.clone(), *mode, owner),
        HostCall::RenderFile {
            path,
            template,
            vars,
            secrets,
            mode,
            owner,
        } => {
            let mut vars = vars.clone();
            for name in secrets.keys() {
                let secret = host.tasks.secrets.get(name).cloned();
                vars.insert(name.clone(), secret.unwrap_or_default());
            }
            let content = template
                .render(&vars)
                .map_err(|error| fail(error.to_string()))?;
            put(host, path, content, *mode, owner);
        }
        HostCall::MakeDirectory { path, mode, owner } => {
            host.tasks
                .folders
                .insert(path.clone(), (*mode, owner.clone()));
        }
        HostCall::RemovePackages { packages } => {
            for package in packages {
                host.packages.remove(package);
                host.tasks.units.remove(&format!("{package}.service"));
            }
        }
        HostCall::User {
            name,
            shell,
            groups,
            ..
        } => {
            let user = host.tasks.users.entry(name.clone()).or_default();
            user.groups.extend(groups.iter().cloned());
            if let Some(shell) = shell {
                user.shell.clone_from(shell);
            }
        }
        HostCall::Command {
            run,
            id,
            unless,
            note,
            ..
        } => {
            let file = |path: &String| host.files.get(path).map(|(text, _)| text.trim());
            let noted = |note: &Note| file(&note.path) == Some(note.text.as_str());
            let noted = note.as_ref().is_some_and(noted);
            let done = noted || unless.as_ref().is_some_and(|it| test(host, it) == 0);
            if !done && !host.tasks.ids.contains(id) {
                host.tasks.ids.push(id.clone());
                host.tasks.ran.push(run.clone());
                host.tasks.holds.extend(host.tasks.makes.get(run).cloned());
                if let Some(note) = note {
                    let text = format!("{}\n", note.text);
                    host.files.insert(note.path.clone(), (text, 0o600));
                }
            }
        }
        HostCall::WaitFor { what, test: it, .. } => {
            if test(host, it) != 0 {
                return Err(fail(format!("it is still not so that {what}")));
            }
        }
    }
    Ok(())
}

fn put(host: &mut SimHost, path: &str, content: String, mode: u32, owner: &str) {
    host.files.insert(path.to_owned(), (content, mode));
    host.tasks.owners.insert(path.to_owned(), owner.to_owned());
}
