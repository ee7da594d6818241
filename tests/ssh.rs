//! The SSH layer against real OpenSSH servers, each started by its test on a loopback address.
//!
//! They need root, `sshd`, `ssh-keygen`, `ssh-agent`, `sudo` and `useradd`, and no systemd.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "ssh/managers.rs"]
mod managers;
#[path = "ssh/server.rs"]
mod server;

use std::sync::Mutex;
use std::time::Duration;

use secrecy::SecretString;
use server::{Server, User};
use skep::ssh::{
    Become, Client, Exit, HostKeyCheck, Options, Output, ScriptOptions, Session, SshError,
    StreamTo, Target,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn client() -> Client {
    Client::new(Options {
        ssh_config: false,
        ..Options::default()
    })
}

fn options(seconds: u64, root: bool) -> ScriptOptions {
    ScriptOptions {
        deadline: Duration::from_secs(seconds),
        root,
    }
}

async fn run(session: &Session, script: &str) -> Output {
    session
        .script(script, &options(30, false), &|_, _| {})
        .await
        .unwrap()
}

async fn prints(session: &Session, script: &str) -> String {
    let output = run(session, script).await;
    assert_eq!(output.status, Exit::Code(0), "{}", output.stderr_tail);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_key_logs_in_and_a_script_runs() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let lines = Mutex::new(Vec::new());
    let output = session
        .script(
            "echo one; echo two >&2; cat; printf three; exit 7",
            &options(30, false),
            &|stream, line| lines.lock().unwrap().push(format!("{stream:?} {line}")),
        )
        .await
        .unwrap();
    assert_eq!(output.status, Exit::Code(7));
    assert_eq!(output.stdout, b"one\nthree");
    assert_eq!(output.stderr_tail, "two\n");
    let mut lines = lines.into_inner().unwrap();
    lines.sort();
    assert_eq!(lines, ["Stderr two", "Stdout one", "Stdout three"]);
    assert_eq!(session.user(), "root");
    assert!(!session.is_closed());
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_command_is_a_stream_of_bytes_both_ways() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let to = StreamTo::Command {
        script: "exec cat".to_owned(),
        root: false,
    };
    let mut stream = session.stream(&to).await.unwrap();
    let sent: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut got = Vec::new();
    let (sending, back) = tokio::join!(
        async {
            write.write_all(&sent).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut got)
    );
    sending.unwrap();
    back.unwrap();
    assert!(got == sent);
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

async fn refused(client: &Client, target: &Target) -> SshError {
    match client.connect(target).await {
        Ok(_) => panic!("logged in"),
        Err(error) => error,
    }
}

// ---- Keys and passwords

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn an_encrypted_key_needs_its_passphrase() {
    let server = Server::start("");
    let path = server.file("encrypted");
    let text = path.to_str().unwrap();
    server::keygen(&["-t", "rsa", "-b", "2048", "-f", text, "-N", "open sesame"]);
    std::fs::copy(server.file("encrypted.pub"), server.file("authorized")).unwrap();
    let mut target = server.target();
    target.identity = vec![path.clone()];

    let error = refused(&client(), &target).await;
    assert!(matches!(&error, SshError::Auth { locked, .. } if *locked == [path]));
    assert!(error.hint().unwrap().contains("passphrase"), "{error}");

    target.passphrase = Some(secret("wrong"));
    let error = refused(&client(), &target).await;
    assert!(matches!(error, SshError::Key { .. }), "{error}");

    target.passphrase = Some(secret("open sesame"));
    let session = client().connect(&target).await.unwrap();
    assert_eq!(prints(&session, "echo in").await, "in\n");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn an_agent_with_many_keys_is_tried_in_rounds() {
    let server = Server::start("");
    let agent = server::Agent::start(&server.file("agent"));
    for number in 0..8 {
        let path = server.file(&format!("other{number}"));
        server::keygen(&["-t", "ed25519", "-f", path.to_str().unwrap()]);
        agent.add(&path);
    }
    agent.add(&server.file("id"));
    // The agent is told of by the ssh config, so that the test's own environment stays as it is.
    let config = server.file("ssh_config");
    let text = format!("Host *\n  IdentityAgent {}\n", agent.socket.display());
    std::fs::write(&config, text).unwrap();
    let target = Target {
        identity: Vec::new(),
        config: Some(config.clone()),
        ..server.target()
    };
    let client = Client::new(Options::default());
    let session = client.connect(&target).await.unwrap();
    assert_eq!(prints(&session, "echo in").await, "in\n");
    // MaxAuthTries is 6: two connections were enough, and none was cut off.
    assert_eq!(server.logged("Too many authentication failures"), 0);

    // A key file whose private half only the agent has comes first: one connection.
    std::fs::rename(server.file("id"), server.file("hidden")).unwrap();
    let named = Target {
        identity: vec![server.file("id")],
        ..target
    };
    let before = server.logged("Connection from");
    client.connect(&named).await.unwrap();
    assert_eq!(server.logged("Connection from") - before, 1);
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_password_has_its_turn_after_keys_that_used_up_the_tries() {
    let user = User::new("/bin/sh", "right");
    let server = Server::start("UsePAM yes\nPasswordAuthentication yes\nMaxAuthTries 2");
    let mut target = server.target_of(&user);
    target.identity.clear();
    for number in 0..3 {
        let path = server.file(&format!("other{number}"));
        server::keygen(&["-t", "ed25519", "-f", path.to_str().unwrap()]);
        target.identity.push(path);
    }
    target.password = Some(secret("right"));
    let session = client().connect(&target).await.unwrap();
    assert_eq!(prints(&session, "echo in").await, "in\n");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn passwords_log_in_by_either_method() {
    let user = User::new("/bin/sh", "right");
    for method in [
        "PasswordAuthentication yes",
        "KbdInteractiveAuthentication yes",
    ] {
        let server = Server::start(&format!("UsePAM yes\n{method}"));
        let mut target = server.target_of(&user);
        target.identity = Vec::new();
        target.password = Some(secret("right"));
        let session = client().connect(&target).await.unwrap();
        assert_eq!(prints(&session, "id -un").await, format!("{}\n", user.name));
        target.password = Some(secret("wrong"));
        let error = refused(&client(), &target).await;
        assert!(matches!(error, SshError::Auth { .. }), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_certificate_beside_the_key_logs_in() {
    let server = Server::start("");
    let (ca, key) = (server.file("ca"), server.file("certified"));
    for path in [&ca, &key] {
        server::keygen(&["-t", "ed25519", "-f", path.to_str().unwrap()]);
    }
    server::keygen(&[
        "-s",
        ca.to_str().unwrap(),
        "-I",
        "test",
        "-n",
        "root",
        server.file("certified.pub").to_str().unwrap(),
    ]);
    let authority = server.read("ca.pub");
    std::fs::write(
        server.file("authorized"),
        format!("cert-authority {authority}"),
    )
    .unwrap();
    let mut target = server.target();
    target.identity = vec![key];
    let session = client().connect(&target).await.unwrap();
    assert_eq!(prints(&session, "echo in").await, "in\n");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_refused_login_ends_the_wait_at_once() {
    let server = Server::start("");
    std::fs::write(server.file("authorized"), "").unwrap();
    let begun = std::time::Instant::now();
    let result = client()
        .wait_for_login(&server.target(), Duration::from_secs(30))
        .await;
    assert!(matches!(result, Err(SshError::Auth { .. })));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_machine_that_starts_late_is_waited_for() {
    let mut server = Server::start("");
    server.stop();
    let target = server.target();
    let error = refused(&client(), &target).await;
    assert!(error.is_unreachable(), "{error}");
    let client = client();
    let wait = client.wait_for_login(&target, Duration::from_secs(30));
    let start = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.start_again();
    };
    let (session, ()) = tokio::join!(wait, start);
    assert_eq!(prints(&session.unwrap(), "echo up").await, "up\n");
}

// ---- Host keys

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn host_keys_are_checked() {
    let server = Server::start("");
    let file = server.file("known_hosts");
    let name = format!("[127.0.0.1]:{}", server.port);
    let ed25519 = server.read("host_ed25519.pub");

    // Known only by its second key: it is asked for that one.
    server.trust("ecdsa");
    client().connect(&server.target()).await.unwrap();

    // Another key.
    std::fs::write(&file, format!("# old\n{name} {}", server.read("id.pub"))).unwrap();
    let error = refused(&client(), &server.target()).await;
    assert!(
        matches!(&error, SshError::HostKeyChanged { line: 2, .. }),
        "{error}"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("ssh-keygen -f ") && hint.contains(&name),
        "{hint}"
    );
    let mut accepting = server.target();
    accepting.host_key_check = Some(HostKeyCheck::AcceptNew);
    let error = refused(&client(), &accepting).await;
    assert!(
        matches!(&error, SshError::HostKeyChanged { line: 2, .. }),
        "{error}"
    );

    // Revoked.
    std::fs::write(&file, format!("{name} {ed25519}@revoked * {ed25519}")).unwrap();
    let error = refused(&client(), &server.target()).await;
    assert!(
        matches!(&error, SshError::HostKeyRevoked { line: 2, .. }),
        "{error}"
    );

    // Unknown: refused, unless new ones are to be accepted; then known from there on.
    std::fs::remove_file(&file).unwrap();
    let error = refused(&client(), &server.target()).await;
    assert!(matches!(error, SshError::HostKeyUnknown { .. }), "{error}");
    assert!(!file.exists());
    let client = client();
    let both = tokio::join!(client.connect(&accepting), client.connect(&accepting));
    both.0.unwrap();
    both.1.unwrap();
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 1, "{written}");
    client.connect(&server.target()).await.unwrap();
    // OpenSSH reads it the same.
    let known = std::process::Command::new("ssh-keygen")
        .args(["-F", &name, "-f", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(known.status.success());
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_host_certificate_of_a_known_authority_is_trusted() {
    let mut server = Server::start("");
    let ca = server.file("ca");
    server::keygen(&["-t", "ed25519", "-f", ca.to_str().unwrap()]);
    let sign = |principal: &str| {
        server::keygen(&[
            "-s",
            ca.to_str().unwrap(),
            "-h",
            "-I",
            "test",
            "-n",
            principal,
            server.file("host_ed25519.pub").to_str().unwrap(),
        ]);
    };
    sign("127.0.0.1");
    let line = format!(
        "HostCertificate {}\n",
        server.file("host_ed25519-cert.pub").display()
    );
    let config = line + &server.read("config");
    std::fs::write(server.file("config"), config).unwrap();
    server.stop();
    server.start_again();
    let authority = server.read("ca.pub");
    std::fs::write(
        server.file("known_hosts"),
        format!("@cert-authority 127.0.0.* {authority}"),
    )
    .unwrap();
    client().connect(&server.target()).await.unwrap();

    server::keygen(&[
        "-s",
        ca.to_str().unwrap(),
        "-h",
        "-I",
        "test",
        "-n",
        "elsewhere",
        server.file("host_ed25519.pub").to_str().unwrap(),
    ]);
    server.stop();
    server.start_again();
    let error = refused(&client(), &server.target()).await;
    assert!(error.to_string().contains("for elsewhere"), "{error}");
}

// ---- Bastions and limits

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn many_hosts_share_one_connection_to_their_bastion() {
    let bastion = Server::start("MaxStartups 2:100:2");
    let second = Server::start("");
    let inner = Server::start("MaxStartups 100");
    // One file of keys and one known-hosts file for all three.
    for server in [&bastion, &second] {
        std::fs::copy(inner.file("authorized"), server.file("authorized")).unwrap();
    }
    let known = [&bastion, &second, &inner].map(|server| server.read("known_hosts"));
    std::fs::write(inner.file("known_hosts"), known.concat()).unwrap();
    let jump = |server: &Server| format!("root@127.0.0.1:{}", server.port);
    let mut target = inner.target();
    target.jump = Some(vec![jump(&bastion)]);
    let client = client();
    let sessions = futures::future::join_all((0..20).map(|_| client.connect(&target))).await;
    for session in sessions {
        assert_eq!(prints(&session.unwrap(), "echo in").await, "in\n");
    }
    let accepted = "Accepted publickey";
    assert_eq!(bastion.logged(accepted), 1);
    assert_eq!(inner.logged(accepted), 20);

    // A chain takes the shared one as its first link.
    target.jump = Some(vec![jump(&bastion), jump(&second)]);
    let session = client.connect(&target).await.unwrap();
    assert_eq!(prints(&session, "echo in").await, "in\n");
    assert_eq!((bastion.logged(accepted), second.logged(accepted)), (1, 1));

    // What fails at the bastion says so.
    target.jump = Some(vec!["root@127.0.0.1:1".to_owned()]);
    let error = refused(&client, &target).await;
    assert!(
        matches!(error, SshError::Jump { .. }) && error.is_unreachable(),
        "{error}"
    );
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn logins_that_sshd_turns_away_are_tried_again() {
    let server = Server::start("MaxStartups 2:100:2");
    let client = client();
    let target = server.target();
    let sessions = futures::future::join_all((0..16).map(|_| client.connect(&target))).await;
    assert!(sessions.iter().all(Result::is_ok));
    assert!(server.logged("MaxStartups") > 0 || server.logged("drop connection") > 0);
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn more_commands_than_sessions_wait_their_turn() {
    let server = Server::start("MaxSessions 5");
    let session = client().connect(&server.target()).await.unwrap();
    let runs = (0..24).map(|number| {
        let session = session.clone();
        async move { prints(&session, &format!("sleep 0.1; echo {number}")).await }
    });
    let printed = futures::future::join_all(runs).await;
    for (number, text) in printed.iter().enumerate() {
        assert_eq!(*text, format!("{number}\n"));
    }
}

// ---- Commands

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn input_that_nobody_reads_and_output_without_end_are_borne() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    // A host that refuses the file at once, with 16 MiB still to come.
    let upload = skep::ssh::Upload {
        path: server.dir.path().display().to_string(),
        mode: 0o600,
        owner: None,
        size: 16 << 20,
        root: false,
        deadline: Duration::from_secs(20),
    };
    let data = vec![7_u8; 16 << 20];
    let error = session.upload(&upload, data.as_slice()).await.unwrap_err();
    assert!(error.to_string().contains("it is a directory"), "{error}");

    let output = run(&session, "head -c 40000000 /dev/zero; echo end >&2").await;
    assert_eq!(output.status, Exit::Code(0));
    assert_eq!((output.stdout.len(), output.truncated), (16 << 20, true));
    assert_eq!(output.stderr_tail, "end\n");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_file_arrives_whole_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let path = server.file("it's here");
    let data: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    let mut upload = skep::ssh::Upload {
        path: path.display().to_string(),
        mode: 0o640,
        owner: Some("root:daemon".to_owned()),
        size: data.len() as u64,
        root: true,
        deadline: Duration::from_secs(20),
    };
    session.upload(&upload, data.as_slice()).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == data);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);

    upload.size += 1;
    let error = session.upload(&upload, &b"short"[..]).await.unwrap_err();
    assert!(
        error.to_string().contains("only 5 of 4000001 bytes"),
        "{error}"
    );
    assert!(std::fs::read(&path).unwrap() == data);
    let left = std::fs::read_dir(server.dir.path())
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("skep-")
        })
        .count();
    assert_eq!(left, 0);
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn noisy_and_strange_login_shells_do_not_disturb() {
    let server = Server::start("");
    for shell in ["/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish"] {
        if !std::path::Path::new(shell).exists() {
            continue;
        }
        let user = User::new(shell, "x");
        let noise = "echo noise; echo more noise >&2\n";
        for file in [".bashrc", ".tcshrc"] {
            let text = if file == ".tcshrc" {
                "echo noise\n"
            } else {
                noise
            };
            std::fs::write(user.home().join(file), text).unwrap();
        }
        let session = client().connect(&server.target_of(&user)).await.unwrap();
        let output = run(&session, "printf '%s\\n' \"it's $0\" '!x'; echo error >&2").await;
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(stdout, "it's sh\n!x\n", "{shell}");
        assert_eq!(output.stderr_tail, "error\n", "{shell}");
    }
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_shell_that_lets_nobody_in_says_so() {
    let server = Server::start("");
    let user = User::new("/usr/sbin/nologin", "x");
    let session = client().connect(&server.target_of(&user)).await.unwrap();
    let error = session
        .script("true", &options(10, false), &|_, _| {})
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not available"), "{error}");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_deadline_ends_the_process_on_the_host() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let output = session
        .script("echo $$; sleep 612", &options(1, false), &|_, _| {})
        .await
        .unwrap();
    assert_eq!(output.status, Exit::Deadline(Duration::from_secs(1)));
    let pid = String::from_utf8(output.stdout).unwrap();
    assert!(!server::is_alive(pid.trim()));
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_dropped_command_is_ended() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let file = server.file("pid");
    let script = format!("echo $$ >{}; sleep 613", file.display());
    let options = options(60, false);
    let running = session.script(&script, &options, &|_, _| {});
    assert!(
        tokio::time::timeout(Duration::from_secs(1), running)
            .await
            .is_err()
    );
    let pid = std::fs::read_to_string(&file).unwrap();
    server::gone(pid.trim()).await;
    assert_eq!(prints(&session, "echo still in").await, "still in\n");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_dropped_stream_ends_its_command() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let to = StreamTo::Command {
        script: "echo $$; exec cat".to_owned(),
        root: false,
    };
    let mut stream = session.stream(&to).await.unwrap();
    let mut text = [0; 64];
    let length = stream.read(&mut text).await.unwrap();
    let pid = String::from_utf8_lossy(&text[..length]).trim().to_owned();
    assert!(server::is_alive(&pid));
    drop(stream);
    server::gone(&pid).await;
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_unix_socket_is_a_stream() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    let path = server.file("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let echo = tokio::spawn(async move {
        let (mut far, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = far.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let to = StreamTo::Socket(path.display().to_string());
    let mut stream = session.stream(&to).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "hello");
    echo.await.unwrap();

    let none = StreamTo::Socket("/nowhere/socket".to_owned());
    let error = session.stream(&none).await.unwrap_err();
    assert!(matches!(error, SshError::Channel { .. }), "{error}");
}

// ---- Lost connections

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_killed_connection_leaves_the_outcome_unknown() {
    let server = Server::start("");
    let session = client().connect(&server.target()).await.unwrap();
    // The script's own shell has sshd's session process as its ancestor.
    let output = run(&session, server::KILL_MY_SSHD).await;
    assert!(
        matches!(output.status, Exit::Lost(_)),
        "{:?}",
        output.status
    );
    assert_eq!(output.stdout, b"begun\n");
    assert!(session.is_closed());
    let error = session
        .script("true", &options(10, false), &|_, _| {})
        .await
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_frozen_peer_is_noticed() {
    let server = Server::start("");
    let client = Client::new(Options {
        ssh_config: false,
        keepalive: Duration::from_secs(1),
    });
    let session = client.connect(&server.target()).await.unwrap();
    let pid = prints(&session, server::MY_SSHD).await;
    let frozen = server::Frozen::new(pid.trim());
    let begun = std::time::Instant::now();
    let result = session
        .script("true", &options(60, false), &|_, _| {})
        .await;
    let error = result.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(error.to_string().contains("does not answer"), "{error}");
    drop(frozen);
}

// ---- sudo

async fn as_root(session: &Session) -> Result<String, SshError> {
    let output = session
        .script("id -u; cat", &options(30, true), &|_, _| {})
        .await?;
    assert_eq!(output.status, Exit::Code(0), "{}", output.stderr_tail);
    Ok(String::from_utf8(output.stdout).unwrap())
}

async fn sudo(server: &Server, user: &User, password: Option<&str>) -> Session {
    let mut target = server.target_of(user);
    target.root = Become::Sudo {
        password: password.map(secret),
    };
    client().connect(&target).await.unwrap()
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn sudo_works_with_and_without_a_password() {
    let server = Server::start("");
    let user = User::new("/bin/bash", "right");
    std::fs::write(user.home().join(".bashrc"), "echo noise; echo noise >&2\n").unwrap();

    user.sudoers("ALL=(ALL:ALL) ALL");
    let session = sudo(&server, &user, Some("right")).await;
    assert_eq!(as_root(&session).await.unwrap(), "0\n");
    assert_eq!(as_root(&session).await.unwrap(), "0\n");
    // Not asked for: the user stays who it is.
    assert_ne!(prints(&session, "id -u").await, "0\n");
    // Bytes go through a stream the same way.
    let to = StreamTo::Command {
        script: "id -u; exec cat".to_owned(),
        root: true,
    };
    let mut stream = session.stream(&to).await.unwrap();
    stream.write_all(b"right\nbytes").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "0\nright\nbytes");

    let session = sudo(&server, &user, None).await;
    let error = as_root(&session).await.unwrap_err();
    assert!(
        matches!(error, SshError::SudoPasswordRequired(_)),
        "{error}"
    );
    let session = sudo(&server, &user, Some("wrong")).await;
    let error = as_root(&session).await.unwrap_err();
    assert!(matches!(error, SshError::SudoWrongPassword(_)), "{error}");

    // No password is asked for: one that was given is neither read nor missed.
    user.sudoers("ALL=(ALL:ALL) NOPASSWD: ALL");
    for password in [None, Some("right"), Some("wrong")] {
        let session = sudo(&server, &user, password).await;
        assert_eq!(as_root(&session).await.unwrap(), "0\n");
    }
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn sudo_that_is_not_allowed_says_so() {
    let server = Server::start("");
    let user = User::new("/bin/sh", "right");
    let session = sudo(&server, &user, Some("right")).await;
    let error = as_root(&session).await.unwrap_err();
    assert!(matches!(error, SshError::SudoNotAllowed { .. }), "{error}");

    std::fs::write(
        format!("/etc/sudoers.d/{}", user.name),
        format!(
            "Defaults:{0} requiretty\n{0} ALL=(ALL:ALL) NOPASSWD: ALL\n",
            user.name
        ),
    )
    .unwrap();
    let session = sudo(&server, &user, None).await;
    let error = as_root(&session).await.unwrap_err();
    assert!(matches!(error, SshError::SudoRequiresTty), "{error}");
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_deadline_ends_the_process_under_sudo() {
    let server = Server::start("");
    let user = User::new("/bin/sh", "right");
    user.sudoers("ALL=(ALL:ALL) NOPASSWD: ALL");
    let session = sudo(&server, &user, None).await;
    let output = session
        .script("echo $$; sleep 614", &options(1, true), &|_, _| {})
        .await
        .unwrap();
    assert_eq!(output.status, Exit::Deadline(Duration::from_secs(1)));
    let pid = String::from_utf8(output.stdout).unwrap();
    assert!(!server::is_alive(pid.trim()));
}

#[tokio::test]
#[ignore = "needs a real OpenSSH server"]
async fn a_dropped_command_is_ended_under_sudo() {
    let server = Server::start("");
    let user = User::new("/bin/sh", "right");
    user.sudoers("ALL=(ALL:ALL) ALL");
    let session = sudo(&server, &user, Some("right")).await;
    let file = server.file("pid");
    let script = format!("echo $$ >{}; sleep 615", file.display());
    let options = options(60, true);
    let running = session.script(&script, &options, &|_, _| {});
    assert!(
        tokio::time::timeout(Duration::from_secs(2), running)
            .await
            .is_err()
    );
    let pid = std::fs::read_to_string(&file).unwrap();
    server::gone(pid.trim()).await;
}
