//! Stories of the command line, on the real binary in an environment of its own.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cli/drill.rs"]
mod drill;
#[path = "cli/environment.rs"]
mod environment;
#[path = "cli/terminal.rs"]
mod terminal;

use std::fmt::Write as _;

use environment::Environment;
use insta::assert_snapshot;

/// A sound inventory of every role.
const SOUND: &str = r#"
[cluster]
name = "dccn"

[ssh]
user = "admin"
become = true

[swarm]
default-addr-pool = ["10.200.0.0/16"]

[group.ssd]
labels = { disk = "ssd" }

[[host]]
name = "m[1-3]"
address = "10.0.0.[11-13]"
role = "manager"

[[host]]
name = "w1"
address = "10.0.0.21"
role = "worker"
groups = ["ssd"]
labels = { function = "production" }
vars = { rack = 4 }
ssh = { jump = "m1", port = 2222 }

[[host]]
name = "nas"
address = "10.0.0.5"
role = "none"
"#;

/// Three things are wrong with it: a key, a role, and no manager.
const BROKEN: &str = r#"
[cluster]
name = "dccn"

[[host]]
name = "w1"
adress = "10.0.0.21"
role = "worker"

[[host]]
name = "w2"
address = "10.0.0.22"
role = "boss"
"#;

/// Its one host does not answer.
const FAR: &str = r#"
[cluster]
name = "far"

[ssh]
port = 1
connect-timeout = 1
config = ""

[[host]]
name = "m1"
address = "127.0.0.1"
role = "manager"
"#;

#[test]
fn without_arguments_it_shows_its_help() {
    let it = Environment::new();
    let output = it.run(&[]);
    assert_snapshot!(output.show());
}

#[test]
fn the_help_of_every_verb() {
    let it = Environment::new();
    let mut tree = it.run(&["--help"]).show();
    let mut verbs: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(above) = verbs.pop() {
        let mut command = skep::cli::command();
        for name in &above {
            command = command.find_subcommand(name).unwrap().clone();
        }
        for verb in command.get_subcommands() {
            let path = [above.clone(), vec![verb.get_name().to_owned()]].concat();
            let arguments: Vec<&str> = path.iter().map(String::as_str).collect();
            let output = it.run(&[&arguments[..], &["-h"]].concat());
            let _infallible = write!(tree, "\n$ skep {} -h\n{}", path.join(" "), output.show());
            verbs.push(path);
        }
    }
    assert_snapshot!(tree);
}

#[test]
fn wrong_usage_is_told_with_the_nearest_right_one() {
    let it = Environment::new();
    assert_snapshot!("usage_verb", it.run(&["invntory"]).show());
    assert_snapshot!("usage_option", it.run(&["inventory", "--jsn"]).show());
    assert_snapshot!(
        "usage_conflict",
        it.run(&["inventory", "--json", "--ansible"]).show()
    );
    assert_snapshot!("usage_value", it.run(&["completions", "bsh"]).show());
}

#[test]
fn the_log_of_managers_that_do_not_answer_is_missing() {
    let it = Environment::new();
    it.write("far.toml", FAR);
    let output = it.run(&["log", "-i", "far.toml"]);
    assert_eq!(output.code, Some(1), "{}", output.show());
    assert!(output.stderr.contains("`m1`"), "{}", output.show());
    assert_snapshot!("log_since", it.run(&["log", "--since", "yesterday"]).show());
}

