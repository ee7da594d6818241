//! Simulated machines that are switched on and off.

use crate::fleet::Fault;
use crate::plan::{PowerCall, PowerWay};

use super::world::{World, fail};

impl World {
    /// Switches a machine on or off. Buttons are pressed by the story, and by nobody here.
    pub(super) fn switch(&mut self, name: &str, call: &PowerCall) -> Result<(), Fault> {
        let broken = self.no_power.contains(name);
        let host = self.hosts.get_mut(name);
        let host = host.ok_or_else(|| super::unreachable(name))?;
        match call {
            PowerCall::On {
                way: PowerWay::Person { .. },
            } => {}
            PowerCall::On { .. } if broken => {}
            PowerCall::On { .. } => {
                if !host.up {
                    host.up = true;
                    host.boot();
                }
            }
            PowerCall::Cut { way } if !way.cuts() => return Err(fail("nobody can")),
            PowerCall::ShutDown { .. } if !host.up => return Err(super::unreachable(name)),
            PowerCall::Cut { .. } | PowerCall::ShutDown { .. } => {
                host.stop();
                host.up = false;
            }
        }
        Ok(())
    }
}
