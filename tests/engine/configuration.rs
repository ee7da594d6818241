//! `daemon.json`: there before the engine first starts, merged, checked, and changed on nodes that
//! work without taking their tasks down.

use super::cluster::Cluster;
use super::settings;

/// An image without a registry: a static busybox, whose package the host's mirror has.
const IMAGE: &str = "cd /tmp && { apt-get download -qq busybox-static 2>/dev/null || \
     { apt-get update -qq && apt-get download -qq busybox-static; }; } && \
     dpkg-deb -x busybox-static_*.deb box && tar -C box/bin -c busybox | docker import - box >/dev/null";

/// The inventory: the engine's keys of all, those of `w1`, and the swarm.
fn inventory(all: &str, w1: &str, swarm: &str) -> String {
    format!(
        "[docker.daemon]\nlog-driver = \"local\"\nlog-opts = {{ max-size = \"5m\" }}\n{all}\n\
         [swarm]\n{swarm}\n\
         [[host]]\nname = \"m1\"\nrole = \"manager\"\n\
         [[host]]\nname = \"w1\"\nrole = \"worker\"\n{w1}\n"
    )
}

const ROOT: &str = "data-root = \"/var/lib/docker/engine\"";

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_node_is_configured_before_it_starts_and_while_it_works() {
    let it = Cluster::new("engineconf");
    it.inventory(&inventory(
        ROOT,
        "",
        "default-addr-pool = [\"198.18.0.0/15\"]",
    ));
    it.make(&["m1", "w1"]);

    // A pool that the hosts' own network is in, and a file that is no JSON: nothing is done.
    let broken = "mkdir -p /etc/docker && echo '{ \"labels\": [' >/etc/docker/daemon.json";
    it.on("w1", broken);
    it.skep(["up", "--yes"]).said(
        4,
        &[
            "198.18.0.0/15 overlaps",
            "Set `default-addr-pool = [\"172.30.0.0/16\"]`",
            "`/etc/docker/daemon.json` cannot be read",
        ],
    );
    for host in ["m1", "w1"] {
        it.on(
            host,
            "test ! -e /etc/sysctl.d/90-skep.conf && ! command -v dockerd",
        );
    }
    it.on("w1", "echo '{ \"labels\": [\"rack=7\"], \"log-opts\": { \"max-file\": \"3\" } }' >/etc/docker/daemon.json");

    it.inventory(&inventory(
        ROOT,
        "labels = { zone = \"a\" }",
        settings::AT_INIT,
    ));
    it.up();
    it.is_converged();
    it.lap("up");
    first_start(&it);
    settings::made(&it);
    it.lap("the settings of a new swarm");
    let services = Services::start(&it);
    it.lap("a service");
    changed_while_it_works(&it, &services);
    it.lap("configured while it works");
    completed_by_the_next_run(&it);
    it.lap("a cut change is completed");
    reloaded(&it, &services);
    it.lap("reloaded");
    taken_back(&it, &services);
    it.lap("a change that the engine does not bear");
    refused_before_it_is_written(&it);
    never_loses_data(&it);
    it.lap("refusals");
    settings::changed(&it, &inventory(ROOT, W1, ""));
}

/// What `w1` has for itself after its engine was configured while it worked.
const W1: &str = "labels = { zone = \"a\" }\ndocker.daemon = { labels = [\"rack=9\"] }";

/// The very first start of the engine knew the configuration.
fn first_start(it: &Cluster) {
    for host in ["m1", "w1"] {
        let info = it.on(
            host,
            "docker info --format '{{.LoggingDriver}} {{.DockerRootDir}}'",
        );
        assert_eq!(info, "local /var/lib/docker/engine");
        assert_eq!(it.on(host, "ls -A /var/lib/docker"), "engine");
        let starts = it.on(
            host,
            "journalctl -u docker.service -o cat | grep -c 'API listen on'",
        );
        assert_eq!(starts, "1", "{host}");
    }
    let labels = it.on(
        "w1",
        "docker info --format '{{.Labels}}'; tr -d ' \\n' </etc/docker/daemon.json",
    );
    assert_eq!(
        labels,
        "[rack=7]\n{\"data-root\":\"/var/lib/docker/engine\",\"labels\":[\"rack=7\"],\
         \"log-driver\":\"local\",\"log-opts\":{\"max-file\":\"3\",\"max-size\":\"5m\"}}"
    );
}

