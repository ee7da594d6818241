//! A machine's controller that speaks Redfish: the emulator of the Python package `sushy-tools`, whose
//! machines take up to eleven seconds to do what they are told, over TLS.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PORT: u16 = 29_643;

const PACKAGE: &str = "sushy-tools==2.2.0";

const ONE: &str = "27946b59-9e44-4fa7-8e91-f3527a1ef094";
const OTHER: &str = "5f4dcc3b-5aa7-45d6-9d83-27deb882cf99";

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {out}{err}"
    );
    out
}

/// The emulator in `folder/python`.
fn install(folder: &Path) {
    let has = |words: &[&str]| {
        let program = Command::new("python3").args(words).output();
        program.is_ok_and(|output| output.status.success())
    };
    if !has(&["-c", "import venv, ensurepip"]) {
        let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/install");
        run(folder, tool, &["python3", "python3-venv"]);
    }
    run(folder, "python3", &["-m", "venv", "python"]);
    let pip = ["-m", "pip", "install", "--quiet", "--no-cache-dir", PACKAGE];
    run(folder, "python/bin/python", &pip);
}

/// An authority, and what it vouches for: the controller by its address.
fn vouch(folder: &Path) {
    for name in ["ca", "other"] {
        let words = format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        );
        run(folder, "openssl", &words.split(' ').collect::<Vec<_>>());
    }
    let own = "req -newkey rsa:2048 -nodes -subj /CN=bmc -keyout bmc.key -out bmc.csr";
    run(folder, "openssl", &own.split(' ').collect::<Vec<_>>());
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = "x509 -req -in bmc.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out bmc.pem";
    run(folder, "openssl", &sign.split(' ').collect::<Vec<_>>());
}

struct Controller(Child);

