//! What is changed, and what is removed.

use serde_json::{Value, json};

use super::OpenStack;
use super::call::Ask;
use super::create::pairs;
use super::login::Service;
use super::wire;
use crate::openstack::error::{CloudError, CloudFault};
use crate::openstack::model::{Kind, PortChange, PowerAct, Server, ServerStatus};

/// Well where the thing is not there.
fn gone_is_well<T: Default>(answer: Result<T, CloudError>) -> Result<T, CloudError> {
    match answer {
        Err(error) if error.fault == CloudFault::NotFound => Ok(T::default()),
        other => other,
    }
}

/// Where a kind is: its service, its path, and the name under which a single one is answered.
fn place(kind: Kind) -> (Service, &'static str, &'static str) {
    match kind {
        Kind::Server => (Service::Compute, "servers", "server"),
        Kind::Keypair => (Service::Compute, "os-keypairs", "keypair"),
        Kind::ServerGroup => (Service::Compute, "os-server-groups", "server_group"),
        Kind::Port => (Service::Network, "ports", "port"),
        Kind::FloatingIp => (Service::Network, "floatingips", "floatingip"),
        Kind::SecurityGroup => (Service::Network, "security-groups", "security_group"),
        Kind::SecurityRule => (
            Service::Network,
            "security-group-rules",
            "security_group_rule",
        ),
        Kind::Volume => (Service::Volume, "volumes", "volume"),
        // Glance answers with the image itself.
        Kind::Image => (Service::Image, "images", ""),
    }
}

