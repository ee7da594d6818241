"""The database: its schemas take 30 s to make, so that a copy of them is kept."""

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

from harness.place import CACHE, ENVIRONMENT, ETC, PASSWORD, SOURCE, STATE, run, say
from harness.services import MYSQL, sql

NAMES = "keystone placement glance cinder neutron nova nova_api nova_cell0".split()
#: What of the state is kept: Keystone's keys belong to its tables.
KEPT = ["mysql", "keystone"]


def start():
    """Starts the database with all schemas."""
    copy = CACHE / f"schemas-{_key()}.tar.zst"
    if copy.exists():
        run(["tar", "-C", STATE, "--zstd", "-xf", copy])
        MYSQL.start()
        MYSQL.ready()
        say("the database, from a copy of its schemas")
        return
    for old in CACHE.glob("schemas-*"):
        old.unlink()
    install = ["eatmydata", "mariadb-install-db", "--no-defaults", "--user=root"]
    run([*install, f"--datadir={STATE / 'mysql'}", "--skip-test-db"])
    MYSQL.start()
    MYSQL.ready()
    sql("".join(f"create database {name} character set utf8mb3;" for name in NAMES))
    say("the database; making its schemas (once)")
    with ThreadPoolExecutor(2) as pool:
        for made in [pool.submit(_first_half), pool.submit(_second_half)]:
            made.result()
    # A copy of a database that runs may not be whole.
    MYSQL.stop()
    new = copy.with_name("schemas-new")
    run(["tar", "-C", STATE, "--zstd", "-cf", new, *KEPT])
    new.rename(copy)
    MYSQL.start()
    MYSQL.ready()
    say("its schemas")


def _key():
    """Changes with whatever decides what is in the schemas."""
    packages = (SOURCE / "packages").read_text().split("\n")
    names = [line for line in packages if line and not line.startswith("#")]
    query = ["dpkg-query", "--show", *names]
    versions = subprocess.run(query, env=ENVIRONMENT, capture_output=True, check=True)
    text = versions.stdout + (SOURCE / "harness/database.py").read_bytes()
    # The paths of the state are in Nova's table of cells.
    return hashlib.sha256(text + str(STATE).encode()).hexdigest()[:12]


def _manage(program, files, *arguments):
    options = [word for file in files for word in ("--config-file", ETC / file)]
    run([program, *options, *arguments], log=program)


def _first_half():
    keystone = ["keystone.conf"]
    keys = ["--keystone-user", "root", "--keystone-group", "root"]
    _manage("keystone-manage", keystone, "db_sync")
    _manage("keystone-manage", keystone, "fernet_setup", *keys)
    _manage("keystone-manage", keystone, "credential_setup", *keys)
    urls = [
        word
        for kind in ("public", "internal", "admin")
        for word in (f"--bootstrap-{kind}-url", "http://127.0.0.1:5000/v3")
    ]
    region = ["--bootstrap-region-id", "RegionOne"]
    _manage(
        "keystone-manage", keystone, "bootstrap", "--bootstrap-password", PASSWORD, *region, *urls
    )
    _manage("placement-manage", ["placement.conf"], "db", "sync")
    _manage("glance-manage", ["common.conf", "glance.conf"], "db_sync")
    _manage("cinder-manage", ["common.conf", "cinder.conf"], "db", "sync")


def _second_half():
    nova = ["common.conf", "nova.conf", "nova-db.conf"]
    _manage("nova-manage", nova, "api_db", "sync")
    cell0 = (ETC / "nova-db.conf").read_text().rpartition("connection = ")[2].strip()
    cell0 = cell0.replace("/nova?", "/nova_cell0?")
    _manage("nova-manage", nova, "cell_v2", "map_cell0", "--database_connection", cell0)
    _manage("nova-manage", nova, "cell_v2", "create_cell", "--name", "cell1")
    _manage("nova-manage", nova, "db", "sync")
    _manage("neutron-db-manage", ["common.conf", "neutron.conf", "ml2.conf"], "upgrade", "heads")
