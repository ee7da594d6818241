//! What happens to simulated hosts from outside: power, networks, people at a keyboard.

use crate::plan::LabCall;

use super::world::{SimHost, World, start};

/// How many steps of anybody it takes until all that goes on in a swarm has come to its end.
const SETTLED: usize = 8;

impl World {
    /// Takes the power of a host away or gives it back, as far as there is such a host.
    pub fn power(&mut self, name: &str, on: bool) {
        self.change(name, |host| {
            host.up = on;
            host.stop();
            host.locked_by = None;
            if on {
                host.boot();
            }
        });
    }

    /// Cuts the network of a host, or mends it. All that runs on it goes on.
    pub fn reach(&mut self, name: &str, on: bool) {
        self.change(name, |host| host.up = on);
    }

    /// What is done to a host of a lab. A cut takes it away from everybody here.
    pub(super) fn lab(&mut self, name: &str, call: &LabCall) {
        match call {
            LabCall::Create | LabCall::Start => self.power(name, true),
            LabCall::Off => self.power(name, false),
            LabCall::Part { .. } => self.reach(name, false),
            LabCall::Join => self.reach(name, true),
            LabCall::Destroy => {
                let address = self.hosts.get(name).map(|host| host.address.clone());
                self.add(name, &address.unwrap_or_default());
                self.power(name, false);
            }
            LabCall::EmptyDisk => self.leave_by_hand(name),
        }
    }

    /// Stops the engine of a host.
    pub fn stop_engine(&mut self, name: &str) {
        self.change(name, SimHost::stop);
    }

    /// Makes a host leave its swarm by force, of which the managers hear nothing.
    pub fn leave_by_hand(&mut self, name: &str) {
        self.change(name, |host| host.member = None);
    }

    /// A swarm that somebody made by hand on `name`, of which skep knows nothing.
    pub fn make_swarm(&mut self, name: &str) {
        self.change(name, |host| {
            let package = ("20.10.24".to_owned(), false);
            host.packages.insert("docker.io".to_owned(), package);
            host.engine_enabled = true;
            start(host, false);
        });
        self.init(name);
    }

    /// Lets all that goes on in the swarms come to its end.
    pub fn settle(&mut self) {
        for _ in 0..SETTLED {
            self.let_time_pass();
        }
    }

    /// How many tasks of a service run.
    pub fn running(&self, cluster: &str, service: &str) -> usize {
        let places = self.places(cluster);
        let tasks = self.services.get(service).map(|service| &service.tasks);
        let tasks = tasks.into_iter().flatten();
        tasks.filter(|node| places.contains(node)).count()
    }

    fn change(&mut self, name: &str, act: impl FnOnce(&mut SimHost)) {
        if let Some(host) = self.hosts.get_mut(name) {
            act(host);
        }
    }
}
