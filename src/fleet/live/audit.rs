//! Brings the audit to the managers and back.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use crate::audit::{self, Entry};
use crate::fleet::{Fault, FaultKind};
use crate::ssh::Exit;

use super::Live;

/// How long one line may take, with a login where there is none: it must not hold up a run.
const APPEND: Duration = Duration::from_secs(15);

/// How long a script may take on a manager.
const SCRIPT: Duration = Duration::from_secs(10);

/// How long the reading may take, with the login.
const READ: Duration = Duration::from_mins(1);

impl Live {
    /// Appends `entry` on all `managers` at once, and gives those that did not take it, with why.
    pub async fn append_audit(&self, managers: &[String], entry: &Entry) -> Vec<(String, Fault)> {
        let script = audit::append_script(entry);
        let asked = managers.iter().map(|host| {
            let script = script.as_str();
            async move {
                let ended = timeout(APPEND, self.script_on(host, script, SCRIPT)).await;
                let ended = ended.unwrap_or_else(|_| Err(late(APPEND)));
                ended.err().map(|fault| (host.clone(), fault))
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The last `lines` lines of the audit of each of `managers`, or all of it, in this order.
    pub async fn read_audit(
        &self,
        managers: &[String],
        lines: Option<usize>,
    ) -> Vec<(String, Result<String, Fault>)> {
        let script = audit::read_script(lines);
        let asked = managers.iter().map(|host| {
            let script = script.as_str();
            async move {
                let read = timeout(READ, self.script_on(host, script, READ)).await;
                (host.clone(), read.unwrap_or_else(|_| Err(late(READ))))
            }
        });
        join_all(asked).await
    }

    /// Runs a script as root that has to end well, and gives what it printed.
    pub(super) async fn script_on(
        &self,
        host: &str,
        script: &str,
        deadline: Duration,
    ) -> Result<String, Fault> {
        let remote = self.remote(host)?;
        let session = remote.session().await?;
        let output = remote.run(&session, script, deadline, &|_, _| {}).await?;
        if output.status == Exit::Code(0) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = output.stderr_tail.trim().lines().next_back();
        let why = said.map_or_else(|| output.status.to_string(), str::to_owned);
        Err(Fault::new(FaultKind::Failed, why))
    }
}

fn late(after: Duration) -> Fault {
    Fault::new(
        FaultKind::TimedOut,
        format!("no answer within {} s", after.as_secs()),
    )
}
