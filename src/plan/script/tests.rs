use super::*;

mod engine;
mod host;

use proptest::prelude::*;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

fn every_step() -> Vec<Step> {
    let text = str::to_owned;
    let path = text("/etc/docker/it's a $(file).json");
    vec![
        Step::WriteFile {
            path: path.clone(),
            content: text("a'b\n"),
            mode: 0o644,
        },
        Step::MoveAside { path: path.clone() },
        Step::RefreshPackages,
        Step::InstallPackages {
            packages: vec![
                PackageSpec {
                    name: text("docker.io"),
                    version: Some(text("20.10")),
                },
                PackageSpec {
                    name: text("curl"),
                    version: None,
                },
            ],
        },
        Step::RepairPackages,
        Step::FetchPackages {
            packages: vec![PackageSpec {
                name: "docker.io".to_owned(),
                version: Some("26.1".to_owned()),
            }],
        },
        Step::UpgradeEngine {
            packages: vec![PackageSpec {
                name: "docker.io".to_owned(),
                version: Some("26.1".to_owned()),
            }],
            folder: None,
            hold: true,
        },
        Step::InstallPackageFiles {
            folder: path.clone(),
        },
        Step::HoldPackages {
            packages: vec![text("docker.io")],
        },
        Step::FetchKey {
            url: text("https://a/b?c=d&e"),
            path,
        },
        Step::LoadModules {
            modules: vec![text("overlay")],
        },
        Step::SetSysctls {
            values: [(text("net.ipv4.ip_forward"), text("1"))].into(),
        },
        Step::ValidateDaemonConfig {
            content: text("{}"),
        },
        Step::RestartEngine,
        Step::ReloadEngine,
        Step::SettleRestart,
        Step::Service {
            unit: text("docker.service"),
            action: ServiceAction::EnableNow,
        },
        Step::Service {
            unit: text("docker.service"),
            action: ServiceAction::Restart,
        },
    ]
    .into_iter()
    .chain(nfs::tests::every_step().map(Step::Nfs))
    .chain(super::backup::tests::every_call().map(Step::Backup))
    .chain(host::every_call().map(Step::Host))
    .collect()
}

fn there(shell: &[&str]) -> bool {
    Command::new(shell[0]).arg("--help").output().is_ok()
}

/// The script with its lock below `root`, and files given to whoever runs the test.
fn below(root: &Path, step: &Step) -> String {
    let text = script(step).unwrap().text;
    text.replace("/run/skep", root.join("run").to_str().unwrap())
        .replace("${4:-0:0}", "$(id -u):$(id -g)")
        .replace("root:root", "\"$(id -u):$(id -g)\"")
}

fn start(shell: &[&str], script: &str) -> Child {
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
        .write_all(script.as_bytes())
        .unwrap();
    child
}

fn run(shell: &[&str], script: &str) -> (i32, String) {
    let output = start(shell, script).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

fn write(path: &Path, content: &str) -> Step {
    Step::WriteFile {
        path: path.to_str().unwrap().to_owned(),
        content: content.to_owned(),
        mode: 0o640,
    }
}

#[test]
fn every_script_is_posix_shell() {
    for shell in SHELLS.iter().filter(|shell| there(shell)) {
        for step in every_step() {
            let mut check = shell.to_vec();
            check.push("-n");
            let (status, stderr) = run(&check, &script(&step).unwrap().text);
            assert_eq!((status, stderr.as_str()), (0, ""), "{shell:?} {step}");
        }
    }
}

#[test]
fn a_script_that_arrives_cut_short_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let text = below(folder.path(), &write(&target, "new"));
    for cut in (0..text.len() - 30).step_by(97) {
        run(&["sh"], &text[..cut]);
        assert!(!target.exists(), "cut at {cut}");
    }
}

#[test]
fn a_file_is_written_with_its_folder_and_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    for shell in SHELLS.iter().filter(|shell| there(shell)) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b c/file");
        let content = "it's\n\\n$HOME `x`\n\nno line feed";
        let (status, stderr) = run(shell, &below(folder.path(), &write(&target, content)));
        assert_eq!((status, stderr.as_str()), (0, ""), "{shell:?}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), content);
        let mode = std::fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(
            std::fs::read_dir(target.parent().unwrap()).unwrap().count(),
            1
        );
    }
}

#[test]
fn a_killed_write_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let (old, new) = ("o".repeat(200_000), "n".repeat(300_000));
    for round in 0..25_u64 {
        std::fs::write(&target, &old).unwrap();
        let mut child = start(&["sh"], &below(folder.path(), &write(&target, &new)));
        std::thread::sleep(Duration::from_micros(round * 900));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = std::fs::read_to_string(&target).unwrap();
        assert!(
            found == old || found == new,
            "a mixture after round {round}"
        );
        let (status, stderr) = run(&["sh"], &below(folder.path(), &write(&target, &new)));
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), new);
    }
}

#[test]
fn moving_aside_never_overwrites() {
    for shell in SHELLS.iter().filter(|shell| there(shell)) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("f"), folder.path().join("f.skep-old"));
        let step = Step::MoveAside {
            path: from.to_str().unwrap().to_owned(),
        };
        let text = below(folder.path(), &step);
        std::fs::write(&from, "one").unwrap();
        assert_eq!(run(shell, &text), (0, String::new()));
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "one");
        assert_eq!(
            run(shell, &text),
            (0, String::new()),
            "nothing left to move"
        );
        std::fs::write(&from, "two").unwrap();
        assert_eq!(run(shell, &text).0, i32::from(ASIDE_TAKEN));
        assert_eq!(std::fs::read_to_string(&from).unwrap(), "two");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "one");
        // A run that was killed between the two halves.
        std::fs::remove_file(&from).unwrap();
        std::fs::hard_link(&to, &from).unwrap();
        assert_eq!(run(shell, &text), (0, String::new()));
        assert!(!from.exists() && to.exists());
    }
}

