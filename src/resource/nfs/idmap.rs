//! The domain of NFS's names of users and groups, the same on servers and clients.

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::Host;
use crate::plan::{NfsStep, Step};
use crate::resource::{Draft, Resource, Verdict};

use super::Mend;

/// Read by nfs-utils from 2.5 on after `/etc/idmapd.conf`, over which it holds (tried with 2.6.2:
/// `nfsidmap -d` prints this file's domain also where the other names one).
const FILE: &str = "/etc/idmapd.conf.d/skep.conf";
const MARK: &str = "# Made by skep from [nfs]; changes here are lost.\n";

/// The domain of names.
#[derive(Debug, Clone, Copy)]
pub struct NfsIdmap<'a> {
    domain: Option<&'a str>,
}

impl<'a> NfsIdmap<'a> {
    /// The domain of `host`.
    pub fn new(host: &'a Host) -> Self {
        Self {
            domain: host.nfs_domain.as_deref(),
        }
    }
}

impl Resource for NfsIdmap<'_> {
    fn name(&self) -> &'static str {
        "nfs.idmap"
    }

    fn probes(&self) -> Probes {
        Probes::from([Probe::File(FILE.to_owned())])
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let mut mend = Mend::default();
        let (changed, summary) = match self.domain {
            Some(domain) => (
                mend.file(
                    facts,
                    FILE,
                    &format!("{MARK}[General]\nDomain = {domain}\n"),
                ),
                format!("set the domain of NFS names to {domain}"),
            ),
            None => (
                mend.no_file(facts, FILE, MARK),
                "leave the domain of NFS names to the host".to_owned(),
            ),
        };
        match changed {
            Err(why) => Verdict::Unknown(why),
            Ok(false) => Verdict::Same,
            Ok(true) => {
                mend.steps.push(Step::Nfs(NfsStep::ReadDomain));
                Verdict::Change(Draft::safe(summary, mend.diff, mend.steps))
            }
        }
    }
}
