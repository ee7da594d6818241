//! The facts: the script runs in every shell, and the parsers read what real hosts said.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use skep::facts::{HostFacts, Probe, Probes, limited, parse, script};
use skep::known::Known;

fn everything() -> Probes {
    let name = str::to_owned;
    [
        Probe::Os,
        Probe::Identity,
        Probe::Clock,
        Probe::Network,
        Probe::Disks,
        Probe::Busy,
        Probe::AptSources,
        Probe::Raft,
        Probe::Docker,
        Probe::Certificates,
        Probe::SwarmSecrets,
        Probe::Package(name("dpkg")),
        Probe::Package(name("no-such-package")),
        Probe::File(name("/etc/hostname")),
        Probe::File(name("/no/such/file")),
        Probe::Unit(name("docker.service")),
        Probe::Sysctl(name("net.ipv4.ip_forward")),
        Probe::Sysctl(name("no.such.setting")),
        Probe::Module(name("overlay")),
        Probe::Module(name("no-such-module")),
        Probe::User(name("root")),
        Probe::User(name("no-such-user")),
        Probe::Test(name("test -e '/no such file'; exit 3")),
    ]
    .into_iter()
    .collect()
}

fn run(shell: &[&str], probes: &Probes) -> Vec<u8> {
    feed(shell, &script(probes, "n0nce"))
}

fn feed(shell: &[&str], text: &str) -> Vec<u8> {
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    output.stdout
}

fn here(shell: &[&str]) -> Option<HostFacts> {
    if Command::new(shell[0]).args(["--help"]).output().is_err() {
        return None;
    }
    let probes = everything();
    Some(parse(&probes, "n0nce", &run(shell, &probes)))
}

#[test]
fn every_shell_answers() {
    for shell in [
        &["sh"][..],
        &["dash"],
        &["bash", "--posix"],
        &["busybox", "sh"],
    ] {
        let Some(facts) = here(shell) else { continue };
        assert!(facts.os.value().unwrap().cpus > 0, "{shell:?}");
        assert!(
            facts.identity.value().is_some(),
            "{shell:?}: {:?}",
            facts.identity
        );
        assert!(*facts.clock.value().unwrap() > 1.7e9);
        assert!(!facts.disks.value().unwrap().is_empty());
        assert!(facts.files["/no/such/file"].is_absent());
        assert!(
            facts.files["/etc/hostname"]
                .value()
                .unwrap()
                .content
                .is_some()
        );
        assert!(facts.sysctls["net.ipv4.ip_forward"].value().is_some());
        assert!(facts.sysctls["no.such.setting"].is_absent());
        assert!(facts.busy.is_settled());
        if facts.os.value().unwrap().id == "debian" {
            assert!(facts.packages["dpkg"].value().is_some());
            assert!(facts.packages["no-such-package"].is_absent());
        }
        assert!(!matches!(facts.modules["no-such-module"], Known::Value(_)));
    }
}

/// A case of `tests/facts/*/*.toml`: what a host answered, and the facts that it makes.
#[derive(serde::Deserialize)]
struct Case {
    /// The probes, in JSON.
    probes: String,
    /// The facts expected, in JSON; others are not looked at.
    facts: String,
    /// The sections that arrived.
    section: Vec<Section>,
}

#[derive(serde::Deserialize)]
struct Section {
    name: String,
    status: u8,
    output: String,
}

fn cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for probe in std::fs::read_dir("tests/facts").unwrap() {
        for file in std::fs::read_dir(probe.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            cases.push((path.display().to_string(), toml::from_str(&text).unwrap()));
        }
    }
    assert!(!cases.is_empty());
    cases
}

fn framed(case: &Case) -> Vec<u8> {
    let mut out = String::from("a noisy login script\n");
    for section in &case.section {
        let (name, output) = (&section.name, &section.output);
        let status = section.status;
        write!(
            out,
            "\nskepn0nce < {name}\n{output}\nskepn0nce > {name} {status}\nnoise between"
        )
        .unwrap();
    }
    out.into_bytes()
}

#[test]
fn what_hosts_said_is_read_as_expected() {
    for (path, case) in cases() {
        let probes: Probes = serde_json::from_str(&case.probes).unwrap();
        let facts = serde_json::to_value(parse(&probes, "n0nce", &framed(&case))).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&case.facts).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&facts[key], value, "{path}: {key}");
        }
    }
}

/// Every fact in one list, with its name.
fn flat(facts: &HostFacts) -> Vec<(String, serde_json::Value)> {
    let mut flat = Vec::new();
    let serde_json::Value::Object(map) = serde_json::to_value(facts).unwrap() else {
        unreachable!()
    };
    for (key, value) in map {
        let by_name = [
            "packages",
            "files",
            "units",
            "sysctls",
            "modules",
            "devices",
            "directories",
            "candidates",
            "offered",
            "mounts",
            "tests",
            "users",
        ]
        .contains(&key.as_str());
        match value {
            serde_json::Value::Object(map) if by_name => {
                flat.extend(
                    map.into_iter()
                        .map(|(name, v)| (format!("{key} {name}"), v)),
                );
            }
            value => flat.push((key, value)),
        }
    }
    flat
}

fn assert_only_less(whole: &HostFacts, part: &HostFacts, what: &str) {
    for ((name, whole), (_, part)) in flat(whole).into_iter().zip(flat(part)) {
        let unknown = part.get("unknown").is_some();
        assert!(
            unknown || part == whole,
            "{what}: {name}: {part} in place of {whole}"
        );
    }
}

