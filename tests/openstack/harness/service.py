"""One service of a cloud that runs: `tests/openstack/service`."""

import sys

from harness import services
from harness.place import RUN, Failed, main

USAGE = "usage: tests/openstack/service list | stop|kill|start|restart NAME"


def service():
    every = {each.name: each for each in services.every((RUN / "ready").read_text() == "real")}
    match sys.argv[1:]:
        case ["list"]:
            for name, each in every.items():
                pid = each.pid()
                print(f"{name:<26} {f'runs as {pid}' if pid else 'stopped'}")
            return
        case [("stop" | "kill" | "start" | "restart") as verb, name]:
            pass
        case _:
            raise Failed(USAGE)
    if name not in every:
        raise Failed(f"there is no service `{name}`; there are {', '.join(every)}")
    if verb in ("stop", "kill", "restart"):
        every[name].stop(force=verb == "kill")
    if verb in ("start", "restart"):
        every[name].start()
        every[name].ready()


if __name__ == "__main__":
    main(service)
