//! The swarm's settings: those that are fixed when it is made, and those that can change.

use super::cluster::Cluster;

/// The settings of the new swarm.
pub(crate) const AT_INIT: &str = "\
default-addr-pool = [\"10.210.0.0/16\"]
subnet-size = 26
data-path-port = 5789
advertise-interface = \"eth0\"
data-path = \"eth0\"
cert-expiry = \"30d\"
task-history = 3";

/// What the managers say of the swarm.
const SAYS: &str = "docker info --format '{{with .Swarm.Cluster}}{{.DefaultAddrPool}} {{.SubnetSize}} {{.DataPathPort}} \
                    {{.Spec.CAConfig.NodeCertExpiry.Hours}} {{.Spec.Orchestration.TaskHistoryRetentionLimit}} \
                    {{.Spec.EncryptionConfig.AutoLockManagers}}{{end}}'";

/// The new swarm is as it was asked for.
pub(crate) fn made(it: &Cluster) {
    assert_eq!(it.on("m1", SAYS), "[10.210.0.0/16] 26 5789 720 3 false");
    let networks = it.on(
        "m1",
        "docker network inspect ingress --format '{{range .IPAM.Config}}{{.Subnet}}{{end}}'",
    );
    assert_eq!(networks, "10.210.0.0/26");
    let own = it.on(
        "w1",
        "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'",
    );
    assert_eq!(
        it.on("w1", "docker info --format '{{.Swarm.NodeAddr}}'"),
        own
    );
    it.on(
        "m1",
        "docker node inspect w1 --format '{{.Spec.Labels}}' | grep -x 'map\\[zone:a\\]'",
    );
}

/// Settings, labels and availability that changed, in the inventory or by hand, are put right.
pub(crate) fn changed(it: &Cluster, inventory: &str) {
    it.on(
        "m1",
        "docker node update --label-add zone=wrong --label-add mine=yes w1 >/dev/null",
    );
    let swarm = "[swarm]\nautolock = true\ncert-expiry = 60\ntask-history = 7";
    let inventory = inventory.replace("[swarm]", swarm).replace(
        "labels = { zone",
        "availability = \"drain\"\nlabels = { zone",
    );
    it.inventory(&inventory);
    it.skep(["up", "--yes"]).said(
        0,
        &[
            "autolock: false -> true",
            "30 days -> 60 days",
            "task-history: 3 -> 7",
            "zone: wrong -> a",
            "availability: active -> drain",
        ],
    );
    it.is_converged();
    assert_eq!(it.on("m1", SAYS), "[10.210.0.0/16] 26 5789 1440 7 true");
    let node = it.on("m1", "docker node inspect w1 --format '{{.Spec.Availability}} {{.Spec.Labels.zone}} {{.Spec.Labels.mine}}'");
    assert_eq!(node, "drain a yes");

    // What was fixed when the swarm was made is told of and left.
    it.inventory(&inventory.replace("[swarm]", "[swarm]\ndata-path-port = 6789"));
    it.skep(["plan"])
        .said(0, &["`data-path-port` of the inventory differs"]);
}
