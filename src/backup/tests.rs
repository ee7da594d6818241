use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::archive::{self, ArchiveError, Identities};
use super::*;
use crate::shell::hex;

const FILES: [(&str, &[u8]); 3] = [
    ("swarm/state.json", b"[]"),
    ("swarm/certificates/swarm-node.crt", b"a certificate"),
    ("swarm/raft/wal/0.wal", &[7; 100_000]),
];

fn manifest() -> Manifest {
    let files = FILES.iter().map(|(path, bytes)| FileSum {
        path: (*path).to_owned(),
        size: bytes.len() as u64,
        sha256: hex(&Sha256::digest(bytes)),
    });
    Manifest {
        format: FORMAT,
        cluster: "hive".to_owned(),
        cluster_id: "c1".to_owned(),
        node_id: "n2".to_owned(),
        host: "m2".to_owned(),
        address: "10.0.0.12".to_owned(),
        engine: "20.10.24".to_owned(),
        taken: "2026-11-21T19:53:00Z".parse().unwrap(),
        certificate_expires: None,
        locked: false,
        skep: "0.1.0".to_owned(),
        contents: Contents::default(),
        files: files.collect(),
    }
}

/// A tar stream as a host sends it.
fn tree(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    folder.set_mode(0o700);
    tar.append_data(&mut folder, "swarm/", &[][..]).unwrap();
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    let mut whole = tar.into_inner().unwrap();
    // GNU tar fills its last record.
    whole.resize(whole.len().next_multiple_of(10_240), 0);
    whole
}

/// A pair of keys: the recipient, and the file of the identity.
fn keys(folder: &TempDir, name: &str) -> (String, PathBuf) {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let file = folder.path().join(name);
    let text = format!("# a key\n{}\n", identity.to_string().expose_secret());
    fs::write(&file, text).unwrap();
    (identity.to_public().to_string(), file)
}

fn why(error: &ArchiveError) -> String {
    error.to_string()
}

#[test]
fn an_archive_comes_back_as_it_was() {
    let folder = TempDir::new().unwrap();
    let (recipient, identity) = keys(&folder, "key");
    let directory = folder.path().join("backups");
    let tree = tree(&FILES);
    for to in [vec![recipient], Vec::new()] {
        let path = archive::write(&manifest(), &tree[..], &to, &directory).unwrap();
        let end = if to.is_empty() { "tar" } else { "tar.age" };
        let name = format!("hive-20261121T195300Z-m2.{end}");
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), name);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let identities = if to.is_empty() {
            Identities::none()
        } else {
            Identities::read(&identity).unwrap()
        };
        let checked = archive::check(&path, &identities).unwrap();
        assert_eq!(checked.manifest, manifest());
        assert_eq!(checked.encrypted, !to.is_empty());
        let head = store::read_head(&path).unwrap().unwrap();
        assert_eq!(head.sha256, checked.sha256);
        assert_eq!(head.size, fs::metadata(&path).unwrap().len());
        assert_eq!(head.recipients, to);
        // In the clear it is a tar of the manifest and the tree, byte for byte.
        let mut plain = Vec::new();
        std::io::copy(&mut archive::open(&path, &identities).unwrap(), &mut plain).unwrap();
        assert_eq!(plain.len() as u64, checked.size);
        assert!(plain.ends_with(&tree));
    }
    let names = fs::read_dir(&directory).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|it| !it.to_string_lossy().ends_with(".part"))
    );
}

