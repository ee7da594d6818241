//! The certificates of a node, and the digests of a swarm's secrets.

use super::super::{Certificate, Certificates, SwarmSecrets};
use super::{Section, pairs};

/// What parts the node's certificate from that of the authority.
const AUTHORITY: &str = "\nskep-authority\n";

/// Reads the certificate of the node and that of the authority.
pub(super) fn certificates(section: &Section<'_>) -> Option<Certificates> {
    let text = section.text();
    let (node, authority) = text.split_once(AUTHORITY)?;
    Some(Certificates {
        node: Certificate::read(node)?,
        manager: Certificate::names_manager(node)?,
        authority: Certificate::read(authority)?,
    })
}

/// Reads the digests.
pub(super) fn secrets(section: &Section<'_>) -> Option<SwarmSecrets> {
    let text = section.text();
    let pairs = pairs(&text);
    let digest = |key: &str| {
        let value = pairs.get(key).copied()?;
        let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| value.to_owned())
    };
    let key = digest("key");
    // One that should be there and was not told is not "no key".
    if pairs.contains_key("key") && key.is_none() {
        return None;
    }
    Some(SwarmSecrets {
        worker_token: digest("worker")?,
        manager_token: digest("manager")?,
        unlock_key: key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authority of a real swarm.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIBajCCARCgAwIBAgIUN+h72TC9j/qt2dlfVwKuG/XYUBswCgYIKoZIzj0EAwIw\nEzERMA8GA1UEAxMIc3dhcm0tY2EwHhcNMjYxMTIxMTk1OTAwWhcNNDYxMTE2MTk1\nOTAwWjATMREwDwYDVQQDEwhzd2FybS1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH\nA0IABJaj18EvhlRz9K+8MejQ45z7wp6mEr0WFSmV+WAyipQwihqrFdhqbmivGbUc\nVZvKuBj0iGax56jjBgQhFDZ2BUijQjBAMA4GA1UdDwEB/wQEAwIBBjAPBgNVHRMB\nAf8EBTADAQH/MB0GA1UdDgQWBBTMXDbDRpeWt9zj0AbJu5pmZyUiyjAKBggqhkjO\nPQQDAgNIADBFAiACh4D+FuL4yGF8Q0fV3D/H49PJGGm5Xf25ElTK7EDL2QIhALKR\nAJswL8x+rIslgon1xBuIz4mfExzXh55s9qPkGkO5\n-----END CERTIFICATE-----\n";

    fn section(text: &str) -> Section<'_> {
        Section {
            body: text.as_bytes(),
            status: 0,
        }
    }

    #[test]
    fn the_life_of_a_certificate_is_read() {
        let text = format!("{PEM}{PEM}\nskep-authority\n{PEM}");
        let read = certificates(&section(&text)).unwrap();
        // 2026-11-21T19:59:00Z and 2046-11-16T19:59:00Z.
        assert_eq!(read.node.begins, 1_795_291_140);
        assert_eq!(read.node.ends, 2_426_011_140);
        assert_eq!(read.authority, read.node);
        assert_eq!(certificates(&section(PEM)), None);
        let cut = text.replace("END", "EN");
        assert_eq!(certificates(&section(&cut)), None);
    }

    #[test]
    fn a_digest_that_was_not_told_is_not_no_key() {
        let a = "a".repeat(64);
        let tokens = format!("worker={a}\nmanager={a}\n");
        let read = |more: &str| secrets(&section(&format!("{tokens}{more}")));
        assert_eq!(read("").unwrap().unlock_key, None);
        assert_eq!(read(&format!("key={a}\n")).unwrap().unlock_key, Some(a));
        assert_eq!(read("key=\n"), None);
        assert_eq!(secrets(&section("worker=\nmanager=\n")), None);
    }
}
