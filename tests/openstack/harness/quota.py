"""The quota of the project `demo`: `tests/openstack/quota NAME=NUMBER...`; -1 is no limit.

Names are those of the APIs: `instances cores ram server_groups server_group_members key_pairs` of
Nova, `network subnet port router floatingip security_group security_group_rule` of Neutron, `volumes
snapshots gigabytes` of Cinder. Without arguments it prints what there is.
"""

import sys

import openstack


def quota():
    words = [word.partition("=") for word in sys.argv[1:]]
    if not all(number.lstrip("-").isdigit() for _, _, number in words):
        sys.exit("usage: tests/openstack/quota [NAME=NUMBER...]")
    wanted = {name: int(number) for name, _, number in words}
    admin = openstack.connect(cloud="admin")
    project = admin.identity.find_project("demo").id
    places = {
        "nova": (admin.compute, f"/os-quota-sets/{project}", "quota_set"),
        "neutron": (admin.network, f"/quotas/{project}", "quota"),
        "cinder": (admin.block_storage, f"/os-quota-sets/{project}", "quota_set"),
    }
    for service, (api, path, key) in places.items():
        now = api.get(path).json()[key]
        mine = {name: number for name, number in wanted.items() if name in now}
        for name in mine:
            del wanted[name]
        if mine:
            answer = api.put(path, json={key: mine})
            if answer.status_code != 200:
                sys.exit(f"tests/openstack/quota: {service}: {answer.text}")
        if len(sys.argv) == 1:
            for name, number in now.items():
                if name != "id":
                    print(service, name, number)
    if wanted:
        sys.exit(f"tests/openstack/quota: no service has a quota of {', '.join(wanted)}")


if __name__ == "__main__":
    quota()
