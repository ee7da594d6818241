//! The passwords of the controllers that switch machines on and off.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::cli::cluster::Cluster;
use crate::error::{Error, Result};
use crate::fleet::live::Secrets;
use crate::inventory::{Inventory, SecretRef};
use crate::secret::{self, COMMAND_DEADLINE};
use crate::ui::{Printer, prompt};

/// A password, whose it is, and the hosts whose controllers have it.
struct Wanted<'a> {
    hosts: Vec<&'a str>,
    of: String,
    password: &'a SecretRef,
}

/// The passwords that the controllers of `hosts` want, each once.
fn wanted<'a>(inventory: &'a Inventory, hosts: &BTreeSet<String>) -> Vec<Wanted<'a>> {
    let mut all: Vec<Wanted<'_>> = Vec::new();
    for host in inventory.hosts.iter().filter(|it| hosts.contains(&it.name)) {
        let Some((password, of)) = host.power.as_ref().and_then(|power| power.password()) else {
            continue;
        };
        match all.iter_mut().find(|it| it.password == password) {
            Some(one) => one.hosts.push(&host.name),
            None => all.push(Wanted {
                hosts: vec![&host.name],
                of,
                password,
            }),
        }
    }
    all
}

/// Looks up the passwords of the controllers of `hosts`.
///
/// # Errors
///
/// A usage error where one is not there.
pub(crate) async fn keep_passwords(
    cluster: &Cluster,
    hosts: &BTreeSet<String>,
    printer: &Printer,
) -> Result<()> {
    let mut kept = Secrets::default();
    for Wanted {
        hosts,
        of,
        password,
    } in wanted(&cluster.inventory, hosts)
    {
        let what = format!("the password of {of}");
        let found = secret::resolve(password, &what, Arc::new(prompt::secret)).await;
        let found = found.map_err(|error| {
            Error::usage(error.to_string())
                .hint(format!("It stands in `power` of {}.", hosts.join(", ")))
        })?;
        if let Some(warning) = found.warning {
            printer.warn(warning);
        }
        kept.insert(password, found.secret);
    }
    cluster.live.keep_power(kept);
    Ok(())
}

/// Looks up those that are found without a question, all at once and for so long at most: what only has
/// to tell whether a machine has power must not hold up what it is asked for. The others are told of.
pub(crate) async fn keep_unasked(
    cluster: &Cluster,
    hosts: &BTreeSet<String>,
    most: Duration,
    printer: &Printer,
) {
    let most = most.min(COMMAND_DEADLINE);
    let asked = wanted(&cluster.inventory, hosts)
        .into_iter()
        .map(|it| async move {
            if *it.password == SecretRef::Prompt {
                return (
                    it,
                    Err("it would have to be asked for, and nothing waits for that".to_owned()),
                );
            }
            // Nobody is asked: a question is answered above.
            let found = secret::resolve(it.password, &it.of, Arc::new(prompt::secret));
            let found = match timeout(most, found).await {
                Ok(found) => found.map_err(|error| error.to_string()),
                Err(_) => Err(format!("it was not there within {} s", most.as_secs())),
            };
            (it, found)
        });
    let mut kept = Secrets::default();
    for (
        Wanted {
            hosts,
            of,
            password,
        },
        found,
    ) in futures::future::join_all(asked).await
    {
        match found {
            Ok(found) => {
                if let Some(warning) = found.warning {
                    printer.warn(warning);
                }
                kept.insert(password, found.secret);
            }
            Err(why) => printer.warn(format!(
                "whether these have power at the end cannot be asked: {}; the password of {of}: {why}",
                hosts.join(", ")
            )),
        }
    }
    cluster.live.keep_power(kept);
}
