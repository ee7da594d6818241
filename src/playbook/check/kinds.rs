//! What each kind of task must have.

use std::collections::BTreeMap;

use crate::inventory::diagnostic::Diagnostic;
use crate::inventory::read::{At, Field, list};
use crate::playbook::{
    Command, Directory, File, Kind, Mount, Package, Presence, Reboot, Service, Until, User, Wait,
    raw,
};

use super::Checker;

/// How long a command may take, in seconds, where the playbook does not say.
const COMMAND_SECONDS: u32 = 600;
/// How long is waited for something.
const WAIT_SECONDS: u32 = 300;
/// The longest time of either: a day.
const MOST_SECONDS: u32 = 86_400;

/// The types of file systems that the inventory's `[[nfs.mount]]` is for.
const NFS: [&str; 3] = ["nfs", "nfs3", "nfs4"];

/// All kinds, for messages.
const KINDS: [&str; 11] = [
    "package",
    "file",
    "template",
    "directory",
    "service",
    "user",
    "sysctl",
    "mount",
    "command",
    "wait",
    "reboot",
];

impl Checker<'_> {
    /// What the task does, where nothing is wrong with it.
    pub(super) fn kind(&mut self, task: &At<raw::Task>) -> Option<Kind> {
        let raw = &task.value;
        let mut wrong = false;
        let mut kinds = Vec::new();
        // A kind whose table has an error is there, and its error is told already.
        macro_rules! take {
            ($($field:ident),*) => { $(
                match &raw.$field {
                    Field::Absent => {}
                    Field::Wrong => wrong = true,
                    Field::Given(at) => kinds.push((at.span.clone(), self.$field(at))),
                }
            )* };
        }
        take!(
            package, file, template, directory, service, user, sysctl, mount, command, wait, reboot
        );
        // What goes with a step of a procedure is looked at with the order.
        match &raw.action {
            Field::Absent => {}
            Field::Wrong => wrong = true,
            Field::Given(at) => kinds.push((at.span.clone(), Some(Kind::Use(at.value)))),
        }
        match &kinds[..] {
            [] if !wrong => {
                let error = Diagnostic::error("the task does nothing");
                self.out.push(
                    error
                        .at(&self.head(&task.span), "expected one kind")
                        .help(format!("the kinds are {}", list(&KINDS, "and"))),
                );
                None
            }
            [] => None,
            [(_, kind)] => kind.clone(),
            [(first, _), (second, _), ..] => {
                let error = Diagnostic::error("a task has exactly one kind");
                self.out.push(
                    error
                        .at(&self.head(second), "this is another one")
                        .see(&self.head(first), "this is one")
                        .help("make two tasks of it"),
                );
                None
            }
        }
    }

    fn package(&mut self, at: &At<raw::Package>) -> Option<Kind> {
        let names = at.value.name.get().map_or(&[][..], |names| &names.0);
        if names.is_empty() {
            if !matches!(at.value.name, Field::Wrong) {
                let error = Diagnostic::error("`name` is missing");
                self.out
                    .push(error.at(&self.head(&at.span), "expected packages"));
            }
            return None;
        }
        Some(Kind::Package(Package {
            names: names.iter().map(|name| self.rendered(name)).collect(),
            state: at.value.state.get().copied().unwrap_or_default(),
        }))
    }

    fn file(&mut self, at: &At<raw::File>) -> Option<Kind> {
        let raw = &at.value;
        let path = self.path(&raw.path, "path", &at.span);
        let content = if raw.state.get() == Some(&Presence::Absent) {
            for other in [&raw.content, &raw.source]
                .into_iter()
                .filter_map(Field::at)
            {
                let error = Diagnostic::error("a file that is to go has no content");
                self.out.push(error.at(&other.span, "remove it"));
            }
            None
        } else {
            Some(self.content(&raw.content, &raw.source, &at.span, false)?)
        };
        Some(Kind::File(File {
            path: path?,
            content,
            mode: raw.mode.get().map_or(0o644, |mode| mode.0),
            owner: self.or(&raw.owner, "root"),
            group: self.or(&raw.group, "root"),
            restart: self.unit(&raw.restart),
        }))
    }

    fn template(&mut self, at: &At<raw::Template>) -> Option<Kind> {
        let raw = &at.value;
        let path = self.path(&raw.path, "path", &at.span);
        let content = self.content(&raw.content, &raw.source, &at.span, true)?;
        let secret = !content.secrets.is_empty();
        let mode = if secret { 0o600 } else { 0o644 };
        Some(Kind::File(File {
            path: path?,
            content: Some(content),
            mode: raw.mode.get().map_or(mode, |mode| mode.0),
            owner: self.or(&raw.owner, "root"),
            group: self.or(&raw.group, "root"),
            restart: self.unit(&raw.restart),
        }))
    }

    fn directory(&mut self, at: &At<raw::Directory>) -> Option<Kind> {
        let raw = &at.value;
        Some(Kind::Directory(Directory {
            path: self.path(&raw.path, "path", &at.span)?,
            mode: raw.mode.get().map_or(0o755, |mode| mode.0),
            owner: self.or(&raw.owner, "root"),
            group: self.or(&raw.group, "root"),
        }))
    }

    fn service(&mut self, at: &At<raw::Service>) -> Option<Kind> {
        let raw = &at.value;
        if raw.state.is_absent() && raw.enabled.is_absent() {
            let error = Diagnostic::error("the task does nothing");
            let expected = "expected `state`, `enabled`, or both";
            self.out.push(error.at(&self.head(&at.span), expected));
        }
        if raw.unit.is_absent() {
            self.required(&raw.unit, "unit", &at.span);
        }
        Some(Kind::Service(Service {
            unit: self.unit(&raw.unit)?,
            state: raw.state.get().copied(),
            enabled: raw.enabled.get().copied(),
        }))
    }

    fn user(&mut self, at: &At<raw::User>) -> Option<Kind> {
        let raw = &at.value;
        let name = self.required(&raw.name, "name", &at.span);
        let groups = raw.groups.get().into_iter().flatten();
        let groups = groups.map(|group| self.rendered(group)).collect();
        Some(Kind::User(User {
            name: name?,
            uid: raw.uid.get().copied(),
            system: raw.system.get().copied().unwrap_or_default(),
            shell: self.optional(&raw.shell),
            home: self.optional(&raw.home),
            groups,
        }))
    }

    fn sysctl(&mut self, at: &At<raw::Sysctl>) -> Option<Kind> {
        let Some(values) = at.value.values.get().filter(|it| !it.is_empty()) else {
            if !matches!(at.value.values, Field::Wrong) {
                let error = Diagnostic::error("the task does nothing");
                self.out.push(
                    error
                        .at(&self.head(&at.span), "`values` is missing")
                        .help("write it like `values = { \"vm.swappiness\" = 10 }`"),
                );
            }
            return None;
        };
        let mut all = BTreeMap::new();
        for (name, item) in values {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let dotted = name.contains('.') && !name.starts_with('.') && !name.contains("..");
            if !name.chars().all(plain) || !dotted {
                let error = Diagnostic::error(format!("`{name}` is no setting of the kernel"));
                self.out.push(
                    error
                        .at(&item.key, "expected a dotted name")
                        .help("write it like `\"vm.swappiness\" = 10`, in quotes"),
                );
            }
            all.insert(name.clone(), self.rendered(&item.value.0));
        }
        Some(Kind::Sysctl(all))
    }

    fn mount(&mut self, at: &At<raw::Mount>) -> Option<Kind> {
        let raw = &at.value;
        let source = self.required(&raw.source, "source", &at.span);
        let target = self.path(&raw.target, "target", &at.span);
        let fstype = self.required(&raw.fstype, "type", &at.span);
        if let Some(kind) = raw.fstype.at()
            && NFS.contains(&kind.value.as_str())
        {
            let error = Diagnostic::error("mounts of NFS belong into the inventory");
            let help = "write `[[nfs.mount]]` there, which minds a server that is away";
            self.out.push(error.at(&kind.span, "").help(help));
        }
        Some(Kind::Mount(Mount {
            source: source?,
            target: target?,
            fstype: fstype?,
            options: self.or(&raw.options, "defaults"),
        }))
    }

    fn command(&mut self, at: &At<raw::Command>) -> Option<Kind> {
        let raw = &at.value;
        let run = self.required(&raw.run, "run", &at.span);
        if let (Some(unless), Some(creates)) = (raw.unless.at(), raw.creates.at()) {
            let error = Diagnostic::error("both `creates` and `unless` say when it is done");
            let error = error.at(&unless.span, "one of them is enough");
            self.out.push(error.see(&creates.span, ""));
        }
        Some(Kind::Command(Command {
            run: run?,
            creates: self.optional_path(&raw.creates, "creates")?,
            unless: self.optional(&raw.unless),
            timeout: self.seconds(&raw.timeout, COMMAND_SECONDS),
        }))
    }

    fn wait(&mut self, at: &At<raw::Wait>) -> Option<Kind> {
        let raw = &at.value;
        let mut until = Vec::new();
        if let Some(port) = raw.port.at() {
            if port.value == 0 {
                let error = Diagnostic::error("`0` is no port to wait for");
                self.out.push(error.at(&port.span, "expected 1 to 65535"));
            }
            until.push(Until::Port(port.value));
        }
        if !raw.path.is_absent() {
            until.extend(self.path(&raw.path, "path", &at.span).map(Until::Path));
        }
        until.extend(self.optional(&raw.command).map(Until::Command));
        let given = [
            raw.port.is_absent(),
            raw.path.is_absent(),
            raw.command.is_absent(),
        ];
        if given.into_iter().filter(|absent| !absent).count() != 1 {
            let error = Diagnostic::error("a task waits for exactly one thing");
            let expected = "expected one of `port`, `path` and `command`";
            self.out.push(error.at(&self.head(&at.span), expected));
            return None;
        }
        Some(Kind::Wait(Wait {
            until: until.pop()?,
            timeout: self.seconds(&raw.timeout, WAIT_SECONDS),
        }))
    }

    fn reboot(&mut self, at: &At<raw::Reboot>) -> Option<Kind> {
        let if_exists = self.optional_path(&at.value.if_exists, "if-exists")?;
        Some(Kind::Reboot(Reboot { if_exists }))
    }

    fn seconds(&mut self, field: &Field<u32>, default: u32) -> u32 {
        let Some(at) = field.at() else {
            return default;
        };
        if !(1..=MOST_SECONDS).contains(&at.value) {
            let error = Diagnostic::error(format!("`{}` is out of range", at.value));
            let expected = format!("expected 1 to {MOST_SECONDS} seconds");
            self.out.push(error.at(&at.span, expected));
        }
        at.value
    }
}
