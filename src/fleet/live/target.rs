//! From a host of the inventory to an SSH target.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::inventory::{self, Host, Inventory, SecretRef};
use crate::ssh::{Become, HostKeyCheck, Target};

/// Secrets that were looked up for this run, by reference.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    found: HashMap<String, SecretString>,
}

impl Secrets {
    /// The secret references of the inventory, each once.
    pub fn wanted(inventory: &Inventory) -> Vec<&SecretRef> {
        let mut wanted: Vec<&SecretRef> = Vec::new();
        for host in &inventory.hosts {
            let ssh = &host.ssh;
            let refs = [
                &ssh.password,
                &ssh.identity_passphrase,
                &ssh.become_password,
            ];
            for reference in refs.into_iter().flatten() {
                if !wanted.contains(&reference) {
                    wanted.push(reference);
                }
            }
        }
        wanted
    }

    /// Keeps a secret.
    pub fn insert(&mut self, reference: &SecretRef, secret: SecretString) {
        self.found.insert(format!("{reference:?}"), secret);
    }

    /// The secret that a reference leads to, where it was looked up.
    pub fn get(&self, reference: Option<&SecretRef>) -> Option<SecretString> {
        self.found.get(&format!("{:?}", reference?)).cloned()
    }
}

/// How to log in to `host`.
pub fn target(inventory: &Inventory, host: &Host, secrets: &Secrets) -> Target {
    let ssh = &host.ssh;
    let address = host.address.clone().unwrap_or_else(|| host.name.clone());
    Target {
        user: ssh.user.clone(),
        port: ssh.port,
        identity: ssh.identity.clone(),
        jump: ssh.jump.as_ref().map(|jump| jumps(inventory, jump)),
        known_hosts: ssh.known_hosts.clone(),
        host_key_check: Some(match ssh.host_key_check {
            inventory::HostKeyCheck::Strict => HostKeyCheck::Strict,
            inventory::HostKeyCheck::AcceptNew => HostKeyCheck::AcceptNew,
        }),
        // Empty in the inventory: none is read, that of the whole system neither.
        config: ssh.config.as_ref().map(|path| {
            if path.as_os_str().is_empty() {
                "/dev/null".into()
            } else {
                path.clone()
            }
        }),
        connect_timeout: (ssh.connect_timeout > 0)
            .then(|| Duration::from_secs(u64::from(ssh.connect_timeout))),
        root: if ssh.become_root {
            Become::Sudo {
                password: secrets.get(ssh.become_password.as_ref()),
            }
        } else {
            Become::No
        },
        password: secrets.get(ssh.password.as_ref()),
        passphrase: secrets.get(ssh.identity_passphrase.as_ref()),
        ..Target::new(host.name.clone(), address)
    }
}

/// The bastions: names of the inventory become the address, user and port that it gives them.
fn jumps(inventory: &Inventory, jump: &str) -> Vec<String> {
    let one = |name: &str| {
        let Some(bastion) = inventory.host(name) else {
            return name.to_owned();
        };
        let address = bastion.address.as_deref().unwrap_or(&bastion.name);
        let user = bastion.ssh.user.as_ref();
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let port = bastion
            .ssh
            .port
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        format!("{user}{address}{port}")
    };
    jump.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(one)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_config_reads_none() {
        let config = |value: &str| {
            let text = format!(
                "[cluster]\nname = \"t\"\n[ssh]\n{value}\n[[host]]\nname = \"m1\"\n\
                 address = \"192.0.2.1\"\nrole = \"manager\"\n"
            );
            let (inventory, _) = inventory::parse(&text, "/x/skep.toml".as_ref());
            let inventory = inventory.unwrap();
            target(&inventory, &inventory.hosts[0], &Secrets::default()).config
        };
        assert_eq!(config(""), None);
        assert_eq!(config("config = \"\""), Some("/dev/null".into()));
        assert_eq!(config("config = \"my\""), Some("/x/my".into()));
    }
}
