//! What a shutdown does beside switching off: the record, the services, the unlock key.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep};

use crate::docker::{Docker, DockerError};
use crate::fleet::{Fault, FaultKind};
use crate::plan::{ShutdownStep, Step, script};
use crate::record::{self, FORMAT, Head, MARK, Mark, PATH, Phase, Record};

use super::Live;
use super::swarm::fault;

/// How long a host may take to give the record that it has.
const READ: Duration = Duration::from_secs(30);

/// How many services are changed at the same time.
const AT_ONCE: usize = 8;

/// The pause between two looks at the tasks.
const PAUSE: Duration = Duration::from_secs(1);

/// After how long of waiting it is said again what is waited for.
const SAY: Duration = Duration::from_secs(10);

/// Carries out `call` on `host`.
pub(super) async fn step(
    live: &Live,
    host: &str,
    step: &Step,
    call: &ShutdownStep,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    match call {
        ShutdownStep::Record { head, to, whole } => {
            record(live, host, step, head, to, *whole, output).await
        }
        ShutdownStep::SaveUnlockKey { to } => {
            save_unlock_key(&live.remote(host)?.docker(), to).await
        }
        ShutdownStep::Halt {
            services,
            remove,
            deadline,
        } => {
            let deadline = Duration::from_secs(u64::from(*deadline));
            if *remove {
                is_recorded(live, host, services).await?;
            }
            let docker = live.remote(host)?.docker();
            halt(&docker, services, *remove, output).await?;
            wait(&docker, deadline, output).await
        }
        ShutdownStep::SwitchOff { head, to } => switch_off(live, host, step, head, to).await,
        ShutdownStep::Release { .. } => match script::script(step) {
            Some(script) => live.remote(host)?.step(step, &script, output).await,
            None => Err(Fault::new(FaultKind::Failed, "nothing unmounts it")),
        },
    }
}

/// Makes the record from what the engine says now and what an earlier, unfinished shutdown knew, and
/// writes it onto the host first: a run from another machine finds it there.
async fn record(
    live: &Live,
    host: &str,
    step: &Step,
    head: &Head,
    to: &Path,
    whole: bool,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let services = live.remote(host)?.docker().services_whole().await;
    let services = match services {
        Ok(services) => Some(services),
        Err(error) if whole => return Err(fault(&error)),
        Err(error) => {
            output(&format!("without the services: {error}"));
            None
        }
    };
    let mut former = there(live, host).await;
    if matches!(former, Ok(None)) {
        former = here(to);
    }
    let former = match former {
        // Nobody has the time to look at it now.
        Err(fault) if !whole => {
            output(&fault.message);
            let aside = format!("if [ -e {PATH} ]; then mv -f {PATH} {PATH}.unreadable; fi\n");
            live.script_on(host, &aside, READ).await?;
            None
        }
        former => former?,
    };
    if !whole && here(to).is_err() {
        // Where it cannot be moved, it cannot be written over either, and that is told.
        let _moved = std::fs::rename(to, to.with_extension("unreadable"));
    }
    let record = record::compose(head.clone(), services.as_deref(), former.as_ref());
    let count = record.services.as_ref().map_or(0, Vec::len);
    write(live, host, step, &record).await?;
    save(to, &record)?;
    let nodes = record.head.nodes.len();
    output(&format!("recorded {nodes} nodes and {count} services"));
    Ok(())
}

/// Writes record and mark onto the host, the mark last: where it is, the record is.
async fn write(live: &Live, host: &str, step: &Step, record: &Record) -> Result<(), Fault> {
    let failed = |error: serde_json::Error| Fault::new(FaultKind::Failed, error.to_string());
    let remote = live.remote(host)?;
    let text = zeroize::Zeroizing::new(record.text().map_err(failed)?);
    // What the step prints is never the file's text.
    let file = script::file_script(step, PATH, &text, 0o600, "root:root");
    remote.step(step, &file, &|_| {}).await?;
    let mark = record.mark().text().map_err(failed)?;
    let file = script::file_script(step, MARK, &mark, 0o600, "root:root");
    remote.step(step, &file, &|_| {}).await
}

/// The record that the host has.
async fn there(live: &Live, host: &str) -> Result<Option<Record>, Fault> {
    let script = format!("if [ -e {PATH} ]; then cat {PATH}; fi\n");
    let text = zeroize::Zeroizing::new(live.script_on(host, &script, READ).await?);
    if text.trim().is_empty() {
        return Ok(None);
    }
    Record::parse(&text).map(Some).map_err(|error| {
        Fault::new(FaultKind::Failed, format!("{PATH} on `{host}`: {error}"))
            .hint("Look at it, and move it aside if nothing in it is needed any more.")
    })
}

/// The record that is here.
fn here(path: &Path) -> Result<Option<Record>, Fault> {
    record::load(path).map_err(|error| {
        let shown = path.display();
        Fault::new(FaultKind::Failed, format!("cannot read `{shown}`: {error}"))
            .hint("Look at it, and move it aside if nothing in it is needed any more.")
    })
}

