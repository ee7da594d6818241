"""The services: how each is started, how it shows that it answers, and how it is stopped."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from harness.place import (
    ENVIRONMENT,
    ETC,
    FAKE_HOSTS,
    LOG,
    MYSQL_SOCKET,
    RUN,
    STATE,
    Failed,
    until,
)

#: How long a service may take until it answers; seconds are usual, but tests run beside others.
PATIENCE = 300


@dataclass
class Service:
    name: str
    command: list
    #: A port of 127.0.0.1 that answers HTTP when the service is ready.
    port: int = None
    #: Another way to see that it answers.
    answers: object = None
    environment: dict = field(default_factory=dict)

    @property
    def log(self):
        return LOG / f"{self.name}.log"

    @property
    def _pid_file(self):
        return RUN / f"{self.name}.pid"

    def pid(self):
        """Its process, which leads a group of its own; none if it does not run."""
        try:
            pid = int(self._pid_file.read_text())
            _reap(pid)
            os.killpg(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid

    def start(self):
        if self.pid():
            return
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**ENVIRONMENT, **self.environment},
                cwd="/",
                start_new_session=True,
            )
        self._pid_file.write_text(str(process.pid))

    def ready(self):
        """Waits until it answers."""

        def answers():
            if self.pid() is None:
                raise Failed(f"{self.name} ended by itself", self.log)
            if self.port:
                return _http_answers(self.port)
            return self.answers is None or self.answers()

        until(f"{self.name} answers", answers, PATIENCE, self.log)

    def stop(self, force=False):
        """Ends it with all its processes: kindly, and by force after a while or at once."""
        pid = self.pid()
        if pid is None:
            return
        end = time.monotonic() + (0 if force else 15)
        os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)
        while self.pid():
            if time.monotonic() > end:
                try:
                    os.killpg(pid, signal.SIGKILL)
                except ProcessLookupError:
                    break
            time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)


def _reap(pid):
    """A child of this process that has ended would stay in its group as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # Another process started it.


def _http_answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.status < 500
    except urllib.error.HTTPError as error:
        # Several answer 300 or 401 at their root.
        return error.code < 500


def _rabbit_answers():
    with socket.create_connection(("127.0.0.1", 5672), timeout=10) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return len(connection.recv(8)) > 0


def sql(text):
    """Runs statements as root of the database."""
    subprocess.run(
        ["mariadb", f"--socket={MYSQL_SOCKET}", "--user=root"],
        input=text,
        text=True,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return True


def _with_common(program, *files):
    command = [program, "--config-file", ETC / "common.conf"]
    for file in files:
        command += ["--config-file", ETC / file]
    return command


def _uwsgi(port, program):
    return [
        "uwsgi",
        *("--ini", ETC / "uwsgi.ini"),
        *("--http-socket", f"127.0.0.1:{port}"),
        *("--wsgi-file", program),
    ]


def _agent(name):
    return Service(
        f"neutron-{name}-agent",
        _with_common(f"neutron-{name}-agent", "neutron.conf", f"{name}.conf"),
    )


# It keeps nothing that matters after the cloud's end: no care for the disk.
MYSQL = Service(
    "mysql",
    [
        *("eatmydata", "mariadbd", "--no-defaults", "--user=root"),
        f"--datadir={STATE / 'mysql'}",
        f"--socket={MYSQL_SOCKET}",
        f"--pid-file={RUN / 'mysqld.pid'}",
        *("--skip-networking", "--skip-grant-tables", "--skip-log-bin"),
        *("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"),
        *("--innodb-buffer-pool-size=192M", "--max-connections=500"),
        # Indexes of these schemas are too long for four bytes a character.
        *("--performance-schema=OFF", "--character-set-server=utf8mb3"),
    ],
    answers=lambda: sql("select 1"),
)
EPMD = Service("epmd", ["epmd", "-address", "127.0.0.1"])
RABBIT = Service(
    "rabbitmq",
    ["eatmydata", "/usr/lib/rabbitmq/bin/rabbitmq-server"],
    answers=_rabbit_answers,
    environment={
        "HOME": str(STATE / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(ETC / "rabbitmq.env"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    },
)
KEYSTONE = Service(
    "keystone",
    _uwsgi(5000, "/usr/bin/keystone-wsgi-public"),
    port=5000,
    environment={
        "OS_KEYSTONE_CONFIG_DIR": str(ETC),
        "OS_KEYSTONE_CONFIG_FILES": "keystone.conf",
    },
)
LIBVIRT = Service("libvirtd", ["libvirtd", "-f", "/etc/libvirt/libvirtd.conf"])

#: What serves the cloud, beside the two in `IDENTITY`.
APIS = [
    Service("glance-api", _with_common("glance-api", "glance.conf"), port=9292),
    Service(
        "neutron-server",
        _with_common("neutron-server", "neutron.conf", "ml2.conf"),
        port=9696,
    ),
    Service("nova-api", _with_common("nova-api", "nova.conf", "nova-db.conf"), port=8774),
    Service("cinder-api", _with_common("cinder-api", "cinder.conf"), port=8776),
]
IDENTITY = [
    KEYSTONE,
    Service(
        "placement",
        _uwsgi(8778, "/usr/bin/placement-api"),
        port=8778,
        environment={"OS_PLACEMENT_CONFIG_DIR": str(ETC)},
    ),
]
WORKERS = [
    Service("nova-conductor", _with_common("nova-conductor", "nova.conf", "nova-db.conf")),
    Service("nova-scheduler", _with_common("nova-scheduler", "nova.conf", "nova-db.conf")),
    Service("cinder-scheduler", _with_common("cinder-scheduler", "cinder.conf")),
    Service("cinder-volume", _with_common("cinder-volume", "cinder.conf")),
]
FAKE = [
    Service(
        "nova-compute",
        [
            *("python3", "-m", "skep_testbed.compute"),
            *(host for hosts in FAKE_HOSTS.values() for host in hosts),
            *_with_common("--", "nova.conf", "nova-fake.conf"),
        ],
    )
]
REAL = [
    *(_agent(name) for name in ("linuxbridge", "dhcp", "l3", "metadata")),
    Service("nova-compute", _with_common("nova-compute", "nova.conf", "nova-real.conf")),
]


def every(real):
    """All services of a mode."""
    return [
        *(MYSQL, EPMD, RABBIT, *IDENTITY, *APIS, *WORKERS),
        *([LIBVIRT, *REAL] if real else FAKE),
    ]