/// A service with one task that takes its time to end.
struct Services<'a>(&'a Cluster);

impl<'a> Services<'a> {
    fn start(it: &'a Cluster) -> Self {
        for host in ["m1", "w1"] {
            it.on(host, IMAGE);
        }
        // busybox's `sleep` as process 1 ignores SIGTERM, so that ending it takes 5 s.
        it.on(
            "m1",
            "docker node update --availability drain m1 >/dev/null
             docker service create -d -q --name web --no-resolve-image --stop-grace-period 5s \
               --entrypoint /busybox box sleep 100000 >/dev/null",
        );
        let it = Self(it);
        it.runs_on("w1");
        it.0.on(
            "m1",
            "docker node update --availability active m1 >/dev/null",
        );
        it
    }

    /// Waits until the task runs, and runs there.
    #[track_caller]
    fn runs_on(&self, host: &str) {
        self.0.until("m1", &format!("docker service ps -f desired-state=running --format '{{{{.Node}}}} {{{{.CurrentState}}}}' web | grep '^{host} Running'"));
    }

    /// Where its tasks have been, the newest first.
    fn places(&self) -> Vec<String> {
        let text = self
            .0
            .on("m1", "docker service ps --format '{{.Node}}' web");
        text.lines().map(str::to_owned).collect()
    }
}

fn availability(it: &Cluster) -> String {
    it.on("m1", "docker node inspect m1 w1 --format '{{.Description.Hostname}} {{.Spec.Availability}} {{.Status.State}}'")
}

const ALL_ACTIVE: &str = "m1 active ready\nw1 active ready";

/// A change of the configuration drains a node, restarts its engine, and gives it back its work.
fn changed_while_it_works(it: &Cluster, services: &Services<'_>) {
    let before = services.places().len();
    let w1 =
        "labels = { zone = \"a\" }\ndocker.daemon = { labels = [\"rack=8\"], raw-logs = true }";
    it.inventory(&inventory(ROOT, w1, ""));
    it.skep(["plan"]).said(0, &["restart the Docker Engine"]);
    it.up();
    it.is_converged();
    services.runs_on("m1");
    assert!(services.places().len() > before, "{:?}", services.places());
    assert_eq!(availability(it), ALL_ACTIVE);
    assert_eq!(
        it.on("w1", "docker info --format '{{.Labels}}'"),
        "[rack=8]"
    );
    // Nothing of it is left to be done or undone.
    it.on("w1", RECORD_ALONE);
}

/// Of all that skep keeps on a host, only the record of its own keys is left.
const RECORD_ALONE: &str = "test \"$(ls /var/lib/skep)\" = daemon-keys.json";

/// skep is killed when the file is written and the engine not restarted.
fn completed_by_the_next_run(it: &Cluster) {
    // Back to the worker, whose task then takes 5 s to end.
    it.on(
        "m1",
        "docker node update --availability drain m1 >/dev/null",
    );
    Services(it).runs_on("w1");
    it.on(
        "m1",
        "docker node update --availability active m1 >/dev/null",
    );
    it.inventory(&inventory(ROOT, W1, ""));
    let mut cut = it.start(["up", "--yes"]);
    it.until("w1", "test -e /var/lib/skep/drained-for-restart");
    it.until(
        "m1",
        "docker node inspect w1 --format '{{.Spec.Availability}}' | grep drain",
    );
    cut.kill().unwrap();
    cut.wait().unwrap();
    assert_eq!(
        it.on("w1", "docker info --format '{{.Labels}}'"),
        "[rack=8]"
    );
    it.up();
    it.is_converged();
    assert_eq!(availability(it), ALL_ACTIVE);
    assert_eq!(
        it.on("w1", "docker info --format '{{.Labels}}'; ls /var/lib/skep"),
        "[rack=9]\ndaemon-keys.json"
    );
    // What is no longer in the inventory is taken out.
    it.on("w1", "! grep raw-logs /etc/docker/daemon.json");
}

