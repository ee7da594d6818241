//! Where the lab keeps its things.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::LabError;

/// The environment variable that moves the lab's root.
pub const ROOT_VARIABLE: &str = "SKEP_LAB_DIR";

/// The lab's root without [`ROOT_VARIABLE`].
pub const DEFAULT_ROOT: &str = "/var/lib/skep-lab";

/// Where the lab keeps its things. Two roots share nothing: each has an engine of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// All that lasts.
    root: PathBuf,
    /// A short name of the root, unique on this machine; empty for the default root.
    suffix: String,
}

impl Dirs {
    /// The root that the environment names, else the default.
    pub fn from_env() -> Self {
        let root = std::env::var_os(ROOT_VARIABLE).filter(|value| !value.is_empty());
        Self::at(root.map_or_else(|| PathBuf::from(DEFAULT_ROOT), PathBuf::from))
    }

    /// The lab at `root`; a relative path starts at the working directory.
    pub fn at(root: PathBuf) -> Self {
        let root = std::path::absolute(&root).unwrap_or(root);
        let suffix = if root == Path::new(DEFAULT_ROOT) {
            String::new()
        } else {
            format!("-{}", &digest(root.to_string_lossy().as_bytes())[..8])
        };
        Self { root, suffix }
    }

    /// The directory under which all that lasts is kept.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Sockets and pid files. Always short, since a socket's path has at most 107 bytes.
    pub fn run(&self) -> PathBuf {
        PathBuf::from(format!("/run/skep-lab{}", self.suffix))
    }

    /// The images of virtual machines.
    pub fn vm_images(&self) -> PathBuf {
        self.root.join("vm-images")
    }

    /// Sockets and pid files of virtual machines.
    pub fn vm_run(&self) -> PathBuf {
        PathBuf::from(format!("/run/skep-lab-vm{}", self.suffix))
    }

    /// The control group that all hosts are under.
    pub fn cgroup(&self) -> String {
        format!("/skep-lab{}", self.suffix)
    }

    /// The engine's data.
    pub fn engine_data(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// The engine's log.
    pub fn engine_log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    /// Where images are built.
    pub fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    /// The file that whoever changes the lab holds a lock on.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// What belongs to each cluster.
    pub fn labs(&self) -> PathBuf {
        self.root.join("labs")
    }

    /// What belongs to one cluster: keys, known hosts, the record.
    pub fn lab(&self, cluster: &str) -> PathBuf {
        self.labs().join(cluster)
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Makes a directory that only its owner sees, with its parents.
pub(crate) fn make_private(dir: &Path) -> Result<(), LabError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(LabError::file("make", dir))
}

/// Writes a file whole, to a new file beside it that is then renamed over it.
pub(crate) fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let _ = std::fs::remove_file(&new);
        let mut options = std::fs::File::options();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(LabError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_short_paths_wherever_the_root_is() {
        let root = PathBuf::from("/").join("long".repeat(40));
        let socket = Dirs::at(root).run().join("docker.sock");
        assert!(socket.as_os_str().len() < 60);
    }

    #[test]
    fn two_roots_share_nothing() {
        let (a, b) = (Dirs::at("/a".into()), Dirs::at("/b".into()));
        assert_ne!(a.run(), b.run());
        assert_ne!(a.cgroup(), b.cgroup());
        assert_eq!(
            Dirs::at(DEFAULT_ROOT.into()).run(),
            Path::new("/run/skep-lab")
        );
    }

    #[test]
    fn a_file_is_written_whole_with_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.json");
        write_whole(&path, "one", 0o600).unwrap();
        write_whole(&path, "two", 0o600).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
