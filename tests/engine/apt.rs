//! A package repository as Docker's, of packages made from Debian's own.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script of this machine's shell in `folder` and gives what it printed.
#[track_caller]
pub(crate) fn sh(folder: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {output:?}");
    text
}

/// A repository for Debian 12 in `folder/linux`, with Docker's names for packages.
pub(crate) struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Makes packages from the package files in `archives`, each engine of `versions`.
    pub(crate) fn make(folder: PathBuf, archives: &Path, versions: &[&str]) -> Self {
        let pool = folder.join("linux/debian/pool");
        fs::create_dir_all(&pool).unwrap();
        let archives = archives.display();
        // The engine's programs, units and scripts are Debian's own: a real engine runs.
        let unpack = format!(
            "for name in docker.io containerd runc; do dpkg-deb -R {archives}/${{name}}_*.deb $name; done
             needs() {{ dpkg-deb -f {archives}/$1_*.deb Depends | tr ',' '\\n' | sed 's/^ *//' |
               grep -vE '^(containerd|runc|docker)' | paste -sd, ; }}
             echo \"docker=$(needs docker.io)\"; echo \"containerd=$(needs containerd),$(needs runc)\"
             cp -rlf runc/usr containerd/; rm -rf containerd/DEBIAN docker.io/DEBIAN/md5sums docker.io/DEBIAN/control
             mkdir -p cli/usr/bin cli/DEBIAN containerd/DEBIAN; mv docker.io/usr/bin/docker cli/usr/bin/"
        );
        let needs = sh(&folder, &unpack);
        let needs_of = |name: &str| {
            let line = needs.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches('=').to_owned()
        };
        let it = Self { folder };
        it.build(
            "containerd",
            "containerd.io",
            "1.7.22-1",
            &needs_of("containerd"),
            "containerd, runc",
        );
        for version in versions {
            let version = format!("5:{version}-1~debian.12~bookworm");
            it.build("cli", "docker-ce-cli", &version, "libc6", "docker.io");
            let needs = format!("docker-ce-cli, containerd.io, {}", needs_of("docker"));
            it.build("docker.io", "docker-ce", &version, &needs, "docker.io");
        }
        it
    }

    fn build(&self, tree: &str, package: &str, version: &str, needs: &str, conflicts: &str) {
        let control = format!(
            "Package: {package}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\n\
             Depends: {needs}\nConflicts: {conflicts}\nDescription: made by a test\n"
        );
        fs::write(self.folder.join(tree).join("DEBIAN/control"), control).unwrap();
        let file = version.replace(':', "%3a");
        let file = format!("linux/debian/pool/{package}_{file}_amd64.deb");
        sh(
            &self.folder,
            &format!("dpkg-deb --root-owner-group -Znone -b {tree} '{file}'"),
        );
    }

    /// Writes the index, signed with a new key, which the repository shows as it is in a keyring.
    pub(crate) fn sign(&self) {
        let mut index = String::new();
        let debian = self.folder.join("linux/debian");
        for entry in fs::read_dir(debian.join("pool")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let about = sh(
                &debian,
                &format!(
                    "dpkg-deb -f 'pool/{name}'; echo Size: $(stat -c %s 'pool/{name}'); echo SHA256: $(sha256sum <'pool/{name}' | cut -d ' ' -f 1)"
                ),
            );
            // A percent sign in a name is written as it is sent.
            let _ = write!(index, "{about}Filename: pool/{name}\n\n");
        }
        let dist = debian.join("dists/bookworm");
        fs::create_dir_all(dist.join("stable/binary-amd64")).unwrap();
        fs::write(dist.join("stable/binary-amd64/Packages"), index).unwrap();
        self.key("repository");
        sh(
            &dist,
            &format!(
                "file=stable/binary-amd64/Packages
                 {{ echo 'Origin: Docker'; echo 'Suite: bookworm'; echo 'Codename: bookworm'
                 echo 'Components: stable'; echo 'Architectures: amd64'; LC_ALL=C date -u '+Date: %a, %d %b %Y %T UTC'
                 echo 'SHA256:'; echo \" $(sha256sum <$file | cut -d ' ' -f 1) $(stat -c %s $file) $file\"; }} >Release
                 gpg --homedir {home} -q --batch --clearsign -o InRelease Release
                 gpg --homedir {home} -q --batch --export >../../gpg",
                home = self.folder.join("repository").display()
            ),
        );
    }

    /// Makes a key pair and gives the path of the armoured public key.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        let home = self.folder.join(name);
        if !home.exists() {
            let make = format!(
                "mkdir -m 700 {name}; gpg --homedir {name} -q --batch --passphrase '' --quick-generate-key {name}@example.org rsa2048 sign never
                 gpg --homedir {name} -q --batch --export --armor >{name}.asc; gpgconf --homedir {name} --kill all"
            );
            sh(&self.folder, &make);
        }
        self.folder.join(format!("{name}.asc"))
    }

    /// Serves the repository on `address` for as long as the test runs, and gives its root's URL.
    pub(crate) fn serve(&self, address: &str) -> String {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let url = format!("http://{}/linux", listener.local_addr().unwrap());
        let folder = self.folder.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                std::thread::spawn(move || answer(stream, &folder));
            }
        });
        url
    }
}

/// Answers one request.
fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.replace("%25", "%").replace("%7e", "~");
    let file = folder.join(path.trim_start_matches('/'));
    match fs::File::open(file).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((about, mut file)) if about.is_file() => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                about.len()
            )?;
            std::io::copy(&mut file, &mut stream).map(drop)
        }
        _ => stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}
