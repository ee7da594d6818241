//! A playbook on real hosts: every kind of task, twice.

use std::fs;

use super::world::World;

const SECRET: &str = "hunter2-of-the-playbook";

/// All kinds that a container bears.
const SITE: &str = r#"
description = "All kinds"

[vars]
banner = "first"

[secrets]
token = { env = "SITE_TOKEN" }

[[task]]
name = "Cron"
package = { name = ["cron", "sudo"] }

[[task]]
name = "Deployer"
user = { name = "deploy", shell = "/bin/sh", groups = ["adm"] }

[[task]]
name = "Folder"
directory = { path = "/srv/site", mode = "0750", owner = "deploy", group = "deploy" }

[[task]]
name = "Page"
file = { path = "/srv/site/index.html", content = "{{ as it is }}\n", owner = "deploy" }

[[task]]
name = "Banner"
[task.template]
path = "/etc/cron.d/site"
content = """
# {{ banner }} {{ host.name }} {{ facts.os.codename }} {% for it in hosts %}{{ it.name }} {% endfor %}

"""
restart = "cron.service"

[[task]]
name = "Key"
template = { path = "/srv/site/key", content = "{{ token | json }}\n", owner = "deploy" }

[[task]]
name = "Kernel"
sysctl = { values = { "net.core.somaxconn" = 1234 } }

[[task]]
name = "Scratch"
mount = { source = "tmpfs", target = "/srv/site-scratch", type = "tmpfs", options = "size=1m" }

[[task]]
name = "Once"
command = { run = "date >/srv/site/once", creates = "/srv/site/once" }

[[task]]
name = "Unless"
serial = 1
command = { run = "echo x >>/srv/site/log", unless = "grep -q x /srv/site/log" }

[[task]]
name = "Always"
on = "w1"
needs = ["Unless"]
command = { run = "echo {{ host.name | shell }} >>/srv/site/always" }

[[task]]
name = "Listens"
wait = { port = 22, timeout = 20 }

[[task]]
name = "Cron runs"
service = { unit = "cron.service", state = "running", enabled = true }
"#;

/// Hosts that are in no swarm yet.
pub(crate) fn begin(world: &World) {
    world.inventory("lab.toml", &[("m1", "manager"), ("w1", "worker")], "");
    world.fresh("lab.toml", &["m1", "w1"]);
    fs::create_dir_all(world.path("playbooks")).unwrap();
    fs::write(world.path("playbooks/site.toml"), SITE).unwrap();
}

fn run(world: &World, arguments: &[&str]) -> super::run::Ran {
    let mut line = vec!["run", "site"];
    line.extend(arguments);
    world
        .start_with("lab.toml", &line, &[("SITE_TOKEN", SECRET)])
        .end()
}

