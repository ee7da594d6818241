//! What a run tells the managers of itself while it works.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;

use crate::audit::{Entry, What};
use crate::error::Kind;
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

    /// The run ends with `code`, which those of `managers` are told. One that changed nothing says nothing.
    pub async fn ended(&mut self, live: &Live, managers: &[String], code: u8) {
        let Some(began) = self.began else { return };
        let what = What::ended(&self.reports, code, began.elapsed().as_secs());
        self.write_on(live, managers, what).await;
    }

    /// What the last manager is told before it is switched off, with the `report` of the plan that does
    /// it, until then.
    pub fn last(&self, report: Report) -> Entry {
        let code = Kind::Failed.exit_code();
        let code = if report.is_done() { 0 } else { code };
        let reports: Vec<Report> = self.reports.iter().cloned().chain([report]).collect();
        let took = self.began.map_or(0, |began| began.elapsed().as_secs());
        self.entry(What::ended(&reports, code, took))
    }

    async fn write(&mut self, live: &Live, lock: &RemoteLock, what: What) {
        self.write_on(live, lock.hosts(), what).await;
    }

    fn entry(&self, what: What) -> Entry {
        Entry {
            time: Timestamp::now(),
            run: self.run.clone(),
            who: Owner::this("").name(),
            command: self.command.clone(),
            what,
        }
    }

    async fn write_on(&mut self, live: &Live, managers: &[String], what: What) {
        let entry = self.entry(what);
        for (host, fault) in live.append_audit(managers, &entry).await {
            if self.warned.insert(host.clone()) {
                let why = fault.message;
                self.printer
                    .warn(format!("the audit on `{host}` was not written: {why}"));
            }
        }
    }
}