/// A label is taken by the engine while it runs: no task moves, and no process is another.
fn reloaded(it: &Cluster, services: &Services<'_>) {
    let same = "cat /var/run/docker.pid; docker ps -q --no-trunc; systemctl show -p ActiveEnterTimestamp docker.service";
    let (before, places) = (it.on("w1", same), services.places());
    let w1 = "labels = { zone = \"a\" }\ndocker.daemon = { labels = [\"rack=10\"], debug = true }";
    it.inventory(&inventory(ROOT, w1, ""));
    it.skep(["up", "--yes"])
        .said(0, &["takes it without a restart", "verified"]);
    assert_eq!(it.on("w1", same), before);
    assert_eq!(services.places(), places);
    let info = "docker info --format '{{.Labels}} {{.Debug}}'";
    assert_eq!(it.on("w1", info), "[rack=10] true");
    it.on("w1", RECORD_ALONE);

    // One that it does not take, though it passes every check before: the file is the former one.
    let sum = "sha256sum /etc/docker/daemon.json";
    let file = it.on("w1", sum);
    let w1 = "labels = { zone = \"a\" }\ndocker.daemon = { labels = [\"rack=10\"], debug = true, registry-mirrors = [\"ftp://a:s3cret@mirror\"] }";
    it.inventory(&inventory(ROOT, w1, ""));
    it.skep(["up", "--yes"])
        .said(1, &["did not take the new daemon.json", "invalid mirror"]);
    assert_eq!(it.on("w1", sum), file);
    assert_eq!(it.on("w1", same), before);
}

/// An engine that does not come up with a change: the old file is back, the node works, the other
/// node was not touched, and the engine's own words are told.
fn taken_back(it: &Cluster, services: &Services<'_>) {
    let was = "sha256sum /etc/docker/daemon.json";
    let untouched = format!("{was}; cat /var/run/docker.pid");
    let (w1, m1) = (it.on("w1", was), it.on("m1", &untouched));
    // `--validate` and the like do not look into the address.
    let bad = format!("{ROOT}\nbip = \"10.999.0.1/24\"");
    let keeps =
        "labels = { zone = \"a\" }\ndocker.daemon = { labels = [\"rack=10\"], debug = true }";
    it.inventory(&inventory(&bad, keeps, ""));
    it.skep(["up", "--yes"]).said(
        1,
        &[
            "did not come up with the new daemon.json",
            "10.999.0.1",
            "has its former",
        ],
    );
    assert_eq!(it.on("w1", was), w1);
    assert_eq!(it.on("m1", &untouched), m1);
    assert_eq!(availability(it), ALL_ACTIVE);
    it.on(
        "w1",
        "docker info && ! ls /var/lib/skep | grep -E 'restart|drained'",
    );
    // It is not forgotten either.
    it.skep(["plan", "--exit-code"]).said(3, &["10.999.0.1"]);
    it.inventory(&inventory(ROOT, W1, ""));
    it.up();
    it.is_converged();
    assert_eq!(availability(it), ALL_ACTIVE);
    assert!(!services.places().is_empty());
}

/// What an engine without `--validate` would not start with is refused in the plan.
fn refused_before_it_is_written(it: &Cluster) {
    let refused = |line: &str, says: &[&str]| {
        it.inventory(&inventory(&format!("{ROOT}\n{line}"), W1, ""));
        it.skep(["up", "--yes"]).said(4, says);
    };
    refused(
        "no-such-key = true",
        &["Engine 20.10 does not know `no-such-key`"],
    );
    refused("mtu = \"1400\"", &["`mtu` must be a number"]);
    it.on(
        "w1",
        "echo 'DOCKER_OPTS=\"--mtu 1400\"' >/etc/default/docker",
    );
    refused("mtu = 1400", &["`mtu`", "`--mtu`", "given twice"]);
    it.on("w1", "rm /etc/default/docker");
    // What only the engine itself can tell: nothing is written, on no host.
    let sums = "sha256sum /etc/docker/daemon.json; cat /var/run/docker.pid; ls /var/lib/skep";
    let before = ["m1", "w1"].map(|host| it.on(host, sums));
    let line = format!("{ROOT}\ndns = [\"nowhere\"]");
    it.inventory(&inventory(&line, W1, ""));
    it.skep(["up", "--yes"]).said(
        1,
        &["nowhere is not an ip address", "nothing of it was written"],
    );
    assert_eq!(["m1", "w1"].map(|host| it.on(host, sums)), before);
}

/// Another data root under an engine that holds data is refused, and nothing else is done either.
fn never_loses_data(it: &Cluster) {
    let sums = "sha256sum /etc/docker/daemon.json /etc/sysctl.d/90-skep.conf; docker info --format '{{.DockerRootDir}} {{.ID}}'; systemctl show -p ActiveEnterTimestamp docker.service";
    let before = it.on("w1", sums);
    it.inventory(&inventory("data-root = \"/var/lib/docker/other\"", W1, ""));
    it.skep(["up", "--yes"])
        .said(4, &["come up empty", "data-root"]);
    assert_eq!(it.on("w1", sums), before);
}

