//! The part of backups that is done from here: archives are written and read on this machine, as
//! streams, so that nothing secret touches its disk in the clear.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::io::SyncIoBridge;

use crate::backup::archive::{self, Checked, Identities};
use crate::backup::{ArchiveError, FORMAT, FileSum, Manifest, seal};
use crate::docker::{Docker, DockerError};
use crate::facts::Certificate;
use crate::fleet::{Fault, FaultKind};
use crate::known::Known;
use crate::plan::{BackupCall, Origin};
use crate::shell::quote;
use crate::ssh::{Session, StreamTo, Upload};
use crate::swarm::Contents;

use super::{Live, Remote};

/// How long the list of checksums may take: some hundred megabytes from a slow disk.
const SUMS: Duration = Duration::from_mins(5);

/// How long nothing may come of a copy that is fetched.
const SILENCE: Duration = Duration::from_mins(1);

/// The slowest line that an archive is brought over: 100 kB/s.
const BYTES_PER_SECOND: u64 = 100_000;

/// The size of a piece on its way, in bytes.
const PIECE: usize = 256 << 10;

/// How long a restored engine may take until it says that it is a manager.
const AWAKE: Duration = Duration::from_mins(2);

/// What stands between the answers of the script that describes a copy.
const MARK: &str = "--skep--";

/// What opens an archive and unlocks what was in it. No step holds it.
pub struct Keys {
    /// What opens the archive.
    pub identities: Arc<Identities>,
    /// What unlocks the manager.
    pub unlock: Option<SecretString>,
}

/// Carries out `call` on `host`.
pub(super) async fn call(
    live: &Live,
    host: &str,
    call: &BackupCall,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let remote = live.remote(host)?;
    match call {
        BackupCall::Fetch { of, to, recipients } => {
            let path = fetch(remote, host, of, to, recipients).await?;
            output(&format!("wrote {}", path.display()));
            Ok(())
        }
        BackupCall::Bring { archive, sha256 } => {
            bring(remote, archive, sha256, live.keys.get()).await
        }
        BackupCall::Wake { id } => {
            let key = live.keys.get().and_then(|keys| keys.unlock.as_ref());
            wake(&remote.docker(), id, key).await
        }
        other => Err(Fault::new(
            FaultKind::Failed,
            format!("`{other}` is a script's business"),
        )),
    }
}

fn of_archive(error: &ArchiveError) -> Fault {
    let fault = Fault::new(FaultKind::Failed, error.to_string());
    match error.hint() {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn of_docker(error: &DockerError) -> Fault {
    super::swarm::fault(error)
}

async fn fetch(
    remote: &Arc<Remote>,
    host: &str,
    of: &Origin,
    to: &Path,
    recipients: &[String],
) -> Result<PathBuf, Fault> {
    let (taken, certificate, files) = describe(remote).await?;
    let contents = contents(&remote.docker()).await?;
    let manifest = Manifest {
        format: FORMAT,
        cluster: of.cluster.clone(),
        cluster_id: of.cluster_id.clone(),
        node_id: of.node_id.clone(),
        host: host.to_owned(),
        address: of.address.clone(),
        engine: of.engine.clone(),
        taken,
        certificate_expires: Certificate::read(&certificate).and_then(|it| it.end()),
        locked: of.locked,
        skep: env!("CARGO_PKG_VERSION").to_owned(),
        contents,
        files,
    };
    let session = remote.session().await?;
    let dir = BackupCall::COPY;
    let script = format!("exec tar -C {dir} --sort=name --numeric-owner -cf - swarm");
    let stream = StreamTo::Command { script, root: true };
    let stream = session.stream(&stream).await;
    let mut stream = stream.map_err(|error| super::fault(&error))?;
    let (near, mut far) = tokio::io::duplex(PIECE);
    let (directory, to) = (to.to_owned(), recipients.to_vec());
    let handle = tokio::runtime::Handle::current();
    let writing = tokio::task::spawn_blocking(move || {
        let tree = SyncIoBridge::new_with_handle(near, handle);
        archive::write(&manifest, tree, &to, &directory)
    });
    // Where this is cut off, the writer sees the end of its stream, and leaves nothing behind.
    let pumped = pump(&mut stream, &mut far).await;
    drop(far);
    let written = writing.await.map_err(|error| broken(&error))?;
    pumped?;
    written.map_err(|error| {
        let fault = of_archive(&error);
        let said = stream.stderr_tail();
        Fault {
            output: said.lines().map(str::to_owned).collect(),
            ..fault
        }
    })
}

fn broken(error: &tokio::task::JoinError) -> Fault {
    Fault::new(FaultKind::Failed, format!("the archive: {error}"))
}

/// Carries a stream on until it ends, or until nothing comes any more.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), Fault> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match timeout(SILENCE, from.read(&mut piece)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(Fault::new(FaultKind::Lost, error.to_string())),
            Err(_) => {
                let why = format!("nothing came for {} s", SILENCE.as_secs());
                return Err(Fault::new(FaultKind::TimedOut, why));
            }
        };
        if to.write_all(&piece[..read]).await.is_err() {
            // The writer has ended, and says why.
            return Ok(());
        }
    }
}

