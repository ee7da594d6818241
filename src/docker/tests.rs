use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An engine that gives one prepared answer for each connection, and keeps what it was sent.
#[derive(Default)]
struct Fake {
    answers: Mutex<VecDeque<String>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn engine(answers: &[(u16, &str)]) -> (Docker, Arc<Mutex<Vec<String>>>) {
        let answers = answers.iter().map(|(status, body)| {
            let length = body.len();
            format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        });
        let fake = Self {
            answers: Mutex::new(answers.collect()),
            requests: Arc::default(),
        };
        let requests = Arc::clone(&fake.requests);
        (Docker::new(Arc::new(fake)), requests)
    }
}

impl Dial for Fake {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            let answer = self.answers.lock().unwrap().pop_front();
            let requests = Arc::clone(&self.requests);
            tokio::spawn(async move {
                let request = whole_request(&mut theirs).await;
                requests.lock().unwrap().push(request);
                match answer {
                    Some(answer) => theirs.write_all(answer.as_bytes()).await.unwrap(),
                    None => std::future::pending().await,
                }
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

/// Reads a request with its body, whose length bollard and we always tell, or send in chunks.
async fn whole_request(stream: &mut tokio::io::DuplexStream) -> String {
    let mut request = String::new();
    loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap();
        request.push_str(std::str::from_utf8(&part[..length]).unwrap());
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let wanted = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse().unwrap())
            });
            if body.len() >= wanted.unwrap_or(0) || length == 0 {
                return request;
            }
        }
    }
}

struct Closed;

impl Dial for Closed {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async { Err(io::ErrorKind::PermissionDenied.into()) })
    }
}

struct Cut;

impl Dial for Cut {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async { Ok(Box::new(tokio::io::duplex(64).0) as Box<dyn Io>) })
    }
}

type Check = fn(&DockerError) -> bool;

