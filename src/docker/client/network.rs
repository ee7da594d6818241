//! The network of published ports.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::{DockerError, OVERLAY_MTU, http};
use super::{DEADLINE, Docker, within};

/// How long the managers may take to let go of the network and to give the new one its addresses:
/// some seconds, where they are not busy.
const GONE: Duration = Duration::from_mins(2);
/// How long they may take to give addresses to that of a new swarm.
const ADDRESSED: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);

/// What the engine itself chose for the network that is made anew.
const CHOSEN: &str = "com.docker.network.driver.overlay.vxlanid_list";

impl Docker {
    /// Makes the network of published ports anew, so that its packets fit into those of `mtu` bytes;
    /// nothing is done where they do. All else stays as it is. Well also where an earlier call was cut
    /// after it had removed the network.
    ///
    /// # Errors
    ///
    /// What the engine says, such as that a service publishes through it.
    pub async fn remake_ingress(&self, mtu: u32) -> Result<(), DockerError> {
        let found = self.addressed().await?;
        let spec = anew(found.as_ref(), mtu);
        if let Some(found) = found {
            if fits(&found, &spec) {
                return Ok(());
            }
            let path = format!("/networks/{}", found["Id"].as_str().unwrap_or_default());
            let call = http::call(self.dial.as_ref(), Method::DELETE, &path, Vec::new());
            within(DEADLINE, call).await?;
        }
        let until = Instant::now() + GONE;
        loop {
            let there = self.ingress().await?;
            if there.as_ref().is_some_and(|it| fits(it, &spec)) {
                return Ok(());
            }
            if there.is_none() {
                let body = spec.to_string().into_bytes();
                let call = http::call(self.dial.as_ref(), Method::POST, "/networks/create", body);
                let made = within(DEADLINE, call).await;
                // Until the old one is gone, the engine refuses a second one.
                if let Err(error) = made
                    && Instant::now() > until
                {
                    return Err(error);
                }
            } else if Instant::now() > until {
                let why = "the managers have given the network no addresses yet";
                return Err(DockerError::Unreadable(why.to_owned()));
            }
            sleep(TICK).await;
        }
    }

    /// The network as it is when the managers of a new swarm have given it addresses: taken away before
    /// that, its own were given to no other for minutes.
    async fn addressed(&self) -> Result<Option<Value>, DockerError> {
        let until = Instant::now() + ADDRESSED;
        loop {
            let found = self.ingress().await?;
            let bare = found
                .as_ref()
                .is_some_and(|it| it["Options"][CHOSEN].is_null());
            if !bare || Instant::now() > until {
                return Ok(found);
            }
            sleep(TICK).await;
        }
    }

    async fn ingress(&self) -> Result<Option<Value>, DockerError> {
        let networks: Vec<Value> = self.get("/networks", DEADLINE).await?;
        Ok(networks.into_iter().find(|it| it["Ingress"] == true))
    }
}

/// Whether the network is made, for packets as wanted. What is not made yet tells no options.
fn fits(network: &Value, spec: &Value) -> bool {
    network["Options"][OVERLAY_MTU] == spec["Options"][OVERLAY_MTU]
}

/// The network as it is, or as the engine makes it, with another size of packets.
fn anew(found: Option<&Value>, mtu: u32) -> Value {
    let none = json!({});
    let found = found.unwrap_or(&none);
    let mut options = found["Options"].as_object().cloned().unwrap_or_default();
    options.remove(CHOSEN);
    options.insert(OVERLAY_MTU.to_owned(), json!(mtu.to_string()));
    let mut spec = json!({
        "Name": found["Name"].as_str().unwrap_or("ingress"),
        "CheckDuplicate": true,
        "Driver": "overlay",
        "Ingress": true,
        "Options": options,
        "Labels": found["Labels"],
    });
    if found["IPAM"]["Config"].is_array() {
        spec["IPAM"] = found["IPAM"].clone();
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_made_anew_keeps_its_addresses() {
        let found = json!({
            "Name": "ingress", "Id": "x1", "Scope": "swarm", "Driver": "overlay", "Ingress": true,
            "IPAM": { "Driver": "default", "Config": [{ "Subnet": "10.200.0.0/24", "Gateway": "10.200.0.1" }] },
            "Options": { CHOSEN: "4096", "encrypted": "" },
            "Labels": {},
        });
        let spec = anew(Some(&found), 1450);
        assert_eq!(spec["IPAM"], found["IPAM"]);
        assert_eq!(
            spec["Options"],
            json!({ "encrypted": "", OVERLAY_MTU: "1450" })
        );
        let lost = anew(None, 1450);
        assert_eq!(lost["Name"], "ingress");
        assert_eq!(lost.get("IPAM"), None);
    }
}
