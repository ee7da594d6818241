//! What ends by itself and what locks: the certificates of the nodes and of their authority, and the
//! unlock key that somebody should have saved.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::{Certificate, HostFacts, Probe};
use crate::inventory::Inventory;
use crate::known::Known;
use crate::plan::step::{KEY_NOTE, KeyNote};
use crate::procedure::key_note;
use crate::swarm::{Gathered, Swarm, Up};

use super::StatusReport;

/// A node fetches its next certificate after 50 to 80 % of the life of the present one, at a random
/// moment (`CertLowerRotationRange` and `CertUpperRotationRange` in swarmkit's `ca/certificates.go`).
/// With less than a fifth left it has not come to it.
const RENEWED_WITH_LEFT: f64 = 0.2;

/// How long before its end an authority deserves a look: nobody renews it. A new one lives 20 years
/// (`RootCAExpiration` in swarmkit).
const AUTHORITY_SECONDS: i64 = 365 * DAY;

const DAY: i64 = 86_400;

/// The certificates of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The host.
    pub host: String,
    /// When its own certificate ends.
    pub expires: Timestamp,
    /// When that of the authority ends which it trusts.
    pub authority_expires: Timestamp,
}

/// The unlock key of a swarm with autolock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockKeyStatus {
    /// Who saved the present key, and when; `None` where nobody is known to have.
    pub saved: Option<SavedBy>,
    /// The hosts whose managers are locked now.
    pub locked: Vec<String>,
}

/// Who saved a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBy {
    /// Who, as `user@machine`.
    pub who: String,
    /// When.
    pub time: Timestamp,
}

/// The questions that are asked in the same round trip as those of a plan.
pub fn probes() -> Vec<Probe> {
    vec![
        Probe::Certificates,
        Probe::SwarmSecrets,
        Probe::File(KEY_NOTE.to_owned()),
    ]
}

impl StatusReport {
    /// Adds what is known of certificates and of the unlock key; `now` decides what ends soon.
    pub fn add_certificates(
        &mut self,
        inventory: &Inventory,
        gathered: &Gathered,
        swarm: &Swarm,
        now: Timestamp,
    ) {
        let answers: Vec<(&str, &HostFacts)> = inventory
            .members()
            .filter_map(|host| {
                let facts = gathered.get(&host.name)?.as_ref().ok()?;
                Some((host.name.as_str(), facts))
            })
            .collect();
        for (host, facts) in &answers {
            match &facts.certificates {
                Known::Value(found) => {
                    self.warnings.extend(ends_soon(host, &found.node, now));
                    if let (Some(expires), Some(authority_expires)) =
                        (time(found.node.ends), time(found.authority.ends))
                    {
                        self.certificates.push(CertificateStatus {
                            host: (*host).to_owned(),
                            expires,
                            authority_expires,
                        });
                    }
                }
                Known::Unknown(why) if facts.swarm.value().is_some() => {
                    self.warnings.push(format!(
                        "when the certificate of {host} ends is not known: {why}"
                    ));
                }
                _ => {}
            }
        }
        self.warnings
            .extend(authority_ends(&self.certificates, now));
        self.add_unlock_key(&answers, swarm);
    }

    fn add_unlock_key(&mut self, answers: &[(&str, &HostFacts)], swarm: &Swarm) {
        let is_locked = |facts: &HostFacts| {
            let local = facts.swarm.value();
            local.is_some_and(|local| local.state == "locked")
        };
        let locked: Vec<String> = answers
            .iter()
            .filter(|(_, facts)| is_locked(facts))
            .map(|(host, _)| (*host).to_owned())
            .collect();
        let up = match swarm {
            Swarm::Up(up) => Some(up),
            _ => None,
        };
        if locked.is_empty() && !up.is_some_and(|up| up.settings.autolock) {
            return;
        }
        let mut notes: Vec<KeyNote> = answers.iter().filter_map(|(_, it)| key_note(it)).collect();
        notes.sort_by_key(|note| note.time);
        let newest = notes.pop();
        let key = answers.iter().find_map(|(_, facts)| {
            let secrets = facts.secrets.value()?;
            secrets.unlock_key.as_ref()
        });
        let is_of = |note: &KeyNote| key.is_none_or(|key| *key == note.sha256);
        let saved = newest.clone().filter(is_of).map(|note| SavedBy {
            who: note.who,
            time: note.time,
        });
        if up.is_some() && saved.is_none() {
            self.warnings.push(not_saved(newest.as_ref()));
        }
        for host in &locked {
            self.warnings
                .push(is_to_be_unlocked(host, up, newest.as_ref()));
        }
        self.unlock_key = Some(UnlockKeyStatus { saved, locked });
    }
}

