"""What a cloud's operator makes before its users come, over the APIs as an operator does.

Usage: `python3 -m harness.seed identity | cloud fake|real | ready fake|real`.
"""

import sys

import openstack
from harness.place import CACHE, FAKE_HOSTS, PASSWORD, REAL_HOST, until

URLS = {
    "compute": "http://127.0.0.1:8774/v2.1",
    "image": "http://127.0.0.1:9292",
    "network": "http://127.0.0.1:9696",
    "placement": "http://127.0.0.1:8778",
    "volumev3": "http://127.0.0.1:8776/v3/%(project_id)s",
}
NAMES = {
    "compute": "nova",
    "image": "glance",
    "network": "neutron",
    "placement": "placement",
    "volumev3": "cinderv3",
}
#: Name, MB of memory, GB of disk, processors. The last fits on no host, and no quota says so.
FLAVORS = [
    ("m1.tiny", 512, 3, 1),
    ("m1.small", 1024, 6, 1),
    ("m1.medium", 2048, 12, 2),
    ("m1.huge", 512, 100_000_000, 1),
]
#: TEST-NET-2 of RFC 5737: inside the cloud's namespaces it is nobody's.
OUTSIDE = {
    "cidr": "198.51.100.0/24",
    "gateway_ip": "198.51.100.1",
    "allocation_pools": [{"start": "198.51.100.50", "end": "198.51.100.250"}],
}


def identity(cloud):
    """The services' user, the tenant's user, and the catalogue."""
    keystone = cloud.identity
    roles = {role.name: role for role in keystone.roles()}
    if "service" not in roles:
        roles["service"] = keystone.create_role(name="service")
    for project, user, granted in (
        ("services", "services", ("admin", "service")),
        ("demo", "demo", ("member", "reader")),
    ):
        made = keystone.create_project(name=project, domain_id="default")
        who = keystone.create_user(
            name=user, password=PASSWORD, domain_id="default", default_project_id=made.id
        )
        for role in granted:
            keystone.assign_project_role_to_user(made, who, roles[role])
    for kind, url in URLS.items():
        service = keystone.create_service(type=kind, name=NAMES[kind])
        for interface in ("public", "internal", "admin"):
            keystone.create_endpoint(
                service_id=service.id, interface=interface, url=url, region_id="RegionOne"
            )


def resources(cloud, mode):
    """Flavors, the outside network and the images."""
    for name, memory, disk, processors in FLAVORS:
        cloud.compute.create_flavor(name=name, ram=memory, disk=disk, vcpus=processors)
    # Shared, so that a server may also sit on it without a floating IP.
    public = cloud.network.create_network(
        name="public",
        is_router_external=True,
        is_shared=True,
        provider_network_type="flat",
        provider_physical_network="outside",
    )
    cloud.network.create_subnet(
        network_id=public.id, name="public", ip_version=4, is_dhcp_enabled=True, **OUTSIDE
    )
    cloud.create_image(
        "tiny",
        data=bytes(1 << 20),
        disk_format="raw",
        container_format="bare",
        visibility="public",
        os_distro="none",
        wait=True,
    )
    if mode == "real":
        cloud.create_image(
            "debian",
            filename=str(CACHE / "guest.qcow2"),
            disk_format="qcow2",
            container_format="bare",
            visibility="public",
            min_disk=2,
            os_distro="debian",
            os_version="12",
            hw_rng_model="virtio",
            wait=True,
            timeout=600,
        )


def ready(cloud, mode):
    """Waits until servers and volumes can be made, and puts the hosts into their zones."""
    zones = {"a": [REAL_HOST]} if mode == "real" else FAKE_HOSTS
    hosts = {host for some in zones.values() for host in some}

    def up(services, binary):
        return {
            service["host"]
            for service in services.get("/os-services").json()["services"]
            if service["binary"] == binary and service["state"] == "up"
        }

    def known():
        answer = cloud.compute.get("/os-hypervisors").json()
        # Both: a service that reports, and a host that is mapped to its cell.
        names = {each["hypervisor_hostname"] for each in answer["hypervisors"]}
        return hosts <= up(cloud.compute, "nova-compute") and len(names) >= len(hosts)

    until("the compute hosts are known", known, 300)
    until("cinder-volume is up", lambda: up(cloud.block_storage, "cinder-volume"), 300)

    def pools():
        return cloud.block_storage.get("/scheduler-stats/get_pools").json()["pools"]

    # A service that is up may not have told the scheduler yet what it has: a volume that is asked for
    # then ends in error, with "No weighed backends available".
    until("the scheduler of volumes knows a pool", pools, 300)
    if mode == "real":
        # Linux bridge, DHCP, L3, metadata.
        until("four agents are alive", lambda: _alive(cloud) == 4, 300)
    for zone, some in zones.items():
        aggregate = cloud.compute.create_aggregate(name=zone, availability_zone=zone)
        for host in some:
            cloud.compute.add_host_to_aggregate(aggregate, host)


def _alive(cloud):
    return sum(agent.is_alive for agent in cloud.network.agents())


if __name__ == "__main__":
    step, mode = sys.argv[1], (sys.argv[2:] or [""])[0]
    connection = openstack.connect(cloud="admin")
    {
        "identity": lambda: identity(connection),
        "cloud": lambda: resources(connection, mode),
        "ready": lambda: ready(connection, mode),
    }[step]()
