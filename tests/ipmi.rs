//! A machine's controller that speaks IPMI, which switches it, and proves to a shutdown that it is off: the
//! real `ipmitool` and the simulator of the package `openipmi`, which keeps whether the machine is on in a
//! file.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const PORT: u16 = 29_623;

/// That of the controller of a host that is shut down.
const OTHER: u16 = 29_624;

struct Controller(Child);

impl Controller {
    fn begin(folder: &Path, port: u16) -> Self {
        let chassis = folder.join("chassis");
        let script = format!(
            "#!/bin/sh\nf={}/power\n[ -e $f ] || echo 0 >$f\ncase \"$2 $3\" in\n'get power') echo \"power:$(cat $f)\" ;;\n'set power') echo \"$4\" >$f ;;\nesac\n",
            folder.display()
        );
        fs::write(&chassis, script).unwrap();
        fs::set_permissions(&chassis, fs::Permissions::from_mode(0o755)).unwrap();
        let lan = format!(
            "name \"bmc\"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {port}\npriv_limit admin\n\
             allowed_auths_admin none md2 md5 straight\nguid a123456789abcdefa123456789abcdef\nendlan\n\
             chassis_control \"{} 0x20\"\nuser 2 true \"admin\" \"hunter2\" admin 10 none md2 md5 straight\n",
            chassis.display()
        );
        fs::write(folder.join("lan.conf"), lan).unwrap();
        let machine = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n";
        fs::write(folder.join("sim.emu"), machine).unwrap();
        let child = Command::new("ipmi_sim")
            .current_dir(folder)
            .args(["-n", "-d", "-c", "lan.conf", "-f", "sim.emu", "-s", "state"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let controller = Self(child.unwrap());
        std::thread::sleep(Duration::from_secs(1));
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

fn skep(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_skep"))
        .env("SKEP_INVENTORY", folder.join("skep.toml"))
        .env("XDG_STATE_HOME", folder.join("state-of-skep"))
        .env("BMC", "hunter2")
        .env_remove("NO_BMC")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
#[ignore = "needs ipmitool, and ipmi_sim of the package openipmi"]
fn a_controller_switches_its_machine() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _controller = Controller::begin(folder, PORT);
    let inventory = |password: &str| {
        let text = format!(
            "[cluster]\nname = \"ipmi\"\n[ssh]\nport = 1\nconnect-timeout = 1\nconfig = \"\"\n\
             [[host]]\nname = \"nas\"\naddress = \"127.0.0.1\"\nrole = \"none\"\n\
             [host.power.ipmi]\naddress = \"127.0.0.1\"\nport = {PORT}\nuser = \"admin\"\ncipher-suite = 3\npassword = {password}\n\
             [[host]]\nname = \"m1\"\naddress = \"127.0.0.2\"\nrole = \"manager\"\n"
        );
        fs::write(folder.join("skep.toml"), text).unwrap();
    };
    inventory("{ env = \"BMC\" }");
    let power = || {
        let (_, out, err) = skep(folder, &["power", "status", "nas", "--json"]);
        let rows: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        rows[0]["power"].as_str().unwrap().to_owned()
    };
    assert_eq!(power(), "off");
    // It is on, and its host does not answer all the same.
    let (code, _, err) = skep(folder, &["power", "on", "nas", "--wait", "2s", "--yes"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("IPMI at 127.0.0.1"), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
    assert_eq!(power(), "on");
    let (code, out, err) = skep(folder, &["power", "off", "nas", "--cut", "--yes"]);
    assert_eq!(
        fs::read_to_string(folder.join("power")).unwrap(),
        "0\n",
        "{code:?} {out}{err}"
    );
    assert_eq!(power(), "off");
    // Another password: its own words, and not the password.
    inventory("{ command = [\"echo\", \"hunter3\"] }");
    let (code, _, err) = skep(folder, &["power", "status", "nas"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("nas: `ipmitool") && !err.contains("hunter3"),
        "{err}"
    );
}

/// The host is silent from the first: whether it is off can be told by its controller alone.
#[test]
#[ignore = "needs ipmitool, and ipmi_sim of the package openipmi"]
fn a_controller_proves_that_a_host_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _controller = Controller::begin(folder, OTHER);
    let inventory = |password: &str| {
        let text = format!(
            "[cluster]\nname = \"ipmi\"\n[ssh]\nport = 1\nconnect-timeout = 1\nconfig = \"\"\n\
             [[host]]\nname = \"m1\"\naddress = \"127.0.0.1\"\nrole = \"manager\"\n\
             [host.power.ipmi]\naddress = \"127.0.0.1\"\nport = {OTHER}\nuser = \"admin\"\ncipher-suite = 3\npassword = {password}\n"
        );
        fs::write(folder.join("skep.toml"), text).unwrap();
    };
    let shutdown = || {
        let words = ["shutdown", "--confirm", "ipmi", "--deadline", "40s", "-v"];
        let (code, out, err) = skep(folder, &words);
        let said = format!("{out}{err}");
        assert!(!said.contains("hunter2"), "{said}");
        (code, said)
    };
    let set = |power: &str| fs::write(folder.join("power"), power).unwrap();

    set("0\n");
    inventory("{ env = \"BMC\" }");
    let (_, said) = shutdown();
    assert!(said.contains("it has no power any more"), "{said}");
    assert!(!said.contains("cannot be asked"), "{said}");

    // One that asks somebody for longer than there is time.
    inventory("{ command = [\"sleep\", \"60\"] }");
    let (code, said) = shutdown();
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "whether these have power at the end cannot be asked: m1; the password of admin at 127.0.0.1",
        "it was not there within 5 s",
        "it was not reached, and may be on",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }

    for (password, why) in [
        ("{ env = \"NO_BMC\" }", "`NO_BMC` is not set"),
        ("{ prompt = true }", "it would have to be asked for"),
    ] {
        inventory(password);
        let (_, out, err) = skep(folder, &["shutdown", "--dry-run", "--emergency"]);
        assert!(err.contains(why), "{out}{err}");
    }

    set("1\n");
    inventory("{ command = [\"echo\", \"hunter2\"] }");
    let (code, said) = shutdown();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it is silent, and still has power"), "{said}");
}
