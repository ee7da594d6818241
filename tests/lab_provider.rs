//! The lab on real containers: made, logged in to, broken, mended, ended.
//!
//! Needs root, a Debian mirror and the right to mount; about two minutes the first time. Run it with
//! `cargo test --test lab_provider -- --ignored --nocapture`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failed step ends it, and timings are for whoever runs it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skep::inventory::{
    Advertise, Docker, Host, Inventory, Lab as Settings, LabDriver, Provider, Role, Ssh, Swarm,
};
use skep::local::{Output, Program};
use skep::provider::lab::{Dirs, Lab, LabState, list_at};

fn inventory(cluster: &str, hosts: &[&str], release: &str) -> Inventory {
    let host = |name: &&str| Host {
        name: (*name).to_owned(),
        address: None,
        role: if name.starts_with('m') {
            Role::Manager
        } else {
            Role::Worker
        },
        labels: BTreeMap::new(),
        availability: None,
        groups: BTreeSet::new(),
        vars: BTreeMap::new(),
        optional: false,
        provider: Provider::Lab,
        ssh: Ssh::default(),
        docker: Docker::default(),
        storage: None,
        wipe: None,
        exports: Vec::new(),
        mounts: Vec::new(),
        nfs_domain: None,
        advertise: Advertise::default(),
        disks: Vec::new(),
        hooks: Vec::new(),
        power: None,
        server: None,
    };
    Inventory {
        cluster: cluster.to_owned(),
        path: PathBuf::from("/nonexistent/lab.toml"),
        swarm: Swarm::default(),
        lab: Settings {
            release: release.to_owned(),
            mirror: None,
            driver: LabDriver::Container,
            subnet: None,
            memory_mib: Some(2048),
            cpu_percent: Some(200),
        },
        start_first: Vec::new(),
        backup: None,
        openstack: None,
        hosts: hosts.iter().map(host).collect(),
    }
}

fn dirs() -> Dirs {
    let root = std::env::var_os("SKEP_LAB_DIR").map(PathBuf::from);
    Dirs::at(root.unwrap_or_else(|| std::env::temp_dir().join("skep-lab-test")))
}

/// Runs `script` on `host` over OpenSSH, with nothing but the keys that the lab wrote.
async fn ssh(lab: &Lab, user: &str, host: &str, script: &str) -> Output {
    let login = lab.login(host).unwrap();
    let option = |name: &str, value: &dyn std::fmt::Display| format!("-o{name}={value}");
    let known_hosts = option("UserKnownHostsFile", &login.known_hosts.display());
    let ssh = Program::new("ssh")
        .args([
            "-F",
            "/dev/null",
            "-oBatchMode=yes",
            "-oStrictHostKeyChecking=yes",
        ])
        .args([known_hosts, option("GlobalKnownHostsFile", &"/dev/null")])
        .args([
            option("IdentitiesOnly", &"yes"),
            option("ConnectTimeout", &5),
        ])
        .arg("-i")
        .arg(&login.identity)
        .arg(format!("{user}@{}", login.address))
        .arg(script)
        .deadline(Duration::from_mins(3));
    ssh.output().await.unwrap()
}

async fn must(lab: &Lab, host: &str, script: &str) -> String {
    let output = ssh(lab, "root", host, script).await;
    assert_eq!(output.status, Some(0), "{host}: {script}: {output:?}");
    output.stdout.trim().to_owned()
}

fn told(name: &str, began: Instant) {
    println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
}

