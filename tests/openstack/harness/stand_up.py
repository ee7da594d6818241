"""Starts everything, inside the namespaces, each service as soon as what it needs is there.

Usage: `python3 -m harness.stand_up fake|real`.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from harness import database, services
from harness.place import RUN, STATE, configure, main, run, say

FOLDERS = (
    "lock keystone glance/images glance/staging nova/instances neutron cinder/volumes "
    "cinder/conversion rabbitmq mysql libvirt"
).split()


def stand_up():
    real = sys.argv[1] == "real"
    for folder in FOLDERS:
        (STATE / folder).mkdir(parents=True, exist_ok=True)
    configure()
    (STATE / "rabbitmq/enabled_plugins").write_text("[].\n")

    with ThreadPoolExecutor() as pool:
        rabbit = pool.submit(_rabbit)
        database.start()
        _all(services.IDENTITY)
        say("Keystone and Placement answer")
        seed("identity")
        rabbit.result()
        say("RabbitMQ answers; users and endpoints are made")

    if real:
        services.LIBVIRT.start()
    for service in [*services.APIS, *services.WORKERS]:
        service.start()
    _all([*services.APIS, *services.WORKERS])
    say("all APIs answer")
    # Started now, they would only have waited for these.
    others = services.REAL if real else services.FAKE
    for service in others:
        service.start()
    seed("cloud", sys.argv[1])
    say("flavors, images and the outside network are made")
    seed("ready", sys.argv[1])
    (RUN / "ready").write_text(sys.argv[1])
    say(f"ready: a cloud of {'one real host' if real else 'fake hosts'}")


def seed(*arguments):
    run(["python3", "-m", "harness.seed", *arguments], log="seed")


def _rabbit():
    services.EPMD.start()
    services.RABBIT.start()
    services.RABBIT.ready()


def _all(some):
    for service in some:
        service.start()
    for service in some:
        service.ready()


if __name__ == "__main__":
    main(stand_up)
