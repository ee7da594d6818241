//! Drills: failures that are practised on a cluster of the lab.
//!
//! All of it is pure: which drills there are, what one does to whom ([`script`]), whether a cluster
//! may be used for it ([`fit`]), what comes of what is seen meanwhile ([`watch`]), and what is to be
//! told of it in the end ([`findings`]).

pub mod findings;
pub mod fit;
pub mod script;
pub mod watch;

use std::fmt;

use serde::Serialize;

/// A failure that can be practised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drill {
    /// The leader loses its power, and comes back.
    OneManager,
    /// Two of three managers are lost for good.
    TwoManagers,
    /// A worker loses its power, and comes back.
    OneWorker,
    /// Two workers lose their power, and come back.
    TwoWorkers,
    /// The network is cut between two parts of the cluster.
    Split,
    /// The disk of a worker is lost.
    Storage,
    /// The hosts whose folders are mounted over NFS lose their power, and come back.
    FileServer,
    /// All hosts lose their power at once.
    PowerCut,
}

impl Drill {
    /// All of them, the mild ones first.
    pub const ALL: [Self; 8] = [
        Self::OneWorker,
        Self::TwoWorkers,
        Self::FileServer,
        Self::OneManager,
        Self::Split,
        Self::Storage,
        Self::TwoManagers,
        Self::PowerCut,
    ];

    /// The drill of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|drill| drill.name() == name)
    }

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneManager => "one-manager",
            Self::TwoManagers => "two-managers",
            Self::OneWorker => "one-worker",
            Self::TwoWorkers => "two-workers",
            Self::Split => "split",
            Self::Storage => "storage",
            Self::FileServer => "file-server",
            Self::PowerCut => "power-cut",
        }
    }

    /// What happens.
    pub fn what(self) -> &'static str {
        match self {
            Self::OneManager => "the leader loses its power",
            Self::TwoManagers => "two managers are lost for good",
            Self::OneWorker => "a worker loses its power",
            Self::TwoWorkers => "two workers lose their power",
            Self::Split => "the network is cut between two parts",
            Self::Storage => "the disk of a worker is lost",
            Self::FileServer => "the file server loses its power",
            Self::PowerCut => "all hosts lose their power at once",
        }
    }

    /// What heals it, before all that `skep up` does.
    pub fn healed_by(self) -> &'static str {
        match self {
            Self::OneManager | Self::OneWorker | Self::FileServer => "switching it on",
            Self::TwoWorkers | Self::PowerCut => "switching them on",
            Self::TwoManagers => "`skep recover`",
            Self::Split => "mending it",
            Self::Storage => "joining it anew",
        }
    }

    /// What the cluster must have for it, for people.
    pub fn needs(self) -> &'static str {
        match self {
            Self::OneManager => "3+ managers",
            Self::TwoManagers => "3 managers",
            Self::OneWorker | Self::Storage => "1+ workers",
            Self::TwoWorkers => "2+ workers",
            Self::Split => "3+ managers, odd",
            Self::FileServer => "an NFS server",
            Self::PowerCut => "any",
        }
    }

    /// About how many seconds it takes with five containers on two processors, as measured; that of the
    /// file server with two virtual machines without KVM, since containers cannot serve NFS everywhere.
    pub fn about(self) -> u32 {
        match self {
            Self::Storage => 30,
            Self::OneWorker => 35,
            Self::TwoWorkers => 40,
            Self::PowerCut => 50,
            Self::OneManager => 75,
            Self::Split | Self::FileServer => 90,
            Self::TwoManagers => 140,
        }
    }

    /// Why it cannot be done with so many managers and workers, and hosts whose folders they mount; `None`
    /// where it can.
    pub fn unfit(self, managers: usize, workers: usize, servers: usize) -> Option<String> {
        let is_fit = match self {
            Self::FileServer => {
                return (servers == 0).then(|| {
                    "no member mounts a folder (`[[nfs.mount]]`) of a host that is not in the swarm"
                        .to_owned()
                });
            }
            Self::OneManager => managers >= 3,
            Self::TwoManagers => managers == 3,
            Self::OneWorker | Self::Storage => workers >= 1,
            Self::TwoWorkers => workers >= 2,
            // An even number has no smaller part that is not half of them.
            Self::Split => managers >= 3 && managers % 2 == 1,
            Self::PowerCut => true,
        };
        (!is_fit).then(|| {
            format!(
                "it needs {}; there are managers {managers}, workers {workers}",
                self.needs()
            )
        })
    }
}

impl fmt::Display for Drill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drill_is_found_by_its_name() {
        for drill in Drill::ALL {
            assert_eq!(Drill::named(drill.name()), Some(drill));
        }
        assert_eq!(Drill::named("fire"), None);
    }

    #[test]
    fn what_a_drill_needs_is_told_with_the_numbers() {
        let fit = |managers, workers, servers| -> Vec<&str> {
            let fit = Drill::ALL.into_iter();
            let fit = fit.filter(|it| it.unfit(managers, workers, servers).is_none());
            fit.map(Drill::name).collect()
        };
        assert_eq!(fit(1, 0, 0), ["power-cut"]);
        assert_eq!(fit(1, 0, 1), ["file-server", "power-cut"]);
        assert_eq!(
            fit(1, 2, 0),
            ["one-worker", "two-workers", "storage", "power-cut"]
        );
        assert_eq!(fit(3, 2, 1).len(), Drill::ALL.len());
        assert_eq!(fit(5, 0, 0), ["one-manager", "split", "power-cut"]);
        assert_eq!(
            Drill::TwoManagers.unfit(5, 1, 0).unwrap(),
            "it needs 3 managers; there are managers 5, workers 1"
        );
    }
}
