//! Secrets by reference: where the inventory says that one is found, it is fetched when needed.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::inventory::SecretRef;

/// How long a command may take to print a secret: long enough for a person to touch a token.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// The longest secret, in bytes. Private keys have a few thousand.
const MAX: u64 = 64 * 1024;

/// Asks a person. The text says what for. Called on a thread where blocking is allowed.
pub type Ask = dyn Fn(&str) -> std::io::Result<SecretString> + Send + Sync;

/// Why there is no secret. Nothing of a secret is in the message.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or not UTF-8.
    #[error("the environment variable `{0}` is not set, or not UTF-8")]
    Env(String),
    /// The file cannot be read.
    #[error("cannot read the secret in `{}`: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The command could not be started, failed, or took too long.
    #[error("the command `{program}` gave no secret: {fault}")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// Why.
        fault: String,
    },
    /// Nobody answered.
    #[error("no answer to the question for {what}: {error}")]
    Prompt {
        /// What was asked for.
        what: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is empty, not UTF-8, or too long.
    #[error("the secret {place} {fault}")]
    Unusable {
        /// Where it was found.
        place: Place,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// Where a secret is found, for messages.
#[derive(Debug, Clone)]
pub struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret, and what the user should know about how it is kept.
#[derive(Debug)]
pub struct Resolved {
    /// The secret.
    pub secret: SecretString,
    /// A warning: a lower-case fragment.
    pub warning: Option<String>,
}

/// Fetches the secret that `reference` leads to; `what` tells a person what it is for, such as
/// `sudo's password on m1`.
///
/// One line feed at the end of a file or of a command's output is dropped. A command inherits
/// standard error, so that it can talk to the user, but not standard input.
///
/// # Errors
/// There is no secret there, or an empty one.
pub async fn resolve(
    reference: &SecretRef,
    what: &str,
    ask: std::sync::Arc<Ask>,
) -> Result<Resolved, SecretError> {
    let mut warning = None;
    let (bytes, place) = match reference {
        SecretRef::Env(name) => {
            let value = std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?;
            let place = format!("in the environment variable `{name}`");
            (Zeroizing::new(value.into_bytes()), place)
        }
        SecretRef::File(path) => {
            let (bytes, mode) = file(path).await.map_err(|error| SecretError::File {
                path: path.clone(),
                error,
            })?;
            if mode & 0o077 != 0 {
                warning = Some(format!(
                    "other users may read the secret in `{0}`: `chmod 600 {0}`",
                    path.display()
                ));
            }
            (bytes, format!("in `{}`", path.display()))
        }
        SecretRef::Command(words) => {
            let (program, arguments) = words.split_first().ok_or_else(|| SecretError::Command {
                program: String::new(),
                fault: "no program is named".to_owned(),
            })?;
            let bytes = command(program, arguments, COMMAND_DEADLINE).await;
            let bytes = bytes.map_err(|fault| SecretError::Command {
                program: program.clone(),
                fault,
            })?;
            (bytes, format!("that `{program}` printed"))
        }
        SecretRef::Prompt => {
            let question = what.to_owned();
            let asked = tokio::task::spawn_blocking(move || ask(&question)).await;
            let answer = asked
                .map_err(std::io::Error::other)
                .and_then(|answer| answer);
            let secret = answer.map_err(|error| SecretError::Prompt {
                what: what.to_owned(),
                error,
            })?;
            return Ok(Resolved { secret, warning });
        }
    };
    let secret = usable(&bytes).map_err(|fault| SecretError::Unusable {
        place: Place(place),
        fault,
    })?;
    Ok(Resolved { secret, warning })
}

/// A file's content and permissions.
async fn file(path: &std::path::Path) -> std::io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let file = tokio::fs::File::open(path).await?;
    let mode = file.metadata().await?.permissions().mode();
    Ok((bounded(file).await?, mode))
}

/// What a command prints.
async fn command(
    program: &str,
    arguments: &[String],
    deadline: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdout = child.stdout.take();
    let work = async {
        let bytes = match stdout {
            Some(stdout) => bounded(stdout).await?,
            None => Zeroizing::default(),
        };
        // What is too long is refused as such, not for the command's death by a closed pipe.
        let status = if bytes.len() as u64 > MAX {
            None
        } else {
            Some(child.wait().await?)
        };
        Ok::<_, std::io::Error>((bytes, status))
    };
    let (bytes, status) = tokio::time::timeout(deadline, work)
        .await
        .map_err(|_| format!("no answer within {} seconds", deadline.as_secs()))?
        .map_err(|error| error.to_string())?;
    match status {
        Some(status) if !status.success() => Err(status.to_string()),
        _ => Ok(bytes),
    }
}

/// All that can be read, up to one byte more than a secret may have.
async fn bounded(source: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Never grows, so that no copy of the secret is left behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX + 64).unwrap_or(0)));
    source.take(MAX + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn usable(bytes: &[u8]) -> Result<SecretString, &'static str> {
    if bytes.len() as u64 > MAX {
        return Err("is longer than 64 KiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("is empty");
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use std::sync::Arc;

    async fn get(reference: SecretRef) -> Result<Resolved, SecretError> {
        let ask: Arc<Ask> = Arc::new(|what| Ok(SecretString::from(format!("answer to {what}"))));
        resolve(&reference, "sudo", ask).await
    }

    fn sh(script: &str) -> SecretRef {
        SecretRef::Command(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[tokio::test]
    async fn fetches_from_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "from a file\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let resolved = get(SecretRef::File(path.clone())).await.unwrap();
        assert_eq!(resolved.secret.expose_secret(), "from a file");
        assert!(resolved.warning.unwrap().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(get(SecretRef::File(path)).await.unwrap().warning, None);

        let resolved = get(sh("echo printed")).await.unwrap();
        assert_eq!(resolved.secret.expose_secret(), "printed");
        let resolved = get(SecretRef::Prompt).await.unwrap();
        assert_eq!(resolved.secret.expose_secret(), "answer to sudo");
        let resolved = get(SecretRef::Env("CARGO_PKG_NAME".to_owned()))
            .await
            .unwrap();
        assert_eq!(resolved.secret.expose_secret(), "skep");
    }

    #[tokio::test]
    async fn tells_why_not_without_the_secret() {
        let told = [
            get(SecretRef::Env("SKEP_NO_SUCH".to_owned())).await,
            get(SecretRef::File("/no/such".into())).await,
            get(sh("echo hunter2; exit 3")).await,
            get(sh("true")).await,
            get(sh("printf '\\377'")).await,
            get(sh("head -c 70000 /dev/zero | tr '\\0' x")).await,
        ];
        let told: Vec<String> = told
            .into_iter()
            .map(|e| e.unwrap_err().to_string())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        the environment variable `SKEP_NO_SUCH` is not set, or not UTF-8
        cannot read the secret in `/no/such`: No such file or directory (os error 2)
        the command `sh` gave no secret: exit status: 3
        the secret that `sh` printed is empty
        the secret that `sh` printed is not UTF-8
        the secret that `sh` printed is longer than 64 KiB
        "#);
    }

    #[tokio::test]
    async fn does_not_wait_for_ever() {
        let arguments = ["-c", "sleep 60"].map(str::to_owned);
        let fault = command("sh", &arguments, Duration::from_millis(50)).await;
        assert!(fault.unwrap_err().contains("no answer within"));
    }
}
