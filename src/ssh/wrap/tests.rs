use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;

use super::*;

const SHELLS: &[&[&str]] = &[&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];

/// Shells that are only ever the login shell: they read the command line, not the script.
const LOGIN_SHELLS: &[&str] = &["sh", "dash", "bash", "tcsh", "csh", "fish", "zsh", "ksh"];

fn is_there(shell: &str) -> bool {
    Command::new(shell)
        .args(["-c", "exit 0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success() || shell == "busybox")
}

fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The far side may not read all of it.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Runs a wrapped script by a login shell; gives back what came after the begin marker.
fn run(login_shell: &str, wrapped: &Wrapped, after: &[u8]) -> (Option<i32>, String, String) {
    let input = [wrapped.script.as_slice(), after].concat();
    let output = feed(
        Command::new(login_shell).arg("-c").arg(&wrapped.command),
        &input,
    );
    let own = |bytes: &[u8]| {
        let mut preamble = Preamble::new(&wrapped.begin);
        let own = preamble.feed(bytes);
        assert!(preamble.is_over(), "{output:?}");
        String::from_utf8_lossy(own).into_owned()
    };
    (
        output.status.code(),
        own(&output.stdout),
        own(&output.stderr),
    )
}

#[test]
fn every_login_shell_reads_the_command_the_same() {
    let script = "printf '%s|' \"it's\" \"$#\" 'a\\b' '!x'; echo error >&2; exit 3";
    for shell in LOGIN_SHELLS.iter().filter(|shell| is_there(shell)) {
        for deadline in [None, Some(Duration::from_secs(20))] {
            let wrapped = wrap(script, Input::Whole, Sudo::No, deadline);
            let (status, out, err) = run(shell, &wrapped, b"");
            assert_eq!(status, Some(3), "{shell}");
            assert_eq!(out, "it's|0|a\\b|!x|", "{shell}");
            assert_eq!(err, "error\n", "{shell}");
        }
    }
}

#[test]
fn the_command_has_nothing_that_shells_read_differently() {
    let wrapped = wrap(
        "true",
        Input::Whole,
        Sudo::Password,
        Some(Duration::from_secs(9)),
    );
    for text in [DEADLINE, READER] {
        assert!(!text.contains(['\'', '\\', '\n', '`']), "{text}");
        // csh looks for history after an exclamation mark unless a blank follows.
        for (at, _) in text.match_indices('!') {
            assert_eq!(text.as_bytes().get(at + 1), Some(&b' '), "{text}");
        }
    }
    assert!(!wrapped.command.contains('\n'));
}

#[test]
fn what_follows_the_script_is_its_input_to_the_byte() {
    let wrapped = wrap(
        "read -r first; echo \"[$first]\"; exec cat",
        Input::Beginning,
        Sudo::No,
        None,
    );
    let (status, out, _) = run("sh", &wrapped, b"one\ntwo\nthree");
    assert_eq!((status, out.as_str()), (Some(0), "[one]\ntwo\nthree"));
}

#[test]
fn a_script_with_a_heredoc_and_a_trailing_comment_runs() {
    let wrapped = wrap(
        "cat <<'END'\n$x `y`\nEND\n# the end",
        Input::Whole,
        Sudo::No,
        None,
    );
    assert_eq!(run("sh", &wrapped, b"").1, "$x `y`\n");
}

#[test]
fn a_large_script_runs() {
    let script = format!(": {}\necho done", "x".repeat(300_000));
    let wrapped = wrap(&script, Input::Whole, Sudo::No, None);
    assert_eq!(run("sh", &wrapped, b"").1, "done\n");
}

#[test]
fn a_deadline_ends_the_script_and_its_children() {
    let wrapped = wrap(
        "sleep 30; echo late",
        Input::Whole,
        Sudo::No,
        Some(Duration::from_secs(1)),
    );
    let begun = std::time::Instant::now();
    let (status, out, _) = run("sh", &wrapped, b"");
    assert_eq!((status, out.as_str()), (Some(124), ""));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_deadline_holds_where_there_is_no_timeout() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["sh", "env", "cat", "sleep", "echo", "kill"] {
        let found = ["/bin", "/usr/bin"]
            .map(|folder| std::path::Path::new(folder).join(name))
            .into_iter()
            .find(|path| path.exists());
        if let Some(path) = found {
            std::os::unix::fs::symlink(path, dir.path().join(name)).unwrap();
        }
    }
    for (script, expected, shown) in [
        ("echo in; cat; exit 5", 5, "in\n"),
        ("exec sleep 30", 143, ""),
    ] {
        let wrapped = wrap(script, Input::Whole, Sudo::No, Some(Duration::from_secs(1)));
        let begun = std::time::Instant::now();
        let output = feed(
            Command::new("/bin/sh")
                .arg("-c")
                .arg(&wrapped.command)
                .env("PATH", dir.path()),
            &wrapped.script,
        );
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
        let mut preamble = Preamble::new(&wrapped.begin);
        assert_eq!(preamble.feed(&output.stdout), shown.as_bytes());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

/// Runs the reader alone, as the innermost shell does.
fn read_by(shell: &[&str], wrapped: &Wrapped, length: &str, input: &[u8]) -> Output {
    feed(
        Command::new(shell[0]).args(&shell[1..]).args([
            "-c",
            READER,
            "sh",
            &wrapped.begin,
            length,
            "1",
        ]),
        input,
    )
}

#[test]
fn no_proper_beginning_of_a_script_does_anything() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("done");
    let script = format!("echo a >>{0}\necho b >>{0}", file.display());
    for shell in SHELLS.iter().filter(|shell| is_there(shell[0])) {
        for input in [Input::Whole, Input::Beginning] {
            let wrapped = wrap(&script, input, Sudo::No, None);
            let length = match input {
                Input::Whole => "-".to_owned(),
                Input::Beginning => wrapped.script.len().to_string(),
            };
            let whole = wrapped.script.len();
            // Every cut near an end or a line's end, and some between.
            for cut in (0..whole).filter(|cut| cut % 7 == 0 || whole - cut < 4) {
                let output = read_by(shell, &wrapped, &length, &wrapped.script[..cut]);
                assert_eq!(output.status.code(), Some(254), "{shell:?} cut at {cut}");
                assert!(!file.exists(), "{shell:?} cut at {cut}");
            }
            let output = read_by(shell, &wrapped, &length, &wrapped.script);
            assert_eq!(output.status.code(), Some(0), "{shell:?} {output:?}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\nb\n");
            std::fs::remove_file(&file).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn noise_is_cut_off_however_it_arrives(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        own in proptest::collection::vec(any::<u8>(), 0..200),
        piece in 1_usize..40,
    ) {
        let begin = "skep-0123456789abcdef";
        let all = [&noise[..], begin.as_bytes(), b" 4711\n", &own[..]].concat();
        let mut preamble = Preamble::new(begin);
        let got: Vec<u8> = all
            .chunks(piece)
            .flat_map(|chunk| preamble.feed(chunk).to_vec())
            .collect();
        prop_assert!(preamble.is_over());
        prop_assert_eq!(got, own);
    }
}

#[test]
fn a_begin_marker_is_found_after_much_noise() {
    let mut preamble = Preamble::new("skep-1");
    for _ in 0..100 {
        assert!(preamble.feed(&[b'x'; 9_999]).is_empty());
    }
    assert!(preamble.feed(b"skep").is_empty());
    assert_eq!(preamble.feed(b"-1 sh 5\nskep-1 47"), b"");
    assert_eq!(preamble.feed(b"11\nown"), b"own");
    assert_eq!(preamble.process(), Some(4711));
    assert!(preamble.noise().len() <= 2 * NOISE_KEPT + 9_999);
}

#[test]
fn nonces_differ() {
    assert_ne!(nonce(), nonce());
    assert_eq!(nonce().len(), 32);
}

#[test]
fn the_command_tells_nothing_of_the_script() {
    for sudo in [Sudo::No, Sudo::Silent, Sudo::Password] {
        let wrapped = wrap("echo token-4711", Input::Beginning, sudo, None);
        assert!(!wrapped.command.contains("4711"), "{}", wrapped.command);
    }
}
