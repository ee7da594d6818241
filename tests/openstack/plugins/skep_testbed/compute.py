"""nova-compute with Nova's own fake driver, for several hosts in one process.

Usage: `python3 -m skep_testbed.compute HOST... -- OPTIONS OF NOVA-COMPUTE`. A server group with
anti-affinity wants hosts, and a process for each takes 130 MB and seconds of both processors.
"""

import io
import sys

from nova import service
from nova.cmd import compute
from nova.image import glance
from nova.virt import fake


def snapshot(driver, context, instance, image_id, update_task_state):
    """As the driver's own, but the image gets content: without, it stays `queued` for ever."""
    take_nothing(driver, context, instance, image_id, update_task_state)
    glance.API().update(
        context,
        image_id,
        {"disk_format": "raw", "container_format": "bare", "properties": {}},
        data=io.BytesIO(b"a snapshot of " + instance.uuid.encode()),
        purge_props=False,
    )


def main():
    split = sys.argv.index("--")
    hosts = sys.argv[1:split]
    # Nova takes the service's name from the program's.
    sys.argv = ["nova-compute", *sys.argv[split + 1 :]]

    create, serve = service.Service.create, service.serve

    def serve_all(_server):
        servers = [
            create(host=host, binary="nova-compute", topic="compute") for host in hosts
        ]
        serve(servers[0])
        for server in servers[1:]:
            service._launcher.launch_service(server)

    # `compute.main` makes one service, for the host of the configuration; it is not started.
    service.Service.create = lambda **_: None
    service.serve = serve_all
    compute.main()


take_nothing = fake.FakeDriver.snapshot
fake.FakeDriver.snapshot = snapshot

if __name__ == "__main__":
    main()
