//! What a run tells the managers of itself while it works.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;

use crate::audit::{Entry, What};
use crate::execute::Report;
use crate::fleet::live::{Live, RemoteLock};
use crate::plan::Plan;
use crate::state::Owner;
use crate::ui::Printer;

/// The audit of one run. It never fails the run: a manager that cannot be written to is warned
/// about, once.
#[derive(Debug)]
pub struct Audit<'a> {
    printer: &'a Printer,
    run: String,
    command: String,
    round: u32,
    began: Option<Instant>,
    reports: Vec<Report>,
    warned: BTreeSet<String>,
}

impl<'a> Audit<'a> {
    /// The audit of a run of `command`.
    pub fn new(command: String, printer: &'a Printer) -> Self {
        let mut run = crate::ssh::nonce();
        run.truncate(12);
        Self {
            printer,
            run,
            command,
            round: 0,
            began: None,
            reports: Vec::new(),
            warned: BTreeSet::new(),
        }
    }

    /// Tells more of the command than its verb: its arguments, and no secret.
    pub fn named(&mut self, command: String) {
        self.command = command;
    }

    /// Another run's lock was broken.
    pub async fn broke_lock(&mut self, live: &Live, lock: &RemoteLock, of: String) {
        self.write(live, lock, What::BrokeLock { of }).await;
    }

    /// `plan` begins to be carried out.
    pub async fn began(&mut self, live: &Live, lock: &RemoteLock, plan: &Plan) {
        self.round += 1;
        self.began.get_or_insert_with(Instant::now);
        let what = What::began(self.round, &plan.changes);
        self.write(live, lock, what).await;
    }

    /// A plan was carried out, with this outcome.
    pub fn ran(&mut self, report: Report) {
        self.reports.push(report);
    }

    /// The run ends with `code`. One that changed nothing says nothing.
    pub async fn ended(&mut self, live: &Live, lock: &RemoteLock, code: u8) {
        let Some(began) = self.began else { return };
        let what = What::ended(&self.reports, code, began.elapsed().as_secs());
        self.write(live, lock, what).await;
    }

    async fn write(&mut self, live: &Live, lock: &RemoteLock, what: What) {
        let entry = Entry {
            time: Timestamp::now(),
            run: self.run.clone(),
            who: Owner::this("").name(),
            command: self.command.clone(),
            what,
        };
        for (host, fault) in live.append_audit(lock.hosts(), &entry).await {
            if self.warned.insert(host.clone()) {
                let why = fault.message;
                self.printer
                    .warn(format!("the audit on `{host}` was not written: {why}"));
            }
        }
    }
}
