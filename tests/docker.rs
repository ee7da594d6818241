//! The engine's API against real engines, each in a network namespace of its own.
//!
//! Needs root, `dockerd`, iproute2 and util-linux. With `SKEP_TEST_RECORD` set to a folder, what
//! the engines' hosts answer to the Docker probe in each state is written there.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::io::Write as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use skep::docker::{Dial, Docker, DockerError, Io, NodeChange, SwarmChange, SwarmInit, SwarmJoin};
use skep::facts::{HostFacts, Probe, Probes, parse, script};
use skep::inventory::{Availability, Role};

struct Socket(PathBuf);

impl Dial for Socket {
    fn dial(&self) -> BoxFuture<'_, std::io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let stream = tokio::net::UnixStream::connect(&self.0).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// An engine of the test's own, ended with it.
struct Daemon {
    folder: PathBuf,
    namespace: String,
    child: Option<Child>,
}

impl Daemon {
    fn new(folder: &Path, number: u32) -> Self {
        let namespace = format!("skt{}x{number}", std::process::id());
        run("ip", &["netns", "add", &namespace]);
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        let folder = folder.join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("daemon.json"), "{}").unwrap();
        Self {
            folder,
            namespace,
            child: None,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    fn docker(&self) -> Docker {
        Docker::new(Arc::new(Socket(self.socket())))
    }

    fn start(&mut self) {
        let at = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let log = std::fs::File::create(at("log")).unwrap();
        // `ip netns exec` would hide the control groups.
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg("dockerd")
            .args(["--data-root", &at("data"), "--exec-root", &at("exec")])
            .args([
                "--pidfile",
                &at("pid"),
                "--host",
                &format!("unix://{}", at("sock")),
            ])
            .args([
                "--config-file",
                &at("daemon.json"),
                "--storage-driver",
                "vfs",
            ])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begin = Instant::now();
        while StdStream::connect(self.socket()).is_err() {
            let text = || std::fs::read_to_string(at("log")).unwrap();
            assert!(begin.elapsed() < Duration::from_secs(30), "{}", text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// What the Docker probe finds, with this engine as the host's.
    fn facts(&self, state: &str) -> HostFacts {
        self.facts_without(state, &[])
    }

    /// The same on a host that lacks some programs.
    fn facts_without(&self, state: &str, hidden: &[&str]) -> HostFacts {
        let probes: Probes = [Probe::Docker].into();
        let socket = self.socket();
        let text = script(&probes, "n0nce").replace(
            "SOCKET=/var/run/docker.sock",
            &format!("SOCKET={}", socket.display()),
        );
        let text = hidden.iter().fold(text, |text, name| {
            text.replace(
                &format!("command -v {name} "),
                "command -v no-such-program ",
            )
        });
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        if let (Some(folder), []) = (std::env::var_os("SKEP_TEST_RECORD"), hidden) {
            std::fs::write(Path::new(&folder).join(state), &output.stdout).unwrap();
        }
        parse(&probes, "n0nce", &output.stdout)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        let _ = Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status();
    }
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let begin = Instant::now();
    while !check().await {
        assert!(
            begin.elapsed() < Duration::from_mins(1),
            "waited for {what}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn init() -> SwarmInit {
    SwarmInit {
        advertise: "10.97.3.1".to_owned(),
        data_path: None,
        default_addr_pool: vec!["10.201.0.0/16".parse().unwrap()],
        subnet_size: Some(26),
        data_path_port: Some(5789),
        settings: SwarmChange {
            autolock: Some(false),
            cert_expiry_days: Some(30),
            task_history: Some(3),
        },
    }
}

#[tokio::test]
#[ignore = "needs root and dockerd"]
#[expect(
    clippy::too_many_lines,
    reason = "one story, whose parts build on each other"
)]
async fn the_life_of_a_swarm() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Daemon::new(folder.path(), 1), Daemon::new(folder.path(), 2));
    let peer = |daemon: &Daemon| daemon.namespace.clone();
    run(
        "ip",
        &[
            "-n",
            &peer(&one),
            "link",
            "add",
            "v0",
            "type",
            "veth",
            "peer",
            "name",
            "v0",
            "netns",
            &peer(&two),
        ],
    );
    for (daemon, address) in [(&one, "10.97.3.1/24"), (&two, "10.97.3.2/24")] {
        run(
            "ip",
            &["-n", &peer(daemon), "addr", "add", address, "dev", "v0"],
        );
        run("ip", &["-n", &peer(daemon), "link", "set", "v0", "up"]);
    }
    let stopped = one.facts("stopped");
    assert_eq!(stopped.engine.value().unwrap().version, None);
    one.start();
    two.start();
    let (first, second) = (one.docker(), two.docker());

    // No swarm yet.
    let version = first.version().await.unwrap();
    assert!(first.swarm_local().await.unwrap().is_absent());
    let nodes = first.nodes().await;
    assert_eq!(nodes, Err(DockerError::NotAManager), "no swarm");
    let facts = one.facts("inactive");
    assert_eq!(
        facts.engine.value().unwrap().version.as_deref(),
        Some(&*version)
    );
    assert!(facts.swarm.is_absent() && facts.nodes.is_absent());

    // A first manager.
    let id = first.init(&init()).await.unwrap();
    assert!(matches!(
        first.init(&init()).await,
        Err(DockerError::AlreadyInSwarm { .. })
    ));
    let facts = one.facts("manager");
    let swarm = facts.swarm.value().unwrap();
    assert_eq!((swarm.node_id.as_str(), swarm.control), (id.as_str(), true));
    let settings = swarm.settings.as_ref().unwrap();
    assert_eq!(settings.default_addr_pool, init().default_addr_pool);
    assert_eq!((settings.subnet_size, settings.data_path_port), (26, 5789));
    assert_eq!(
        (settings.cert_expiry_seconds, settings.task_history),
        (30 * 86_400, 3)
    );
    assert_eq!(facts.nodes.value().unwrap(), &first.nodes().await.unwrap());

    // Whatever there is to ask with, the facts are the same.
    for hidden in [&["curl"][..], &["curl", "perl"]] {
        assert_eq!(
            one.facts_without("manager", hidden),
            facts,
            "without {hidden:?}"
        );
    }

    // A worker, after a wrong token.
    let tokens = first.join_tokens().await.unwrap();
    let join = |token: &SecretString| SwarmJoin {
        advertise: "10.97.3.2".to_owned(),
        data_path: None,
        remotes: vec!["10.97.3.1:2377".to_owned()],
        token: token.clone(),
    };
    let wrong = tokens.worker.expose_secret().rsplit_once('-').unwrap().0;
    let wrong = SecretString::from(format!("{wrong}-aaaaaaaaaaaaaaaaaaaaaaaaa"));
    let refused = second.join(&join(&wrong)).await.unwrap_err();
    assert!(matches!(refused, DockerError::Api { .. }), "{refused:?}");
    assert!(!refused.to_string().contains(wrong.expose_secret()));
    second.join(&join(tokens.of(Role::Worker))).await.unwrap();
    let again = second.join(&join(tokens.of(Role::Worker))).await;
    assert!(
        matches!(again, Err(DockerError::AlreadyInSwarm { .. })),
        "{again:?}"
    );
    assert_eq!(second.nodes().await, Err(DockerError::NotAManager));
    let worker = two.facts("worker").swarm.value().unwrap().clone();
    assert!(!worker.control && worker.cluster_id.is_none());
    assert!(two.facts("worker").nodes.is_absent());

    // Locking.
    assert!(first.unlock_key().await.unwrap().is_none());
    let lock = SwarmChange {
        autolock: Some(true),
        ..SwarmChange::default()
    };
    assert!(first.swarm_update(&lock).await.unwrap());
    assert!(!first.swarm_update(&lock).await.unwrap());
    let key = first.unlock_key().await.unwrap().unwrap();
    one.stop();
    one.start();
    let locked = first.swarm_local().await.unwrap();
    assert_eq!(locked.value().unwrap().state, "locked");
    assert_eq!(first.nodes().await, Err(DockerError::Locked));
    assert!(one.facts("locked").nodes.why_unknown().is_some());
    let wrong = SecretString::from("SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(first.unlock(&wrong).await.is_err());
    first.unlock(&key).await.unwrap();
    until("the unlocked manager", || async {
        first.nodes().await.is_ok()
    })
    .await;

    // Labels, availability, role; and nothing sent where nothing differs.
    let change = NodeChange {
        role: Some(Role::Manager),
        availability: Some(Availability::Drain),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        unlabel: [].into(),
    };
    assert!(first.node_update(&worker.node_id, &change).await.unwrap());
    assert!(!first.node_update(&worker.node_id, &change).await.unwrap());
    until("the second manager", || async {
        let nodes = first.nodes().await.unwrap();
        let node = nodes.iter().find(|node| node.id == worker.node_id).unwrap();
        assert_eq!(node.labels["zone"], "a");
        node.manager
            .as_ref()
            .is_some_and(|manager| manager.reachable)
    })
    .await;
    assert_eq!(
        first.running_tasks(&worker.node_id).await.unwrap(),
        Vec::<String>::new()
    );

    // Without quorum nothing hangs beyond its deadline, and nothing reads as "not there".
    two.stop();
    // The leader finds out after up to ten heartbeats of a second.
    until("the loss of quorum", || async {
        first.nodes().await.is_err()
    })
    .await;
    let begin = Instant::now();
    let facts = one.facts("no-quorum");
    assert!(facts.nodes.why_unknown().is_some());
    assert!(!facts.swarm.is_absent() && !facts.engine.is_absent());
    assert!(begin.elapsed() < Duration::from_secs(20));
    eprintln!("without quorum: {:?}, {:?}", begin.elapsed(), facts);
    let begin = Instant::now();
    let lost = first.nodes().await.unwrap_err();
    eprintln!("`/nodes`: {:?}, {lost:?}", begin.elapsed());
    assert!(
        matches!(
            lost,
            DockerError::NoQuorum { .. } | DockerError::NoAnswer(_)
        ),
        "{lost:?}"
    );
}
