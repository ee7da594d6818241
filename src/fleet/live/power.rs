//! A host that is switched off, and proves it by its silence, and by its power where somebody can tell.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fault, FaultKind};
use crate::plan::PowerWay;
use crate::shell;
use crate::ssh::{Exit, SshError};

use super::switch::{self, Powered};
use super::{Live, Remote};

/// How long the host may take over being told.
const TOLD: Duration = Duration::from_secs(15);

/// How long one attempt to log in may take, and the pause between two; and both where there is a hurry.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(2);
const HURRIED: Duration = Duration::from_secs(2);
const HURRIED_PAUSE: Duration = Duration::from_secs(1);

/// With less time than that there is a hurry.
const HURRY: Duration = Duration::from_mins(1);

/// How many attempts must fail one after the other. A host of which only sshd has stopped refuses the
/// connection, and so does the machine that forwards the port of a virtual one: that must go on for
/// longer.
const SILENT: u32 = 3;
const REFUSED: u32 = 10;

/// After how long of waiting it is said again.
const SAY: Duration = Duration::from_secs(20);

/// `systemctl` only asks for the job and ends, so that its answer mostly still comes.
const OFF: &str =
    "if command -v systemctl >/dev/null; then systemctl poweroff; else poweroff; fi\n";

/// What does not stop is ended, file systems are still unmounted (systemctl(1)).
const FORCED: &str = "systemctl poweroff --force\n";

/// What takes the power in the end where even that hangs.
const EMERGENCY: &str = include_str!("power/emergency.sh");

/// With what the host says that it is the one that skep runs on.
const HERE: u32 = 77;

/// The least that a host may take to power off by itself, in seconds.
const LEAST: u64 = 5;

/// How a host is switched off.
pub(super) struct Off<'a> {
    /// How long it may take.
    pub(super) deadline: Duration,
    /// Whether it is made to by force, within that.
    pub(super) force: bool,
    /// Where nothing is known of the host: the machine ID of this machine, which stays on; may be empty.
    pub(super) here: Option<&'a str>,
    /// How to ask whether it has power, if anybody can be asked.
    pub(super) way: Option<&'a PowerWay>,
}

impl Off<'_> {
    /// What the host is told.
    fn script(&self) -> String {
        let mut text = String::new();
        if let Some(here) = self.here.filter(|here| !here.is_empty()) {
            let here = shell::quote(here);
            text = format!("[ \"$(cat /etc/machine-id)\" != {here} ] || exit {HERE}\n");
        }
        if !self.force {
            return text + OFF;
        }
        // In the end the deadline is over, and until then the power must be off.
        let grace = (self.deadline.as_secs() * 2 / 3).max(LEAST);
        format!(
            "{text}{EMERGENCY}last_resort {grace}\ntimeout -k 1 5 systemctl poweroff || {FORCED}"
        )
    }
}

/// Switches a host off and waits until it is silent, and has no power where somebody can tell. One that
/// is silent from the first is off, unless nothing is known of it.
pub(super) async fn off(
    live: &Live,
    host: &str,
    off: &Off<'_>,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let remote = live.remote(host)?;
    let (deadline, force) = (off.deadline, off.force);
    let began = Instant::now();
    let (answer, pause) = if deadline < HURRY {
        (HURRIED, HURRIED_PAUSE)
    } else {
        (ANSWER, PAUSE)
    };
    let mut reached = true;
    match tell(remote, &off.script()).await {
        Ok(Told::Well) => output("told to power off"),
        Ok(Told::Here) => {
            let why = "skep runs on this very machine, and would go with it";
            return Err(Fault::new(FaultKind::Refused, why));
        }
        Err(fault) if fault.kind == FaultKind::Failed && !force => return Err(fault),
        // Whether it heard is found out below.
        Err(fault) => {
            reached = fault.kind != FaultKind::Unreachable;
            output(&fault.message);
        }
    }
    let (mut silent, mut refused) = (0, 0);
    let mut said = Instant::now();
    let mut forced = !force;
    loop {
        remote.hang_up().await;
        sleep(pause).await;
        let (seen, what) = knock(remote, answer).await?;
        match seen {
            Seen::There => (silent, refused) = (0, 0),
            Seen::Refuses => refused += 1,
            Seen::Silent => (silent, refused) = (silent + 1, refused + 1),
        }
        if silent >= SILENT || refused >= REFUSED {
            let known = reached || off.here.is_none();
            return without_power(live, host, off, known, began, output).await;
        }
        if began.elapsed() >= deadline {
            let why = format!(
                "it is not silent {} s after it was told to power off: {what}",
                deadline.as_secs()
            );
            return Err(Fault::new(FaultKind::TimedOut, why)
                .hint("Look at the host's console, or press its button."));
        }
        if !forced && silent == 0 && began.elapsed() >= deadline / 2 {
            forced = true;
            output("still there: told to power off by force");
            // Whether it heard is found out by its silence.
            let _told = tell(remote, FORCED).await;
        }
        if said.elapsed() >= SAY {
            output(&format!("waiting: {what}"));
            said = Instant::now();
        }
    }
}

