//! What the inventory says of backups.

use super::diagnostic::Diagnostic;
use super::resolve::Paths;
use super::{Inventory, Role, raw};
use crate::backup::{MAX_AGE_DAYS, Settings, archive};

/// Checks `[backup]`, and puts it into the model.
pub(super) fn apply(
    raw: &raw::Inventory,
    inventory: &mut Inventory,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) {
    let Some(backup) = raw.backup.get() else {
        return;
    };
    let recipients = backup.recipients.get().map_or(&[][..], Vec::as_slice);
    for recipient in recipients {
        let texts = std::slice::from_ref(&recipient.value);
        if archive::recipients(texts).is_err() {
            let help = if recipient.value.starts_with("AGE-SECRET-KEY-") {
                "this is the secret key, which belongs in no inventory: `age-keygen -y KEYFILE` prints its recipient"
            } else {
                "a recipient begins with `age1`; `age-keygen -o KEYFILE` makes a pair and prints it"
            };
            out.push(
                Diagnostic::error("this is no age recipient")
                    .at(&recipient.span, "expected `age1...`")
                    .hide(&recipient.span)
                    .help(help),
            );
        }
    }
    if let Some(keep) = backup.keep.at().filter(|keep| keep.value == 0) {
        out.push(
            Diagnostic::error("no backup would be kept")
                .at(&keep.span, "expected 1 or more")
                .help("leave `keep` out to keep all of them"),
        );
    }
    if let Some(host) = backup.host.at() {
        let manages = |name: &str| inventory.host(name).map(|it| it.role == Role::Manager);
        let (what, label) = match manages(&host.value) {
            Some(true) => (None, ""),
            Some(false) => (Some("a backup is taken from a manager"), "is no manager"),
            None => (Some("no host has this name"), "is not in the inventory"),
        };
        if let Some(what) = what {
            out.push(
                Diagnostic::error(what).at(&host.span, label).help(
                    "name a manager, or leave `host` out: skep chooses one that does not lead",
                ),
            );
        }
    }
    let directory = backup.directory.get().map(String::as_str);
    inventory.backup = Some(Settings {
        directory: paths.resolve(directory.unwrap_or(Settings::DIRECTORY)),
        recipients: recipients.iter().map(|it| it.value.clone()).collect(),
        keep: backup.keep.get().copied(),
        max_age_days: backup.max_age.get().map_or(MAX_AGE_DAYS, |days| days.0),
        host: backup.host.get().cloned(),
    });
}
