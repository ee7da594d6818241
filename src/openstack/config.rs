//! Where the credentials are: `clouds.yaml`, `secure.yaml` and the environment, as the clients of
//! OpenStack know them.

mod files;
mod pick;

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::error::{CloudError, CloudFault};

/// Which cloud an inventory wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The `clouds.yaml` to read; `None` is `$OS_CLIENT_CONFIG_FILE`, else the first of this folder,
    /// `~/.config/openstack` and `/etc/openstack`.
    pub file: Option<PathBuf>,
    /// Its name in `clouds.yaml`; `None` is `$OS_CLOUD`, else what `$OS_AUTH_URL` and its fellows
    /// say, else the only one of the file.
    pub cloud: Option<String>,
    /// The region; `None` is `$OS_REGION_NAME`, else that of the file.
    pub region: Option<String>,
    /// The kind of endpoints: `public`, `internal` or `admin`; `None` is that of the file, else
    /// `public`.
    pub interface: Option<String>,
}

/// How to log in to one project of one cloud. Secrets are not shown by `Debug`.
#[derive(Debug, Clone)]
pub struct Account {
    /// The cloud's name, for messages.
    pub name: String,
    /// Keystone's address.
    pub auth_url: String,
    /// Who logs in.
    pub login: Login,
    /// The project; application credentials and some tokens have theirs built in.
    pub project: Option<Project>,
    /// The region.
    pub region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub interface: Option<String>,
    /// A file of certificates of authorities to trust beside the usual ones.
    pub cacert: Option<PathBuf>,
    /// Endpoints that take the place of those of the catalogue, by type of service.
    pub endpoints: BTreeMap<String, String>,
}

/// Who logs in.
#[derive(Debug, Clone)]
pub enum Login {
    /// A user with a password.
    Password {
        /// The user's name.
        user: String,
        /// The name of the user's domain.
        domain: String,
        /// The password.
        password: SecretString,
    },
    /// An application credential, which can be revoked alone and is bound to a project.
    Application {
        /// Its ID, or its name and the ID of its user.
        who: Application,
        /// Its secret.
        secret: SecretString,
    },
    /// A token that was had elsewhere. It cannot be renewed.
    Token(SecretString),
}

/// Which application credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Application {
    /// By its own ID.
    Id(String),
    /// By its name.
    Name {
        /// Its name.
        name: String,
        /// The ID of its user.
        user: String,
    },
}

/// A name or an ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrId {
    /// A name.
    Name(String),
    /// An ID.
    Id(String),
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The project.
    pub project: NameOrId,
    /// Its domain.
    pub domain: NameOrId,
}

/// The variables of the environment that matter.
type Environment = BTreeMap<String, String>;

impl Account {
    /// Reads the account that is wanted from the environment and the files.
    pub fn load(wanted: &Wanted) -> Result<Self, CloudError> {
        let env: Environment = std::env::vars()
            .filter(|(name, _)| {
                name.starts_with("OS_") || ["HOME", "XDG_CONFIG_HOME"].contains(&name.as_str())
            })
            .collect();
        let files = files::Files::read(wanted.file.as_deref(), &env)?;
        pick::account(wanted, &env, &files)
    }
}

/// A fault of what the user wrote.
fn wrong(said: impl Into<String>) -> CloudError {
    CloudError::new(CloudFault::Config, "find the cloud's credentials", said)
}
