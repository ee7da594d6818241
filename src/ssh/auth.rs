//! Logging in: which keys to offer, in which order, and how many.
//!
//! sshd counts every key that it does not know as a failure and hangs up after `MaxAuthTries` (6)
//! of them. So keys are offered in rounds of [`PER_ROUND`], the ones that were named first, and
//! for the next round the caller connects anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;

use super::SshError;
use super::peer::Verifier;
use super::target::{Resolved, Target};

/// Keys offered on one connection: one less than sshd's `MaxAuthTries`, to leave a password its try.
pub(super) const PER_ROUND: usize = 5;

/// Connections made to offer keys before giving up.
pub(super) const ROUNDS: usize = 3;

/// One key to offer.
#[derive(Clone)]
enum Offer {
    Key(Arc<PrivateKey>),
    Certificate(Arc<PrivateKey>, Box<Certificate>),
    Agent(Box<AgentIdentity>),
}

/// What a login may be tried with.
pub(super) struct Offers {
    list: Vec<(String, Offer)>,
    agent: Option<PathBuf>,
    locked: Vec<PathBuf>,
}

/// How one round of a login ended.
pub(super) enum Round {
    /// In.
    Done,
    /// Not in, but there are keys left: connect again and go on at this one.
    Again(usize),
    /// Not in.
    Failed(Failure),
}

/// What was tried in vain.
#[derive(Debug, Default)]
pub(super) struct Failure {
    pub(super) tried: Vec<String>,
    pub(super) methods: Vec<String>,
    pub(super) locked: Vec<PathBuf>,
}

impl Offers {
    /// Gathers the keys for a host: named files first, each preceded by its certificate, then
    /// those of the agent.
    pub(super) async fn gather(target: &Target, host: &Resolved) -> Result<Self, SshError> {
        let mut in_agent = match &host.agent {
            Some(socket) => agent_identities(socket).await,
            None => Vec::new(),
        };
        let mut gathered = Self {
            list: Vec::new(),
            agent: host.agent.clone(),
            locked: Vec::new(),
        };
        let mut certificates: Vec<Certificate> = host
            .certificates
            .iter()
            .filter_map(|path| russh::keys::load_openssh_certificate(path).ok())
            .collect();
        for path in &host.identity {
            let named = target.identity.contains(path);
            certificates
                .extend(russh::keys::load_openssh_certificate(with_suffix(path, "-cert.pub")).ok());
            gathered.add_file(target, path, named, &certificates, &mut in_agent)?;
        }
        if !host.identities_only {
            for identity in in_agent {
                gathered.add_agent(identity);
            }
        }
        Ok(gathered)
    }

    fn add_agent(&mut self, identity: AgentIdentity) {
        let name = format!("key `{}` of the agent", identity.comment());
        self.list.push((name, Offer::Agent(Box::new(identity))));
    }

