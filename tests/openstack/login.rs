//! Logging in: with an application credential, and to a Keystone behind TLS whose authority only the
//! user's `cacert` knows.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use skep::openstack::{Account, CloudFault, Cluster, Login, OpenStack, Survey, Wanted, survey};

use super::world::World;

/// Ends TLS in front of a port, and prints its own.
const PROXY: &str = r#"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(plain):
    try:
        client = context.wrap_socket(plain, server_side=True)
    except OSError:
        return
    service = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    threading.Thread(target=pump, args=(service, client), daemon=True).start()
    pump(client, service)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// How long the cloud may take, and how long what fails is tried again, in seconds.
const LONG: u64 = 180;
const SHORT: u64 = 20;

/// A process that ends with the story.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn openssl(folder: &Path, line: &str) {
    let ran = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "openssl {line}: {error}");
}

/// An authority of its own, and what it signed for 127.0.0.1.
fn certificates(folder: &Path) {
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        folder,
        &format!("req -x509 {new} -days 2 -subj /CN=story -keyout ca.key -out ca.pem"),
    );
    openssl(
        folder,
        &format!("req {new} -subj /CN=keystone -keyout tls.key -out tls.csr"),
    );
    fs::write(folder.join("tls.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        folder,
        "x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile tls.ext -out tls.pem",
    );
}

fn proxy(folder: &Path) -> (Proxy, u16) {
    let mut child = Command::new("python3")
        .args(["-c", PROXY, "tls.pem", "tls.key", "5000"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let out = child.stdout.take().unwrap();
    let proxy = Proxy(child);
    BufReader::new(out).read_line(&mut line).unwrap();
    (proxy, line.trim().parse().unwrap())
}

/// What the cloud tells to whoever logs in as `clouds` says, within so many seconds.
fn look(clouds: &Path, seconds: u64) -> Result<Survey, skep::openstack::CloudError> {
    let wanted = Wanted {
        file: Some(clouds.to_owned()),
        cloud: Some("app".to_owned()),
        ..Wanted::default()
    };
    let account = Account::load(&wanted)?;
    assert!(matches!(account.login, Login::Application { .. }));
    let cloud = OpenStack::new(account, Cluster("login".to_owned()))?;
    let cloud = cloud.patience(Duration::from_secs(seconds));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(survey(&cloud))
}

/// An application credential lets in, by its ID and over TLS; a wrong secret, an unknown authority and
/// a credential that was revoked do not.
pub(crate) fn application_credential(world: &World) {
    let make = "application credential create skep-story -f value -c id -c secret";
    let made = world.openstack("demo", make);
    let mut lines = made.lines();
    let (id, secret) = (lines.next().unwrap(), lines.next().unwrap());
    let folder = world.path("login");
    fs::create_dir(&folder).unwrap();
    certificates(&folder);
    let write = |url: &str, secret: &str, more: &str| {
        let text = format!(
            "clouds:\n  app:\n    region_name: RegionOne\n    auth_type: v3applicationcredential\n{more}    \
             auth:\n      auth_url: {url}\n      application_credential_id: {id}\n      \
             application_credential_secret: {secret}\n"
        );
        let path = folder.join("clouds.yaml");
        fs::write(&path, text).unwrap();
        path
    };
    let flavors = |survey: &Survey| survey.flavors.iter().any(|it| it.name == "m1.tiny");
    world.inside(|| {
        let plain = "http://127.0.0.1:5000/v3";
        assert!(flavors(&look(&write(plain, secret, ""), LONG).unwrap()));
        let error = look(&write(plain, "wrong", ""), SHORT).unwrap_err();
        assert_eq!(error.fault, CloudFault::Unauthorized, "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");

        let (_proxy, port) = proxy(&folder);
        let url = format!("https://127.0.0.1:{port}/v3");
        let ca = format!("    cacert: {}\n", folder.join("ca.pem").display());
        assert!(flavors(&look(&write(&url, secret, &ca), LONG).unwrap()));
        let error = look(&write(&url, secret, ""), SHORT).unwrap_err();
        assert_eq!(error.fault, CloudFault::Unreachable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    });
    world.openstack("demo", "application credential delete skep-story");
    world.inside(|| {
        let error = look(&write("http://127.0.0.1:5000/v3", secret, ""), SHORT).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("Could not find Application Credential"),
            "{told}"
        );
    });
}