/// What the lab must leave as it was: rules, interfaces, mounts, control groups, processes.
async fn traces(root: &Path) -> String {
    let script = format!(
        "iptables -S; iptables -t nat -S; ls /sys/class/net; cat /proc/sys/net/ipv4/ip_forward; \
         grep -c -e {0} -e /run/skep-lab /proc/mounts; find /sys/fs/cgroup -name 'skep-lab*'; \
         cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c -e '^dockerd.*{0}'; true",
        root.display()
    );
    let output = Program::new("sh").arg("-c").arg(script).run().await;
    output.unwrap().stdout
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes real containers on this machine: needs root and a Debian mirror"]
async fn a_lab_lives_and_leaves_nothing() {
    let dirs = dirs();
    let progress = |line: &str| println!("  {line}");
    let hosts = ["m1", "m2", "m3", "w1", "w2"];
    let lab = Lab::open_at(&inventory("provider", &hosts, "bookworm"), dirs.clone()).unwrap();
    lab.down(false, &progress).await.unwrap();
    let before = traces(dirs.root()).await;

    let began = Instant::now();
    println!("needs: {:?}", lab.preflight().await.unwrap().lines());
    lab.prepare(&progress).await.unwrap();
    told("prepare", began);
    assert!(lab.preflight().await.unwrap().is_empty());
    let began = Instant::now();
    lab.prepare(&progress).await.unwrap();
    told("prepare again", began);
    assert!(lab.reflect().await.unwrap().is_empty());

    let began = Instant::now();
    let made = hosts.map(|host| lab.create(host, &progress));
    for result in futures::future::join_all(made).await {
        result.unwrap();
    }
    told("five hosts", began);
    let found = lab.reflect().await.unwrap();
    assert_eq!(found.len(), 5);
    assert!(found.iter().all(|host| host.state == LabState::Running));

    for host in hosts {
        assert_eq!(must(&lab, host, "hostname").await, host);
        let sudo = ssh(&lab, "skep", host, "sudo -n id -u").await;
        assert_eq!(sudo.stdout.trim(), "0", "{sudo:?}");
    }
    assert!(!must(&lab, "m1", "ls /etc/ssh").await.contains("rsa"));

    let began = Instant::now();
    let script =
        "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq docker.io";
    futures::future::join_all(hosts.map(|host| must(&lab, host, script))).await;
    told("docker.io on five hosts", began);
    let driver = must(
        &lab,
        "w2",
        "docker info --format '{{.Driver}} {{.CgroupVersion}}'",
    )
    .await;
    assert!(driver.starts_with("overlay2"), "{driver}");

    swarm(&lab, &hosts).await;
    faults(&lab).await;

    let labs = list_at(&dirs).await.unwrap();
    assert!(
        labs.iter()
            .any(|lab| lab.cluster == "provider" && lab.hosts.len() == 5)
    );
    let began = Instant::now();
    lab.down(false, &progress).await.unwrap();
    told("down", began);
    assert!(lab.reflect().await.unwrap().is_empty());
    assert_eq!(traces(dirs.root()).await, before);
    assert!(
        !list_at(&dirs)
            .await
            .unwrap()
            .iter()
            .any(|lab| lab.cluster == "provider")
    );
}

/// Forms a swarm and publishes a port of a task in host mode.
async fn swarm(lab: &Lab, hosts: &[&str]) {
    let address = lab.login("m1").unwrap().address;
    must(
        lab,
        "m1",
        &format!("docker swarm init --advertise-addr {address}"),
    )
    .await;
    for host in &hosts[1..] {
        let role = if host.starts_with('m') {
            "manager"
        } else {
            "worker"
        };
        let token = must(lab, "m1", &format!("docker swarm join-token -q {role}")).await;
        must(
            lab,
            host,
            &format!("docker swarm join --token {token} {address}:2377"),
        )
        .await;
    }
    let ready = must(
        lab,
        "m1",
        "docker node ls --format '{{.Status}} {{.ManagerStatus}}'",
    )
    .await;
    assert_eq!(ready.matches("Ready").count(), 5, "{ready}");
    assert_eq!(ready.matches("Reachable").count(), 2, "{ready}");
    // An image without a registry: the host's own shell and its libraries.
    let image = "tar -C / -c bin sbin lib lib64 usr/bin usr/lib64 usr/lib/x86_64-linux-gnu 2>/dev/null | docker import - probe >/dev/null";
    must(lab, "w1", image).await;
    let service = "docker service create --detach --quiet --name probe --constraint \
                   node.hostname==w1 --publish mode=host,target=22,published=8022 \
                   --entrypoint /usr/bin/perl probe -MIO::Socket -e \
                   '$s=IO::Socket::INET->new(Listen=>5,LocalPort=>22)or die;\
                   while($c=$s->accept){print $c \"pong\\n\";close $c}'";
    must(lab, "m1", service).await;
    let ask = format!(
        "for i in $(seq 60); do exec 3<>/dev/tcp/{}/8022 && head -1 <&3 && exit 0; sleep 0.5; done \
         2>/dev/null; docker service ps --no-trunc probe; exit 1",
        lab.login("w1").unwrap().address
    );
    let answer = must(lab, "m2", &format!("bash -c {}", skep::shell::quote(&ask))).await;
    assert_eq!(answer, "pong");
}

/// Pulls plugs and cables, and puts them back.
async fn faults(lab: &Lab) {
    let state = async |name: &str| {
        let found = lab.reflect().await.unwrap();
        found.into_iter().find(|host| host.name == name).unwrap()
    };
    let before = state("w2").await;
    let began = Instant::now();
    lab.kill("w2").await.unwrap();
    assert_eq!(state("w2").await.state, LabState::Stopped);
    assert_eq!(state("w2").await.address, before.address);
    lab.start("w2").await.unwrap();
    told("kill and boot", began);
    assert_eq!(state("w2").await, before);
    assert_eq!(must(lab, "w2", "hostname").await, "w2");
    let wait = "for i in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done; \
                docker info --format '{{.Swarm.LocalNodeState}}'";
    assert_eq!(must(lab, "w2", wait).await, "active");

    lab.cut("w1").await.unwrap();
    assert_eq!(state("w1").await.state, LabState::Cut);
    assert_ne!(ssh(lab, "root", "w1", "true").await.status, Some(0));
    lab.heal("w1").await.unwrap();
    assert_eq!(must(lab, "w1", "hostname").await, "w1");

    lab.pause("m3").await.unwrap();
    assert_eq!(state("m3").await.state, LabState::Paused);
    lab.unpause("m3").await.unwrap();
    assert_eq!(must(lab, "m3", "hostname").await, "m3");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes real containers on this machine: needs root and a Debian mirror"]
async fn a_trixie_host_boots_and_runs_docker() {
    let dirs = dirs();
    let progress = |line: &str| println!("  {line}");
    let lab = Lab::open_at(&inventory("trixie", &["m1"], "trixie"), dirs).unwrap();
    lab.prepare(&progress).await.unwrap();
    lab.create("m1", &progress).await.unwrap();
    let install = "apt-get update -q && apt-get install -yq docker.io docker-cli >/dev/null && \
                   docker info --format '{{.Driver}}'";
    assert!(must(&lab, "m1", install).await.ends_with("overlay2"));
    must(&lab, "m1", "docker swarm init").await;
    lab.down(false, &progress).await.unwrap();
}
