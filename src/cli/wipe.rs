//! `--wipe HOST:DEVICE`: the one device that this run may erase. It is asked for once more, with
//! the device's own serial number or size, and is never remembered.

use crate::error::{Error, Result};
use crate::inventory::{Inventory, volume_of};
use crate::plan::{DeviceId, Plan, Step, StorageCall};
use crate::ui::prompt;

/// Allows the device to be erased by this run.
///
/// # Errors
///
/// A usage error where the inventory does not give that device to that host.
pub(super) fn allow(inventory: &mut Inventory, wipe: Option<&str>) -> Result<()> {
    let Some(wipe) = wipe else {
        return Ok(());
    };
    let Some((name, device)) = wipe.split_once(':') else {
        return Err(Error::usage(format!("`--wipe {wipe}` names no device"))
            .hint("Write it like `--wipe w1:/dev/disk/by-id/...`."));
    };
    let Some(host) = inventory.hosts.iter_mut().find(|host| host.name == name) else {
        return Err(Error::usage(format!("there is no host `{name}` to wipe")));
    };
    let devices = host.storage.as_ref().map(|it| it.devices());
    let devices = devices.unwrap_or_default();
    // A volume of a cloud is known with its ID by now.
    let is_meant = |it: &&&str| match (volume_of(it), volume_of(device)) {
        (Some((one, _)), Some((other, _))) => one == other,
        _ => **it == device,
    };
    let found = devices.iter().find(is_meant);
    let Some(found) = found else {
        let given = match &devices[..] {
            [] => format!("The inventory gives no storage to `{name}`."),
            devices => format!("Its storage is on {}.", devices.join(", ")),
        };
        return Err(Error::usage(format!(
            "`{device}` is not a device that the inventory gives to `{name}`"
        ))
        .hint(given));
    };
    host.wipe = Some((*found).to_owned());
    Ok(())
}

/// Forgets what was allowed: one run erases a device once.
pub(super) fn forget(inventory: &mut Inventory) {
    for host in &mut inventory.hosts {
        host.wipe = None;
    }
}

/// Asks for the serial number or size of every device that `plan` erases; `--yes` is no answer.
///
/// # Errors
///
/// A refusal where there is nobody to ask, or where the answer is another one.
pub(super) fn confirm(plan: &Plan) -> Result<()> {
    for change in &plan.changes {
        for step in &change.steps {
            if let Step::Storage(StorageCall::Wipe { device, holds }) = step {
                ask(&change.host, device, holds)?;
            }
        }
    }
    Ok(())
}

fn ask(host: &str, device: &DeviceId, holds: &str) -> Result<()> {
    let (what, expected) = match (device.serial.as_str(), device.wwn.as_str()) {
        ("", "") => ("size in bytes", device.size.to_string()),
        ("", wwn) => ("World Wide Name", wwn.to_owned()),
        (serial, _) => ("serial number", serial.to_owned()),
    };
    let path = &device.path;
    if !prompt::can_ask() {
        return Err(Error::refused(format!(
            "`{path}` of `{host}` would be erased, and there is no terminal to ask on"
        ))
        .hint("A wipe is confirmed by a person, with `--yes` too: run it in a terminal."));
    }
    let question = format!("ERASE {path} of {host} ({device}), which holds {holds}?");
    let help = format!("All data on it is lost for ever. To go on, type its {what}: {expected}");
    let answer = prompt::text(&question, None, &help)?;
    if answer.trim() == expected {
        return Ok(());
    }
    Err(Error::refused(format!(
        "that is not the {what} of `{path}`; nothing was changed"
    )))
}
