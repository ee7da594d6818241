//! New secrets of a swarm, and how far its nodes are with them.

use bollard::models;
use bollard::query_parameters::UpdateSwarmOptionsBuilder;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::{DEADLINE, Docker, DockerError, SwarmChange, version_of};
use crate::shell::hex;

/// What is made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The join token of workers.
    pub worker_token: bool,
    /// The join token of managers.
    pub manager_token: bool,
    /// The unlock key.
    pub unlock_key: bool,
}

/// The certificate authority of a swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorityState {
    /// The digest of the public key that certificates are issued with. It changes as soon as a rotation
    /// begins.
    pub issuer: String,
    /// Whether a rotation goes on: not all nodes have their new certificates.
    pub rotating: bool,
}

/// A node, and who issued its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIssuer {
    /// The NodeID.
    pub id: String,
    /// The host name, for people.
    pub hostname: String,
    /// `ready`, `down`, ...
    pub state: String,
    /// The digest of its issuer's public key.
    pub issuer: String,
}

/// SHA-256 of a secret or of a public key, in hexadecimal digits.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

impl Docker {
    /// Makes `what` anew.
    pub async fn rotate(&self, what: Rotation) -> Result<(), DockerError> {
        let swarm = self.swarm().await?;
        let spec = swarm
            .spec
            .ok_or_else(|| DockerError::Unreadable("the swarm has no spec".to_owned()))?;
        let options = UpdateSwarmOptionsBuilder::new()
            .version(version_of(swarm.version)?)
            .rotate_worker_token(what.worker_token)
            .rotate_manager_token(what.manager_token)
            .rotate_manager_unlock_key(what.unlock_key)
            .build();
        self.bollard(DEADLINE, async |docker| {
            docker.update_swarm(spec, options).await
        })
        .await
    }

    /// The digests of the join tokens: of workers, of managers.
    pub async fn token_digests(&self) -> Result<(String, String), DockerError> {
        let tokens = self.join_tokens().await?;
        Ok((
            digest(tokens.worker.expose_secret()),
            digest(tokens.manager.expose_secret()),
        ))
    }

    /// The certificate authority.
    pub async fn authority(&self) -> Result<AuthorityState, DockerError> {
        let swarm = self.swarm().await?;
        let tls = swarm.tls_info.unwrap_or_default();
        Ok(AuthorityState {
            issuer: digest(&tls.cert_issuer_public_key.unwrap_or_default()),
            rotating: swarm.root_rotation_in_progress.unwrap_or_default(),
        })
    }

    /// Begins to make a new certificate authority, as `docker swarm ca --rotate` does, where the issuer is
    /// still `from`; whether it was begun now. Of two who begin at once one is told that it is out of
    /// sequence.
    pub async fn rotate_authority(
        &self,
        from: &str,
        cert_expiry_days: Option<u32>,
    ) -> Result<bool, DockerError> {
        let swarm = self.swarm().await?;
        let tls = swarm.tls_info.unwrap_or_default();
        if digest(&tls.cert_issuer_public_key.unwrap_or_default()) != from {
            return Ok(false);
        }
        let mut spec = swarm
            .spec
            .ok_or_else(|| DockerError::Unreadable("the swarm has no spec".to_owned()))?;
        let change = SwarmChange {
            cert_expiry_days,
            ..SwarmChange::default()
        };
        change.apply(&mut spec);
        let config = spec.ca_config.get_or_insert_default();
        config.force_rotate = Some(config.force_rotate.unwrap_or_default() + 1);
        // One that was brought from outside once is not to be taken again.
        (config.signing_ca_cert, config.signing_ca_key) = (None, None);
        let options = UpdateSwarmOptionsBuilder::new()
            .version(version_of(swarm.version)?)
            .build();
        self.bollard(DEADLINE, async |docker| {
            docker.update_swarm(spec, options).await
        })
        .await?;
        Ok(true)
    }

    /// The nodes, each with the issuer of its certificate.
    pub async fn node_issuers(&self) -> Result<Vec<NodeIssuer>, DockerError> {
        let nodes = self
            .bollard(DEADLINE, async |docker| {
                docker
                    .list_nodes(None::<bollard::query_parameters::ListNodesOptions>)
                    .await
            })
            .await?;
        let read = |node: models::Node| {
            let description = node.description.unwrap_or_default();
            let tls = description.tls_info.unwrap_or_default();
            NodeIssuer {
                id: node.id.unwrap_or_default(),
                hostname: description.hostname.unwrap_or_default(),
                state: node
                    .status
                    .and_then(|status| status.state)
                    .map(|state| state.to_string())
                    .unwrap_or_default(),
                issuer: digest(&tls.cert_issuer_public_key.unwrap_or_default()),
            }
        };
        Ok(nodes.into_iter().map(read).collect())
    }
}