#[test]
fn a_run_is_told_that_another_works_and_how_to_break_its_lock() {
    let it = Environment::new();
    it.write("far.toml", FAR);
    let state = skep::state::State::at(it.path("home/state/skep/far"));
    let first = state.lock("up").unwrap();
    let up = |environment: &[(&str, &str)], arguments: &[&str]| {
        let arguments = [&["up", "-i", "far.toml"], arguments].concat();
        it.run_with(environment, &arguments)
    };
    let refused = up(&[], &["--yes"]);
    assert_eq!(refused.code, Some(4), "{}", refused.show());
    let who = first.owner().name();
    for told in ["`skep up` by ", &who, " since ", "`--break-lock`"] {
        assert!(refused.stderr.contains(told), "{told}: {}", refused.show());
    }
    // Nobody is there to confirm it.
    let asked = up(&[], &["--break-lock"]);
    assert_eq!(asked.code, Some(2), "{}", asked.show());
    // Both of these get as far as the manager that does not answer.
    let token = first.token().expose();
    let under = up(&[("SKEP_LOCK", token)], &["--yes"]);
    assert_eq!(under.code, Some(1), "{}", under.show());
    assert!(!under.show().contains(token), "{}", under.show());
    let broken = up(&[], &["--yes", "--break-lock"]);
    assert_eq!(broken.code, Some(1), "{}", broken.show());
    let wrong = "0".repeat(32);
    assert_eq!(up(&[("SKEP_LOCK", &wrong)], &["--yes"]).code, Some(4));
}

#[test]
fn a_missing_inventory_is_told_with_the_way_to_one() {
    let it = Environment::new();
    assert_snapshot!(it.run(&["inventory"]).show());
}

#[test]
fn a_sound_inventory_passes_the_check() {
    let it = Environment::new();
    it.write("skep.toml", SOUND);
    assert_snapshot!(it.run(&["check", "--offline"]).show());
}

#[test]
fn all_errors_of_an_inventory_come_at_once() {
    let it = Environment::new();
    it.write("skep.toml", BROKEN);
    assert_snapshot!("broken_for_people", it.run(&["check", "--offline"]).show());
    assert_snapshot!(
        "broken_as_json",
        it.run(&["check", "--offline", "--json", "-qq"]).show()
    );
}

#[test]
fn the_inventory_comes_from_the_option_then_the_environment() {
    let it = Environment::new();
    it.write("a.toml", &SOUND.replace("dccn", "from-a"));
    it.write("b.toml", &SOUND.replace("dccn", "from-b"));
    let cluster = |output: environment::Output| {
        let json: serde_json::Value = serde_json::from_str(output.success()).unwrap();
        json["cluster"].as_str().unwrap().to_owned()
    };
    let named = it.run_with(&[("SKEP_INVENTORY", "a.toml")], &["inventory", "--json"]);
    assert_eq!(cluster(named), "from-a");
    let arguments = ["-i", "b.toml", "inventory", "--json"];
    let both = it.run_with(&[("SKEP_INVENTORY", "a.toml")], &arguments);
    assert_eq!(cluster(both), "from-b");
    let after = it.run(&["inventory", "--json", "-i", "b.toml"]);
    assert_eq!(cluster(after), "from-b");
}

#[test]
fn the_inventory_for_people_and_programs() {
    let it = Environment::new();
    it.write("skep.toml", SOUND);
    assert_snapshot!("inventory_list", it.run(&["inventory", "--list"]).show());
    assert_snapshot!("inventory_json", it.run(&["inventory", "--json"]).show());
    assert_snapshot!(
        "inventory_ansible",
        it.run(&["inventory", "--ansible", "--list"]).show()
    );
    assert_snapshot!(
        "inventory_ansible_host",
        it.run(&["inventory", "--host", "w1"]).show()
    );
    assert_snapshot!(
        "inventory_ansible_nobody",
        it.run(&["inventory", "--host", "w9"]).show()
    );
}

#[test]
fn init_writes_an_inventory_that_passes_the_check() {
    let it = Environment::new();
    let output = it.run(&[
        "init",
        "--manager",
        "10.0.0.11",
        "--worker",
        "10.0.0.21",
        "db=10.0.0.22",
        "--user",
        "admin",
    ]);
    assert_snapshot!("init_says", output.show());
    assert_snapshot!("init_writes", it.read("skep.toml"));
    it.run(&["check", "--offline"]).success();
    assert_snapshot!("init_never_overwrites", it.run(&["init", "--lab"]).show());
}

#[test]
fn init_writes_nothing_that_would_not_pass() {
    let it = Environment::new();
    let output = it.run(&["init", "--manager", "10.0.0.11", "10.0.0.12"]);
    assert_snapshot!(output.show());
    assert!(!it.path("skep.toml").exists());
}

