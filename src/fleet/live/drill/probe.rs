//! The probe: a small service of the drill's own, so that there is something to be lost.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::fleet::Fault;
use crate::fleet::live::Live;
use crate::fleet::live::swarm::{fault, healthy};

/// Its image: of a registry that is nobody, so that no engine fetches it from anywhere.
const IMAGE: &str = "localhost:1/skep-drill:1";

/// The port that it listens on in its container.
const PORT: u16 = 8080;

/// How long a host may take to make the image, which is some megabytes.
const MAKE: Duration = Duration::from_mins(1);

/// How long it may take to take it away again.
const REMOVE: Duration = Duration::from_mins(1);

/// A web server in Perl without any module, so that the image is its interpreter and two or three
/// libraries. The numbers are those of Linux: `AF_INET` 2, `SOCK_STREAM` 1, TCP 6.
const SERVER: &str = r#"
$SIG{TERM} = sub { exit 0 };
socket(S, 2, 1, 6) or die; setsockopt(S, 1, 2, pack("i", 1));
bind(S, pack("S n N x8", 2, 8080, 0)) or die; listen(S, 64) or die;
while (1) {
    accept(C, S) or next;
    sysread(C, $request, 4096);
    syswrite(C, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
    close(C);
}"#;

/// Makes the image from the host's own Perl, unless it is there.
fn image_script() -> String {
    format!(
        "set -e
if timeout 20 docker image inspect {IMAGE} >/dev/null 2>&1; then exit 0; fi
perl=$(readlink -f \"$(command -v perl)\")
{{ echo \"$perl\"; ldd \"$perl\" | grep -o '/[^ ]*'; }} | tar -C / -ch -T - 2>/dev/null |
  timeout 50 docker import --change 'ENTRYPOINT [\"'\"$perl\"'\", \"-e\"]' - {IMAGE} >/dev/null
"
    )
}

/// The probe on a cluster.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The managers, one of which makes and removes it.
    pub managers: Vec<String>,
    /// How many tasks it should have.
    pub replicas: usize,
}

impl Probe {
    /// The name of the service.
    pub const SERVICE: &str = "skep-drill";

    /// Brings the image to `hosts`, and makes the service unless it is there.
    ///
    /// # Errors
    ///
    /// The first host that could not make the image; no manager that takes orders.
    pub async fn bring(&self, live: &Live, hosts: &[String]) -> Result<(), Fault> {
        self.bring_image(live, hosts).await?;
        let manager = healthy(live, &self.managers, None).await?;
        let docker = &manager.docker;
        let there = docker.services().await.map_err(|error| fault(&error))?;
        if there.values().any(|service| service.name == Self::SERVICE) {
            docker
                .service_remove(Self::SERVICE)
                .await
                .map_err(|error| fault(&error))?;
        }
        let spec = json!({
            "Name": Self::SERVICE,
            "Labels": { "skep.drill": "probe" },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": IMAGE,
                    "Args": [SERVER],
                    "StopGracePeriod": 1_000_000_000_u64,
                },
                "RestartPolicy": { "Condition": "any", "Delay": 1_000_000_000_u64 },
            },
            "Mode": { "Replicated": { "Replicas": self.replicas } },
            // A port of each node itself, whichever is free: it needs neither IPVS nor room for
            // more than one task on a node.
            "EndpointSpec": {
                "Ports": [{ "Protocol": "tcp", "TargetPort": PORT, "PublishMode": "host" }],
            },
        });
        docker
            .service_create(&spec)
            .await
            .map_err(|error| fault(&error))
    }

    /// Brings the image to hosts.
    pub async fn bring_image(&self, live: &Live, hosts: &[String]) -> Result<(), Fault> {
        let script = image_script();
        let made = hosts.iter().map(|host| live.script_on(host, &script, MAKE));
        join_all(made)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(drop)
    }

    /// Takes the service away, and its image off those of `hosts` that answer: one whose task has not
    /// ended is tried so many times, a second apart. A host that was cut off hears of the end late.
    ///
    /// # Errors
    ///
    /// No manager that takes orders: the service is there still.
    pub async fn remove(&self, live: &Live, hosts: &[String], tries: u8) -> Result<(), Fault> {
        let manager = healthy(live, &self.managers, None).await?;
        let removed = manager.docker.service_remove(Self::SERVICE).await;
        removed.map_err(|error| fault(&error))?;
        // An image with a container that has not ended stays: it is asked for some seconds.
        let script = format!(
            "for try in $(seq {tries}); do
  timeout 5 docker image inspect {IMAGE} >/dev/null 2>&1 || exit 0
  for one in $(timeout 5 docker ps -aq --filter ancestor={IMAGE} --filter status=exited); do timeout 5 docker rm \"$one\" >/dev/null 2>&1; done
  timeout 5 docker image rm {IMAGE} >/dev/null 2>&1 && exit 0
  sleep 1
done
"
        );
        let gone = hosts
            .iter()
            .map(|host| live.script_on(host, &script, REMOVE));
        // What is left on a host that does not answer is an image of some megabytes.
        let _as_far_as_they_answer = join_all(gone).await;
        Ok(())
    }
}
