//! What sudo says when it refuses. It speaks English here, because of `LC_ALL=C`.

use super::SshError;

/// What sudo's words mean.
pub(super) fn diagnose(noise: &str, user: &str, with_password: bool) -> Option<SshError> {
    let has = |texts: &[&str]| {
        noise
            .lines()
            .find(|line| texts.iter().any(|text| line.contains(text)))
    };
    if has(&[
        "sudo: you must have a tty",
        "sudo: sorry, you must have a tty",
    ])
    .is_some()
    {
        return Some(SshError::SudoRequiresTty);
    }
    let not_allowed = [
        "not in the sudoers file",
        "is not allowed to",
        "may not run sudo",
        "not allowed to execute",
        "account validation failure",
    ];
    if let Some(line) = has(&not_allowed) {
        return Some(SshError::SudoNotAllowed {
            user: user.to_owned(),
            reason: line.trim().to_owned(),
        });
    }
    if has(&["incorrect password", "Sorry, try again"]).is_some() {
        return Some(SshError::SudoWrongPassword(user.to_owned()));
    }
    let wanted = [
        "a password is required",
        "a terminal is required",
        "no password was provided",
    ];
    if has(&wanted).is_some() {
        return Some(if with_password {
            SshError::SudoWrongPassword(user.to_owned())
        } else {
            SshError::SudoPasswordRequired(user.to_owned())
        });
    }
    let missing = |line: &str| {
        line.contains("sudo") && (line.contains("No such file") || line.contains("not found"))
    };
    noise.lines().any(missing).then_some(SshError::SudoMissing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sudo_says_is_understood() {
        let name = |noise: &str, with_password| {
            diagnose(noise, "ann", with_password).map(|error| {
                let text = format!("{error:?}");
                text.split([' ', '(', '{'])
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
        };
        for (noise, with_password, expected) in [
            (
                "sudo: a password is required",
                false,
                "SudoPasswordRequired",
            ),
            (
                "skep-password-1:Sorry, try again.\n",
                true,
                "SudoWrongPassword",
            ),
            (
                "sudo: 1 incorrect password attempt",
                true,
                "SudoWrongPassword",
            ),
            ("sudo: no password was provided", true, "SudoWrongPassword"),
            (
                "noise\nann is not in the sudoers file.\n",
                true,
                "SudoNotAllowed",
            ),
            (
                "Sorry, user ann may not run sudo on m1.",
                false,
                "SudoNotAllowed",
            ),
            (
                "Sorry, user ann is not allowed to execute '/usr/bin/sh' as root on m1.",
                true,
                "SudoNotAllowed",
            ),
            (
                "sudo: sorry, you must have a tty to run sudo",
                false,
                "SudoRequiresTty",
            ),
            (
                "env: 'sudo': No such file or directory",
                false,
                "SudoMissing",
            ),
            (
                "env: can't execute 'sudo': No such file or directory",
                false,
                "SudoMissing",
            ),
        ] {
            assert_eq!(
                name(noise, with_password).as_deref(),
                Some(expected),
                "{noise}"
            );
        }
        assert_eq!(name("welcome to m1\n", true), None);
    }
}
