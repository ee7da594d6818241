use std::time::Duration;

use proptest::prelude::*;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::Builder;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};

use super::*;

fn private(seed: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "a comment").unwrap()
}

fn key(seed: u8) -> KeyData {
    private(seed).public_key().key_data().clone()
}

fn text(seed: u8) -> String {
    private(seed).public_key().to_openssh().unwrap()
}

const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

fn read(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(Path::new("/k"), text);
    known
}

fn at(line: usize) -> Place {
    Place {
        file: "/k".into(),
        line,
    }
}

#[test]
fn the_name_has_the_port_unless_it_is_22() {
    assert_eq!(lookup_name("Host.LAN", 22), "host.lan");
    assert_eq!(lookup_name("10.0.0.1", 2222), "[10.0.0.1]:2222");
    assert_eq!(lookup_name("FD00::1", 22), "fd00::1");
}

#[test]
fn a_known_key_is_known_whatever_its_comment_and_blanks() {
    let bare = text(1).rsplit_once(" a ").unwrap().0.to_owned();
    for line in [
        format!("m1 {}", text(1)),
        format!("m1\t{}", bare.replace(' ', "\t")),
        format!("  m1   {bare}  another comment # with a hash"),
        format!("other,M1 {bare}\r"),
        format!("# a comment\n\nm1 {bare}"),
    ] {
        assert_eq!(
            read(&line).judge_key("m1", &key(1)),
            Verdict::Known,
            "{line:?}"
        );
    }
}

#[test]
fn nobody_vouches_for_an_unknown_host() {
    let known = read(&format!("m1 {}\n[m2]:2222 {}\n", text(1), text(1)));
    for name in ["m2", "m", "m11", "[m1]:2222", "m1.lan"] {
        assert_eq!(known.judge_key(name, &key(1)), Verdict::Unknown, "{name}");
    }
    assert_eq!(known.judge_key("[m2]:2222", &key(1)), Verdict::Known);
}

#[test]
fn a_changed_key_names_the_line_that_a_person_counts() {
    let known = read(&format!("# one\n\nm1 {}\n", text(1)));
    let changed = Verdict::Changed {
        place: at(3),
        same_type: true,
    };
    assert_eq!(known.judge_key("m1", &key(2)), changed);
}

#[test]
fn a_stale_line_does_no_harm_where_another_one_matches() {
    let known = read(&format!("m1 {}\nm1 {}\n", text(1), text(2)));
    assert_eq!(known.judge_key("m1", &key(2)), Verdict::Known);
    assert_eq!(known.judge_key("m1", &key(1)), Verdict::Known);
}

#[test]
fn a_host_known_by_another_type_of_key_is_not_new() {
    let known = read(&format!("m1 {ECDSA}\n"));
    let changed = Verdict::Changed {
        place: at(1),
        same_type: false,
    };
    assert_eq!(known.judge_key("m1", &key(1)), changed);
    assert_eq!(known.algorithms("m1").len(), 1);
    assert_eq!(known.algorithms("m2").len(), 0);
    // The line of the same type is the one to name.
    let known = read(&format!("m1 {ECDSA}\nm1 {}\n", text(2)));
    let changed = Verdict::Changed {
        place: at(2),
        same_type: true,
    };
    assert_eq!(known.judge_key("m1", &key(1)), changed);
}

#[test]
fn a_revoked_key_is_refused_even_where_another_line_knows_it() {
    let known = read(&format!("m1 {}\n@revoked * {}\n", text(1), text(1)));
    assert_eq!(
        known.judge_key("m1", &key(1)),
        Verdict::Revoked { place: at(2) }
    );
    assert_eq!(
        known.judge_key("m1", &key(2)),
        Verdict::Changed {
            place: at(1),
            same_type: true
        }
    );
    // Revoked lines vouch for nothing, and are no known key.
    let known = read(&format!("@revoked m1 {}\n", text(1)));
    assert_eq!(known.judge_key("m1", &key(2)), Verdict::Unknown);
}

#[test]
fn wildcards_and_negation_hold() {
    let known = read(&format!("*.lan,!bad.lan,m? {}\n", text(1)));
    for (name, verdict) in [
        ("a.lan", Verdict::Known),
        ("bad.lan", Verdict::Unknown),
        ("m1", Verdict::Known),
        ("m", Verdict::Unknown),
        ("m12", Verdict::Unknown),
        ("lan", Verdict::Unknown),
    ] {
        assert_eq!(known.judge_key(name, &key(1)), verdict, "{name}");
    }
    let only_negated = read(&format!("!m1 {}\n", text(1)));
    assert_eq!(only_negated.judge_key("m2", &key(1)), Verdict::Unknown);
}

