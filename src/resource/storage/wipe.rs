//! Erasing the one device that `--wipe` names.

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Host, Storage};
use crate::plan::script::claim_path;
use crate::plan::{Diff, Risk, Step, StorageCall};
use crate::resource::{Draft, Resource, Verdict};

use super::GROUP;
use super::device::{self, State, Trouble};

/// The device that this run may erase.
#[derive(Debug, Clone, Copy)]
pub struct StorageWipe<'a> {
    storage: &'a Storage,
    device: &'a str,
}

impl<'a> StorageWipe<'a> {
    /// The device that this run may erase on the host, where it may.
    pub fn of(host: &'a Host) -> Option<Self> {
        Some(Self {
            storage: host.storage.as_ref()?,
            device: host.wipe.as_deref()?,
        })
    }
}

impl Resource for StorageWipe<'_> {
    fn name(&self) -> &'static str {
        "docker.wipe"
    }

    fn probes(&self) -> Probes {
        Probes::from([
            Probe::Lvm,
            Probe::BlockDevice(self.device.to_owned()),
            Probe::File(claim_path(self.device)),
        ])
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let path = self.device;
        let group = match self.storage {
            Storage::DirectLvm(_) | Storage::Lvm(_) => Some(GROUP),
            Storage::Disk(_) => None,
        };
        let refuse = |why: String| {
            Verdict::Refuse {
            why,
            hint: "`--wipe` erases only a device that nobody uses: unmount it, `swapoff` it, `vgchange -an` or `mdadm --stop` what is made of it, on the host.".to_owned(),
        }
        };
        match device::state(facts, path, self.storage.size(), group) {
            Ok(State::Empty) => return Verdict::Same,
            Ok(State::Member) => {
                return refuse(format!(
                    "`{path}` is not erased: it is in the volume group that the engine uses"
                ));
            }
            Ok(State::Ours(_) | State::Other(_)) => {}
            Err(Trouble::Unknown(why)) => return Verdict::Unknown(why),
            Err(Trouble::Refused(why)) => return refuse(why),
        }
        let device = match device::known(facts, path) {
            Ok(device) => device,
            Err(Trouble::Unknown(why)) => return Verdict::Unknown(why),
            Err(Trouble::Refused(why)) => return refuse(why),
        };
        let reasons = device::in_the_way(device, self.storage.size());
        if !reasons.is_empty() {
            return refuse(format!("`{path}` is not erased: {}", reasons.join("; ")));
        }
        let holds = device::holds(device, facts.lvm.as_ref().value().copied()).join(", ");
        let id = device::identity(path, device);
        Verdict::Change(Draft {
            risk: Risk::Destructive,
            ..Draft::safe(
                format!("ERASE everything on {path}: {id}, now holds: {holds}"),
                vec![Diff::Value {
                    name: format!("{path} ({id})"),
                    old: Some(holds.clone()),
                    new: None,
                }],
                vec![Step::Storage(StorageCall::Wipe { device: id, holds })],
            )
        })
    }
}
