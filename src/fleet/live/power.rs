//! A host that is switched off, and proves it by its silence.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fault, FaultKind};
use crate::ssh::SshError;

use super::Remote;

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

/// Switches `remote` off and waits until it is silent. One that is silent from the first is off.
pub(super) async fn off(
    remote: &Remote,
    deadline: Duration,
    force: bool,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let began = Instant::now();
    let (answer, pause) = if deadline < HURRY {
        (HURRIED, HURRIED_PAUSE)
    } else {
        (ANSWER, PAUSE)
    };
    match tell(remote, OFF).await {
        Ok(()) => output("told to power off"),
        Err(fault) if fault.kind == FaultKind::Failed => return Err(fault),
        // Whether it heard is found out below.
        Err(fault) => output(&fault.message),
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
            return Ok(());
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

async fn tell(remote: &Remote, script: &str) -> Result<(), Fault> {
    let told = async {
        let session = remote.session().await?;
        remote.run(&session, script, TOLD, &|_, _| {}).await
    };
    let late = || Fault::new(FaultKind::TimedOut, "it did not say that it heard");
    let told = timeout(TOLD, told).await.unwrap_or_else(|_| Err(late()))?;
    if told.status.is_success() {
        return Ok(());
    }
    let why = told.stderr_tail.trim();
    Err(Fault::new(
        FaultKind::Failed,
        format!("systemctl poweroff: {}: {why}", told.status),
    ))
}
