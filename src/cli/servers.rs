//! The servers of an inventory on a cloud: the client, and what the cloud tells of the hosts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::inventory::{Inventory, Provider};
use crate::openstack::{
    Account, BoxedCloud, CloudError, Cluster as Mark, OpenStack, Survey, Wanted, survey,
};
use crate::plan::cloud::{self, Known};
use crate::state::State;
use crate::ui::Printer;

/// What the cloud told of the hosts, and the host keys of its servers.
const MEMORY: &str = "servers.json";
const KNOWN_HOSTS: &str = "known_hosts";

/// The client of the cloud that the servers of `inventory` are on; `None` where it has none.
///
/// # Errors
///
/// When the credentials are not to be found.
pub(super) fn connect(inventory: &Inventory) -> Result<Option<BoxedCloud>> {
    let Some(settings) = &inventory.openstack else {
        return Ok(None);
    };
    let wanted = Wanted {
        cloud: settings.cloud.clone(),
        region: settings.region.clone(),
        ..Wanted::default()
    };
    let account = Account::load(&wanted).map_err(|error| usage(&error))?;
    let mark = Mark(inventory.cluster.clone());
    let client = OpenStack::new(account, mark).map_err(|error| usage(&error))?;
    Ok(Some(Arc::new(client)))
}

fn usage(error: &CloudError) -> Error {
    hinted(Error::usage(error.to_string()), error)
}

/// What a cloud says that does not do it.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn told(error: CloudError) -> Error {
    hinted(Error::failed(error.to_string()), &error)
}

fn hinted(told: Error, error: &CloudError) -> Error {
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// What the cloud has.
///
/// # Errors
///
/// When it does not tell.
pub(super) async fn look(cloud: &BoxedCloud) -> Result<Survey> {
    survey(cloud.as_ref()).await.map_err(told)
}

/// Reads the public key and the templates that servers are to get.
///
/// # Errors
///
/// A usage error when one cannot be read, or the key is none.
pub(super) fn read_files(inventory: &mut Inventory) -> Result<()> {
    let cannot = |path: &Path, error| {
        Error::usage(format!("cannot read `{}`", path.display())).because(error)
    };
    if let Some(settings) = &mut inventory.openstack
        && let Some(path) = &settings.public_key
    {
        let text = fs::read_to_string(path).map_err(|error| {
            cannot(path, error).hint("`ssh-keygen -t ed25519` makes a key; `public-key` under `[openstack]` names its public half.")
        })?;
        let line = text.trim();
        let is_key =
            line.starts_with("ssh-") || line.starts_with("ecdsa-") || line.starts_with("sk-");
        if !is_key || line.lines().count() != 1 {
            let error = Error::usage(format!("`{}` is no public key", path.display()));
            return Err(error.hint("It has one line, such as `ssh-ed25519 AAAA... me`."));
        }
        settings.public_key_text = Some(line.to_owned());
    }
    let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
    for server in inventory
        .hosts
        .iter_mut()
        .filter_map(|host| host.server.as_mut())
    {
        let Some(path) = &server.user_data else {
            continue;
        };
        if !texts.contains_key(path) {
            let text = fs::read_to_string(path).map_err(|error| cannot(path, error))?;
            texts.insert(path.clone(), text);
        }
        server.user_data_text = texts.get(path).cloned();
    }
    Ok(())
}

/// Puts into `inventory` what the cloud tells of its hosts: addresses, host keys, the size of packets.
/// Where it gives no answer, what it told last is taken, with a warning.
///
/// # Errors
///
/// When nothing is known, or the host keys cannot be written.
pub(super) async fn learn(
    inventory: &mut Inventory,
    cloud: &BoxedCloud,
    state: Option<&State>,
    printer: &Printer,
) -> Result<()> {
    let known = match look(cloud).await {
        Ok(survey) => {
            let known = cloud::known(inventory, &survey);
            if let Some(Err(error)) = state.map(|state| state.replace(MEMORY, &known)) {
                tracing::warn!(%error, "what the cloud told cannot be remembered");
            }
            known
        }
        Err(error) => {
            let last = state.and_then(|state| state.read(MEMORY).ok().flatten());
            let Some(last) = last else { return Err(error) };
            printer.warn(format!("{error}; what it told last is taken for true"));
            last
        }
    };
    cloud::learn(inventory, &known);
    if let Some(state) = state {
        trust(inventory, &known, state)?;
    }
    Ok(())
}

/// Writes the host keys that skep gave its servers to a file, and makes SSH believe that one for them.
fn trust(inventory: &mut Inventory, known: &BTreeMap<String, Known>, state: &State) -> Result<()> {
    let path = state.directory().join(KNOWN_HOSTS);
    let mut text = String::new();
    for host in &mut inventory.hosts {
        let Some(found) = known.get(&host.name) else {
            continue;
        };
        if host.provider != Provider::OpenStack || found.host_key.is_none() {
            continue;
        }
        text.push_str(&found.lines(host.ssh.port.unwrap_or(22)));
        if host.ssh.known_hosts.is_none() {
            host.ssh.known_hosts = Some(path.clone());
        }
    }
    // A bastion that is no server of the cloud is in the user's own file.
    let own = std::env::home_dir().map(|home| home.join(".ssh/known_hosts"));
    let own = own.and_then(|path| fs::read_to_string(path).ok());
    let addresses: Vec<String> = known
        .values()
        .flat_map(|it| [it.login.to_string(), it.fixed.to_string()])
        .collect();
    for line in own.iter().flat_map(|own| own.lines()) {
        let names = line.split_whitespace().next().unwrap_or_default();
        // An address may have been another machine's before.
        let mut names = names.split(',').map(|it| it.trim_start_matches('['));
        if !names.any(|it| {
            addresses
                .iter()
                .any(|own| it.split(']').next() == Some(own))
        }) {
            let _infallible = writeln!(text, "{line}");
        }
    }
    let written = state.replace_text(KNOWN_HOSTS, text.as_bytes());
    written
        .map_err(|error| Error::failed(format!("cannot write `{}`", path.display())).because(error))
}
