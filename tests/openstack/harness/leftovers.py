"""Everything that the project `demo` has, one line each: `tests/openstack/leftovers`.

What the cloud itself gives every project (the security group `default`) is not listed.
"""

import openstack


def kinds(cloud, project):
    """Each kind with what there is of it."""
    own = {"project_id": project}
    network, volume, compute = cloud.network, cloud.block_storage, cloud.compute
    yield "server", compute.servers()
    yield "server-group", compute.server_groups()
    yield "keypair", compute.keypairs()
    yield "floating-ip", network.ips(**own)
    yield "trunk", network.trunks(**own)
    yield "port", network.ports(**own)
    yield "router", network.routers(**own)
    yield "subnet", network.subnets(**own)
    yield "network", network.networks(**own)
    groups = list(network.security_groups(**own))
    yield "security-group", (group for group in groups if group.name != "default")
    default = {group.id for group in groups if group.name == "default"}
    # Those of other groups go with them; these are somebody's additions.
    rules = network.security_group_rules(**own)
    yield "rule-of-default", (rule for rule in rules if added(rule, default))
    yield "volume", volume.volumes()
    yield "volume-snapshot", volume.snapshots()
    yield "volume-backup", volume.get("/backups").json().get("backups", [])
    yield "volume-transfer", volume.get("/os-volume-transfer").json().get("transfers", [])
    yield "image", cloud.image.images(owner=project)
    user = cloud.current_user_id
    yield "application-credential", cloud.identity.application_credentials(user)


def added(rule, default):
    """Whether a rule of a group in `default` is not one that such a group is born with."""
    if rule.security_group_id not in default:
        return False
    born = rule.direction == "egress" or rule.remote_group_id == rule.security_group_id
    return not born or rule.protocol is not None


def leftovers():
    cloud = openstack.connect(cloud="demo")
    for kind, things in kinds(cloud, cloud.current_project_id):
        for thing in things:
            print(kind, thing["id"], thing["name"] or "-", sep="\t")


if __name__ == "__main__":
    leftovers()