/// A question that hangs where no deadline reaches it, as one that touches a folder of a dead server,
/// costs what comes after it, and neither what was answered before nor the engine's answer.
#[test]
fn a_question_that_hangs_costs_the_others_nothing() {
    let probes = Probes::from([Probe::Docker, Probe::Os, Probe::Identity, Probe::Clock]);
    let text = script(&probes, "n0nce");
    let hangs = text.replace("begin clock; ", "begin clock; while :; do sleep 1; done; ");
    assert_ne!(hangs, text);
    let deadline = std::time::Duration::from_secs(4);
    for shell in [&["sh"][..], &["bash", "--posix"]] {
        let facts = parse(&probes, "n0nce", &feed(shell, &limited(&hangs, deadline)));
        assert!(facts.identity.value().is_some() && facts.os.value().is_some());
        assert!(matches!(&facts.clock, Known::Unknown(_)), "{shell:?}");
        let engine = format!("{:?}", facts.engine);
        assert!(!engine.contains("did not arrive"), "{shell:?}: {engine}");
    }
}

#[test]
fn an_answer_cut_short_is_unknown_and_never_wrong() {
    let probes = everything();
    let stdout = run(&["sh"], &probes);
    let whole = parse(&probes, "n0nce", &stdout);
    for cut in 0..stdout.len() {
        let part = parse(&probes, "n0nce", &stdout[..cut]);
        assert_only_less(&whole, &part, &format!("cut at {cut}"));
    }
    for (path, case) in cases() {
        let probes: Probes = serde_json::from_str(&case.probes).unwrap();
        let stdout = framed(&case);
        let whole = parse(&probes, "n0nce", &stdout);
        for cut in 0..stdout.len() {
            let part = parse(&probes, "n0nce", &stdout[..cut]);
            assert_only_less(&whole, &part, &format!("{path} cut at {cut}"));
        }
    }
}

proptest::proptest! {
    #[test]
    fn noise_before_and_after_does_no_harm(before: Vec<u8>, after: Vec<u8>) {
        for (path, case) in cases() {
            let probes: Probes = serde_json::from_str(&case.probes).unwrap();
            let stdout = framed(&case);
            let noisy = [&before[..], &stdout, &after].concat();
            let (clean, noisy) = (parse(&probes, "n0nce", &stdout), parse(&probes, "n0nce", &noisy));
            proptest::prop_assert_eq!(clean, noisy, "{}", path);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let framed = [b"\nskepn0nce < disks\n", &bytes[..], b"\nskepn0nce > disks 0\n"].concat();
        parse(&everything(), "n0nce", &framed);
    }
}

#[test]
fn a_hung_probe_costs_its_own_deadline_only() {
    let folder = tempfile::tempdir().unwrap();
    let hung = folder.path().join("dpkg-query");
    std::fs::write(&hung, "#!/bin/sh\nexec sleep 100\n").unwrap();
    std::fs::set_permissions(&hung, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = script(&everything(), "n0nce")
        .replace(
            "PATH=$PATH",
            &format!("PATH={}:$PATH", folder.path().display()),
        )
        .replace("guard 10 dpkg-query", "guard 1 dpkg-query");
    let facts = parse(&everything(), "n0nce", &feed(&["sh"], &text));
    assert_eq!(
        facts.packages["dpkg"],
        Known::Unknown("no answer within its deadline".to_owned())
    );
    assert!(facts.os.value().is_some() && facts.disks.value().is_some());
}

/// A host in a folder whose server is dead: the script's own words about it, with `stat` and
/// `rpcinfo` that never come back.
fn dead_server(folder: &std::path::Path, mounted: bool) -> (Probes, String) {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["stat", "rpcinfo"] {
        let path = bin.join(name);
        let text = "#!/bin/sh\ntrap '' TERM\necho x >>\"${0%/*}/../asked\"\nexec sleep 30\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let table = if mounted {
        "nas:/a /mnt/a nfs4 rw 0 0\n"
    } else {
        ""
    };
    std::fs::write(folder.join("mounts"), table).unwrap();
    let probes: Probes = [Probe::Mount {
        target: "/mnt/a".to_owned(),
        server: "192.0.2.1".to_owned(),
        port: 2049,
    }]
    .into();
    let root = folder.to_str().unwrap();
    let text = script(&probes, "n0nce")
        .replace("/run/skep", &format!("{root}/run"))
        .replace("/proc/mounts", &format!("{root}/mounts"))
        .replace("PATH=$PATH", &format!("PATH={root}/bin:$PATH"));
    (probes, text)
}

#[test]
fn a_dead_server_costs_its_own_deadline_only() {
    for mounted in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (probes, text) = dead_server(folder.path(), mounted);
        let began = std::time::Instant::now();
        let facts = parse(&probes, "n0nce", &feed(&["sh"], &text));
        assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
        let mount = facts.mounts["/mnt/a"].value().unwrap();
        assert_eq!(mount.stale.as_deref(), Some("it does not answer"));
    }
}

#[test]
fn a_process_that_no_signal_ends_is_left_behind_once() {
    let folder = tempfile::tempdir().unwrap();
    let (probes, text) = dead_server(folder.path(), true);
    // A `timeout` that cannot end what waits for the server.
    let text = text.replace("timeout -s KILL 4 ", "");
    for _ in 0..2 {
        let facts = parse(&probes, "n0nce", &feed(&["sh"], &text));
        let mount = facts.mounts["/mnt/a"].value().unwrap();
        let why = "it does not answer, and a process that asked it still waits";
        assert_eq!(mount.stale.as_deref(), Some(why));
    }
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(
        asked.lines().count(),
        1,
        "it was asked while the first still waited"
    );
}