fn not_saved(older: Option<&KeyNote>) -> String {
    let why = match older {
        Some(note) => format!(
            "the unlock key is not the one that {} saved on {}",
            note.who,
            date(note.time)
        ),
        None => "autolock is on, and nobody is known to have saved the unlock key".to_owned(),
    };
    format!(
        "{why}: when all managers are off at once, the swarm cannot be opened without it; `skep unlock-key --save FILE` saves it"
    )
}

fn is_to_be_unlocked(host: &str, up: Option<&Up>, note: Option<&KeyNote>) -> String {
    if up.is_some() {
        return format!(
            "{host} is locked and has no vote until it is unlocked: `skep up` does it, unless it was off when the key was changed and wants the old one"
        );
    }
    let who = note.map_or_else(
        || "nobody is known to have saved it".to_owned(),
        |note| format!("{} saved it on {}", note.who, date(note.time)),
    );
    format!("{host} is locked: `docker swarm unlock` there wants the unlock key; {who}")
}

/// What is to be said of a node's certificate.
fn ends_soon(host: &str, it: &Certificate, now: Timestamp) -> Option<String> {
    let left = it.ends - now.as_second();
    let ends = time(it.ends).map(date)?;
    if left <= 0 {
        return Some(format!(
            "the certificate of {host} has ended on {ends}: it cannot take part any more; as a worker let it leave and join again, for managers see `skep recover`"
        ));
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of a life, for a person"
    )]
    let share = left as f64 / (it.ends - it.begins).max(1) as f64;
    (share < RENEWED_WITH_LEFT).then(|| {
        format!(
            "the certificate of {host} ends on {ends}, in {}, and should have been renewed by now: see whether the node reaches a manager (2377/tcp), and whether its clock is right",
            in_days(left)
        )
    })
}

/// What is to be said of the authority: once, for the one that ends first.
fn authority_ends(certificates: &[CertificateStatus], now: Timestamp) -> Option<String> {
    let first = certificates.iter().map(|it| it.authority_expires).min()?;
    let left = first.as_second() - now.as_second();
    let ends = date(first);
    if left > AUTHORITY_SECONDS {
        return None;
    }
    Some(if left <= 0 {
        format!("the swarm's certificate authority has ended on {ends}: no node trusts another")
    } else {
        format!(
            "the swarm's certificate authority ends on {ends}, in {}, and nobody renews it: `skep rotate ca` makes a new one",
            in_days(left)
        )
    })
}

