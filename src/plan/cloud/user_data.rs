//! What a new server is told at its first boot (cloud-init's user-data).
//!
//! skep's own part is a cloud-config: the login user with the public key, and the host's own key, so
//! that nobody has to believe a key on first sight. A template of the user's comes as a second part.
//! No token of the swarm is in it.

use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::inventory::{Host, Inventory};
use crate::template::{Place, TemplateError, Text, Vars};

/// The metadata that tells a server's public host key: type and base64.
pub const HOST_KEY: &str = "skep-host-key";

/// What stands between the parts: no line of a template is likely to be it.
const BOUNDARY: &str = "=-=-=skep-boundary-b6f1c8e2=-=-=";

/// A host's own key pair (Ed25519).
#[derive(Debug, Clone)]
pub struct HostKey {
    /// The private key, in OpenSSH's format.
    pub private: SecretString,
    /// The public key: type and base64.
    pub public: String,
}

/// What the user-data of a server is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UserData {
    /// The login user; `None` is the image's own.
    pub user: Option<String>,
    /// The user's public key; `None` leaves it to the cloud's keypair.
    pub public_key: Option<String>,
    /// The template of the user's own part.
    pub template: Option<Text>,
    /// What templates may use.
    pub vars: Vars,
}

impl UserData {
    /// That of a host.
    pub fn of(inventory: &Inventory, host: &Host) -> Self {
        let server = host.server.as_ref();
        let template = server.and_then(|server| {
            let file = server.user_data.as_ref()?.display().to_string();
            Some(Text {
                value: server.user_data_text.clone()?,
                place: Place { file, line: 1 },
            })
        });
        let mut vars = Vars::new();
        for (name, value) in &host.vars {
            vars.insert(name.clone(), crate::inventory::export::plain(value));
        }
        vars.insert("host".to_owned(), host.name.clone().into());
        vars.insert("cluster".to_owned(), inventory.cluster.clone().into());
        vars.insert("role".to_owned(), json!(host.role));
        vars.insert("labels".to_owned(), json!(host.labels));
        vars.insert("groups".to_owned(), json!(host.groups));
        let settings = inventory.openstack.as_ref();
        Self {
            user: host.ssh.user.clone(),
            public_key: settings.and_then(|it| it.public_key_text.clone()),
            template,
            vars,
        }
    }

    /// The text with a host's own key in it.
    ///
    /// # Errors
    ///
    /// What is wrong with the user's template.
    pub fn render(&self, key: &HostKey) -> Result<SecretString, TemplateError> {
        let own = self.cloud_config(key);
        let Some(template) = &self.template else {
            return Ok(own.into());
        };
        let text = template.render(&self.vars)?;
        // cloud-init looks at the first line of a plain part for what it is: `#!`, `#cloud-config`, ...
        let mut out = format!(
            "Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n"
        );
        for (name, kind, part) in [
            ("skep.yaml", "text/cloud-config", own.as_str()),
            ("user-data", "text/plain", text.as_str()),
        ] {
            let _infallible = write!(
                out,
                "--{BOUNDARY}\nContent-Type: {kind}; charset=\"utf-8\"\nMIME-Version: 1.0\n\
                 Content-Disposition: attachment; filename=\"{name}\"\n\n{part}\n"
            );
        }
        let _infallible = writeln!(out, "--{BOUNDARY}--");
        Ok(out.into())
    }

    /// skep's part. JSON is YAML too.
    fn cloud_config(&self, key: &HostKey) -> String {
        let mut config = json!({
            "ssh_deletekeys": true,
            "ssh_keys": {
                "ed25519_private": key.private.expose_secret(),
                "ed25519_public": key.public,
            },
            "ssh_pwauth": false,
        });
        if let Some(public_key) = &self.public_key {
            let keys = json!([public_key]);
            match self.user.as_deref() {
                None => config["ssh_authorized_keys"] = keys,
                Some("root") => {
                    config["disable_root"] = json!(false);
                    config["users"] =
                        json!(["default", { "name": "root", "ssh_authorized_keys": keys }]);
                }
                Some(user) => {
                    config["users"] = json!(["default", {
                        "name": user,
                        "shell": "/bin/bash",
                        "lock_passwd": true,
                        "sudo": "ALL=(ALL) NOPASSWD:ALL",
                        "ssh_authorized_keys": keys,
                    }]);
                }
            }
        }
        format!("#cloud-config\n{config:#}\n")
    }
}
