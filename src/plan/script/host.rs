//! The scripts of what the tasks of playbooks do.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{APT, wrap64};
use crate::plan::{HostCall, Note};
use crate::shell;

/// The body of the script, and how many seconds it may take; `None` for what only the caller can
/// write, because it has the secrets.
pub(super) fn body(call: &HostCall) -> Option<(String, u32)> {
    Some(match call {
        HostCall::RenderFile { .. } => return None,
        HostCall::PutFile {
            path,
            content,
            mode,
            owner,
        } => (put_file(path, content, *mode, owner), 60),
        HostCall::MakeDirectory { path, mode, owner } => (make_directory(path, *mode, owner), 60),
        HostCall::RemovePackages { packages } => (remove(packages), 600),
        HostCall::User {
            name,
            uid,
            system,
            shell,
            home,
            groups,
        } => {
            let mut add = Vec::new();
            let mut change = Vec::new();
            add.extend(uid.map(|uid| format!("-u {uid}")));
            add.push(if *system { "-r" } else { "-m" }.to_owned());
            add.extend(
                home.as_ref()
                    .map(|home| format!("-d {}", shell::quote(home))),
            );
            change.extend(shell.as_ref().map(|it| format!("-s {}", shell::quote(it))));
            if !groups.is_empty() {
                change.push(format!("-a -G {}", shell::quote(&groups.join(","))));
            }
            let name = shell::quote(name);
            let mut body = format!(
                "if ! getent passwd {name} >/dev/null; then useradd {} -- {name}; fi\n",
                add.join(" ")
            );
            if !change.is_empty() {
                let _ = writeln!(body, "usermod {} -- {name}", change.join(" "));
            }
            (body, 60)
        }
        HostCall::Command {
            run,
            unless,
            timeout,
            id,
            note,
        } => {
            let text = command(run, unless.as_deref(), *timeout, id, note.as_ref());
            (text, timeout + 60)
        }
        HostCall::WaitFor {
            what,
            test,
            timeout,
        } => (wait_for(what, test, *timeout), timeout + 30),
    })
}

pub(super) fn put_file(path: &str, content: &str, mode: u32, owner: &str) -> String {
    let (path, owner) = (shell::quote(path), shell::quote(owner));
    format!(
        "path={path}\nif [ -d \"$path\" ]; then fail 1 \"$path is a folder\"; fi\n\
         decode <<'SKEP_CONTENT' | replace \"$path\" {mode:o} {} {owner}\n{}\nSKEP_CONTENT\n",
        content.len(),
        wrap64(content)
    )
}

fn make_directory(path: &str, mode: u32, owner: &str) -> String {
    let (path, owner) = (shell::quote(path), shell::quote(owner));
    format!(
        "path={path}\nif [ -e \"$path\" ] && [ ! -d \"$path\" ]; then fail 1 \"$path is no folder\"; fi\n\
         mkdir -p -- \"$path\"\nchown {owner} \"$path\"\nchmod {mode:o} \"$path\"\n"
    )
}

// `dpkg` refuses what others need, where APT would remove those too.
fn remove(packages: &[String]) -> String {
    let names = shell::join(packages.iter().map(String::as_str));
    format!(
        "{APT}wait_apt\nmend\nsay \"removing\" {names}\n\
         DEBIAN_FRONTEND=noninteractive dpkg --remove {names} 9>&-\n"
    )
}

// The answer can be lost after the command has run. Who asks again gets its status, and not a second
// run. Its own processes do not keep the lock of the step.
fn command(run: &str, unless: Option<&str>, timeout: u32, id: &str, note: Option<&Note>) -> String {
    let key = shell::hex(&Sha256::digest(id.as_bytes())[..12]);
    let run = shell::quote(run);
    // Where nothing says that it is done, it is not.
    let unless = shell::quote(unless.unwrap_or("false"));
    let (noted, write) = note.map(noted).unwrap_or_default();
    format!(
        r#"done=/run/skep/ran-{key}
find /run/skep -name 'ran-*' -mmin +1440 -exec rm -f {{}} + 2>/dev/null || :
if [ -r "$done" ]; then
  read -r code <"$done"
  say "it has run already"
{noted}elif sh -c {unless} >/dev/null 2>&1 9>&-; then
  say "there is nothing to do any more"
  return 0
else
  code=0
  if command -v timeout >/dev/null; then set -- timeout -k 5 {timeout} sh -c; else set -- sh -c; fi
  "$@" {run} 9>&- || code=$?
  printf '%s\n' "$code" >"$done"
fi
case $code in
  0) ;;
  124) fail 1 "the command did not end within {timeout} s" ;;
  *) fail 1 "the command ended with status $code" ;;
esac
{write}"#
    )
}

// The branch for what an earlier run noted, and how that is noted.
fn noted(note: &Note) -> (String, String) {
    let (path, text) = (shell::quote(&note.path), shell::quote(&note.text));
    let length = note.text.len() + 1;
    (
        format!(
            "elif [ \"$(cat {path} 2>/dev/null)\" = {text} ]; then\n  say \"an earlier run has done it\"\n  return 0\n"
        ),
        format!("printf '%s\\n' {text} | replace {path} 600 {length} root:root\n"),
    )
}

fn wait_for(what: &str, test: &str, timeout: u32) -> String {
    let (what, test) = (shell::quote(what), shell::quote(test));
    format!(
        r#"what={what}
if command -v timeout >/dev/null; then set -- timeout -k 1 10 sh -c; else set -- sh -c; fi
end=$(($(date +%s) + {timeout}))
until "$@" {test} >/dev/null 2>&1 9>&-; do
  [ "$(date +%s)" -lt "$end" ] || fail 1 "after {timeout} s it is still not so that $what"
  sleep 1
done
"#
    )
}
