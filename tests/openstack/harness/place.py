"""Where everything is, how the cloud is set up, and how failures are told."""

import os
import string
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
DIR = Path(os.environ["SKEP_OPENSTACK_DIR"])
ETC, RUN, STATE, LOG = DIR / "etc", DIR / "run", DIR / "state", DIR / "log"
CACHE = DIR / "cache"
MYSQL_SOCKET = RUN / "mysql.sock"

PASSWORD = "secret"
#: Each zone with its fake hosts: enough for anti-affinity within a zone and for spreading over two.
FAKE_HOSTS = {"a": ["fake-a1", "fake-a2"], "b": ["fake-b1", "fake-b2"]}
#: The one host that runs virtual machines, in the first zone.
REAL_HOST = "real-a1"
VOLUME_HOST = "volumes"

#: What services and their tools find in their environment, and nothing else.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": str(STATE),
    "SKEP_OPENSTACK_DIR": str(DIR),
    "OS_CLIENT_CONFIG_FILE": str(ETC / "clouds.yaml"),
    "PYTHONPATH": f"{SOURCE}:{SOURCE / 'plugins'}",
    # Nothing is written into the checkout.
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Failed(Exception):
    """What did not work, with the log that may say why."""

    def __init__(self, message, log=None):
        super().__init__(message)
        self.log = log

    def __str__(self):
        text = super().__str__()
        if self.log and self.log.exists():
            lines = self.log.read_text(errors="replace").splitlines()[-20:]
            text += f"\nThe last lines of {self.log}:\n" + "\n".join(lines)
        return text


def say(text):
    """Tells a step, with the seconds since `up` began."""
    began = float(os.environ.get("SKEP_OPENSTACK_BEGAN", time.time()))
    print(f"[{time.time() - began:6.1f}s] {text}", flush=True)


def run(command, log=None, deadline=600, **options):
    """Runs a program of the cloud to its end; its output goes to a log."""
    command = [str(word) for word in command]
    path = LOG / f"{log or Path(command[0]).name}.log"
    with path.open("ab") as file:
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=deadline,
                env=ENVIRONMENT,
                check=False,
                **options,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {deadline} s: {' '.join(command)}", path) from None
        except OSError as error:
            raise Failed(f"{command[0]} does not start: {error}") from None
    if ended.returncode != 0:
        raise Failed(f"ended with {ended.returncode}: {' '.join(command)}", path)


def until(what, true, seconds, log=None):
    """Waits until a function says so; it may raise whatever means `not yet`."""
    end = time.monotonic() + seconds
    while True:
        last = None
        try:
            if true():
                return
        except Failed:
            raise
        except Exception as error:  # noqa: BLE001 - a service that starts fails in many ways
            last = error
        if time.monotonic() > end:
            raise Failed(f"not so after {seconds} s: {what}" + (f": {last}" if last else ""), log)
        time.sleep(0.2)


def configure():
    """Writes every template of `etc/` with this cloud's values."""
    values = {
        "state": STATE,
        "etc": ETC,
        "password": PASSWORD,
        "database": "mysql+pymysql://root@localhost",
        "mysql_socket": MYSQL_SOCKET,
        "real_host": REAL_HOST,
        "volume_host": VOLUME_HOST,
        "host_uuid": Path("/proc/sys/kernel/random/uuid").read_text().strip(),
    }
    auth = (SOURCE / "etc/auth.tmpl").read_text()
    values["auth"] = string.Template(auth).substitute(values).strip()
    for template in sorted((SOURCE / "etc").glob("*.tmpl")):
        name = template.stem
        folder = ETC / "libvirt" if name in ("libvirtd.conf", "qemu.conf") else ETC
        folder.mkdir(parents=True, exist_ok=True)
        text = string.Template(template.read_text()).substitute(values)
        (folder / name).write_text(text)


def main(function):
    """Runs a script's function; a failure is told without a trace."""
    try:
        function()
    except Failed as error:
        sys.exit(f"tests/openstack: {error}")
