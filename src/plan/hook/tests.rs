use std::process::Command;

use super::*;

fn hook(at: HookPlace, command: HookCommand) -> HookStep {
    HookStep {
        hook: Hook {
            name: None,
            when: Moment::BeforeDrain,
            at,
            command,
            timeout: 60,
        },
        variables: BTreeMap::new(),
    }
}

fn script(text: &str) -> HookStep {
    hook(HookPlace::Host, HookCommand::Script(text.to_owned()))
}

fn run(shell: &[&str], step: &HookStep) -> (Option<i32>, String) {
    let text = step.script().text;
    // As on a host: the script is read whole from standard input and then run.
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", "eval \"$0\"", &text])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), said)
}

#[test]
fn values_reach_a_host_as_they_are_and_are_never_run() {
    for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
        if Command::new(shell[0]).arg("--help").output().is_err() {
            continue;
        }
        let evil = "it's $(echo run) `echo run` \\ \"\nEOF";
        let mut step = script("printf %s \"$SKEP_VAR_X\"\ncat\n");
        let value = ("SKEP_VAR_X".to_owned(), evil.to_owned());
        step.variables.extend([value]);
        assert_eq!(run(shell, &step), (Some(0), evil.to_owned()), "{shell:?}");
        let fails = script("echo one\nfalse\necho two");
        assert_eq!(run(shell, &fails), (Some(1), "one\n".to_owned()));
        let words = ["printf", "%s.", "a b", "$HOME"].map(str::to_owned);
        let program = hook(HookPlace::Host, HookCommand::Program(words.to_vec()));
        assert_eq!(run(shell, &program), (Some(0), "a b.$HOME.".to_owned()));
    }
}

#[test]
fn one_line_tells_what_is_run_and_where() {
    assert_eq!(
        script("\n  ls\n").to_string(),
        "hook before-drain, on the host: ls"
    );
    let many = script("ls /\nls /etc");
    assert_eq!(many.to_string(), "hook before-drain, on the host: ls / …");
    let words = ["./lb", "out of"].map(str::to_owned);
    let mut program = hook(HookPlace::Here, HookCommand::Program(words.to_vec()));
    assert_eq!(
        program.to_string(),
        "hook before-drain, here: ./lb 'out of'"
    );
    program.hook.name = Some("lb".to_owned());
    assert_eq!(program.to_string(), "hook before-drain \"lb\", here");
}

#[test]
fn a_hook_is_told_what_is_known_of_its_host() {
    let text = "[cluster]\nname = \"c\"\n[[host]]\nname = \"m1\"\naddress = \"198.18.0.1\"\nrole = \"manager\"\n\
                vars = { rack = \"b4\", slots = [1, 2], odd-name = true }\n\
                [[hook]]\nwhen = \"after-reboot\"\nrun = \"true\"\n";
    let (inventory, _) = crate::inventory::parse(text, "skep.toml".as_ref());
    let inventory = inventory.unwrap();
    let host = &inventory.hosts[0];
    let told = |gathered: &Gathered| {
        let all = variables(&host.hooks[0], host, &inventory, gathered, &Swarm::None);
        let all = all.iter().map(|(name, value)| format!("{name}={value}"));
        all.collect::<Vec<_>>().join("\n")
    };
    let unknown = "SKEP_ADDRESS=198.18.0.1\nSKEP_CLUSTER=c\nSKEP_HOOK=after-reboot\nSKEP_HOST=m1\n\
                   SKEP_PHASE=reboot\nSKEP_ROLE=manager\nSKEP_VAR_ODD_NAME=true\nSKEP_VAR_RACK=b4\n\
                   SKEP_VAR_SLOTS=[1, 2]";
    assert_eq!(told(&Gathered::new()), unknown);
    let facts = crate::facts::HostFacts {
        os: crate::known::Known::Value(crate::facts::Os {
            id: "debian".to_owned(),
            version: "12".to_owned(),
            kernel: "6.1\0".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let known = told(&Gathered::from([("m1".to_owned(), Ok(facts))]));
    assert!(
        known.contains("SKEP_OS=debian\nSKEP_OS_VERSION=12\n"),
        "{known}"
    );
    assert!(!known.contains("SKEP_KERNEL"), "a NUL cannot be told");
}
