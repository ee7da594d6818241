//! `skep docker`: the docker command line against a healthy manager.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use clap::Args;
use tokio::net::{UnixListener, UnixStream};

use crate::docker::Dial;
use crate::error::{Error, Kind, Result};
use crate::fleet::live::Remote;
use crate::shell;
use crate::ssh::command_line;
use crate::ui::Printer;

use super::cluster::Cluster;
use super::{Global, block_on, ssh};

/// The arguments of `skep docker`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep docker -- node ls
  skep docker -- service logs -f web
  skep docker -- stack deploy -c web.yml web

Where this machine has the `docker` command it is used, so that it finds your files; else the
manager's own runs there.")]
pub struct DockerArgs {
    /// The arguments of `docker`, passed on as they are
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "ARGS"
    )]
    pub arguments: Vec<OsString>,
}

/// Runs `docker` against a manager with quorum.
///
/// # Errors
///
/// When no manager with quorum answers, or `docker` fails.
pub fn run(args: &DockerArgs, global: &Global, printer: &Printer) -> Result<()> {
    let remote_command = block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        let name = cluster.live.healthy_manager(&cluster.managers()).await?;
        let remote = cluster.live.remote(&name)?;
        printer.detail(format!("the manager is `{name}`"));
        match find("docker") {
            Some(program) => through_socket(&program, remote, args).await.map(|()| None),
            None => there(remote, args).await.map(Some),
        }
    })?;
    match remote_command {
        Some(argv) => Err(ssh::replace(&argv)),
        None => Ok(()),
    }
}

/// Runs this machine's `docker` against a socket of our own, each of whose connections is one to the
/// manager's engine through SSH.
async fn through_socket(program: &Path, remote: &Arc<Remote>, args: &DockerArgs) -> Result<()> {
    let folder = Folder::make()?;
    let socket = folder.0.join("docker.sock");
    let cannot = |error| Error::failed("cannot make a socket for `docker`").because(error);
    let listener = UnixListener::bind(&socket).map_err(cannot)?;
    let dial = remote.clone();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(carry(stream, dial.clone()));
        }
    });
    let status = tokio::process::Command::new(program)
        .arg("--host")
        .arg(format!("unix://{}", socket.display()))
        .args(&args.arguments)
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_CONTEXT")
        .stdin(Stdio::inherit())
        .status()
        .await;
    serving.abort();
    let status = status.map_err(|error| Error::failed("cannot run `docker`").because(error))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Error::failed(format!(
            "`docker` ended with exit status {code}"
        ))),
        None => Err(Error::new(Kind::Interrupted, "`docker` was interrupted")),
    }
}

async fn carry(mut stream: UnixStream, dial: Arc<Remote>) {
    if let Ok(mut far) = dial.dial().await {
        // Either side may hang up whenever it likes; `docker` tells of it.
        let _ended = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
    }
}

/// The command line that runs the manager's own `docker`.
async fn there(remote: &Arc<Remote>, args: &DockerArgs) -> Result<Vec<String>> {
    let resolved = remote.resolve().await?;
    let mut command = Vec::new();
    if resolved.user != "root" {
        command.push("sudo".to_owned());
    }
    command.push("docker".to_owned());
    let words = args
        .arguments
        .iter()
        .map(|word| shell::quote(&word.to_string_lossy()));
    command.extend(words);
    let mut argv = command_line(&resolved, &command);
    if crate::ui::prompt::can_ask() {
        argv.insert(1, "-t".to_owned());
    }
    Ok(argv)
}

/// The first file of that name on `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|file| file.is_file())
}

/// A folder for this user alone, deleted when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let name = format!("skep-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Made by us or not at all: somebody else's folder of that name is an error.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        let shown = path.display().to_string();
        made.map_err(|error| Error::failed(format!("cannot make `{shown}`")).because(error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
