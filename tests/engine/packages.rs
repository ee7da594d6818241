//! Packages of the distribution, and packages that are brought along.

use std::fs;

use super::cluster::Cluster;

const ONE: &str = "[[host]]\nname = \"m1\"\nrole = \"manager\"\n";

/// Leaves a host without any source of packages.
const CUT_OFF: &str = "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*\n\
                       apt-get clean\nmkdir -p /var/lib/apt/lists/partial\n";

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn package_files_are_all_that_a_host_without_a_mirror_needs() {
    let it = Cluster::new("engineoff");
    it.inventory(ONE);
    it.make(&["m1"]);
    // The image of lab hosts holds the files that `apt-get install --download-only` fetched.
    let folder = it.path("debs");
    it.fetch("m1", "/var/cache/apt/archives", &folder);
    it.on("m1", CUT_OFF);
    it.inventory(&format!(
        "[docker]\nsource = \"offline\"\npackages = \"debs\"\n{ONE}"
    ));

    // What a plan promised is what is installed, or nothing is.
    it.skep(["plan", "--out", "saved.plan"]).ended(0);
    let runc = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.display().to_string().contains("/runc_"))
        .unwrap();
    let whole = fs::read(&runc).unwrap();
    fs::write(&runc, [whole.as_slice(), b"more"].concat()).unwrap();
    it.skep(["up", "saved.plan", "--yes"])
        .said(4, &["changed since"]);
    it.on(
        "m1",
        "test ! -e /var/cache/skep && test ! -e /etc/docker/daemon.json",
    );

    fs::remove_file(&runc).unwrap();
    it.skep(["up", "--yes"])
        .said(1, &["Depends: runc", "lacks a package"]);
    it.on("m1", "! command -v dockerd");
    it.lap("refused");

    // The power goes while the engine is unpacked; without a mirror only its file can mend that.
    fs::write(&runc, whole).unwrap();
    cut_installation(&it, "/usr/sbin/dockerd.dpkg-new");
    it.on(
        "m1",
        "dpkg-query -W -f '${db:Status-Eflag}' docker.io | grep reinst",
    );
    it.lap("cut while the engine was unpacked");

    // A file that an earlier folder had does not stay.
    it.on("m1", "touch /var/cache/skep/packages/old_1_all.deb");
    it.up();
    it.is_converged();
    assert_eq!(it.on("m1", "apt-mark showhold"), "docker.io");
    it.on(
        "m1",
        "docker info --format '{{.Swarm.ControlAvailable}}' | grep true",
    );
    it.on("m1", "test ! -e /var/cache/skep/packages/old_1_all.deb");
    it.skep(["up", "--yes"]).said(0, &["unchanged"]);
}

/// Runs `skep up`, and kills APT and dpkg on the host as soon as dpkg unpacks the file `new`.
fn cut_installation(it: &Cluster, new: &str) {
    let mut cut = it.start(["up", "--yes"]);
    it.on(
        "m1",
        &format!(
            "for i in $(seq 2000); do
               if [ -e {new} ]; then kill -9 $(pidof apt-get dpkg dpkg-deb tar); exit 0; fi
               sleep 0.02
             done; exit 1"
        ),
    );
    assert_eq!(cut.wait().unwrap().code(), Some(1));
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_cut_installation_is_mended_and_a_version_is_pinned() {
    let it = Cluster::new("enginecut");
    it.inventory(ONE);
    it.make(&["m1"]);

    // A unit that somebody masked before there was an engine.
    it.on("m1", "systemctl -q mask docker.service");
    it.skep(["up", "--yes"]).said(4, &["is masked"]);
    it.on("m1", "systemctl -q unmask docker.service");

    // 20.1 is not the beginning of 20.10.
    it.inventory(&format!("[docker]\nversion = \"20.1\"\n{ONE}"));
    it.skep(["up", "--yes"])
        .said(1, &["no version of docker.io begins with 20.1", "20.10.24"]);
    it.lap("a version that does not exist");

    // Somebody else holds APT's lock for a while.
    it.inventory(&format!("[docker]\nversion = \"20.10\"\n{ONE}"));
    let lock = "nohup perl -e 'use Fcntl; open(my $f, \">\", \"/var/lib/dpkg/lock-frontend\"); \
                my $l = pack(\"ssqql\", F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $l) or die; \
                sleep 6' >/dev/null 2>&1 &";
    it.on("m1", lock);
    // And the power goes while a package is unpacked that nothing asks for by name.
    cut_installation(&it, "/usr/sbin/runc.dpkg-new");
    let said = fs::read_to_string(it.path("started.log")).unwrap();
    assert!(
        said.contains("waiting for another package manager: process") && said.contains("perl"),
        "{said}"
    );
    let left = it.on(
        "m1",
        "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep -v ' installed$'",
    );
    it.lap(&format!("cut in the middle, which left {left:?}"));
    assert_ne!(left, "");
    it.up();
    it.is_converged();
    assert_eq!(it.on("m1", "apt-mark showhold"), "docker.io");
    it.on("m1", "test -z \"$(dpkg --audit)\"");

    // An engine of another source is not put over this one, and one that somebody masked is left.
    it.inventory(&format!("[docker]\nsource = \"docker-ce\"\n{ONE}"));
    it.skep(["plan"])
        .said(4, &["package `docker.io` is installed"]);
    it.inventory(&format!("[docker]\nversion = \"20.10\"\n{ONE}"));
    it.on("m1", "systemctl -q mask docker.service");
    it.skep(["up", "--yes"]).said(4, &["is masked"]);
    it.on("m1", "systemctl -q unmask docker.service");
    it.is_converged();
    kernel(&it);
}

/// Kernel settings hold now and after a boot.
fn kernel(it: &Cluster) {
    it.on(
        "m1",
        "grep -q 'net.ipv4.ip_forward = 1' /etc/sysctl.d/90-skep.conf",
    );
    it.on("m1", "sysctl -q -w net.ipv4.ip_forward=0");
    it.skep(["plan", "--exit-code"])
        .said(3, &["net.ipv4.ip_forward"]);
    it.up();
    assert_eq!(it.on("m1", "sysctl -n net.ipv4.ip_forward"), "1");
}