#[test]
fn two_steps_never_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let run_folder = folder.path().join("run");
    std::fs::create_dir_all(&run_folder).unwrap();
    std::fs::write(run_folder.join("step"), "another step").unwrap();
    let lock = run_folder.join("step.lock");
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sleep", "30"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let text = below(folder.path(), &write(&target, "x")).replace("take_lock 600", "take_lock 1");
    let (status, stderr) = run(&["sh"], &text);
    assert_eq!(status, i32::from(LOCKED));
    assert!(stderr.contains("another step"), "{stderr}");
    assert!(!target.exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_key_is_fetched_and_anything_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("key.asc"));
    let step = Step::FetchKey {
        url: format!("file://{}", source.display()),
        path: target.to_str().unwrap().to_owned(),
    };
    if !there(&["curl"]) {
        return;
    }
    std::fs::write(&source, "<html>sign in</html>").unwrap();
    assert_eq!(
        run(&["sh"], &below(folder.path(), &step)).0,
        i32::from(NOT_A_KEY)
    );
    assert!(!target.exists());
    std::fs::write(&source, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n").unwrap();
    assert_eq!(
        run(&["sh"], &below(folder.path(), &step)),
        (0, String::new())
    );
    assert!(target.exists());
    // APT reads a file of this name armoured only.
    std::fs::write(&source, [0x99, 1, 2, 3]).unwrap();
    assert_eq!(run(&["sh"], &below(folder.path(), &step)).0, 0);
    let key = std::fs::read_to_string(&target).unwrap();
    assert!(key.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQECAw==\n-----END"));
}

/// Puts a program in a folder of programs.
fn stub(folder: &Path, name: &str, body: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn install_with_stubs(shell: &[&str], root: &Path, version: Option<&str>) -> (i32, String) {
    let bin = root.join("bin");
    let versions = "printf '%s\\n' ' docker.io | 5:27.1-1 | http://m sid/main' \
         ' docker.io | 20.10.24+dfsg1-1+b6 | http://m bookworm/main' \
         ' docker.io | 20.10.5+dfsg1-1 | http://m bullseye/main'";
    stub(&bin, "apt-cache", versions);
    stub(&bin, "dpkg-query", "echo 'ok installed'");
    stub(
        &bin,
        "apt-get",
        &format!("printf '%s ' \"$@\" >{}", root.join("args").display()),
    );
    let step = Step::InstallPackages {
        packages: vec![PackageSpec {
            name: "docker.io".to_owned(),
            version: version.map(str::to_owned),
        }],
    };
    let text = below(root, &step)
        .replace("PATH=$PATH", &format!("PATH={}:$PATH", bin.display()))
        .replace(
            "/var/lib/dpkg/lock-frontend",
            root.join("lock").to_str().unwrap(),
        )
        .replace("/var/lib/dpkg/lock ", "")
        .replace(
            "/var/lib/dpkg/updates",
            root.join("updates").to_str().unwrap(),
        )
        .replace("/var/lib/apt/lists/lock /var/cache/apt/archives/lock", "")
        .replace("-lt 900", "-lt 1");
    run(shell, &text)
}

#[test]
fn the_newest_version_with_the_wanted_beginning_is_installed() {
    for shell in SHELLS.iter().filter(|shell| there(shell)) {
        let folder = tempfile::tempdir().unwrap();
        let args = || std::fs::read_to_string(folder.path().join("args")).unwrap();
        for (wanted, expected) in [
            (None, "install -- docker.io "),
            (Some("20.10"), "install -- docker.io=20.10.24+dfsg1-1+b6 "),
            (Some("20.10.5"), "install -- docker.io=20.10.5+dfsg1-1 "),
            (Some("27.1"), "install -- docker.io=5:27.1-1 "),
            (Some("5:27"), "install -- docker.io=5:27.1-1 "),
        ] {
            let (status, stderr) = install_with_stubs(shell, folder.path(), wanted);
            assert_eq!((status, stderr.as_str()), (0, ""), "{shell:?} {wanted:?}");
            assert!(args().ends_with(expected), "{wanted:?}: {}", args());
        }
        for none in ["19", "20.1", "2"] {
            let (status, stderr) = install_with_stubs(shell, folder.path(), Some(none));
            assert_eq!(status, i32::from(NO_VERSION), "{none}");
            assert!(stderr.contains("20.10.5+dfsg1-1"), "{stderr}");
        }
    }
}

#[test]
fn another_package_manager_is_waited_for_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sleep", "30"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (status, stderr) = install_with_stubs(&["sh"], folder.path(), None);
    assert_eq!(status, i32::from(PACKAGES_LOCKED), "{stderr}");
    assert!(stderr.contains("sleep 30"), "{stderr}");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn steps_tell_what_they_do() {
    let titles: Vec<String> = every_step().iter().map(Step::to_string).collect();
    assert_eq!(
        titles[0],
        "write /etc/docker/it's a $(file).json (mode 0644)"
    );
    assert_eq!(titles[3], "install packages docker.io=20.10* curl");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_content_and_any_name_survive(content in "(?s).{0,300}", name in "[^\0/]{1,30}") {
        prop_assume!(name != "." && name != "..");
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join(&name);
        let (status, stderr) = run(&["sh"], &below(folder.path(), &write(&target, &content)));
        prop_assert_eq!((status, stderr.as_str()), (0, ""));
        prop_assert_eq!(std::fs::read_to_string(&target).unwrap(), content);
    }
}