impl Controller {
    /// With these machines, by UUID and name, all off.
    fn begin(folder: &Path, machines: &[(&str, &str)]) -> Self {
        let hash = "import bcrypt; print(bcrypt.hashpw(b'hunter2', bcrypt.gensalt(4)).decode())";
        let hash = run(folder, "python/bin/python", &["-c", hash]);
        fs::write(folder.join("users"), format!("admin:{hash}")).unwrap();
        let machines = machines.iter().map(|(uuid, name)| {
            format!("{{'uuid': '{uuid}', 'name': '{name}', 'power_state': 'Off', 'nics': []}}")
        });
        let machines: Vec<String> = machines.collect();
        let state = folder.join(format!("state-{}", machines.len()));
        fs::create_dir(&state).unwrap();
        let at = folder.display();
        let settings = format!(
            "SUSHY_EMULATOR_AUTH_FILE = '{at}/users'\nSUSHY_EMULATOR_STATE_DIR = '{}'\n\
             SUSHY_EMULATOR_FAKE_SYSTEMS = [{}]\n",
            state.display(),
            machines.join(", ")
        );
        fs::write(folder.join("settings"), settings).unwrap();
        let child = Command::new(folder.join("python/bin/sushy-emulator"))
            .current_dir(folder)
            .args(["--config", "settings", "--fake", "-i", "127.0.0.1"])
            .args(["-p", &PORT.to_string()])
            .args(["--ssl-certificate", "bmc.pem", "--ssl-key", "bmc.key"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn();
        let mut controller = Self(child.unwrap());
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            let ended = controller.0.try_wait().unwrap();
            let log = || fs::read_to_string(folder.join("log")).unwrap();
            assert!(ended.is_none(), "{ended:?} {}", log());
            assert!(began.elapsed() < Duration::from_secs(30), "{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        controller
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// What skep did with the settings of `redfish`, and never the password.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn says(&self, words: &str) {
        assert!(
            self.err.contains(words),
            "`{words}`: {}{}",
            self.out,
            self.err
        );
    }

    fn power(&self) -> String {
        let rows: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}", self.err));
        rows[0]["power"].as_str().unwrap().to_owned()
    }
}

fn skep(folder: &Path, redfish: &str, arguments: &[&str]) -> Ran {
    let inventory = format!(
        "[cluster]\nname = \"redfish\"\n[ssh]\nport = 1\nconnect-timeout = 1\nconfig = \"\"\n\
         [[host]]\nname = \"nas\"\naddress = \"127.0.0.1\"\nrole = \"none\"\n[host.power.redfish]\n{redfish}\n\
         [[host]]\nname = \"m1\"\naddress = \"127.0.0.2\"\nrole = \"manager\"\n"
    );
    fs::write(folder.join("skep.toml"), inventory).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_skep"))
        .env("SKEP_INVENTORY", folder.join("skep.toml"))
        .env("XDG_STATE_HOME", folder.join("state-of-skep"))
        .env("BMC", "hunter2")
        .env("WRONG", "hunter3")
        // A proxy is for the world outside.
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (code, out, err) = (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    );
    for secret in ["hunter2", "hunter3"] {
        assert!(!format!("{out}{err}").contains(secret), "{out}{err}");
    }
    Ran { code, out, err }
}

fn settings(more: &str) -> String {
    format!(
        "url = \"https://127.0.0.1:{PORT}\"\nuser = \"admin\"\npassword = {{ env = \"BMC\" }}\n{more}\n"
    )
}

const STATUS: [&str; 4] = ["power", "status", "nas", "--json"];
const CA: &str = "ca-file = \"ca.pem\"";

fn switches(folder: &Path) {
    let own = settings(CA);
    let status = || skep(folder, &own, &STATUS);
    assert_eq!(status().power(), "off");
    // It is on, and its host does not answer all the same.
    let ran = skep(
        folder,
        &own,
        &["power", "on", "nas", "--wait", "2s", "--yes"],
    );
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    ran.says(&format!("Redfish at https://127.0.0.1:{PORT}"));
    let began = Instant::now();
    while status().power() != "on" {
        assert!(began.elapsed() < Duration::from_secs(30), "never on");
        std::thread::sleep(Duration::from_millis(500));
    }
    // Done when the controller says so.
    let ran = skep(folder, &own, &["power", "off", "nas", "--cut", "--yes"]);
    assert_eq!(status().power(), "off", "{}{}", ran.out, ran.err);
    let named = settings(&format!("{CA}\nsystem = \"{ONE}\""));
    assert_eq!(skep(folder, &named, &STATUS).power(), "off");
}

fn refuses(folder: &Path) {
    let says = |redfish: &str, words: &[&str]| {
        let ran = skep(folder, redfish, &["power", "status", "nas"]);
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        for words in words {
            ran.says(words);
        }
    };
    let own = settings(CA);
    says(
        &own.replace("BMC", "WRONG"),
        &["does not take the user `admin` and its password"],
    );
    // Nobody vouches for it, or another than is asked for; or not for this name.
    says(&settings(""), &["certificate"]);
    says(&settings("ca-file = \"other.pem\""), &["certificate"]);
    says(&own.replace("127.0.0.1", "localhost"), &["certificate"]);
    says(
        &settings("ca-file = \"names\""),
        &["has no certificate (PEM)"],
    );
    says(
        &settings("ca-file = \"none\""),
        &["cannot read the `ca-file`"],
    );
    let any = skep(folder, &settings("insecure = true"), &STATUS);
    assert_eq!(any.power(), "off");
    says(
        &own.replace(&PORT.to_string(), "9"),
        &["no answer from the controller"],
    );
}

fn finds_the_right_one(folder: &Path) {
    let says = |system: &str, words: &[&str]| {
        let ran = skep(
            folder,
            &settings(&format!("{CA}\n{system}")),
            &["power", "off", "nas", "--cut", "--yes"],
        );
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        for words in words {
            ran.says(words);
        }
    };
    says("", &["has several machines", ONE, OTHER, "`system`"]);
    says("system = \"none\"", &["has no machine `none`", ONE, OTHER]);
    // The emulator leads to the UUID from the name: an order that follows may go astray.
    says("system = \"two\"", &["leads elsewhere", OTHER]);
    let two = settings(&format!("{CA}\nsystem = \"{OTHER}\""));
    assert_eq!(skep(folder, &two, &STATUS).power(), "off");
}

#[test]
#[ignore = "needs Python, with venv, and PyPI; and openssl"]
fn a_controller_switches_its_machine() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    install(folder);
    vouch(folder);
    let controller = Controller::begin(folder, &[(ONE, "one")]);
    switches(folder);
    refuses(folder);
    drop(controller);
    let _controller = Controller::begin(folder, &[(ONE, "one"), (OTHER, "two")]);
    finds_the_right_one(folder);
}