const TRIXIE: &str = "[lab]\nrelease = \"trixie\"\n[[host]]\nname = \"m1\"\nrole = \"manager\"\navailability = \"pause\"\n";

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_newer_engine_checks_its_configuration_and_shows_where_its_data_is() {
    let it = Cluster::new("enginetrixie");
    it.inventory(TRIXIE);
    it.make(&["m1"]);
    let daemon = |text: &str| {
        it.inventory(&format!("[docker]\nversion = \"26.1\"\n[docker.daemon]\n{text}\n[swarm]\nautolock = true\n{TRIXIE}"));
    };
    // An engine that somebody installed, in no swarm and without data, may be moved.
    it.on("m1", "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends docker.io docker-cli iptables");
    it.lap("an engine by hand");
    let elsewhere = "data-root = \"/var/lib/docker/elsewhere\"";
    daemon(elsewhere);
    it.skep(["plan"]).said(0, &["elsewhere"]);
    let refused = || it.skep(["plan"]).said(4, &["come up empty"]);
    it.on("m1", IMAGE);
    refused();
    it.on(
        "m1",
        "docker create --name one --entrypoint /busybox box true && docker save box >/tmp/box.tar",
    );
    refused();
    it.on(
        "m1",
        "docker rm one && docker rmi box && docker volume create one",
    );
    refused();
    it.on("m1", "docker volume rm one");
    it.skep(["plan"]).ended(0);
    // Images in containerd's store are data as much.
    let switch = |on: &str| {
        it.on("m1", &format!("mkdir -p /etc/docker; echo '{{ \"features\": {{ \"containerd-snapshotter\": {on} }} }}' >/etc/docker/daemon.json; systemctl restart docker.service"));
    };
    switch("true");
    it.skep(["plan"]).ended(0);
    it.on(
        "m1",
        "docker load -q -i /tmp/box.tar && systemctl stop docker.service docker.socket",
    );
    refused();
    it.on("m1", "systemctl start docker.service");
    refused();
    daemon("features = { containerd-snapshotter = false }");
    it.skep(["plan"])
        .said(4, &["come up empty", "containerd-snapshotter"]);
    it.lap("where the data is");

    it.make(&["m1"]);
    daemon("log-driver = \"local\"");
    it.skep(["up", "--yes"])
        .said(0, &["docker-cli", "iptables", "unlock-key"]);
    it.is_converged();
    let state = it.on("m1", "docker info --format '{{.LoggingDriver}} {{.Swarm.ControlAvailable}} {{.Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}'; apt-mark showhold");
    assert_eq!(state, "local true true\ndocker-cli\ndocker.io");
    it.lap("up");

    // The only manager would come back locked, with nobody to give the key.
    daemon("log-driver = \"local\"\nraw-logs = true");
    it.skep(["up", "--yes"])
        .said(4, &["autolock is on", "unlock-key"]);
    let unlocked = |text: &str| {
        it.inventory(&format!(
            "[docker.daemon]\n{text}\n[swarm]\nautolock = false\n{TRIXIE}"
        ));
    };
    unlocked("log-driver = \"local\"");
    it.skep(["up", "--yes"])
        .said(0, &["autolock: true -> false", "verified"]);

    // The engine itself says what it does not know, before anything is written.
    let after = "cat /etc/docker/daemon.json; ls -A /var/lib/skep";
    let before = it.on("m1", after);
    unlocked("log-driver = \"local\"\nno-such-key = true");
    it.skep(["up", "--yes"])
        .said(1, &["no-such-key", "refuses this configuration"]);
    assert_eq!(it.on("m1", after), before);

    let pid = it.on("m1", "cat /var/run/docker.pid");
    unlocked("log-driver = \"local\"\nlabels = [\"rack=1\"]");
    it.skep(["up", "--yes"])
        .said(0, &["takes it without a restart"]);
    it.is_converged();
    assert_eq!(it.on("m1", "cat /var/run/docker.pid"), pid);
    let state = it.on("m1", "docker info --format '{{.Labels}} {{.Swarm.LocalNodeState}}'; docker node inspect self --format '{{.Spec.Availability}}'");
    assert_eq!(state, "[rack=1] active\npause");
}