fn save(path: &Path, record: &Record) -> Result<(), Fault> {
    record::save(path, record).map_err(|error| {
        let shown = path.display();
        Fault::new(
            FaultKind::Failed,
            format!("cannot write `{shown}`: {error}"),
        )
        .hint("Make room for it, or choose another place with `--record FILE`.")
    })
}

/// Notes that hosts are switched off from now on, in both records and in the mark.
async fn switch_off(
    live: &Live,
    host: &str,
    step: &Step,
    head: &Head,
    to: &Path,
) -> Result<(), Fault> {
    let mark = Mark {
        format: FORMAT,
        phase: Phase::Off,
        head: head.clone(),
    };
    let text = mark.text();
    let text = text.map_err(|error| Fault::new(FaultKind::Failed, error.to_string()))?;
    let file = script::file_script(step, MARK, &text, 0o600, "root:root");
    live.remote(host)?.step(step, &file, &|_| {}).await?;
    // From another machine than that of the first run there is none here yet.
    let record = match here(to)? {
        Some(record) if record.head.cluster_id == head.cluster_id => Some(record),
        _ => there(live, host).await?,
    };
    match record {
        Some(record) => save(
            to,
            &Record {
                phase: Phase::Off,
                ..record
            },
        ),
        None => Ok(()),
    }
}

/// Refuses to remove what no record has.
async fn is_recorded(live: &Live, host: &str, services: &[String]) -> Result<(), Fault> {
    let record = there(live, host).await?;
    let known = record
        .and_then(|record| record.services)
        .unwrap_or_default();
    let missing = |name: &&String| !known.iter().any(|it| it.name == **name);
    match services.iter().find(missing) {
        None => Ok(()),
        Some(name) => {
            let why = format!("the service {name} is not in the record on `{host}`");
            Err(Fault::new(FaultKind::Refused, why)
                .hint("Run the command again: it records the services that are there now."))
        }
    }
}

/// Keeps services from running, several at the same time. One that is gone needs nothing.
async fn halt(
    docker: &Docker,
    services: &[String],
    remove: bool,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let mut ended = Vec::new();
    for some in services.chunks(AT_ONCE) {
        let work = some.iter().map(|name| halt_one(docker, name, remove));
        ended.extend(join_all(work).await);
    }
    let mut faults = ended.into_iter().filter_map(Result::err);
    let Some(first) = faults.next() else {
        return Ok(());
    };
    for other in faults {
        output(&other.message);
    }
    Err(first)
}

async fn halt_one(docker: &Docker, name: &str, remove: bool) -> Result<(), Fault> {
    let done = if remove {
        docker.service_remove(name).await
    } else {
        docker.service_update(name, &record::halt).await.map(drop)
    };
    match done {
        Err(DockerError::Api { status: 404, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(Fault {
            message: format!("service {name}: {error}"),
            ..fault(&error)
        }),
    }
}

/// Waits until no task of a service runs that is not to run on. A network goes only after that, or its
/// addresses would leak (moby#37338).
async fn wait(
    docker: &Docker,
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let until = Instant::now() + deadline;
    let mut said = Instant::now();
    loop {
        let left = docker.ending_tasks().await.map_err(|error| fault(&error))?;
        if left.is_empty() {
            return Ok(());
        }
        let count: usize = left.values().sum();
        let names: Vec<&str> = left.keys().map(String::as_str).collect();
        let seen = format!("{count} tasks of {} have not ended", names.join(", "));
        if Instant::now() >= until {
            let why = format!("not so after {} s: {seen}", deadline.as_secs());
            return Err(Fault::new(FaultKind::TimedOut, why).hint(
                "Look at `docker service ps`. `--emergency` goes on without waiting for ever.",
            ));
        }
        if said.elapsed() >= SAY {
            output(&format!("waiting: {seen}"));
            said = Instant::now();
        }
        sleep(PAUSE).await;
    }
}

/// Writes the unlock key into a new file, for the user alone.
async fn save_unlock_key(docker: &Docker, to: &Path) -> Result<(), Fault> {
    let key = docker.unlock_key().await.map_err(|error| fault(&error))?;
    let Some(key) = key else {
        let why = "the swarm has no unlock key: its managers are not locked";
        return Err(Fault::new(FaultKind::Failed, why));
    };
    let text = zeroize::Zeroizing::new(format!("{}\n", key.expose_secret()));
    // A repetition after a lost connection finds the same key there.
    if std::fs::read_to_string(to).is_ok_and(|there| there == *text) {
        return Ok(());
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let shown = to.display();
        Fault::new(
            FaultKind::Failed,
            format!("cannot write `{shown}`: {error}"),
        )
        .hint("Name a file that is not there yet, in a folder that you can write to.")
    })
}
