//! What a start after a shutdown does: storage is waited for, services run again, the record is put
//! aside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::docker::{Docker, DockerError, ServiceProgress};
use crate::facts::Probes;
use crate::fleet::{Fault, FaultKind};
use crate::known::Known;
use crate::plan::StartStep;
use crate::procedure::start::{STARTED, kept};
use crate::record::{self, MARK, PATH, Record};
use crate::shell::quote;

use super::Live;
use super::swarm::fault;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(2);

/// After how long of waiting it is said what is waited for.
const SAY: Duration = Duration::from_secs(15);

/// How long the tasks of a global service may take to be counted: until then it may look as if it
/// fitted no node.
const COUNTED: Duration = Duration::from_secs(10);

/// How long a small script may take.
const SCRIPT: Duration = Duration::from_mins(1);

/// Asks for one byte of an answer, whatever it is: that of a TLS server to plain text counts too.
/// Arguments are the port and addresses.
const ANSWERS: &str = r#"
port=$1; shift
for address; do
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /v2/ HTTP/1.0\r\n\r\n" >&3 && head -c 1 <&3 | grep -q .' "$address" "$port" 2>/dev/null && exit 0
done
echo silent
"#;

/// Carries out `step` on `host`.
pub(super) async fn step(
    live: &Live,
    host: &str,
    step: &StartStep,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    match step {
        StartStep::Storage {
            targets,
            probes,
            deadline,
        } => storage(live, host, targets, probes, seconds(*deadline), output).await,
        StartStep::Resume {
            services,
            create,
            deadline,
        } => resume(live, host, services, create, seconds(*deadline), output).await,
        StartStep::Answers {
            service,
            port,
            deadline,
        } => answers(live, host, service, *port, seconds(*deadline), output).await,
        StartStep::Over { made, here } => {
            let script = format!(
                "mkdir -p /var/lib/skep && chmod 700 /var/lib/skep\n\
                 printf '%s\\n' {made} >{STARTED}.new && sync {STARTED}.new && mv {STARTED}.new {STARTED}\n\
                 [ ! -e {PATH} ] || mv -f {PATH} {kept}\nrm -f {MARK}\n",
                made = quote(&made.to_string()),
                kept = quote(&kept(*made)),
            );
            live.script_on(host, &script, SCRIPT).await?;
            put_aside(here, *made).map_err(|error| {
                let shown = here.display();
                Fault::new(
                    FaultKind::Failed,
                    format!("cannot put `{shown}` aside: {error}"),
                )
            })
        }
    }
}

/// Keeps the record here under another name, if it is the one that was made then.
fn put_aside(here: &Path, made: jiff::Timestamp) -> std::io::Result<()> {
    let Some(record) = record::load(here)? else {
        return Ok(());
    };
    if record.head.made > made {
        return Ok(());
    }
    let kept = kept(record.head.made);
    let name = Path::new(&kept).file_name().unwrap_or_default();
    std::fs::rename(here, here.with_file_name(name))
}

impl Live {
    /// The record that lies on `host`; `None` where there is none.
    pub async fn fetch_record(&self, host: &str) -> Result<Option<Record>, Fault> {
        let script = format!("[ ! -e {PATH} ] || cat {PATH}\n");
        let text = self.script_on(host, &script, SCRIPT).await?;
        let text = zeroize::Zeroizing::new(text);
        if text.trim().is_empty() {
            return Ok(None);
        }
        let record = Record::parse(&text);
        record.map(Some).map_err(|error| {
            let why = format!("{PATH} on {host}: {error}");
            Fault::new(FaultKind::Failed, why)
        })
    }
}

/// Waits until the servers answer. What is not mounted when it is touched is mounted.
async fn storage(
    live: &Live,
    host: &str,
    targets: &[String],
    probes: &Probes,
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let words: Vec<String> = targets.iter().map(|target| quote(target)).collect();
    // Nothing is waited for here: a mount whose server is away hangs.
    let script = format!(
        "for target in {}; do\n  auto=$(systemd-escape --path --suffix=automount \"$target\")\n  unit=$(systemd-escape --path --suffix=mount \"$target\")\n  systemctl is-active --quiet \"$auto\" || systemctl start --no-block \"$auto\" 2>/dev/null || systemctl start --no-block \"$unit\"\ndone\n",
        words.join(" ")
    );
    let began = Instant::now();
    let mut said = began;
    loop {
        live.script_on(host, &script, SCRIPT).await?;
        let facts = live.gather_once(host, probes).await?;
        let away = targets
            .iter()
            .find_map(|target| match facts.mounts.get(target) {
                Some(Known::Value(now)) => match &now.stale {
                    Some(why) => Some(format!("{target}: {why}")),
                    None if now.mounted.is_none() && !now.automount => {
                        Some(format!("{target} is not mounted"))
                    }
                    None => None,
                },
                _ => Some(format!("{target}: nothing is known of it")),
            });
        let Some(away) = away else { return Ok(()) };
        if began.elapsed() > deadline {
            let why = format!("not so after {} s: {away}", deadline.as_secs());
            return Err(Fault::new(FaultKind::TimedOut, why).hint(
                "Bring the server back. A host that hangs on it needs its power cut: `skep power off HOST --cut`, then `skep start` again.",
            ));
        }
        if said.elapsed() > SAY {
            output(&format!("waiting: {away}"));
            said = Instant::now();
        }
        sleep(PAUSE).await;
    }
}