/// When the copy was taken, the node's certificate, and the files with their sums.
async fn describe(remote: &Remote) -> Result<(Timestamp, String, Vec<FileSum>), Fault> {
    let (dir, state) = (BackupCall::COPY, BackupCall::STATE);
    // A name with a line feed or a backslash would be escaped, and found missing in the stream.
    let script = format!(
        "set -eu\ncat {state}\necho {MARK}\ncat {dir}/swarm/certificates/swarm-node.crt 2>/dev/null || :\necho {MARK}\n\
         cd {dir}\nfind swarm -type f -exec sh -c 'for file; do stat -c %s -- \"$file\"; sha256sum -- \"$file\"; done' sh {{}} +\necho {MARK}\n"
    );
    let session = remote.session().await?;
    let ended = remote.run(&session, &script, SUMS, &|_, _| {}).await?;
    let unreadable =
        |why: &str| Fault::new(FaultKind::Failed, format!("the copy on the host: {why}"));
    if !ended.status.is_success() {
        return Err(unreadable(ended.stderr_tail.trim()));
    }
    let text = String::from_utf8_lossy(&ended.stdout);
    let mark = format!("{MARK}\n");
    let parts: Vec<&str> = text.split(&mark).collect();
    let [state, certificate, files, ""] = parts[..] else {
        return Err(unreadable("its description did not arrive whole"));
    };
    let taken = BackupCall::ready(state).ok_or_else(|| unreadable("it is not whole"))?;
    let mut sums = Vec::new();
    let mut lines = files.lines();
    while let (Some(size), Some(sum)) = (lines.next(), lines.next()) {
        let read = size.parse().ok().zip(sum.split_once("  "));
        let (size, (sha256, path)) = read.ok_or_else(|| unreadable("a checksum is missing"))?;
        sums.push(FileSum {
            path: path.to_owned(),
            size,
            sha256: sha256.to_owned(),
        });
    }
    sums.sort_by(|one, other| one.path.cmp(&other.path));
    if sums.is_empty() {
        return Err(unreadable("it is empty"));
    }
    Ok((taken, certificate.to_owned(), sums))
}

/// What the swarm holds, by name, as its managers tell it.
pub(crate) async fn contents(docker: &Docker) -> Result<Contents, Fault> {
    let names = docker.names().await.map_err(|error| of_docker(&error))?;
    let nodes = docker.nodes().await.map_err(|error| of_docker(&error))?;
    let mut nodes: Vec<String> = nodes.into_iter().map(|node| node.id).collect();
    nodes.sort();
    Ok(Contents { nodes, ..names })
}

/// Brings the content of an archive to the host, unless it is there, and unpacks and compares it.
async fn bring(
    remote: &Remote,
    path: &Path,
    sha256: &str,
    keys: Option<&Keys>,
) -> Result<(), Fault> {
    let session = remote.session().await?;
    let dir = BackupCall::RESTORE;
    let sum = quote(sha256);
    let begin = format!(
        "set -eu\numask 077\nmkdir -p {dir}\nchmod 700 {dir}\n\
         case $(cat {dir}/state 2>/dev/null || :) in \"brought \"{sum}* | \"placed \"{sum}*) echo same; exit 0 ;; esac\n\
         rm -rf {dir}/state {dir}/new {dir}/archive.tar {dir}/node.key\n"
    );
    let minute = Duration::from_mins(1);
    let begun = run(remote, &begin, minute).await?;
    if begun.starts_with("same") {
        return Ok(());
    }
    let unlock = keys.and_then(|keys| keys.unlock.as_ref());
    let identities = keys.map(|keys| keys.identities.clone());
    let identities = identities.unwrap_or_else(|| Arc::new(Identities::none()));
    let (own, with) = (path.to_owned(), identities.clone());
    let checked = tokio::task::spawn_blocking(move || archive::check(&own, &with)).await;
    let checked = checked.map_err(|error| broken(&error))?;
    let checked = checked.map_err(|error| of_archive(&error))?;
    if checked.sha256 != sha256 {
        let why = format!("`{}` has changed since the plan was made", path.display());
        return Err(Fault::new(FaultKind::Refused, why).hint("Run the command again."));
    }
    let size = checked.size;
    if let Some(key) = unlock {
        bring_opened(&session, path, &identities, key).await?;
    }
    let (near, far) = tokio::io::duplex(PIECE);
    let own = path.to_owned();
    let handle = tokio::runtime::Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        let mut plain = archive::open(&own, &identities)?;
        let mut to = SyncIoBridge::new_with_handle(far, handle);
        // Where the other end has gone, it is that which tells why.
        let _sent = std::io::copy(&mut plain, &mut to);
        Ok::<_, ArchiveError>(())
    });
    let upload = Upload {
        path: format!("{dir}/archive.tar"),
        mode: 0o600,
        owner: None,
        size,
        root: true,
        deadline: Duration::from_secs(60 + size / BYTES_PER_SECOND),
    };
    let uploaded = session.upload(&upload, near).await;
    reading
        .await
        .map_err(|error| broken(&error))?
        .map_err(|error| of_archive(&error))?;
    uploaded.map_err(|error| super::fault(&error))?;
    unpack(remote, &checked).await
}