    fn add_file(
        &mut self,
        target: &Target,
        path: &Path,
        named: bool,
        certificates: &[Certificate],
        in_agent: &mut Vec<AgentIdentity>,
    ) -> Result<(), SshError> {
        // The agent may hold the very key, unlocked; the public half tells.
        let public = russh::keys::load_public_key(with_suffix(path, ".pub"))
            .ok()
            .map(|key| key.key_data().clone());
        let passphrase = target.passphrase.as_ref().map(ExposeSecret::expose_secret);
        let problem = |reason: String| SshError::Key {
            path: path.to_owned(),
            reason,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let found = take_matching(in_agent, public.as_ref());
                if found.is_empty() && named {
                    return Err(problem("there is no such file".to_owned()));
                }
                for identity in found {
                    self.add_agent(identity);
                }
                return Ok(());
            }
            Err(error) if named => return Err(problem(error.to_string())),
            Err(_) => return Ok(()),
        };
        let key = match russh::keys::decode_secret_key(&text, None) {
            Ok(key) => key,
            Err(russh::keys::Error::KeyIsEncrypted) => {
                let found = take_matching(in_agent, public.as_ref());
                if !found.is_empty() {
                    for identity in found {
                        self.add_agent(identity);
                    }
                    return Ok(());
                }
                let Some(passphrase) = passphrase else {
                    self.locked.push(path.to_owned());
                    return Ok(());
                };
                match russh::keys::decode_secret_key(&text, Some(passphrase)) {
                    Ok(key) => key,
                    Err(_) if named => return Err(problem("the passphrase is wrong".to_owned())),
                    Err(_) => {
                        self.locked.push(path.to_owned());
                        return Ok(());
                    }
                }
            }
            Err(error) if named => return Err(problem(error.to_string())),
            Err(_) => return Ok(()),
        };
        let _ = take_matching(in_agent, Some(key.public_key().key_data()));
        let key = Arc::new(key);
        for certificate in certificates {
            if certificate.public_key() == key.public_key().key_data() {
                self.list.push((
                    format!("certificate of `{}`", path.display()),
                    Offer::Certificate(key.clone(), Box::new(certificate.clone())),
                ));
            }
        }
        self.list
            .push((format!("key `{}`", path.display()), Offer::Key(key)));
        Ok(())
    }

    /// Tries to log in on a fresh connection, from the `from`-th key on. In the `last` round what
    /// is left of the keys is passed over in favour of the password.
    pub(super) async fn round(
        &self,
        handle: &mut Handle<Verifier>,
        user: &str,
        password: Option<&SecretString>,
        from: usize,
        last: bool,
    ) -> Result<Round, russh::Error> {
        let mut methods = None;
        let mut tried: Vec<String> = self.list[..from.min(self.list.len())]
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let mut agent = None;
        for (index, (name, offer)) in self.list.iter().enumerate().skip(from) {
            if methods
                .as_ref()
                .is_some_and(|methods: &MethodSet| !methods.contains(&MethodKind::PublicKey))
            {
                break;
            }
            if index == from + PER_ROUND {
                if last {
                    break;
                }
                return Ok(Round::Again(index));
            }
            tried.push(name.clone());
            match self.offer(handle, user, offer, &mut agent).await? {
                Some(AuthResult::Success) => return Ok(Round::Done),
                Some(AuthResult::Failure {
                    remaining_methods, ..
                }) => {
                    // A host that hangs up names no methods: its `MaxAuthTries` is smaller.
                    let hung_up = remaining_methods.is_empty() || handle.is_closed();
                    let more = index + 1 < self.list.len() || password.is_some();
                    if hung_up && more && !last {
                        return Ok(Round::Again(index + 1));
                    }
                    methods = Some(remaining_methods);
                }
                None => {}
            }
        }
        let methods = match methods {
            Some(methods) => methods,
            None => match handle.authenticate_none(user).await? {
                AuthResult::Success => return Ok(Round::Done),
                AuthResult::Failure {
                    remaining_methods, ..
                } => remaining_methods,
            },
        };
        if let Some(password) = password {
            if methods.contains(&MethodKind::Password) {
                tried.push("password".to_owned());
                let secret = password.expose_secret();
                if handle.authenticate_password(user, secret).await?.success() {
                    return Ok(Round::Done);
                }
            } else if methods.contains(&MethodKind::KeyboardInteractive) {
                tried.push("keyboard-interactive".to_owned());
                if answer_prompts(handle, user, password).await? {
                    return Ok(Round::Done);
                }
            }
        }
        Ok(Round::Failed(Failure {
            tried,
            methods: methods
                .iter()
                .map(|method| <&'static str>::from(method).to_owned())
                .collect(),
            locked: self.locked.clone(),
        }))
    }

    /// `None` where the key could not sign: that is no failure that sshd counts.
    async fn offer(
        &self,
        handle: &mut Handle<Verifier>,
        user: &str,
        offer: &Offer,
        agent: &mut Option<AgentClient<UnixStream>>,
    ) -> Result<Option<AuthResult>, russh::Error> {
        match offer {
            Offer::Key(key) => {
                let hash = rsa_hash(handle, key.public_key()).await?;
                let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
                handle.authenticate_publickey(user, key).await.map(Some)
            }
            Offer::Certificate(key, certificate) => handle
                .authenticate_openssh_cert(user, key.clone(), (**certificate).clone())
                .await
                .map(Some),
            Offer::Agent(identity) => {
                let hash = rsa_hash(handle, &identity.public_key()).await?;
                if agent.is_none()
                    && let Some(socket) = &self.agent
                {
                    *agent = AgentClient::connect_uds(socket).await.ok();
                }
                let Some(signer) = agent else {
                    return Ok(None);
                };
                let answer = match &**identity {
                    AgentIdentity::PublicKey { key, .. } => {
                        handle
                            .authenticate_publickey_with(user, key.clone(), hash, signer)
                            .await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        handle
                            .authenticate_certificate_with(user, certificate.clone(), hash, signer)
                            .await
                    }
                };
                Ok(answer.ok())
            }
        }
    }
}

/// PAM asks for the password once, and then once more for nothing at all.
async fn answer_prompts(
    handle: &mut Handle<Verifier>,
    user: &str,
    password: &SecretString,
) -> Result<bool, russh::Error> {
    let mut answer = handle
        .authenticate_keyboard_interactive_start(user, None)
        .await?;
    let mut given = false;
    loop {
        match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                // A second question is a retry, or one that a password does not answer.
                if !prompts.is_empty() && (given || prompts.len() > 1) {
                    return Ok(false);
                }
                given |= !prompts.is_empty();
                let answers = prompts
                    .iter()
                    .map(|_| password.expose_secret().to_owned())
                    .collect();
                answer = handle
                    .authenticate_keyboard_interactive_respond(answers)
                    .await?;
            }
        }
    }
}

/// RSA keys sign with a hash that the host names; other keys have their own.
async fn rsa_hash(
    handle: &Handle<Verifier>,
    key: &PublicKey,
) -> Result<Option<russh::keys::HashAlg>, russh::Error> {
    if key.algorithm().is_rsa() {
        Ok(handle.best_supported_rsa_hash().await?.flatten())
    } else {
        Ok(None)
    }
}

async fn agent_identities(socket: &Path) -> Vec<AgentIdentity> {
    let Ok(mut agent) = AgentClient::connect_uds(socket).await else {
        return Vec::new();
    };
    agent.request_identities().await.unwrap_or_default()
}

fn take_matching(identities: &mut Vec<AgentIdentity>, key: Option<&KeyData>) -> Vec<AgentIdentity> {
    let Some(key) = key else {
        return Vec::new();
    };
    let (matching, rest) = std::mem::take(identities)
        .into_iter()
        .partition(|identity| identity.public_key().key_data() == key);
    *identities = rest;
    matching
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