/// Lets services run, and waits until their tasks do.
async fn resume(
    live: &Live,
    host: &str,
    services: &[String],
    create: &[String],
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let docker = live.remote(host)?.docker();
    for name in create {
        let record = live.kept_record();
        let recorded = record.as_ref().and_then(|it| it.services.as_ref());
        let service = recorded.and_then(|all| all.iter().find(|it| it.name == *name));
        let Some(service) = service else {
            let why = format!("the record does not have {name}");
            return Err(Fault::new(FaultKind::Failed, why));
        };
        let made = docker.service_create(&service.spec).await;
        made.map_err(|error| of(name, &error))?;
    }
    for name in services {
        match docker.service_update(name, &record::unhalt).await {
            // Somebody has removed it meanwhile: it is not made anew.
            Ok(_) | Err(DockerError::Api { status: 404, .. }) => {}
            Err(error) => return Err(of(name, &error)),
        }
    }
    let all: Vec<String> = services.iter().chain(create).cloned().collect();
    run(&docker, &all, deadline, output).await
}

fn of(name: &str, error: &DockerError) -> Fault {
    let fault = fault(error);
    Fault {
        message: format!("{name}: {}", fault.message),
        ..fault
    }
}

/// Waits until the tasks of services run.
async fn run(
    docker: &Docker,
    services: &[String],
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let began = Instant::now();
    let mut said = began;
    loop {
        // What is not answered is asked again: a leader may just be elected.
        let seen = match docker.progress(services).await {
            Ok(found) => missing(&found, began.elapsed() > COUNTED),
            Err(error) => vec![error.to_string()],
        };
        if seen.is_empty() {
            return Ok(());
        }
        let seen = seen.join("; ");
        if began.elapsed() > deadline {
            let why = format!("not so after {} s: {seen}", deadline.as_secs());
            return Err(Fault::new(FaultKind::TimedOut, why).hint(
                "`skep docker -- service ps NAME` tells more. `skep start` again goes on from here; `skep start --forget` leaves things as they are now.",
            ));
        }
        if said.elapsed() > SAY {
            output(&format!("waiting: {seen}"));
            said = Instant::now();
        }
        sleep(PAUSE).await;
    }
}

/// What is still missing, each service in some words. `counted`: whether no tasks at all of a global
/// service is an answer by now.
fn missing(found: &BTreeMap<String, ServiceProgress>, counted: bool) -> Vec<String> {
    let waits = found
        .iter()
        .filter(|(_, it)| it.running < it.desired || (it.is_global && it.desired == 0 && !counted));
    waits
        .map(|(name, it)| {
            let error = it.error.as_deref().map(|error| format!(": {error}"));
            let (running, desired) = (it.running, it.desired);
            format!(
                "{name}: {running} of {desired} tasks run{}",
                error.unwrap_or_default()
            )
        })
        .collect()
}

/// Waits until something answers at a service's port, on the nodes where its tasks run.
async fn answers(
    live: &Live,
    host: &str,
    service: &str,
    port: u16,
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let docker = live.remote(host)?.docker();
    let began = Instant::now();
    let mut said = began;
    loop {
        let found = docker
            .progress(&[service.to_owned()])
            .await
            .map_err(|error| fault(&error))?;
        let nodes = docker.nodes().await.map_err(|error| fault(&error))?;
        let runs = found
            .get(service)
            .map(|it| it.nodes.clone())
            .unwrap_or_default();
        let at = nodes
            .iter()
            .filter(|node| runs.contains(&node.id))
            .map(|node| {
                // A leader's address can read 0.0.0.0, which is this very host.
                if node.address == "0.0.0.0" {
                    "127.0.0.1"
                } else {
                    node.address.as_str()
                }
            });
        let addresses: Vec<String> = at.map(quote).collect();
        let script = format!("set -- {port} {}\n{ANSWERS}", addresses.join(" "));
        let deadline_of_one =
            SCRIPT + Duration::from_secs(5) * u32::try_from(addresses.len()).unwrap_or(0);
        let told = live.script_on(host, &script, deadline_of_one).await?;
        if !told.contains("silent") {
            return Ok(());
        }
        let seen = format!(
            "{service} does not answer at port {port} of {}",
            addresses.join(" ")
        );
        if began.elapsed() > deadline {
            let why = format!("not so after {} s: {seen}", deadline.as_secs());
            return Err(Fault::new(FaultKind::TimedOut, why).hint(
                "Its tasks run: look at their log, `skep docker -- service logs NAME`, and whether the port is reached.",
            ));
        }
        if said.elapsed() > SAY {
            output(&format!("waiting: {seen}"));
            said = Instant::now();
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_up_when_its_tasks_run() {
        let one = |running, desired, is_global, error: &str| {
            let progress = ServiceProgress {
                running,
                desired,
                is_global,
                error: (!error.is_empty()).then(|| error.to_owned()),
                ..ServiceProgress::default()
            };
            BTreeMap::from([("web".to_owned(), progress)])
        };
        assert_eq!(missing(&one(3, 3, false, "old"), false), [""; 0]);
        assert_eq!(
            missing(&one(1, 3, false, "No such image"), false),
            ["web: 1 of 3 tasks run: No such image"]
        );
        assert_eq!(
            missing(&one(0, 0, true, ""), false),
            ["web: 0 of 0 tasks run"]
        );
        assert_eq!(missing(&one(0, 0, true, ""), true), [""; 0]);
    }

    /// Something that says a byte is there; a port where nobody listens is not.
    #[tokio::test]
    async fn an_answer_is_a_byte() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = socket.accept().await.unwrap();
            // Closed with something unread, the connection would be reset, and the answer lost.
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
        });
        let script = format!("set -- {port} 127.0.0.1\n{ANSWERS}");
        let ask = || crate::local::Program::new("sh").args(["-c", &script]);
        assert_eq!(ask().run().await.unwrap().stdout, "");
        // It listens no more.
        assert_eq!(ask().run().await.unwrap().stdout, "silent\n");
    }
}
