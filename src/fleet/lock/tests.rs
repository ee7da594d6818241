use super::*;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

fn there(shell: &&&[&str]) -> bool {
    Command::new(shell[0]).arg("--help").output().is_ok()
}

/// A shell that runs a script as the wrapper on a host does.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(shell: &[&str], root: &Path, script: &str) -> Self {
        let script = script.replace("/run/skep", root.join("run").to_str().unwrap());
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", "eval \"$script\""])
            .env("script", format!("{script}\n#skep-nonce"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The first line.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Still there after a heartbeat.
    fn holds(&mut self) -> bool {
        if self.input.write_all(b".").is_err() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(300));
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself, and gives what else it printed.
    fn ends(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        rest
    }

    fn let_go(self) {
        let Self {
            mut child,
            input,
            output: _output,
        } = self;
        drop(input);
        child.wait().unwrap();
    }
}

fn owner(command: &str, token: &Token) -> Owner {
    Owner {
        who: "it's $(ada)\"seal\":\"".to_owned(),
        ..Owner::this(command).sealed(token)
    }
}

fn breaks(shell: &[&str], root: &Path, record: &str) -> Broken {
    let soon = break_script(record).replace("sleep 0.5", "sleep 0.1");
    let said = Shell::start(shell, root, &soon).ends();
    Broken::parse(&said).unwrap()
}

fn record(owner: &Owner) -> String {
    serde_json::to_string(owner).unwrap()
}

#[test]
fn the_second_is_told_who_holds_the_lock_until_it_is_free() {
    for shell in SHELLS.iter().filter(there) {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::new();
        let mine = owner("up", &token);
        let take = || Shell::start(shell, folder.path(), &script(&mine, None));
        let mut first = take();
        assert_eq!(first.says(), HELD, "{shell:?}");
        assert!(first.holds(), "{shell:?}");
        let said = take().says();
        let told = said.strip_prefix(TAKEN).unwrap();
        assert_eq!(serde_json::from_str::<Owner>(told).unwrap(), mine);
        assert!(!said.contains(token.expose()));
        first.let_go();
        let mut next = take();
        assert_eq!(next.says(), HELD, "{shell:?}");
        next.let_go();
        assert!(!folder.path().join("run/run.owner").exists());
    }
}

#[test]
fn the_record_is_for_root_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let token = Token::new();
    let mut first = Shell::start(&["sh"], folder.path(), &script(&owner("up", &token), None));
    assert_eq!(first.says(), HELD);
    for file in std::fs::read_dir(folder.path().join("run")).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(token.expose()), "{text}");
    }
    first.let_go();
}

#[test]
fn the_token_lets_a_run_work_under_the_lock_as_long_as_it_is_there() {
    for shell in SHELLS.iter().filter(there) {
        let folder = tempfile::tempdir().unwrap();
        let (token, strange) = (Token::new(), Token::new());
        let start = |presented: Option<&Token>, token: &Token| {
            let script = script(&owner("up", token), presented);
            Shell::start(shell, folder.path(), &script)
        };
        let mut first = start(None, &token);
        assert_eq!(first.says(), HELD, "{shell:?}");
        assert!(start(Some(&strange), &strange).says().starts_with(TAKEN));
        let mut under = start(Some(&token), &token);
        assert_eq!(under.says(), HELD, "{shell:?}");
        assert!(under.holds(), "{shell:?}");
        // It ends before its parent, which keeps the lock.
        let mut other = start(Some(&token), &token);
        assert_eq!(other.says(), HELD, "{shell:?}");
        other.let_go();
        assert!(start(None, &strange).says().starts_with(TAKEN));
        first.let_go();
        assert!(!under.holds(), "{shell:?}: its parent's lock is gone");
    }
}

#[test]
fn a_broken_lock_is_free_and_its_holder_gone() {
    for shell in SHELLS.iter().filter(there) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mine = owner("up", &Token::new());
        assert_eq!(breaks(shell, root, &record(&mine)), Broken::Free);
        let mut first = Shell::start(shell, root, &script(&mine, None));
        assert_eq!(first.says(), HELD);
        assert!(first.holds());
        let other = owner("up", &Token::new());
        assert_eq!(breaks(shell, root, &record(&other)), Broken::Other);
        assert!(first.holds(), "{shell:?}");
        let began = Instant::now();
        assert_eq!(breaks(shell, root, &record(&mine)), Broken::Broken);
        assert!(began.elapsed() < Duration::from_secs(4), "{shell:?}");
        assert!(!first.holds(), "{shell:?}");
        let mut next = Shell::start(shell, root, &script(&other, None));
        assert_eq!(next.says(), HELD, "{shell:?}");
        next.let_go();
    }
}

#[test]
fn a_holder_that_does_not_listen_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mine = owner("up", &Token::new());
    let deaf = format!("trap '' TERM\n{}", script(&mine, None));
    let mut first = Shell::start(&["sh"], folder.path(), &deaf);
    assert_eq!(first.says(), HELD);
    assert_eq!(
        breaks(&["sh"], folder.path(), &record(&mine)),
        Broken::Broken
    );
    assert!(!first.holds());
}

#[test]
fn a_process_that_got_the_holders_number_is_never_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mine = owner("up", &Token::new());
    let mut first = Shell::start(&["sh"], folder.path(), &script(&mine, None));
    assert_eq!(first.says(), HELD);
    // Another process, which has another file open in that place.
    let other = "exec 9>>\"$0\"; exec sleep 60";
    let mut innocent = Command::new("sh")
        .args(["-c", other])
        .arg(folder.path().join("other"))
        .spawn()
        .unwrap();
    let holder = folder.path().join("run/run.holder");
    for number in [innocent.id().to_string(), "1 2".into(), String::new()] {
        std::fs::write(&holder, number).unwrap();
        let broken = breaks(&["sh"], folder.path(), &record(&mine));
        assert_eq!(broken, Broken::Unknown);
    }
    assert!(innocent.try_wait().unwrap().is_none());
    assert!(first.holds());
    innocent.kill().unwrap();
    innocent.wait().unwrap();
    first.let_go();
}
