//! The lock of a simulated cluster: on each manager that can be reached, for as long as its guard lives.

use super::{SimFleet, World};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct SimLock<'a> {
    fleet: &'a SimFleet,
    owner: String,
    hosts: Vec<String>,
}

impl SimFleet {
    /// Takes the lock on `managers`, in this order; one that cannot be reached is passed over.
    ///
    /// # Errors
    ///
    /// Who holds it.
    pub fn take_lock(&self, managers: &[String], owner: &str) -> Result<SimLock<'_>, String> {
        let mut lock = SimLock {
            fleet: self,
            owner: owner.to_owned(),
            hosts: Vec::new(),
        };
        for name in managers {
            match self.with(|world| world.lock(name, owner)) {
                Locked::Away => {}
                Locked::Ours => lock.hosts.push(name.clone()),
                // What was taken until here is let go of.
                Locked::Taken(other) => return Err(other),
            }
        }
        Ok(lock)
    }
}

/// What a host said when it was asked for the lock.
enum Locked {
    Away,
    Ours,
    Taken(String),
}

impl World {
    fn lock(&mut self, name: &str, owner: &str) -> Locked {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.up) else {
            return Locked::Away;
        };
        if let Some(other) = &host.locked_by {
            return Locked::Taken(other.clone());
        }
        host.locked_by = Some(owner.to_owned());
        Locked::Ours
    }
}

impl SimLock<'_> {
    /// Whether a host holds it that another run would ask too.
    pub fn is_held(&self) -> bool {
        self.fleet.with(|world| {
            let mut hosts = self.hosts.iter().filter_map(|name| world.hosts.get(name));
            hosts.any(|host| host.up && host.locked_by.as_ref() == Some(&self.owner))
        })
    }
}

impl Drop for SimLock<'_> {
    fn drop(&mut self) {
        self.fleet.with(|world| {
            for name in &self.hosts {
                let host = world.hosts.get_mut(name);
                if let Some(host) = host.filter(|host| host.locked_by.as_ref() == Some(&self.owner))
                {
                    host.locked_by = None;
                }
            }
        });
    }
}
