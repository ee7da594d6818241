//! A playbook as it stands in the file: every table, key and type. Its documentation is what the
//! JSON Schema tells editors.

use crate::inventory::SecretRef;
use crate::inventory::read::{At, Map, record};
use crate::inventory::values::{Json, OneOrMany, words};

use super::{Action, Presence, UnitState};

record! {
    /// A playbook of skep: tasks for hosts, in the order of the file.
    Playbook {
        /// What it is for, in a line.
        "description" => description: String,
        /// Whether each task waits until the former one is done on all hosts. Without it a task
        /// waits for the former one on the same host only. Default `false`.
        "ordered" => ordered: bool,
        /// Variables of templates, with the values that hold where neither the inventory nor
        /// `--var` gives others.
        "vars" => vars: Map<Json>,
        /// Secrets that templates of files may use, by name. Only where to find them stands here.
        "secrets" => secrets: Map<SecretRef>,
        /// The tasks.
        "task" => task: Vec<At<Task>>,
    }
}

record! {
    /// A task: a name, whom it is for, and exactly one kind.
    Task {
        /// Its name, unique in the file.
        "name" => name: String,
        /// The hosts that it is for: names, globs, `managers`, `workers`, `all`, `@label=value`,
        /// `!host`. Default `all`.
        "on" => on: String,
        /// Earlier tasks that must be done on all their hosts before.
        "needs" => needs: Vec<At<String>>,
        /// An expression that must hold for the host, such as `facts.os.id == 'debian'`.
        "when" => when: String,
        /// How many hosts may do it at once, as a number or a percentage such as `"25%"`. Default
        /// all of them.
        "serial" => serial: Serial,
        /// A step of `skep shutdown` or `skep start`, in a playbook of that name. It knows its hosts.
        "use" => action: Action,
        /// Packages of the distribution.
        "package" => package: Package,
        /// A file whose content is taken as it is.
        "file" => file: File,
        /// A file whose content is a template.
        "template" => template: Template,
        /// A folder.
        "directory" => directory: Directory,
        /// A unit of systemd.
        "service" => service: Service,
        /// A user of the host.
        "user" => user: User,
        /// Settings of the kernel, now and after a boot.
        "sysctl" => sysctl: Sysctl,
        /// A file system that is mounted, now and after a boot.
        "mount" => mount: Mount,
        /// A command.
        "command" => command: Command,
        /// Something to wait for.
        "wait" => wait: Wait,
        /// A reboot: nodes are drained before and activated after, one after the other.
        "reboot" => reboot: Reboot,
    }
}

record! {
    /// Packages of the distribution.
    Package {
        /// The package, or a list of them.
        "name" => name: OneOrMany,
        /// `present` installs what is missing, `absent` removes what is there and nothing else.
        /// Default `present`.
        "state" => state: Presence,
    }
}

record! {
    /// A file whose content is taken as it is.
    File {
        /// Where it is on the host.
        "path" => path: String,
        /// Its content.
        "content" => content: String,
        /// The file with its content, from the playbook's folder.
        "source" => source: String,
        /// Its permissions, such as `"0644"`, the default.
        "mode" => mode: Mode,
        /// The user that it belongs to. Default `root`.
        "owner" => owner: String,
        /// The group that it belongs to. Default `root`.
        "group" => group: String,
        /// `absent` removes it. Default `present`.
        "state" => state: Presence,
        /// The unit of systemd that is restarted after the file has changed.
        "restart" => restart: String,
    }
}

record! {
    /// A file whose content is a template.
    Template {
        /// Where it is on the host.
        "path" => path: String,
        /// The template itself.
        "content" => content: String,
        /// The file with the template, from the playbook's folder.
        "source" => source: String,
        /// Its permissions. Default `"0644"`, and `"0600"` where it holds a secret.
        "mode" => mode: Mode,
        /// The user that it belongs to. Default `root`.
        "owner" => owner: String,
        /// The group that it belongs to. Default `root`.
        "group" => group: String,
        /// The unit of systemd that is restarted after the file has changed.
        "restart" => restart: String,
    }
}

record! {
    /// A folder. What is in it is left alone.
    Directory {
        /// Where it is on the host.
        "path" => path: String,
        /// Its permissions, such as `"0755"`, the default.
        "mode" => mode: Mode,
        /// The user that it belongs to. Default `root`.
        "owner" => owner: String,
        /// The group that it belongs to. Default `root`.
        "group" => group: String,
    }
}

record! {
    /// A unit of systemd.
    Service {
        /// Its name, such as `chrony.service`.
        "unit" => unit: String,
        /// Whether it runs: `running` or `stopped`. Without it that is left as it is.
        "state" => state: UnitState,
        /// Whether it starts at boot. Without it that is left as it is.
        "enabled" => enabled: bool,
    }
}

record! {
    /// A user of the host. Users are made and changed, never removed.
    User {
        /// The login name.
        "name" => name: String,
        /// The number; only looked at when the user is made.
        "uid" => uid: u32,
        /// Whether it is a user of a service; only looked at when the user is made. Default `false`.
        "system" => system: bool,
        /// The login shell. Without it that is left as it is.
        "shell" => shell: String,
        /// The home folder; only looked at when the user is made.
        "home" => home: String,
        /// The groups that it must be in, beside those that it is in already.
        "groups" => groups: Vec<At<String>>,
    }
}

record! {
    /// Settings of the kernel, now and after a boot.
    Sysctl {
        /// Dotted names and their values.
        "values" => values: Map<Scalar>,
    }
}

record! {
    /// A file system that is mounted, now and after a boot, by a unit of systemd. For NFS the
    /// inventory has `[[nfs.mount]]`.
    Mount {
        /// What is mounted: a device, `UUID=...`, a folder for `bind`, or `tmpfs`.
        "source" => source: String,
        /// The folder that it is mounted on.
        "target" => target: String,
        /// The type of the file system, such as `ext4`, `tmpfs` or `none`.
        "type" => fstype: String,
        /// The options. Default `defaults`.
        "options" => options: String,
    }
}

record! {
    /// A command. With neither `creates` nor `unless` it runs every time.
    Command {
        /// The command, for `sh`, as root.
        "run" => run: String,
        /// A file or folder whose being there shows that the command has been run.
        "creates" => creates: String,
        /// A command that changes nothing, and that succeeds where there is nothing to do.
        "unless" => unless: String,
        /// After how many seconds it is ended. Default 600.
        "timeout" => timeout: u32,
    }
}

record! {
    /// Something to wait for, on the host itself.
    Wait {
        /// A TCP port on which something listens.
        "port" => port: u16,
        /// A file or folder that is there.
        "path" => path: String,
        /// A command that succeeds, and changes nothing.
        "command" => command: String,
        /// After how many seconds the task fails. Default 300.
        "timeout" => timeout: u32,
    }
}

record! {
    /// A reboot: nodes are drained before and activated after, one after the other.
    Reboot {
        /// Reboot only where this file is there, such as `/run/reboot-required`. Without it every
        /// run reboots.
        "if-exists" => if_exists: String,
    }
}

/// Permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode(pub(super) u32);

/// A number of hosts, or a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Serial(pub(super) crate::procedure::Unavailable);

/// A text or a number, as a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar(pub(super) At<String>);

words!(Presence { "present" => Presence::Present, "absent" => Presence::Absent });
words!(UnitState { "running" => UnitState::Running, "stopped" => UnitState::Stopped });