impl OpenStack {
    /// One thing; `None` where it is gone.
    pub(super) async fn one(
        &self,
        what: &str,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Value>, CloudError> {
        let (service, path, key) = place(kind);
        let ask = Ask::get(what, service, &[path, id]);
        let answer = gone_is_well(self.ask(&ask).await.map(Some))?;
        Ok(answer.map(|mut answer| match answer.get_mut(key) {
            Some(inner) => inner.take(),
            None => answer,
        }))
    }

    /// Whether a thing carries the cluster's mark.
    fn is_ours(&self, kind: Kind, entry: &Value) -> bool {
        match kind {
            Kind::Server | Kind::Volume => wire::has_key(&self.cluster, entry.get("metadata")),
            Kind::Image => wire::has_key(&self.cluster, Some(entry)),
            Kind::Keypair | Kind::ServerGroup => {
                let name = entry.get("name").and_then(Value::as_str);
                name.is_some_and(|name| self.cluster.within(name).is_some())
            }
            _ => wire::is_marked(&self.cluster, entry),
        }
    }

    /// Removes a thing. What does not carry the mark is refused here too, whatever a plan says.
    pub(super) async fn remove(&self, kind: Kind, id: &str) -> Result<(), CloudError> {
        let what = format!("remove {kind} `{id}`");
        let Some(entry) = self.one(&what, kind, id).await? else {
            return Ok(());
        };
        let ours = match kind {
            // A rule is its group's.
            Kind::SecurityRule => {
                let group = entry.get("security_group_id").and_then(Value::as_str);
                let group = group.unwrap_or_default();
                let group = self.one(&what, Kind::SecurityGroup, group).await?;
                group.is_some_and(|group| self.is_ours(Kind::SecurityGroup, &group))
            }
            kind => self.is_ours(kind, &entry),
        };
        if !ours {
            let tag = self.cluster.tag();
            let said = format!("`{tag}` is not on it");
            return Err(CloudError::new(CloudFault::NotOurs, what, said));
        }
        let (service, path, _) = place(kind);
        let ask = Ask::delete(&what, service, &[path, id]);
        gone_is_well(self.ask(&ask).await)?;
        Ok(())
    }

    pub(super) async fn put_port(&self, port: &str, change: &PortChange) -> Result<(), CloudError> {
        let what = format!("change port `{port}`");
        let mut body = json!({});
        if let Some(groups) = &change.security_groups {
            body["security_groups"] = json!(groups);
        }
        if let Some(nets) = &change.allowed_addresses {
            body["allowed_address_pairs"] = pairs(nets);
        }
        let body = json!({ "port": body });
        let ask = Ask::put(&what, Service::Network, &["ports", port], body);
        self.ask(&ask).await.map(drop)
    }

    pub(super) async fn put_floating_ip(
        &self,
        ip: &str,
        port: Option<&str>,
    ) -> Result<(), CloudError> {
        let what = format!("lead floating IP `{ip}`");
        let body = json!({ "floatingip": { "port_id": port } });
        let ask = Ask::put(&what, Service::Network, &["floatingips", ip], body);
        self.ask(&ask).await.map(drop)
    }

    /// Whether a server has a volume.
    async fn has(&self, what: &str, server: &str, volume: &str) -> Result<bool, CloudError> {
        let path = ["servers", server, "os-volume_attachments"];
        let answer = self.ask(&Ask::get(what, Service::Compute, &path)).await?;
        let list = answer.get("volumeAttachments").and_then(Value::as_array);
        let is_it = |entry: &Value| entry.get("volumeId").and_then(Value::as_str) == Some(volume);
        Ok(list.is_some_and(|list| list.iter().any(is_it)))
    }

    pub(super) async fn attach(&self, server: &str, volume: &str) -> Result<(), CloudError> {
        let what = format!("attach volume `{volume}` to server `{server}`");
        if self.has(&what, server, volume).await? {
            return Ok(());
        }
        let path = ["servers", server, "os-volume_attachments"];
        let body = json!({ "volumeAttachment": { "volumeId": volume } });
        // Nova reserves the volume first: a second request for it is refused.
        let post = Ask::post(&what, Service::Compute, &path, body).twice();
        match self.ask(&post).await {
            Ok(_) => Ok(()),
            Err(error) if self.has(&what, server, volume).await.unwrap_or(false) => {
                tracing::debug!(error = %error, "and yet it is attached");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn detach(&self, server: &str, volume: &str) -> Result<(), CloudError> {
        let what = format!("detach volume `{volume}` from server `{server}`");
        let there = self.has(&what, server, volume).await;
        if !gone_is_well(there)? {
            return Ok(());
        }
        let path = ["servers", server, "os-volume_attachments", volume];
        let ask = Ask::delete(&what, Service::Compute, &path);
        match gone_is_well(self.ask(&ask).await) {
            Ok(_) => Ok(()),
            // On its way already, since an earlier request.
            Err(error) if error.said.contains("detaching") => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn extend(&self, volume: &str, size: u64) -> Result<(), CloudError> {
        let what = format!("make volume `{volume}` larger, to {size} GiB");
        let large = async || -> Result<bool, CloudError> {
            let Some(entry) = self.one(&what, Kind::Volume, volume).await? else {
                return Err(CloudError::new(CloudFault::NotFound, &what, ""));
            };
            let status = entry.get("status").and_then(Value::as_str);
            let there = entry.get("size").and_then(Value::as_u64);
            Ok(status == Some("extending") || there.is_some_and(|there| there >= size))
        };
        if large().await? {
            return Ok(());
        }
        let body = json!({ "os-extend": { "new_size": size } });
        let path = ["volumes", volume, "action"];
        match self
            .ask(&Ask::post(&what, Service::Volume, &path, body))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if !error.nothing_done() && large().await? => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A server, with what it does.
    async fn server(&self, what: &str, id: &str) -> Result<Server, CloudError> {
        let entry = self.one(what, Kind::Server, id).await?;
        let entry = entry.ok_or_else(|| CloudError::new(CloudFault::NotFound, what, ""))?;
        wire::server(&entry).map_err(|said| CloudError::new(CloudFault::Unexpected, what, said))
    }

    pub(super) async fn switch(&self, server: &str, act: PowerAct) -> Result<(), CloudError> {
        let (verb, body, wanted) = match act {
            PowerAct::Start => (
                "start",
                json!({ "os-start": null }),
                Some((ServerStatus::Active, "powering-on")),
            ),
            PowerAct::Stop => (
                "stop",
                json!({ "os-stop": null }),
                Some((ServerStatus::Stopped, "powering-off")),
            ),
            PowerAct::Reboot => ("reboot", json!({ "reboot": { "type": "SOFT" } }), None),
            PowerAct::Reset => ("reset", json!({ "reboot": { "type": "HARD" } }), None),
        };
        let what = format!("{verb} server `{server}`");
        let path = ["servers", server, "action"];
        let mut post = Ask::post(&what, Service::Compute, &path, body);
        // Nova refuses to start what runs: a second request does no harm. A second reboot does.
        post.twice = wanted.is_some();
        let Err(error) = self.ask(&post).await else {
            return Ok(());
        };
        if let (CloudFault::Conflict, Some((status, task))) = (error.fault, wanted) {
            let there = self.server(&what, server).await?;
            let on_its_way = there.task.as_deref() == Some(task);
            if on_its_way || there.status == status && there.task.is_none() {
                return Ok(());
            }
        }
        Err(error)
    }

    pub(super) async fn read_console(
        &self,
        server: &str,
        lines: Option<u32>,
    ) -> Result<String, CloudError> {
        let what = format!("read the console of server `{server}`");
        let path = ["servers", server, "action"];
        let ask = match lines {
            Some(lines) => json!({ "length": lines }),
            None => json!({}),
        };
        let body = json!({ "os-getConsoleOutput": ask });
        let ask = Ask::post(&what, Service::Compute, &path, body).twice();
        let answer = self.ask(&ask).await?;
        let text = answer.get("output").and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }
}