/// What `ssh-keygen -H` of OpenSSH 9.2 made of lines for `example.org` and `[example.org]:2222`.
const HASHED: &str = "\
|1|m4BBD+WBr35eeDByRap4CYK2XNY=|oxVVfaj+9kDhfP1kFINffuN7TeA= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII/dYtdIxYHRNX93H6RF6B00k/2p+dUXcK8UbmFP+FMs
|1|W5pbUUN1t876OvnecboZ4VtmNDk=|Do5MvoishY3u4hnFkdJs57rOU8U= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII/dYtdIxYHRNX93H6RF6B00k/2p+dUXcK8UbmFP+FMs
";

#[test]
fn names_that_openssh_hashed_are_read() {
    let known = read(HASHED);
    let key = PublicKey::from_openssh(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII/dYtdIxYHRNX93H6RF6B00k/2p+dUXcK8UbmFP+FMs",
    )
    .unwrap();
    let judge = |name| known.judge_key(name, key.key_data());
    assert_eq!(judge("example.org"), Verdict::Known);
    assert_eq!(judge("[example.org]:2222"), Verdict::Known);
    assert_eq!(judge("[example.org]:2223"), Verdict::Unknown);
    assert_eq!(judge("example.com"), Verdict::Unknown);
}

#[test]
fn lines_that_cannot_be_read_are_left_out() {
    let known = read(&format!(
        "m1\nm1 ssh-ed25519\nm1 ssh-ed25519 AAAA\n@unknown m1 {0}\n|1|x m1 {0}\n|1|%|% {0}\n@revoked\n",
        text(1)
    ));
    assert_eq!(known.judge_key("m1", &key(1)), Verdict::Unknown);
}

fn certificate(kind: CertType, principals: &[&str], from: u64, to: u64) -> Certificate {
    let host = private(5);
    let mut builder =
        Builder::new([1; 16], host.public_key().key_data().clone(), from, to).unwrap();
    builder.cert_type(kind).unwrap();
    builder.key_id("host").unwrap();
    for principal in principals {
        builder.valid_principal(*principal).unwrap();
    }
    if principals.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    builder.sign(&private(9)).unwrap()
}

fn judge(known: &KnownHosts, certificate: &Certificate) -> Verdict {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    known.judge_certificate("[m1.lan]:2222", "m1.lan", certificate, now)
}

#[test]
fn an_authority_vouches_for_its_hosts() {
    let known = read(&format!("@cert-authority *.lan {}\n", text(9)));
    assert!(known.has_authority("[m1.lan]:2222", "m1.lan"));
    assert!(!known.has_authority("m1", "m1"));
    let good = certificate(CertType::Host, &["m1.lan"], 0, 2_000_000);
    assert_eq!(judge(&known, &good), Verdict::ByAuthority);
    let wild = certificate(CertType::Host, &["*.lan"], 0, 2_000_000);
    assert_eq!(judge(&known, &wild), Verdict::ByAuthority);
    // Its key is no plain key of any host.
    assert_eq!(known.judge_key("m1.lan", &key(9)), Verdict::Unknown);
}

#[test]
fn a_certificate_must_hold() {
    let known = read(&format!("@cert-authority *.lan {}\n", text(9)));
    for (certificate, reason) in [
        (
            certificate(CertType::User, &["m1.lan"], 0, 2_000_000),
            "user's",
        ),
        (
            certificate(CertType::Host, &["m2.lan"], 0, 2_000_000),
            "for m2.lan",
        ),
        (
            certificate(CertType::Host, &["m1.lan"], 0, 1_000),
            "expired",
        ),
        (
            certificate(CertType::Host, &["m1.lan"], 1_500_000, 2_000_000),
            "not valid yet",
        ),
    ] {
        let Verdict::BadCertificate { reason: said } = judge(&known, &certificate) else {
            panic!("{reason}");
        };
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn another_authority_counts_for_nothing() {
    let known = read(&format!("@cert-authority *.lan {}\n", text(8)));
    let good = certificate(CertType::Host, &["m1.lan"], 0, 2_000_000);
    assert_eq!(judge(&known, &good), Verdict::Unknown);
    // But the key inside may be known by itself.
    let known = read(&format!("[m1.lan]:2222 {}\n", text(5)));
    assert_eq!(judge(&known, &good), Verdict::Known);
}

#[test]
fn a_revoked_authority_or_host_key_is_refused() {
    let good = certificate(CertType::Host, &["m1.lan"], 0, 2_000_000);
    for seed in [9, 5] {
        let known = read(&format!(
            "@cert-authority * {}\n@revoked * {}\n",
            text(9),
            text(seed)
        ));
        assert_eq!(judge(&known, &good), Verdict::Revoked { place: at(2) });
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}", name in "[a-z0-9.\\[\\]:]{0,12}") {
        let _ = read(&text).judge_key(&name, &key(1));
    }

    #[test]
    fn wildcards_agree_with_the_obvious_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        fn obvious(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|skip| obvious(rest, &text[skip..])),
                Some((b'?', rest)) => !text.is_empty() && obvious(rest, &text[1..]),
                Some((byte, rest)) => text.first() == Some(byte) && obvious(rest, &text[1..]),
            }
        }
        let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(wildcard(pattern, text), obvious(pattern, text));
    }
}