/// Brings the node's key without its seal: no engine forces a new cluster from a state that has one. It
/// takes the place of the sealed one when that was compared with its checksum.
async fn bring_opened(
    session: &Session,
    path: &Path,
    identities: &Arc<Identities>,
    key: &SecretString,
) -> Result<(), Fault> {
    let (own, identities) = (path.to_owned(), identities.clone());
    let sealed =
        tokio::task::spawn_blocking(move || archive::text_of(&own, &identities, seal::FILE));
    let sealed = sealed.await.map_err(|error| broken(&error))?;
    let Some(sealed) = sealed.map_err(|error| of_archive(&error))? else {
        return Ok(());
    };
    let opened = seal::open(&sealed, key).map_err(|error| {
        Fault::new(FaultKind::Failed, error.to_string())
            .hint("Run the command again with the unlock key that held when the backup was taken.")
    })?;
    let upload = Upload {
        path: format!("{}/node.key", BackupCall::RESTORE),
        mode: 0o600,
        owner: None,
        size: opened.len() as u64,
        root: true,
        deadline: Duration::from_mins(1),
    };
    let sent = session.upload(&upload, opened.as_bytes()).await;
    sent.map_err(|error| super::fault(&error))
}

async fn unpack(remote: &Remote, checked: &Checked) -> Result<(), Fault> {
    let dir = BackupCall::RESTORE;
    let sums = checked.manifest.files.iter();
    let sums: Vec<String> = sums
        .map(|it| format!("{}  {}", it.sha256, it.path))
        .collect();
    let (sums, sum) = (quote(&sums.join("\n")), quote(&checked.sha256));
    let script = format!(
        "set -eu\numask 077\nmkdir -p {dir}/new\n\
         tar -C {dir}/new --numeric-owner -xpf {dir}/archive.tar swarm\nrm -f {dir}/archive.tar\n\
         cd {dir}/new\nprintf '%s\\n' {sums} | sha256sum -c --quiet -\n\
         if [ -e {dir}/node.key ]; then mv -f {dir}/node.key {dir}/new/{}; fi\nsync\n\
         printf 'brought %s\\n' {sum} >{dir}/state\n",
        seal::FILE
    );
    run(remote, &script, SUMS).await.map(drop)
}

async fn run(remote: &Remote, script: &str, deadline: Duration) -> Result<String, Fault> {
    let session = remote.session().await?;
    let ended = remote.run(&session, script, deadline, &|_, _| {}).await?;
    if ended.status.is_success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let said = ended.stderr_tail.trim();
    let why = format!("{}: {said}", ended.status);
    Err(Fault::new(FaultKind::Failed, why))
}

/// Waits until the engine says that it is manager `id`, and unlocks it on the way.
pub(super) async fn wake(
    docker: &Docker,
    id: &str,
    key: Option<&SecretString>,
) -> Result<(), Fault> {
    let until = Instant::now() + AWAKE;
    let mut tried = false;
    loop {
        let seen = match docker.swarm_local().await {
            Ok(Known::Value(local)) if local.state == "locked" => {
                let Some(key) = key else {
                    let fault = Fault::new(FaultKind::Failed, "the manager is locked");
                    return Err(fault.hint("Give its unlock key: `--unlock-key-file FILE`."));
                };
                if !tried {
                    tried = true;
                    docker.unlock(key).await.map_err(|error| {
                        Fault::new(
                            FaultKind::Failed,
                            format!("the unlock key does not fit: {error}"),
                        )
                        .hint("It is the key that held when the backup was taken; run the command again with it.")
                    })?;
                }
                "it is locked".to_owned()
            }
            Ok(Known::Value(local)) if local.node_id == id && local.control => return Ok(()),
            Ok(Known::Value(local)) => format!("node {}, {}", local.node_id, local.state),
            Ok(Known::Absent) => "it is in no swarm".to_owned(),
            Ok(other) => other.why_unknown().unwrap_or("it does not tell").to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() > until {
            let why = format!(
                "the engine is not manager {id} after {} s: {seen}",
                AWAKE.as_secs()
            );
            return Err(Fault::new(FaultKind::TimedOut, why)
                .hint("Look at `journalctl -u docker.service` on the host."));
        }
        sleep(Duration::from_secs(1)).await;
    }
}