#[test]
fn init_does_not_ask_where_nobody_answers() {
    let it = Environment::new();
    assert_snapshot!(it.run(&["init"]).show());
}

#[test]
fn completions_for_every_shell() {
    let it = Environment::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = it.run(&["completions", shell]);
        assert!(output.success().contains("inventory"), "{shell}");
    }
}

#[test]
fn manual_pages_for_every_verb() {
    let it = Environment::new();
    assert!(it.run(&["man"]).success().starts_with(".ie"));
    it.run(&["man", "--out", "man1"]).success();
    let page = it.read("man1/skep-inventory.1");
    assert!(page.contains("\\-\\-ansible"), "{page}");
    assert!(page.contains("\\-\\-color"), "{page}");
    for verb in skep::cli::command().get_subcommands() {
        let page = format!("man1/skep-{}.1", verb.get_name());
        assert!(it.path(&page).exists(), "{page}");
    }
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let it = Environment::new();
    it.write("skep.toml", SOUND);
    let coloured = |environment: &[(&str, &str)], arguments: &[&str]| {
        let arguments = [&["inventory"], arguments].concat();
        it.run_with(environment, &arguments)
            .success()
            .contains('\x1b')
    };
    assert!(!coloured(&[], &[]));
    assert!(coloured(&[], &["--color", "always"]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], &[]));
    assert!(!coloured(
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
        &[]
    ));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["--color", "never"]));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let it = Environment::new();
    it.write("skep.toml", SOUND);
    for arguments in [
        &["inventory", "--json"][..],
        &["inventory", "--list"],
        &["completions", "bash"],
        &["man"],
        &["schema"],
        &["schema", "playbook"],
    ] {
        let output = it.run_into_closed_pipe(arguments);
        assert_eq!(output.code, Some(0), "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stderr, "", "{arguments:?}");
    }
}

#[test]
fn the_log_goes_to_its_file() {
    let it = Environment::new();
    it.write("skep.toml", SOUND);
    it.run(&["check", "--offline", "--log-file", "log"])
        .success();
    it.write("far.toml", FAR);
    let output = it.run(&["plan", "-i", "far.toml", "--log-file", "log"]);
    assert!(
        output.show().starts_with("exit code: 1"),
        "{}",
        output.show()
    );
    let log = it.read("log");
    let line = log.lines().find(|line| line.contains("Gathered"));
    let line = line.unwrap_or_else(|| panic!("the log does not tell that m1 was asked: {log}"));
    serde_json::from_str::<serde_json::Value>(line).unwrap();
    let output = it.run(&["check", "--offline", "--log-file", "no/such/log"]);
    assert_snapshot!(output.show());
}

/// What a server would be told is shown without a cloud, with no key in it; what is wrong with a template
/// is told with its line.
#[test]
fn templates_are_listed_and_rendered_without_a_cloud() {
    let it = Environment::new();
    it.write(
        "skep.toml",
        "[cluster]\nname = \"hive\"\nprovider = \"openstack\"\n[openstack]\ncloud = \"demo\"\n\
         image = \"debian\"\nflavor = \"small\"\nnetworks = [\"net\"]\npublic-key = \"id.pub\"\n\
         ssh-from = [\"198.51.100.0/24\"]\nuser-data = \"first.sh\"\n[ssh]\nuser = \"debian\"\n\
         config = \"\"\n[swarm]\ndefault-addr-pool = [\"10.200.0.0/16\"]\n[[host]]\nname = \"m1\"\n\
         role = \"manager\"\nvars = { rack = 4 }\n[[host]]\nname = \"nas\"\nrole = \"none\"\n\
         provider = \"static\"\naddress = \"10.0.0.5\"\n",
    );
    it.write("id.pub", "ssh-ed25519 AAAA me\n");
    it.write(
        "first.sh",
        "#!/bin/sh\necho {{ host }} {{ rack }} {{ role }}\n",
    );
    it.write("wrong.j2", "a\n{{ rock }}\n");
    assert_snapshot!("render_list", it.run(&["render"]).show());
    let of = |template: &str, host: &str| it.run(&["render", template, "--host", host]).show();
    assert_snapshot!("render_user_data", of("user-data", "m1"));
    assert_snapshot!("render_file", of("./first.sh", "m1"));
    assert_snapshot!("render_wrong", of("./wrong.j2", "m1"));
    assert_snapshot!("render_unknown", of("user-dat", "m1"));
    assert_snapshot!("render_no_host", of("user-data", "m2"));
    assert_snapshot!("render_no_server", of("user-data", "nas"));
}