#[test]
fn nothing_is_left_of_a_stream_that_is_not_what_the_manifest_says() {
    let folder = TempDir::new().unwrap();
    let (recipient, _) = keys(&folder, "key");
    let directory = folder.path().join("backups");
    let whole = tree(&FILES);
    let changed: Vec<u8> = whole
        .iter()
        .map(|it| if *it == 7 { 8 } else { *it })
        .collect();
    let more: Vec<(&str, &[u8])> = [&FILES[..], &[("swarm/more", b"more")]].concat();
    let streams = [
        (whole[..60_000].to_vec(), "is not what the manifest says"),
        (changed, "is not what the manifest says"),
        (tree(&FILES[..2]), "`swarm/raft/wal/0.wal` is missing"),
        (tree(&more), "`swarm/more` is not in the manifest"),
        (Vec::new(), "is missing"),
        (tree(&[("etc/shadow", b"x")]), "is no file of a swarm"),
    ];
    for (stream, text) in streams {
        let to = [recipient.clone()];
        let error = archive::write(&manifest(), &stream[..], &to, &directory).unwrap_err();
        assert!(why(&error).contains(text), "{text}: {error}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}

#[test]
fn what_was_cut_or_changed_is_found_out() {
    let folder = TempDir::new().unwrap();
    let (recipient, identity) = keys(&folder, "key");
    let (_, other) = keys(&folder, "other");
    let directory = folder.path().join("backups");
    let path = archive::write(&manifest(), &tree(&FILES)[..], &[recipient], &directory).unwrap();
    let identities = Identities::read(&identity).unwrap();
    let good = fs::read(&path).unwrap();
    let is = |bytes: &[u8], head: bool| {
        let copy = folder.path().join("copy.tar.age");
        fs::write(&copy, bytes).unwrap();
        let beside = folder.path().join("copy.tar.age.json");
        let _none = fs::remove_file(&beside);
        if head {
            fs::copy(store::with_end(&path, ".json"), beside).unwrap();
        }
        archive::check(&copy, &identities)
    };
    assert!(is(&good, true).is_ok());
    for at in [40, 300, good.len() / 2, good.len() - 1] {
        for head in [false, true] {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert!(is(&flipped, head).is_err(), "byte {at}");
        }
    }
    // Where a piece of age's ends, too.
    for end in [0, 10, 200, 65_536, good.len() - 1] {
        assert!(is(&good[..end], false).is_err(), "cut at {end}");
    }
    let none = archive::check(&path, &Identities::none()).unwrap_err();
    assert!(matches!(none, ArchiveError::NoIdentity));
    let wrong = archive::check(&path, &Identities::read(&other).unwrap()).unwrap_err();
    assert!(matches!(wrong, ArchiveError::WrongIdentity));
    let no_key = Identities::read(Path::new("/dev/null")).err().unwrap();
    assert!(why(&no_key).contains("it is empty"), "{no_key}");
    fs::write(folder.path().join("notes"), "AGE-SECRET-KEY-1WRONG\n").unwrap();
    let wrong = Identities::read(&folder.path().join("notes"))
        .err()
        .unwrap();
    assert!(!why(&wrong).contains("1WRONG"), "{wrong}");
}

#[test]
fn a_newer_format_is_told() {
    let folder = TempDir::new().unwrap();
    let newer = Manifest {
        format: FORMAT + 1,
        ..manifest()
    };
    let path = archive::write(&newer, &tree(&FILES)[..], &[], folder.path()).unwrap();
    let error = archive::check(&path, &Identities::none()).unwrap_err();
    assert!(matches!(error, ArchiveError::Newer(2)), "{error}");
}

#[test]
fn retention_keeps_the_newest_of_this_swarm_and_all_of_others() {
    let entry = |day: u32, cluster_id: &str| {
        let manifest = Manifest {
            cluster_id: cluster_id.to_owned(),
            taken: format!("2026-11-{day:02}T00:00:00Z").parse().unwrap(),
            ..manifest()
        };
        let head = Some(Head::new(&manifest, &[], 0, String::new()));
        let path = PathBuf::from(format!("{cluster_id}-{day}"));
        Entry { path, head }
    };
    let stranger = Entry {
        path: "hive-by-hand.tar".into(),
        head: None,
    };
    let all = [
        entry(1, "c1"),
        entry(3, "c1"),
        entry(2, "c1"),
        entry(1, "c2"),
        stranger,
    ];
    let gone = |keep| {
        let gone = surplus(&all, "c1", keep);
        gone.iter()
            .map(|it| it.path.display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(gone(2), ["c1-1"]);
    assert_eq!(gone(5), Vec::<String>::new());
    // The last one is never taken away.
    assert_eq!(gone(0), ["c1-2", "c1-1"]);
}

#[test]
fn a_backup_that_is_too_old_is_told() {
    let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!(too_old(at("2026-11-15T00:00:00Z"), 7, now), None);
    let old = too_old(at("2026-11-14T00:00:00Z"), 7, now).unwrap();
    assert!(old.contains("7 days old"), "{old}");
    assert!(too_old(None, 7, now).unwrap().contains("no backup"));
}