/// The first run does everything, and what it says is so.
pub(crate) fn all_kinds(world: &World) {
    run(world, &["--plan"]).ends(0).says("changes on 2 hosts");
    run(world, &["--yes"])
        .ends(0)
        .says("2 hosts: 2 changed")
        .says("verified: a second plan is empty");
    for host in ["m1", "w1"] {
        world.on(
            host,
            "set -e
            [ \"$(stat -c '%a %U:%G' /srv/site)\" = '750 deploy:deploy' ]
            [ \"$(cat /srv/site/index.html)\" = '{{ as it is }}' ]
            [ \"$(stat -c '%a %U' /srv/site/key)\" = '600 deploy' ]
            [ \"$(sysctl -n net.core.somaxconn)\" = 1234 ]
            [ \"$(findmnt -no FSTYPE,OPTIONS /srv/site-scratch | grep -c 'tmpfs.*size=1024k')\" = 1 ]
            [ \"$(wc -l </srv/site/log)\" = 1 ]
            id -nG deploy | grep -qw adm
            systemctl is-active -q cron
            systemctl is-enabled -q srv-site\\\\x2dscratch.mount
            [ ! -e /var/lib/skep/restart/cron.service ]",
        );
        let key = world.on(host, "cat /srv/site/key");
        assert_eq!(key, format!("\"{SECRET}\""));
        let banner = world.on(host, "cat /etc/cron.d/site");
        assert_eq!(banner, format!("# first {host} bookworm m1 w1"));
    }
    assert_eq!(world.on("w1", "cat /srv/site/always"), "w1");
}

/// A second run does only what runs every time; drift is mended; a variable changes a file, and the
/// unit that reads it is restarted.
pub(crate) fn again(world: &World) {
    let pid = world.on("w1", "systemctl show -p MainPID --value cron");
    run(world, &["--on", "m1", "--yes"])
        .ends(0)
        .says("nothing to change");
    world.on(
        "w1",
        "chmod 777 /srv/site; systemctl stop cron; umount /srv/site-scratch",
    );
    run(world, &["--yes", "--var", "banner=second"])
        .ends(0)
        .says("verified: a second plan is empty");
    world.on(
        "w1",
        "set -e
        [ \"$(stat -c %a /srv/site)\" = 750 ]
        findmnt /srv/site-scratch >/dev/null
        grep -q second /etc/cron.d/site
        systemctl is-active -q cron
        [ \"$(wc -l </srv/site/always)\" = 2 ]",
    );
    assert_ne!(
        world.on("w1", "systemctl show -p MainPID --value cron"),
        pid
    );
}

/// What fails is told with its reason and stops what comes after it; what must not be done is refused.
pub(crate) fn wrong(world: &World) {
    let wrong = "[[task]]\nname = \"Fails\"\non = \"w1\"\n\
                 command = { run = \"echo it is broken >&2; exit 3\" }\n\
                 [[task]]\nname = \"After\"\nneeds = [\"Fails\"]\ncommand = { run = \"touch /after\" }\n";
    fs::write(world.path("wrong.toml"), wrong).unwrap();
    let file = world.path("wrong.toml").display().to_string();
    world
        .skep("lab.toml", &["run", &file, "--yes"])
        .ends(1)
        .says("it is broken")
        .says("the command ended with status 3");
    world.on("m1", "[ ! -e /after ]");
    world.on("w1", "mkdir -p /run; touch /run/reboot-required");
    world
        .skep("lab.toml", &["run", "reboot-if-required", "--yes"])
        .ends(4)
        .says("a container of the lab");
    world.on("w1", "rm /run/reboot-required");
    world
        .skep("lab.toml", &["run", "reboot-if-required", "--yes"])
        .ends(0)
        .says("nothing to change");
}

/// One that skep brings along. Hosts of the lab have its timer masked, which is somebody's wish.
pub(crate) fn shipped(world: &World) {
    world
        .skep("lab.toml", &["run", "security-upgrades", "--yes"])
        .ends(4)
        .says("`apt-daily-upgrade.timer` is masked");
    for host in ["m1", "w1"] {
        world.on(
            host,
            "systemctl unmask apt-daily-upgrade.timer apt-daily-upgrade.service",
        );
    }
    world
        .skep("lab.toml", &["run", "security-upgrades", "--yes"])
        .ends(0)
        .says("verified: a second plan is empty");
    let told = world.on(
        "m1",
        "unattended-upgrade --dry-run -v 2>&1; apt-config dump",
    );
    assert!(told.contains("Package-Blacklist:: \"^docker\""), "{told}");
    assert!(
        told.contains("Periodic::Unattended-Upgrade \"1\""),
        "{told}"
    );
    world
        .skep("lab.toml", &["run", "security-upgrades", "--yes"])
        .ends(0)
        .says("nothing to change");
}

/// The secret of the playbook is in the file that takes it, and in nothing that skep wrote or said.
pub(crate) fn no_secret(world: &World) {
    for path in world.files() {
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET), "{}", path.display());
    }
    let found = world.on(
        "w1",
        &format!("grep -rlsF {SECRET} /run /var/lib/skep /tmp /var/log || :"),
    );
    assert_eq!(found, "");
}
