//! A host that is told to boot anew, and comes back.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fault, FaultKind};
use crate::shell::quote;

use super::Remote;

/// How long a host may take until it lets us log in again. The firmware of a server with much memory
/// takes minutes, and a unit that does not stop 90 s.
const BACK: Duration = Duration::from_mins(20);

/// How long one question may take: a host that goes down answers nothing any more.
const ANSWER: Duration = Duration::from_secs(15);

/// The pause between questions.
const PAUSE: Duration = Duration::from_secs(2);

/// After how long of waiting it is said that it is waited.
const SAY: Duration = Duration::from_secs(30);

/// Boots `remote` anew, unless it runs another boot than `boot_id` already, and waits for it.
pub(super) async fn reboot(
    remote: &Remote,
    boot_id: &str,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    // `systemctl reboot` only asks for the job and ends, so that its answer mostly still comes. One
    // that does not is found out below, like everything else that is not known.
    let script = format!(
        "[ \"$(cat /proc/sys/kernel/random/boot_id)\" = {} ] || {{ echo is another boot; exit 0; }}\nsync\nsystemctl reboot\n",
        quote(boot_id)
    );
    let session = remote.session().await?;
    match remote.run(&session, &script, ANSWER * 4, &|_, _| {}).await {
        Ok(told) if told.status.is_success() => {
            if told.stdout.starts_with(b"is another boot") {
                return Ok(());
            }
        }
        Ok(told) => {
            let why = told.stderr_tail.trim();
            let status = told.status;
            let message = format!("systemctl reboot: {status}: {why}");
            return Err(Fault::new(FaultKind::Failed, message));
        }
        Err(fault) if fault.kind == FaultKind::Failed => return Err(fault),
        Err(_) => {}
    }
    drop(session);
    output("told to reboot");
    let began = Instant::now();
    let mut said = began;
    loop {
        remote.hang_up().await;
        sleep(PAUSE).await;
        let seen = match timeout(ANSWER, now(remote)).await {
            Ok(Ok(now)) if !now.is_empty() && now != boot_id => return Ok(()),
            Ok(Ok(_)) => "it still goes down".to_owned(),
            Ok(Err(fault)) => fault.message,
            Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
        };
        if began.elapsed() > BACK {
            let minutes = BACK.as_secs() / 60;
            let why = format!("it is not back {minutes} minutes after the reboot: {seen}");
            return Err(Fault::new(FaultKind::TimedOut, why)
                .hint("Look at the host's console. When it is back, run the command again."));
        }
        if said.elapsed() > SAY {
            output(&format!("waiting: {seen}"));
            said = Instant::now();
        }
    }
}

/// The ID of the boot that runs now.
async fn now(remote: &Remote) -> Result<String, Fault> {
    let session = remote.session().await?;
    let script = "cat /proc/sys/kernel/random/boot_id\n";
    let told = remote.run(&session, script, ANSWER, &|_, _| {}).await?;
    Ok(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}
