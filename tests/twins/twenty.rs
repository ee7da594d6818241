//! The twenty tales. They follow one another on the same five hosts, and each leaves the swarm whole.

use super::tale::Act::{Boot, CutOff, File, Kill, Killed, Leave, Mend, Service, StopEngine};
use super::tale::End::{Done, Failed, Refused};
use super::tale::{LEADERLESS, Tale, skep, then};

/// The inventory that each tale comes back to.
pub(crate) const ALL: &str = "m1 m2 m3 / w1 w2";
/// And the swarm.
const WHOLE: &str = "m1 m2 m3 / w1 w2 / 3";

pub(crate) const TWENTY: [Tale; 20] = [
    Tale {
        name: "a swarm is made and grows",
        scenes: &[
            then(File("m1 / w1"), ""),
            skep("up", Done, "m1 / w1 / 0"),
            then(File(ALL), "m1 / w1 / 0"),
            skep("up", Done, "m1 m2 m3 / w1 w2 / 0"),
            then(Service(3), WHOLE),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "work goes away and comes back",
        scenes: &[
            skep("node drain w1 w2", Done, "m1 m2 m3 / w1- w2- / 3"),
            skep("node drain w1", Done, "m1 m2 m3 / w1- w2- / 3"),
            skep("node activate w1 w2", Done, WHOLE),
            skep("rebalance web", Done, WHOLE),
            skep("rebalance nothing", Failed, WHOLE),
            skep("node drain nobody", Refused, WHOLE),
        ],
    },
    Tale {
        name: "workers become managers and workers again",
        scenes: &[
            skep("node promote w1 w2", Done, "m1 m2 m3 w1 w2 / / 3"),
            skep("node promote w1", Done, "m1 m2 m3 w1 w2 / / 3"),
            skep("node demote w1 w2", Done, WHOLE),
        ],
    },
    Tale {
        name: "an even number of managers",
        scenes: &[
            skep("node demote m3", Refused, WHOLE),
            then(File("m1 m2 / m3 w1 w2"), WHOLE),
            skep("up", Refused, WHOLE),
            then(File(ALL), WHOLE),
        ],
    },
    Tale {
        name: "managers are demoted until one is left",
        scenes: &[
            skep(
                "node demote m3 --keep-inventory",
                Done,
                "m1 m2 / m3 w1 w2 / 3",
            ),
            skep(
                "node demote m2 --keep-inventory",
                Done,
                "m1 / m2 m3 w1 w2 / 3",
            ),
            skep(
                "node demote m1 --keep-inventory",
                Refused,
                "m1 / m2 m3 w1 w2 / 3",
            ),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "two of three managers in one edit, and skep is killed on the way",
        scenes: &[
            then(File("m1 / m2 m3 w1 w2"), WHOLE),
            then(Killed("up", 2), ""),
            skep("up", Done, "m1 / m2 m3 w1 w2 / 3"),
            then(File(ALL), "m1 / m2 m3 w1 w2 / 3"),
            then(Killed("up", 2), ""),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "a worker leaves, is cut off meanwhile, and comes again",
        scenes: &[
            then(CutOff("w2", 2, "node remove w2"), ""),
            then(Mend("w2"), ""),
            skep("node remove w2", Done, "m1 m2 m3 / w1 / 3"),
            skep("up", Done, "m1 m2 m3 / w1 / 3"),
            skep("node add w2", Done, WHOLE),
        ],
    },
    Tale {
        name: "a worker that the file does not name any more",
        scenes: &[
            then(File("m1 m2 m3 / w1"), WHOLE),
            skep("up", Done, WHOLE),
            skep("up --prune", Done, "m1 m2 m3 / w1 / 3"),
            then(File(ALL), "m1 m2 m3 / w1 / 3"),
            skep("up", Refused, "m1 m2 m3 / w1 / 3"),
            then(Leave("w2"), "m1 m2 m3 / w1 / 3"),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "managers that the file does not name any more",
        scenes: &[
            then(File("m1 / w1 w2"), WHOLE),
            skep("up --prune", Done, "m1 / w1 w2 / 3"),
            then(Leave("m2"), "m1 / w1 w2 / 3"),
            then(Leave("m3"), "m1 / w1 w2 / 3"),
            then(File(ALL), "m1 / w1 w2 / 3"),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "a worker dies and comes back",
        scenes: &[
            then(Kill("w2"), "m1 m2 m3 / w1 w2! / 3"),
            skep("up", Failed, "m1 m2 m3 / w1 w2! / 3"),
            skep("node drain w2", Done, "m1 m2 m3 / w1 w2-! / 3"),
            then(Boot("w2"), "m1 m2 m3 / w1 w2- / 3"),
            skep("node activate w2", Done, WHOLE),
        ],
    },
    Tale {
        name: "with one manager lost no other is spared, and none is added",
        scenes: &[
            then(Kill("m3"), "m1 m2 m3! / w1 w2 / 3"),
            skep(
                "node demote m2 --keep-inventory",
                Refused,
                "m1 m2 m3! / w1 w2 / 3",
            ),
            skep("node promote w1 w2", Refused, "m1 m2 m3! / w1 w2 / 3"),
            skep("node drain w1", Done, "m1 m2 m3! / w1- w2 / 3"),
            then(Boot("m3"), "m1 m2 m3 / w1- w2 / 3"),
            skep("node activate w1", Done, WHOLE),
        ],
    },
    Tale {
        name: "the dead are taken out, and let in as new ones",
        scenes: &[
            then(Kill("m3 w2"), "m1 m2 m3! / w1 w2! / 3"),
            skep("node remove m3 w2 --keep-inventory", Done, "m1 m2 / w1 / 3"),
            skep("up", Failed, "m1 m2 / w1 / 3"),
            then(Boot("m3 w2"), "m1 m2 / w1 / 3"),
            skep("up", Refused, "m1 m2 / w1 / 3"),
            then(Leave("m3"), "m1 m2 / w1 / 3"),
            skep("up", Refused, "m1 m2 / w1 / 3"),
            then(Leave("w2"), "m1 m2 / w1 / 3"),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "a dead manager is replaced",
        scenes: &[
            skep("node remove w2", Done, "m1 m2 m3 / w1 / 3"),
            then(Kill("m3"), "m1 m2 m3! / w1 / 3"),
            skep("node replace m3 w2", Done, "m1 m2 w2 / w1 / 3"),
            then(Boot("m3"), "m1 m2 w2 / w1 / 3"),
            then(Leave("m3"), "m1 m2 w2 / w1 / 3"),
            then(File(ALL), "m1 m2 w2 / w1 / 3"),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "the quorum is lost and comes back",
        scenes: &[
            then(Kill("m2 m3"), LEADERLESS),
            skep("up", Refused, LEADERLESS),
            skep("node drain w1", Refused, LEADERLESS),
            then(Boot("m2"), "m1 m2 m3! / w1 w2 / 3"),
            then(Boot("m3"), WHOLE),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "a worker's engine is stopped",
        scenes: &[
            then(StopEngine("w1"), "m1 m2 m3 / w1! w2 / 3"),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "a manager's engine is stopped",
        scenes: &[
            then(StopEngine("m2"), "m1 m2! m3 / w1 w2 / 3"),
            skep(
                "node demote m3 --keep-inventory",
                Refused,
                "m1 m2! m3 / w1 w2 / 3",
            ),
            skep("up", Done, WHOLE),
        ],
    },
    Tale {
        name: "skep is killed while it drains, and while it promotes",
        scenes: &[
            then(Killed("node drain w1 w2", 1), ""),
            skep("node drain w1 w2", Done, "m1 m2 m3 / w1- w2- / 3"),
            skep("node activate w1 w2", Done, WHOLE),
            then(Killed("node promote w1 w2", 2), ""),
            skep("node promote w1 w2", Done, "m1 m2 m3 w1 w2 / / 3"),
            then(Killed("node demote w1 w2", 3), ""),
            skep("node demote w1 w2", Done, WHOLE),
        ],
    },
    Tale {
        name: "cut off while it is drained, and while it gets work again",
        scenes: &[
            then(CutOff("w1", 1, "node drain w1 w2"), ""),
            then(Mend("w1"), ""),
            skep("node drain w1 w2", Done, "m1 m2 m3 / w1- w2- / 3"),
            then(CutOff("w1", 1, "node activate w1 w2"), ""),
            then(Mend("w1"), ""),
            skep("node activate w1 w2", Done, WHOLE),
        ],
    },
    Tale {
        name: "cut off while it is promoted, and while it is demoted",
        scenes: &[
            then(CutOff("w1", 1, "node promote w1 w2"), ""),
            then(Mend("w1"), ""),
            skep("node promote w1 w2", Done, "m1 m2 m3 w1 w2 / / 3"),
            then(CutOff("w1", 1, "node demote w1 w2"), ""),
            then(Mend("w1"), ""),
            skep("node demote w1 w2", Done, WHOLE),
        ],
    },
    Tale {
        name: "cut off while it joins",
        scenes: &[
            skep("node remove w2", Done, "m1 m2 m3 / w1 / 3"),
            then(CutOff("w2", 1, "node add w2"), ""),
            then(Mend("w2"), ""),
            skep("up", Done, WHOLE),
        ],
    },
];
