//! Logging in.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use osauth::common::IdOrName;
use osauth::identity::{ApplicationCredential, Password, Scope, Token};
use osauth::services::ServiceType;
use osauth::{AuthType, EndpointFilters, ErrorKind, InterfaceType, Session};
use reqwest::{Certificate, Client, Url};
use secrecy::ExposeSecret as _;

use super::OpenStack;
use crate::openstack::config::{Account, Application, Login, NameOrId, Project};
use crate::openstack::error::{CloudError, CloudFault};

/// The old and the new name of Cinder in catalogues.
const VOLUME: &str = "volumev3";
const BLOCK_STORAGE: &str = "block-storage";

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// A client for HTTP that trusts whom the account trusts.
pub(super) fn http(account: &Account) -> Result<Client, CloudError> {
    let wrong = |said: String| CloudError::new(CloudFault::Config, "reach the cloud", said);
    let mut builder = Client::builder()
        .connect_timeout(CONNECT)
        .user_agent(concat!("skep/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &account.cacert {
        let shown = path.display();
        let pem = std::fs::read(path)
            .map_err(|error| wrong(format!("cannot read the `cacert` `{shown}`: {error}")))?;
        let list = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if list.is_empty() {
            return Err(wrong(format!(
                "the `cacert` `{shown}` has no certificate (PEM)"
            )));
        }
        for certificate in list {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| wrong(told(&error)))
}

/// What went wrong with a request, down to its cause. The address is left out: the caller knows it.
pub(super) fn told(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut said = None;
    while let Some(error) = cause {
        said = Some(error.to_string());
        cause = error.source();
    }
    said.unwrap_or_else(|| error.to_string())
}

/// What went wrong on the way to an answer of a service: with logging in, or with the catalogue.
pub(super) fn of_session(what: &str, error: &osauth::Error) -> CloudError {
    let fault = match error.kind() {
        ErrorKind::AuthenticationFailed => CloudFault::Unauthorized,
        ErrorKind::AccessDenied => CloudFault::Forbidden,
        ErrorKind::ProtocolError | ErrorKind::OperationTimedOut => CloudFault::Unreachable,
        ErrorKind::InternalServerError => CloudFault::Busy { retry_after: None },
        ErrorKind::EndpointNotFound | ErrorKind::InvalidConfig | ErrorKind::ResourceNotFound => {
            CloudFault::Config
        }
        ErrorKind::InvalidInput => CloudFault::Rejected,
        _ => CloudFault::Unexpected,
    };
    let said = error.to_string();
    // The kind's own words stand in front: ours say the same.
    let said = match said.split_once(": ") {
        Some((_, rest)) if fault != CloudFault::Config => rest.to_owned(),
        _ => said,
    };
    CloudError::new(fault, what, said)
}

impl OpenStack {
    /// The session; logs in where there is none.
    pub(super) async fn session(&self) -> Result<Arc<Session>, CloudError> {
        if let Some(session) = &*self.session.read().await {
            return Ok(Arc::clone(session));
        }
        let mut place = self.session.write().await;
        if let Some(session) = &*place {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.log_in().await?);
        *place = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Forgets a session whose token is not accepted any more.
    pub(super) async fn forget(&self, old: &Arc<Session>) {
        let mut place = self.session.write().await;
        if place.as_ref().is_some_and(|it| Arc::ptr_eq(it, old)) {
            *place = None;
        }
    }

    async fn log_in(&self) -> Result<Session, CloudError> {
        let account = &self.account;
        let url = account.auth_url.as_str();
        let what = format!("log in at `{url}` (cloud `{}`)", account.name);
        let wrong = |error: osauth::Error| of_session(&what, &error);
        let scope = account.project.as_ref().map(scope);
        match &account.login {
            Login::Password {
                user,
                domain,
                password,
            } => {
                let password = password.expose_secret();
                let mut auth = Password::new(url, user, password, domain).map_err(wrong)?;
                if let Some(scope) = scope {
                    auth.set_scope(scope);
                }
                self.begin(auth, &what).await
            }
            Login::Application { who, secret } => {
                let secret = secret.expose_secret();
                let auth = match who {
                    Application::Id(id) => ApplicationCredential::new(url, id, secret),
                    Application::Name { name, user } => {
                        ApplicationCredential::with_user_id(url, name, secret, user)
                    }
                };
                self.begin(auth.map_err(wrong)?, &what).await
            }
            Login::Token(token) => {
                let mut auth = Token::new(url, token.expose_secret()).map_err(wrong)?;
                if let Some(scope) = scope {
                    auth.set_scope(scope);
                }
                self.begin(auth, &what).await
            }
        }
    }

    async fn begin<A: AuthType + 'static>(
        &self,
        auth: A,
        what: &str,
    ) -> Result<Session, CloudError> {
        let account = &self.account;
        let session = match Session::new_with_client(self.http.clone(), auth).await {
            Ok(session) => session,
            Err(error) => {
                let mut error = of_session(what, &error);
                // osauth does not tell why there is no connection; the same client does.
                if error.fault == CloudFault::Unreachable
                    && let Err(cause) = self.http.get(&account.auth_url).send().await
                {
                    error.said = told(&cause);
                    if error.said.contains("certificate") {
                        error.said += " (name the authority's certificate in `cacert`)";
                    }
                }
                return Err(error);
            }
        };
        let mut filters = EndpointFilters::default();
        filters.region.clone_from(&account.region);
        let interface = match account.interface.as_deref() {
            Some("internal") => InterfaceType::Internal,
            Some("admin") => InterfaceType::Admin,
            _ => InterfaceType::Public,
        };
        filters.set_interfaces(interface);
        let mut session = session.with_endpoint_filters(filters);
        // Newer clouds have the service under its new name only.
        let (client, filters) = (session.client(), session.endpoint_filters());
        if client.get_endpoint(VOLUME, filters).await.is_err()
            && let Ok(url) = client.get_endpoint(BLOCK_STORAGE, filters).await
        {
            session
                .endpoint_overrides_mut()
                .insert(VOLUME.to_owned(), url);
        }
        for (service, address) in &account.endpoints {
            let url = Url::parse(address).map_err(|error| {
                let said = format!("the endpoint `{address}` of `{service}`: {error}");
                CloudError::new(CloudFault::Config, what, said)
            })?;
            session
                .endpoint_overrides_mut()
                .insert(service.replace(BLOCK_STORAGE, VOLUME), url);
        }
        Ok(session)
    }
}

fn scope(project: &Project) -> Scope {
    let either = |it: &NameOrId| match it {
        NameOrId::Name(name) => IdOrName::Name(name.clone()),
        NameOrId::Id(id) => IdOrName::Id(id.clone()),
    };
    Scope::Project {
        project: either(&project.project),
        domain: Some(either(&project.domain)),
    }
}

/// The services, by their types in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Nova.
    Compute,
    /// Neutron.
    Network,
    /// Cinder.
    Volume,
    /// Glance.
    Image,
}

impl ServiceType for Service {
    fn catalog_type(&self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Network => "network",
            Self::Volume => VOLUME,
            Self::Image => "image",
        }
    }

    fn major_version_supported(&self, version: osauth::ApiVersion) -> bool {
        match self {
            Self::Volume => version.0 == 3,
            Self::Compute | Self::Network | Self::Image => version.0 == 2,
        }
    }
}