/// The user's own playbook of a name comes before the one that skep brings along, and all that is wrong
/// with it is told before any host is asked.
#[test]
fn playbooks_are_listed_found_and_checked_without_a_host() {
    let it = Environment::new();
    it.write("skep.toml", SOUND);
    assert_snapshot!("run_list", it.run(&["run", "--list"]).show());
    it.write(
        "playbooks/chrony.toml",
        "description = \"My own\"\n[[task]]\nname = \"a\"\non = \"wrokers\"\n\
         command = { run = \"echo {{ zone }}\" }\n",
    );
    it.write("playbooks/broken.toml", "[[task]\n");
    assert_snapshot!("run_list_own", it.run(&["run", "--list"]).show());
    assert_snapshot!("run_wrong", it.run(&["run", "chrony", "--plan"]).show());
    assert_snapshot!("run_unknown", it.run(&["run", "chorny"]).show());
    let given = ["run", "security-upgrades", "--var", "servr=a"];
    assert_snapshot!("run_variable", it.run(&given).show());
    assert_snapshot!("run_pair", it.run(&["run", "chrony", "--var", "a"]).show());
}

/// The playbooks of shutdown and start can be had to begin with; what is wrong with the user's own is told
/// by the check and before any host is asked, and `skep run` tells which verb goes by one.
#[test]
fn playbooks_of_procedures_are_printed_and_checked_without_a_host() {
    let it = Environment::new();
    it.write("skep.toml", FAR);
    for verb in ["shutdown", "start"] {
        let printed = it.run(&[verb, "--playbook"]);
        let text = std::fs::read_to_string(format!("playbooks/{verb}.toml")).unwrap();
        assert!(printed.show().contains(&text), "{}", printed.show());
        // It is a playbook to begin with.
        it.write(&format!("playbooks/{verb}.toml"), &text);
    }
    let sound = it.run(&["check", "--offline"]).show();
    assert!(sound.contains("exit code: 0"), "{sound}");
    assert_snapshot!("run_procedure", it.run(&["run", "shutdown"]).show());
    let text = "ordered = true\n[[task]]\nname = \"Off\"\nuse = \"power.off-workers\"\n\
         [[task]]\nname = \"a\"\non = \"nobody\"\ncommand = { run = \"true\" }\n";
    it.write("playbooks/shutdown.toml", text);
    let wrong = it.run(&["shutdown", "--dry-run"]).show();
    assert_snapshot!("procedure_wrong", wrong);
    let checked = it.run(&["check", "--offline"]).show();
    assert!(
        checked.contains("`use = \"swarm.record\"` is missing"),
        "{checked}"
    );
    assert!(checked.contains("exit code: 2"), "{checked}");
    let json = it.run(&["check", "--offline", "--json"]).show();
    assert!(
        json.contains("\"file\": \"playbooks/shutdown.toml\""),
        "{json}"
    );
    assert!(json.contains("exit code: 2"), "{json}");
}

#[test]
fn a_playbook_says_which_secret_is_not_there() {
    let it = Environment::new();
    it.write("skep.toml", FAR);
    it.write(
        "key.toml",
        "[secrets]\nkey = { env = \"SKEP_NO_SUCH\" }\n[[task]]\nname = \"a\"\n\
         template = { path = \"/a\", content = \"{{ key }}\" }\n",
    );
    let ran = it.run(&["run", "./key.toml", "--yes"]);
    assert_snapshot!("run_secret", ran.show());
}
