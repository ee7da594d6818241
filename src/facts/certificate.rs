//! How long a certificate is worth something.

use jiff::Timestamp;
use x509_cert::Certificate as X509;
use x509_cert::der::DecodePem as _;
use x509_cert::time::Time;

use super::Certificate;

/// The organisational unit of a manager's certificate (`ManagerRole` in swarmkit's `ca/config.go`).
const MANAGER: &str = "OU=swarm-manager";

/// Where a certificate ends.
const END: &str = "-----END CERTIFICATE-----";

impl Certificate {
    /// Reads the first certificate of a PEM file; those that issued it come after it. `None` where it
    /// cannot be read.
    pub fn read(pem: &str) -> Option<Self> {
        let read = first(pem)?;
        let validity = read.tbs_certificate().validity();
        let seconds = |time: &Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
        Some(Self {
            begins: seconds(&validity.not_before)?,
            ends: seconds(&validity.not_after)?,
        })
    }

    /// Whether the first certificate of a PEM file names a manager of a swarm. `None` where it cannot be
    /// read.
    pub fn names_manager(pem: &str) -> Option<bool> {
        let subject = first(pem)?.tbs_certificate().subject().to_string();
        Some(subject.split(['+', ',']).any(|part| part == MANAGER))
    }

    /// When it ends; `None` beyond the year 9999.
    pub fn end(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.ends).ok()
    }
}

fn first(pem: &str) -> Option<X509> {
    let end = pem.find(END)? + END.len();
    X509::from_pem(pem.get(..end)?.trim_start()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl req -x509 -newkey ec -days 30000`, whose end is written in the longer way, and
    /// with `-days 90`.
    #[test]
    fn the_end_of_a_certificate_is_read() {
        let ends = |pem| Certificate::read(pem)?.end().map(|it| it.to_string());
        let late = ends(include_str!("certificate/late.pem"));
        assert_eq!(late.as_deref(), Some("2109-01-10T20:04:21Z"));
        let soon = ends(include_str!("certificate/soon.pem"));
        assert_eq!(soon.as_deref(), Some("2027-02-19T20:04:22Z"));
        let cut = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----";
        assert_eq!(ends(cut), None);
        assert_eq!(ends(""), None);
    }

    /// Those of nodes of a swarm of 20.10.
    #[test]
    fn the_role_of_a_certificate_is_read() {
        let names = Certificate::names_manager;
        assert_eq!(names(include_str!("certificate/manager.pem")), Some(true));
        assert_eq!(names(include_str!("certificate/worker.pem")), Some(false));
        assert_eq!(names(include_str!("certificate/soon.pem")), Some(false));
        assert_eq!(names(""), None);
    }
}