fn in_days(seconds: i64) -> String {
    match seconds / DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn time(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok()
}

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Certificates, LocalSwarm, SwarmSecrets, SwarmSettings};
    use std::collections::BTreeMap;

    const LIFE: i64 = 90 * DAY;

    fn inventory() -> Inventory {
        let text = "cluster.name = \"dccn\"\nswarm.default-addr-pool = [\"10.200.0.0/16\"]\n\
            [[host]]\nname = \"m[1-3]\"\naddress = \"198.18.0.[1-3]\"\nrole = \"manager\"\n";
        let (inventory, found) = crate::inventory::parse(text, std::path::Path::new("skep.toml"));
        assert_eq!(found, []);
        inventory.unwrap()
    }

    fn facts(state: &str, note: Option<&str>) -> HostFacts {
        let mut facts = HostFacts {
            certificates: Known::Value(Certificates {
                node: Certificate {
                    begins: 0,
                    ends: LIFE,
                },
                manager: true,
                authority: Certificate {
                    begins: 0,
                    ends: LIFE * 4 / 5 + AUTHORITY_SECONDS + 1,
                },
            }),
            swarm: Known::Value(LocalSwarm {
                state: state.to_owned(),
                ..LocalSwarm::default()
            }),
            secrets: Known::Value(SwarmSecrets {
                unlock_key: (state == "active").then(|| "present".to_owned()),
                ..SwarmSecrets::default()
            }),
            ..HostFacts::default()
        };
        if let Some(sha256) = note {
            let note = KeyNote {
                time: Timestamp::UNIX_EPOCH,
                who: "eve@laptop".to_owned(),
                sha256: sha256.to_owned(),
            };
            let file = crate::facts::File {
                content: Some(serde_json::to_string(&note).unwrap()),
                ..crate::facts::File::default()
            };
            facts.files.insert(KEY_NOTE.to_owned(), Known::Value(file));
        }
        facts
    }

    fn up(autolock: bool) -> Swarm {
        Swarm::Up(Up {
            cluster_id: "x".to_owned(),
            managers: vec!["m1".to_owned()],
            nodes: Vec::new(),
            settings: SwarmSettings {
                autolock,
                ..SwarmSettings::default()
            },
            members: BTreeMap::new(),
        })
    }

    fn report(one: HostFacts, other: HostFacts, swarm: &Swarm, seconds: i64) -> StatusReport {
        let gathered = Gathered::from([("m1".into(), Ok(one)), ("m2".into(), Ok(other))]);
        let mut report = StatusReport::empty(&inventory());
        let now = Timestamp::from_second(seconds).unwrap();
        report.add_certificates(&inventory(), &gathered, swarm, now);
        report
    }

    #[test]
    fn a_certificate_is_told_of_when_it_should_have_been_renewed() {
        let at = |seconds: i64| {
            let active = || facts("active", None);
            report(active(), active(), &up(false), seconds).warnings
        };
        let none: [&str; 0] = [];
        assert_eq!(at(0), none);
        // Docker's latest moment is after 80 %.
        assert_eq!(at(LIFE * 4 / 5), none);
        let late = at(LIFE * 4 / 5 + DAY);
        assert!(late[0].contains("certificate of m1 ends on 1970-04-01, in 17 days"));
        assert_eq!(late.len(), 3, "both, and the authority: {late:?}");
        assert!(late[2].contains("authority ends on 1971-03-14"), "{late:?}");
        assert!(at(LIFE + 1)[0].contains("has ended on 1970-04-01"));
        let report = report(facts("active", None), HostFacts::default(), &up(false), DAY);
        assert_eq!(report.certificates.len(), 1);
        assert_eq!(report.certificates[0].expires.as_second(), LIFE);
        assert_eq!(report.unlock_key, None);
    }

    #[test]
    fn what_is_not_known_is_said_and_not_taken_for_well() {
        let mut unread = facts("active", None);
        unread.certificates = Known::Unknown("no permission to look".to_owned());
        let told = report(unread, facts("active", None), &up(false), 0).warnings;
        assert!(
            told[0].contains("of m1 ends is not known: no permission"),
            "{told:?}"
        );
    }

    #[test]
    fn a_key_that_nobody_saved_is_told_of() {
        let told = |notes: [Option<&str>; 2]| {
            let [one, other] = notes.map(|note| facts("active", note));
            let report = report(one, other, &up(true), 0);
            (report.warnings.join("\n"), report.unlock_key.unwrap().saved)
        };
        let (never, saved) = told([None, None]);
        assert!(never.contains("nobody is known to have saved"), "{never}");
        assert!(never.contains("skep unlock-key --save FILE"), "{never}");
        assert_eq!(saved, None);
        let (older, saved) = told([Some("older"), None]);
        assert!(
            older.contains("not the one that eve@laptop saved on 1970-01-01"),
            "{older}"
        );
        assert_eq!(saved, None);
        let (well, saved) = told([None, Some("present")]);
        assert_eq!(well, "");
        assert_eq!(saved.unwrap().who, "eve@laptop");
    }

    #[test]
    fn a_locked_manager_is_told_of_with_what_opens_it() {
        let one = || facts("active", Some("present"));
        let report_of = |swarm: &Swarm| report(one(), facts("locked", None), swarm, 0);
        let up = report_of(&up(true));
        assert_eq!(up.unlock_key.unwrap().locked, ["m2"]);
        assert!(up.warnings[0].contains("m2 is locked"), "{:?}", up.warnings);
        assert!(up.warnings[0].contains("`skep up` does it"));
        let down = Swarm::Down(crate::swarm::Down {
            evidence: Vec::new(),
            silent: Vec::new(),
            exists: true,
        });
        let down = report_of(&down);
        assert!(
            down.warnings[0].contains("eve@laptop saved it on 1970-01-01"),
            "{:?}",
            down.warnings
        );
    }
}