const VERSION: (u16, &str) = (200, r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#);

fn join() -> SwarmJoin {
    SwarmJoin {
        advertise: "10.0.0.2".to_owned(),
        data_path: None,
        remotes: vec!["10.0.0.1:2377".to_owned()],
        token: SecretString::from("SWMTKN-1-secret"),
    }
}

#[tokio::test]
async fn errors_are_told_apart() {
    let cases: [(u16, &str, Check); 7] = [
        (503, "This node is not a swarm manager. Use ...", |e| {
            *e == DockerError::NotAManager
        }),
        (503, "This node is already part of a swarm. Use ...", |e| {
            matches!(e, DockerError::AlreadyInSwarm { .. })
        }),
        (
            503,
            "Swarm is encrypted and needs to be unlocked before it can be used.",
            |e| *e == DockerError::Locked,
        ),
        (
            500,
            "rpc error: code = Unknown desc = The swarm does not have a leader. ...",
            |e| matches!(e, DockerError::NoQuorum { .. }),
        ),
        (
            500,
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            |e| matches!(e, DockerError::NoQuorum { .. }),
        ),
        (
            500,
            "Timeout was reached before node joined. The attempt to join ...",
            |e| *e == DockerError::JoinPending,
        ),
        (400, "invalid join token", |e| {
            matches!(e, DockerError::Api { status: 400, .. })
        }),
    ];
    for (status, message, expected) in cases {
        let body = format!(r#"{{"message":"{message}"}}"#);
        let (docker, _) = Fake::engine(&[VERSION, (status, &body)]);
        let error = docker.join(&join()).await.unwrap_err();
        assert!(expected(&error), "{status} {message}: {error:?}");
    }
}

#[tokio::test]
async fn the_token_goes_in_the_body_and_nowhere_else() {
    let (docker, requests) = Fake::engine(&[VERSION, (200, "")]);
    docker.join(&join()).await.unwrap();
    let requests = requests.lock().unwrap();
    // bollard 0.21.1 leaves the version out of the path, which every engine takes as its own.
    assert!(requests[1].starts_with("POST /"), "{}", requests[1]);
    assert!(requests[1].contains("/swarm/join HTTP/1.1\r\n"));
    let (head, body) = requests[1].split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("SWMTKN") && body.contains("SWMTKN-1-secret"));
    assert!(!format!("{:?}", join()).contains("secret"));
}

#[tokio::test]
async fn an_update_out_of_sequence_is_tried_once_more() {
    let node = r#"{"ID":"n","Version":{"Index":7},"Spec":{"Role":"worker","Availability":"active","Labels":{"a":"b"}}}"#;
    let newer = node.replace(":7", ":8");
    let late = r#"{"message":"rpc error: code = Unknown desc = update out of sequence"}"#;
    let change = NodeChange {
        labels: [("zone".to_owned(), "x".to_owned())].into(),
        ..NodeChange::default()
    };
    let (docker, requests) = Fake::engine(&[
        VERSION,
        (200, node),
        VERSION,
        (500, late),
        VERSION,
        (200, &newer),
        VERSION,
        (200, ""),
    ]);
    assert!(docker.node_update("n", &change).await.unwrap());
    let last = requests.lock().unwrap().last().unwrap().clone();
    assert!(last.contains("/nodes/n/update?version=8"), "{last}");
    assert!(
        last.contains(r#""a":"b""#) && last.contains(r#""zone":"x""#),
        "{last}"
    );

    let same = NodeChange {
        role: Some(crate::inventory::Role::Worker),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..NodeChange::default()
    };
    let (docker, requests) = Fake::engine(&[VERSION, (200, node)]);
    assert!(!docker.node_update("n", &same).await.unwrap());
    assert_eq!(requests.lock().unwrap().len(), 2, "nothing is sent");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline() {
    let (docker, _) = Fake::engine(&[]);
    assert!(matches!(
        docker.nodes().await,
        Err(DockerError::NoAnswer(_))
    ));
    assert!(matches!(
        docker.join_tokens().await,
        Err(DockerError::NoAnswer(_))
    ));
    assert!(matches!(
        docker.version().await,
        Err(DockerError::NoAnswer(_))
    ));
}

#[tokio::test]
async fn refused_and_lost_are_different() {
    let closed = Docker::new(Arc::new(Closed));
    assert!(matches!(closed.nodes().await, Err(DockerError::Refused(_))));
    assert!(matches!(
        closed.join(&join()).await,
        Err(DockerError::Refused(_))
    ));
    let cut = Docker::new(Arc::new(Cut));
    assert!(matches!(cut.nodes().await, Err(DockerError::Lost(_))));
    assert!(matches!(cut.join(&join()).await, Err(DockerError::Lost(_))));
}

/// A service is sent back as the engine gave it, with what a newer engine knows and skep does not.
#[tokio::test]
async fn a_service_is_changed_whole_and_only_where_it_differs() {
    let running = r#"{"ID":"s1","Version":{"Index":7},"Spec":{"Name":"web","Tomorrow":{"A":1},"Mode":{"Replicated":{"Replicas":3}}}}"#;
    let halted = r#"{"ID":"s1","Version":{"Index":8},"Spec":{"Name":"web","Labels":{"skep.shutdown.replicas":"3"},"Mode":{"Replicated":{"Replicas":0}}}}"#;
    let conflict = r#"{"message":"rpc error: code = Unknown desc = update out of sequence"}"#;
    let answers = [
        (200, running),
        (500, conflict),
        (200, running),
        (200, "{}"),
        (200, halted),
        (404, r#"{"message":"service web not found"}"#),
    ];
    let (docker, requests) = Fake::engine(&answers);
    let halt = crate::record::halt;
    assert_eq!(docker.service_update("web", &halt).await, Ok(true));
    assert_eq!(docker.service_update("web", &halt).await, Ok(false));
    assert_eq!(docker.service_remove("web").await, Ok(()));
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 6, "nothing is sent where nothing differs");
    let sent = &requests[3];
    assert!(
        sent.starts_with("POST /services/web/update?version=7 "),
        "{sent}"
    );
    assert!(sent.contains(r#""Tomorrow":{"A":1}"#), "{sent}");
    assert!(sent.contains(r#""Replicas":0"#) && sent.contains(r#""skep.shutdown.replicas":"3""#));
    assert!(requests[5].starts_with("DELETE /services/web "));
}

#[tokio::test]
async fn tasks_that_end_are_those_of_halted_and_removed_services_on_living_nodes() {
    let services = r#"[{"ID":"s1","Spec":{"Name":"web","Labels":{"skep.shutdown.replicas":"3"},"Mode":{"Replicated":{"Replicas":0}}}},
        {"ID":"s2","Spec":{"Name":"job","Mode":{"ReplicatedJob":{}}}}]"#;
    let task = |service: &str, node: &str, state: &str| {
        format!(
            r#"{{"ServiceID":"{service}","NodeID":"{node}","DesiredState":"shutdown","Status":{{"State":"{state}"}}}}"#
        )
    };
    let tasks = [
        task("s1", "n1", "running"),
        task("s1", "n1", "shutdown"),
        task("s1", "n2", "running"),
        task("s1", "", "pending"),
        task("s2", "n1", "running"),
        task("gone", "n1", "running"),
        task("", "n1", "running"),
    ];
    let tasks = format!("[{}]", tasks.join(","));
    let nodes = r#"[{"ID":"n1","Spec":{"Role":"manager","Availability":"active"},"Status":{"State":"ready"}},
        {"ID":"n2","Spec":{"Role":"worker","Availability":"active"},"Status":{"State":"down"}}]"#;
    let (docker, _) = Fake::engine(&[(200, services), (200, &tasks), (200, nodes)]);
    let left = docker.ending_tasks().await.unwrap();
    let wanted = [("gone".to_owned(), 1), ("web".to_owned(), 1)];
    assert_eq!(left, wanted.into());
}

/// A service of a record is made once, and how far its tasks are is told with the engine's own words.
#[tokio::test]
async fn a_service_is_made_where_it_is_not_and_its_tasks_are_counted() {
    let services = r#"[{"ID":"s1","Spec":{"Name":"web","Mode":{"Replicated":{"Replicas":3}}},"ServiceStatus":{"RunningTasks":1,"DesiredTasks":3}},
        {"ID":"s2","Spec":{"Name":"agent","Mode":{"Global":{}}},"ServiceStatus":{"RunningTasks":0,"DesiredTasks":0}},
        {"ID":"s3","Spec":{"Name":"other","Mode":{"Global":{}}}}]"#;
    let tasks = r#"[{"ServiceID":"s1","NodeID":"n1","Status":{"State":"running","Timestamp":"2026-11-21T20:00:03Z"}},
        {"ServiceID":"s1","NodeID":"n2","Status":{"State":"rejected","Timestamp":"2026-11-21T20:00:02Z","Err":"No such image"}},
        {"ServiceID":"s1","NodeID":"n3","Status":{"State":"failed","Timestamp":"2026-11-21T20:00:01Z","Err":"exit 1"}}]"#;
    let missing = r#"{"message":"service web not found"}"#;
    let answers = [
        (404, missing),
        (201, r#"{"ID":"s1"}"#),
        (200, "{}"),
        (200, services),
        (200, tasks),
    ];
    let (docker, requests) = Fake::engine(&answers);
    let spec = serde_json::json!({ "Name": "web", "Tomorrow": { "A": 1 } });
    assert_eq!(docker.service_create(&spec).await, Ok(()));
    assert_eq!(docker.service_create(&spec).await, Ok(()));
    let asked = ["web".to_owned(), "agent".to_owned()];
    let progress = docker.progress(&asked).await.unwrap();
    assert_eq!(progress.len(), 2);
    let web = &progress["web"];
    assert_eq!((web.running, web.desired, web.is_global), (1, 3, false));
    assert_eq!(web.error.as_deref(), Some("No such image"));
    assert_eq!(Vec::from_iter(&web.nodes), ["n1"]);
    assert!(progress["agent"].is_global);
    let requests = requests.lock().unwrap();
    assert!(requests[1].starts_with("POST /services/create "));
    assert!(requests[1].contains(r#""Tomorrow":{"A":1}"#));
    assert!(requests[2].starts_with("GET /services/web "), "it is there");
    assert!(requests[3].starts_with("GET /services?status=true "));
}
