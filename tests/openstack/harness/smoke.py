"""Whether the cloud itself is fit to test with: `tests/openstack/smoke`.

As the plain user it makes one of everything, looks at it, deletes it, and finds nothing left. On a
cloud of real hosts it logs in on the server through its floating IP and looks at what is inside.
"""

import base64
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import openstack
from harness.leftovers import kinds
from harness.place import RUN, Failed, main, say, until

USER_DATA = "#cloud-config\nruncmd:\n- [sh, -c, 'echo user-data of $(hostname) >/etc/smoke']\n"
#: A number of its own for each run, so that another's things are never taken for its own.
NAME = f"smoke-{time.time_ns() % 1_000_000:06}"


class Smoke:
    def __init__(self):
        self.real = (RUN / "ready").read_text() == "real"
        self.cloud = openstack.connect(cloud="demo")
        self.made = []

    def make(self, what, thing, delete):
        """Remembers how a thing is deleted again, the last one first."""
        self.made.append((what, thing.id, delete))
        return thing

    def everything(self):
        compute, network = self.cloud.compute, self.cloud.network
        volumes = self.cloud.block_storage
        self.key = self.make("keypair", compute.create_keypair(name=NAME), compute.delete_keypair)
        net = self.make("network", network.create_network(name=NAME), network.delete_network)
        subnet = network.create_subnet(
            network_id=net.id, name=NAME, ip_version=4, cidr="10.77.0.0/24"
        )
        router = network.create_router(
            name=NAME, external_gateway_info={"network_id": network.find_network("public").id}
        )
        self.make("router", router, network.delete_router)
        network.add_interface_to_router(router, subnet_id=subnet.id)
        self.made.append(
            (
                "router's interface",
                router.id,
                lambda id: network.remove_interface_from_router(id, subnet_id=subnet.id),
            )
        )
        group = network.create_security_group(name=NAME)
        self.group = self.make("security group", group, network.delete_security_group)
        for rule in ({"protocol": "icmp"}, {"protocol": "tcp", "port_range_min": 22}):
            network.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                port_range_max=rule.get("port_range_min"),
                **rule,
            )
        apart = compute.create_server_group(name=NAME, policies=["anti-affinity"])
        self.make("server group", apart, compute.delete_server_group)
        self.volume = volumes.create_volume(name=NAME, size=1)
        self.make("volume", self.volume, volumes.delete_volume)
        count = 1 if self.real else 2
        ports = [
            network.create_port(
                network_id=net.id,
                name=f"{NAME}-{number}",
                fixed_ips=[{"subnet_id": subnet.id, "ip_address": f"10.77.0.{10 + number}"}],
                security_groups=[group.id],
            )
            for number in range(count)
        ]
        for port in ports:
            self.make("port", port, network.delete_port)
        if not self.real:
            parent = network.create_port(network_id=net.id, name=f"{NAME}-trunk")
            self.make("port", parent, network.delete_port)
            trunk = network.create_trunk(name=NAME, port_id=parent.id)
            self.make("trunk", trunk, network.delete_trunk)
        self.servers = [self.server(port, number, apart) for number, port in enumerate(ports)]
        say("made; waiting for the servers")
        for server in self.servers:
            until(f"{server.name} is active", lambda: self.is_active(server), 600)
        say("the servers are active")
        public = network.find_network("public")
        self.address = network.create_ip(floating_network_id=public.id, port_id=ports[0].id)
        self.make("floating IP", self.address, network.delete_ip)
        until("the volume is there", lambda: self.volume_is("available"), 300)
        compute.create_volume_attachment(self.servers[0], volume_id=self.volume.id)
        until("the volume is attached", lambda: self.volume_is("in-use"), 300)
        say("a volume is attached")

    def server(self, port, number, apart):
        compute = self.cloud.compute
        image = self.cloud.image.find_image("debian" if self.real else "tiny")
        server = compute.create_server(
            name=f"{NAME}-{number}",
            image_id=image.id,
            flavor_id=compute.find_flavor("m1.small" if self.real else "m1.tiny").id,
            networks=[{"port": port.id}],
            key_name=self.key.name,
            availability_zone="a",
            user_data=base64.b64encode(USER_DATA.encode()).decode(),
            metadata={"skep": "smoke"},
            scheduler_hints={"group": apart.id},
        )
        return self.make("server", server, lambda id: self.gone(id))

    def is_active(self, server):
        now = self.cloud.compute.get_server(server.id)
        if now.status == "ERROR":
            raise Failed(f"{server.name} is in ERROR: {now.fault}")
        return now.status == "ACTIVE"

    def volume_is(self, status):
        now = self.cloud.block_storage.get_volume(self.volume.id)
        if now.status.startswith("error"):
            raise Failed(f"the volume is in {now.status}")
        return now.status == status

    def gone(self, server):
        self.cloud.compute.delete_server(server)
        until("a server is gone", lambda: not self.cloud.compute.find_server(server), 300)

    def look(self):
        """What only a cloud of fake hosts does in no time."""
        compute, volumes = self.cloud.compute, self.cloud.block_storage
        admin = openstack.connect(cloud="admin").compute
        hosts = {admin.get_server(each.id).hypervisor_hostname for each in self.servers}
        if len(hosts) != len(self.servers):
            raise Failed(f"anti-affinity, but all servers are on {hosts}")
        image = compute.create_server_image(self.servers[0], f"{NAME}-image")
        self.make("image", image, self.cloud.image.delete_image)
        until("the image is active", lambda: self.image_is_active(image), 120)
        snapshot = volumes.create_snapshot(volume_id=self.volume.id, name=NAME, is_forced=True)
        self.made.append(("volume snapshot", snapshot.id, self.no_snapshot))
        until(
            "the volume's snapshot is there",
            lambda: volumes.get_snapshot(snapshot.id).status == "available",
            120,
        )
        say("a snapshot of a server and one of a volume are made")

    def image_is_active(self, image):
        return self.cloud.image.get_image(image.id).status == "active"

    def no_snapshot(self, id):
        volumes = self.cloud.block_storage
        volumes.delete_snapshot(id)
        until("the snapshot is gone", lambda: not volumes.find_snapshot(id), 120)

    def log_in(self):
        """The server from inside, through its floating IP."""
        with tempfile.TemporaryDirectory() as folder:
            key = Path(folder) / "key"
            key.touch(0o600)
            key.write_text(self.key.private_key)
            # The server is seconds old and the network this test's own: there is nobody in between.
            options = "StrictHostKeyChecking=no UserKnownHostsFile=/dev/null ConnectTimeout=120"
            ssh = ["ssh", "-F", "/dev/null", "-i", str(key), "-o", "LogLevel=ERROR"]
            for option in options.split():
                ssh += ["-o", option]
            ssh.append(f"debian@{self.address.floating_ip_address}")

            def on(script):
                ran = subprocess.run(
                    [*ssh, script], capture_output=True, text=True, timeout=600, check=False
                )
                if ran.returncode:
                    raise RuntimeError(f"`{script}` ended with {ran.returncode}: {ran.stderr}")
                return ran.stdout.strip()

            until("SSH answers on the floating IP", lambda: on("true") == "", 1500)
            say("SSH answers on the floating IP")
            disk = f"/dev/disk/by-id/virtio-{self.volume.id[:20]}"
            for script, expected in (
                ("cloud-init status --wait >&2; cat /etc/smoke", f"user-data of {NAME}-0"),
                (f"lsblk --nodeps --noheadings --bytes --output SIZE {disk}", str(1 << 30)),
                ("cat /sys/class/net/eth0/mtu", "1450"),
                ("sudo docker info --format '{{.ServerVersion}}'", "20.10"),
                ("sudo docker swarm init >/dev/null && sudo docker node ls -q | wc -l", "1"),
            ):
                said = on(script)
                if not said.startswith(expected):
                    raise Failed(f"`{script}` said `{said}`, not `{expected}`")
            say("user-data ran, the volume is found by its serial, Docker runs a swarm")
            print(on("free -m | head -2; systemd-analyze || true; df -h / | tail -1"))
            self.filtered(2377)

    def filtered(self, port):
        """The swarm's port is closed to the outside until a rule opens it."""
        there = (self.address.floating_ip_address, port)
        try:
            socket.create_connection(there, timeout=5).close()
        except TimeoutError:
            pass
        else:
            raise Failed(f"port {port} answers, though no rule opens it")
        self.cloud.network.create_security_group_rule(
            security_group_id=self.group.id,
            direction="ingress",
            protocol="tcp",
            port_range_min=port,
            port_range_max=port,
        )

        def answers():
            socket.create_connection(there, timeout=5).close()
            return True

        until(f"port {port} answers", answers, 120)
        say("a security group filters")

    def left(self):
        found = kinds(self.cloud, self.cloud.current_project_id)
        return sorted(
            kind for kind, things in found for thing in things if thing["name"].startswith(NAME)
        )

    def delete(self):
        """Deletes all that was made, whatever became of it."""
        failed = []
        for what, id, delete in reversed(self.made):
            try:
                delete(id)
            except Exception as error:  # noqa: BLE001 - told, after the others are deleted
                failed.append(f"{what} {id}: {error}")
        if failed:
            raise Failed("not deleted: " + "; ".join(failed))


def smoke():
    run = Smoke()
    try:
        run.everything()
        if run.real:
            run.log_in()
        else:
            run.look()
        there = run.left()
        kinds_made = {"server", "server-group", "keypair", "port", "router", "network", "volume"}
        if not kinds_made <= set(there):
            raise Failed(f"leftovers lists only {there}")
    finally:
        run.delete()
    until(f"nothing of {NAME} is left", lambda: not run.left(), 120)
    say("all of it is deleted, and nothing is left")


if __name__ == "__main__":
    main(smoke)
