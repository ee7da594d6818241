//! Docker's own repository: its key, its source, its versions.

use std::fs;

use super::apt::Repository;
use super::cluster::Cluster;

const ONE: &str = "[[host]]\nname = \"m1\"\nrole = \"manager\"\n";

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn an_engine_of_dockers_repository_is_installed_at_its_version_and_held() {
    let it = Cluster::new("enginece");
    it.inventory(ONE);
    it.make(&["m1"]);
    let folder = it.path("repository");
    fs::create_dir(&folder).unwrap();
    it.fetch("m1", "/var/cache/apt/archives", &folder.join("archives"));
    let versions = ["27.3.0", "27.3.1", "28.0.0"];
    let repository = Repository::make(folder.clone(), &folder.join("archives"), &versions);
    repository.sign();
    let url = repository.serve(&it.gateway("m1"));
    it.lap("the repository");
    let docker = |more: &str| {
        it.inventory(&format!(
            "[docker]\nsource = \"docker-ce\"\nrepository = \"{url}\"\n{more}\n{ONE}"
        ));
    };

    // An older list of the same repository, with a key of its own: both at once are an error.
    it.on("m1", &format!("echo 'deb [arch=amd64 signed-by=/etc/apt/keyrings/old.gpg] {url}/debian bookworm stable' >/etc/apt/sources.list.d/docker.list"));
    let wrong = repository.key("wrong");
    docker(&format!(
        "version = \"27.3\"\nrepository-key = \"{}\"",
        wrong.display()
    ));
    it.skep(["up", "--yes"])
        .said(1, &["not signed by the key", "repository-key"]);
    it.on("m1", "! command -v dockerd");
    it.lap("a wrong key");

    let right = repository.key("repository");
    docker(&format!(
        "version = \"27.3\"\nrepository-key = \"{}\"",
        right.display()
    ));
    it.up();
    it.is_converged();
    let state = it.on("m1", "dpkg-query -W -f '${Package} ${Version}\\n' docker-ce docker-ce-cli; apt-mark showhold | tr '\\n' ' '; docker info --format '{{.Swarm.LocalNodeState}}'; ls /etc/apt/sources.list.d");
    for wanted in [
        "docker-ce 5:27.3.1-1~debian.12~bookworm\n",
        "docker-ce-cli 5:27.3.1-1~debian.12~bookworm\n",
        "containerd.io docker-ce docker-ce-cli active",
        "docker.list.skep-old",
        "docker.sources",
    ] {
        assert!(state.contains(wanted), "{wanted:?}: {state}");
    }
    assert!(!state.lines().any(|line| line == "docker.list"), "{state}");
    let source = it.on("m1", "cat /etc/apt/sources.list.d/docker.sources");
    assert_eq!(
        source,
        format!(
            "Types: deb\nURIs: {url}/debian\nSuites: bookworm\nComponents: stable\nArchitectures: amd64\nSigned-By: /etc/apt/keyrings/docker.asc"
        )
    );
    it.lap("pinned");
    // A newer version is told of and not installed: that is a procedure of its own.
    docker("version = \"28\"");
    it.skep(["plan"]).said(0, &["asks for 28"]);
    it.inventory(ONE);
    it.skep(["plan"]).said(4, &["another source"]);

    // Another host: the repository's own key, which it shows in binary, and its newest version.
    it.make(&["m1"]);
    docker("");
    it.up();
    it.is_converged();
    let state = it.on("m1", "dpkg-query -W -f '${Version}\\n' docker-ce; apt-mark showhold; head -1 /etc/apt/keyrings/docker.asc");
    assert_eq!(
        state,
        "5:28.0.0-1~debian.12~bookworm\n-----BEGIN PGP PUBLIC KEY BLOCK-----"
    );
}
