//! Stories of the harness itself: that what other stories stand on holds.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::world::World;

/// Where Nova's API is.
const NOVA: &str = "127.0.0.1:8774";

/// A project that nobody used has nothing.
pub(crate) fn nothing_there(world: &World) {
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

/// One of everything is made and deleted.
pub(crate) fn smoke(world: &World) {
    world.tool("smoke", &[]).ends(0).says("nothing is left");
    nothing_there(world);
}

/// A service that is killed is gone at once, and answers when `start` has ended.
pub(crate) fn an_api_goes(world: &World) {
    assert!(world.inside(nova).unwrap().starts_with("HTTP/1.1 200"));
    world.tool("service", &["kill", "nova-api"]).ends(0);
    let error = world.inside(nova).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    world.tool("service", &["start", "nova-api"]).ends(0);
    assert!(world.inside(nova).unwrap().starts_with("HTTP/1.1 200"));
    // The world outside has no such API.
    assert!(nova().is_err());
    let ran = world.tool("service", &["stop", "nova"]).ends(1);
    ran.says("there is no service `nova`; there are mysql");
}

/// Nova's own answer to a request for its versions.
fn nova() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(NOVA)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: nova\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Each service keeps the quota that it is given.
pub(crate) fn quota(world: &World) {
    let numbers = ["instances=3", "floatingip=2", "volumes=4"];
    world.tool("quota", &numbers).ends(0);
    let set = world.tool("quota", &[]).ends(0);
    let set = set.says("nova instances 3\n").says("cinder volumes 4\n");
    set.says("neutron floatingip 2\n");
    let numbers = ["instances=10", "floatingip=50", "volumes=10"];
    world.tool("quota", &numbers).ends(0);
    let ran = world.tool("quota", &["beds=4"]).ends(1);
    ran.says("no service has a quota of beds");
}

/// The binary is where the cloud's ports are: Glance's answers it, though not as a host does.
pub(crate) fn binary(world: &World) {
    world.write(
        "glance.toml",
        "[cluster]\nname = \"glance\"\n[ssh]\nconfig = \"\"\nport = 9292\nconnect-timeout = 5\n\
         [[host]]\nname = \"m1\"\nrole = \"manager\"\naddress = \"127.0.0.1\"\n",
    );
    let ran = world.skep("glance.toml", &["status"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.err.contains("refused"), "{ran:?}");
}