/// Waits until a silent host has no power, where somebody can tell. `known` says whether its silence
/// alone means anything.
async fn without_power(
    live: &Live,
    host: &str,
    off: &Off<'_>,
    known: bool,
    began: Instant,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let mut said = Instant::now();
    loop {
        let left = off.deadline.saturating_sub(began.elapsed());
        let asked = match off.way {
            Some(way) => timeout(left.max(ANSWER), switch::status(live, host, way)).await,
            None => Ok(Ok(Powered::Unknown)),
        };
        let doubt = match asked {
            Ok(Ok(Powered::Off)) => {
                output("it has no power any more");
                return Ok(());
            }
            Ok(Ok(Powered::On)) if left.is_zero() => {
                let why = format!(
                    "it is silent, and still has power {} s after it was told to power off",
                    off.deadline.as_secs()
                );
                return Err(Fault::new(FaultKind::TimedOut, why)
                    .hint("Look at the host's console, or take its power away: `skep power off HOST --cut`."));
            }
            Ok(Ok(Powered::On)) => {
                if said.elapsed() >= SAY {
                    output("waiting: it is silent, and still has power");
                    said = Instant::now();
                }
                sleep(HURRIED_PAUSE).await;
                continue;
            }
            Ok(Ok(Powered::Unknown)) => "nobody can be asked whether it has power".to_owned(),
            Ok(Err(fault)) => format!("whether it has power is not known: {fault}"),
            Err(_) => "whether it has power was not told in time".to_owned(),
        };
        if known {
            output(&format!("it is silent; {doubt}"));
            return Ok(());
        }
        let why = format!("it was not reached, and may be on: {doubt}");
        return Err(Fault::new(FaultKind::TimedOut, why)
            .hint("Look at the host itself, or press its button."));
    }
}

/// What a host does when somebody knocks.
enum Seen {
    There,
    /// Its kernel, or the machine in front of it, says that nobody listens.
    Refuses,
    Silent,
}

/// Knocks once. Where the way to the host is broken before it, nothing is seen of the host itself.
async fn knock(remote: &Remote, answer: Duration) -> Result<(Seen, String), Fault> {
    let Ok(told) = timeout(answer, remote.connect()).await else {
        let what = format!("no answer within {} s", answer.as_secs());
        return Ok((Seen::Silent, what));
    };
    let Err(error) = told? else {
        return Ok((Seen::There, "it still lets us log in".to_owned()));
    };
    let seen = match &error {
        SshError::Unreachable { reason, .. } if reason.contains("refused") => Seen::Refuses,
        SshError::Unreachable { .. } | SshError::Timeout { .. } => Seen::Silent,
        _ => Seen::There,
    };
    Ok((seen, error.to_string()))
}

/// What a host said to being told.
enum Told {
    Well,
    /// It is the machine that skep runs on.
    Here,
}

async fn tell(remote: &Remote, script: &str) -> Result<Told, Fault> {
    let told = async {
        let session = remote.session().await?;
        remote.run(&session, script, TOLD, &|_, _| {}).await
    };
    let late = || Fault::new(FaultKind::TimedOut, "it did not say that it heard");
    let told = timeout(TOLD, told).await.unwrap_or_else(|_| Err(late()))?;
    if told.status.is_success() {
        return Ok(Told::Well);
    }
    if told.status == Exit::Code(HERE) {
        return Ok(Told::Here);
    }
    let why = told.stderr_tail.trim();
    Err(Fault::new(
        FaultKind::Failed,
        format!("systemctl poweroff: {}: {why}", told.status),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(force: bool, here: Option<&str>) -> String {
        let off = Off {
            deadline: Duration::from_secs(48),
            force,
            here,
            way: None,
        };
        off.script()
    }

    /// Nothing of these scripts is ever run in a test: it would be this machine that goes off.
    #[test]
    fn what_a_host_is_told_fits_the_hurry() {
        assert_eq!(script(false, None), OFF);
        let forced = script(true, None);
        let (resort, told) = forced.split_once("\nlast_resort 32\n").unwrap();
        assert!(told.starts_with("timeout -k 1 5 systemctl poweroff || "));
        // A container has the kernel of the machine that it runs on.
        let guard = resort.find("systemd-detect-virt -q --container && exit");
        assert!(guard.unwrap() < resort.find("sysrq-trigger").unwrap());
        // Before anything else.
        let unknown = script(true, Some("this"));
        assert!(unknown.starts_with("[ \"$(cat /etc/machine-id)\" != this ] || exit 77\n"));
        assert_eq!(script(true, Some("")), forced);
    }

    #[test]
    fn the_script_of_an_emergency_is_one() {
        let (_, watch) = EMERGENCY.split_once("watch='").unwrap();
        let (watch, after) = watch.split_once('\'').unwrap();
        assert_eq!(after.trim(), "");
        for text in [EMERGENCY, watch] {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-n", "-c", text]);
            assert!(shell.status().unwrap().success());
        }
    }
}
