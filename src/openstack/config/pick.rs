//! Which account the files and the environment give. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

use super::files::Files;
use super::{Account, Application, Environment, Login, NameOrId, Project, Wanted, wrong};
use crate::openstack::CloudError;

/// The name of the cloud that the environment describes, as other clients call it.
const ENVIRONMENT: &str = "envvars";

/// The variables that may stand for a cloud's settings.
const VARIABLES: [&str; 18] = [
    "auth_url",
    "password",
    "project_id",
    "project_name",
    "project_domain_id",
    "project_domain_name",
    "tenant_id",
    "tenant_name",
    "token",
    "username",
    "user_id",
    "user_domain_id",
    "user_domain_name",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "domain_id",
    "domain_name",
];

/// The account that is wanted.
pub(super) fn account(
    wanted: &Wanted,
    env: &Environment,
    files: &Files,
) -> Result<Account, CloudError> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let named = wanted.cloud.as_ref().or_else(|| set("OS_CLOUD"));
    let (name, cloud, place) = match named {
        Some(name) if name != ENVIRONMENT || in_file(files, name).is_some() => {
            let (cloud, place) = from_files(name, files)?;
            (name.clone(), cloud, place)
        }
        None if set("OS_AUTH_URL").is_none() => {
            let names = names(files);
            let [name] = &names[..] else {
                return Err(wrong(which(files, &names)));
            };
            let (cloud, place) = from_files(name, files)?;
            (name.clone(), cloud, place)
        }
        _ => (
            ENVIRONMENT.to_owned(),
            from_environment(env),
            "the environment (`OS_*`)".to_owned(),
        ),
    };
    let region = wanted.region.as_ref().or_else(|| set("OS_REGION_NAME"));
    check(name, &cloud, &place, region, wanted.interface.as_ref())
}

/// What to say when no cloud is named.
fn which(files: &Files, names: &[String]) -> String {
    match &files.clouds {
        None => {
            let looked: Vec<String> = files
                .looked
                .iter()
                .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
                .map(|path| format!("`{}`", path.display()))
                .collect();
            format!(
                "neither `$OS_AUTH_URL` is set nor is there a `clouds.yaml`: looked for {}",
                looked.join(", ")
            )
        }
        Some((path, _)) => format!(
            "no cloud is named, by `cloud` in the inventory or `$OS_CLOUD`: `{}` has {}",
            path.display(),
            listed(names)
        ),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn clouds(mapping: &Mapping) -> Option<&Mapping> {
    mapping.get("clouds")?.as_mapping()
}

fn names(files: &Files) -> Vec<String> {
    let clouds = files.clouds.as_ref().and_then(|(_, it)| clouds(it));
    let names = clouds.into_iter().flat_map(Mapping::keys);
    names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn in_file<'a>(files: &'a Files, name: &str) -> Option<&'a Mapping> {
    clouds(&files.clouds.as_ref()?.1)?.get(name)?.as_mapping()
}

/// The cloud's table with what `secure.yaml` and its profile add, and where it stands.
fn from_files(name: &str, files: &Files) -> Result<(Mapping, String), CloudError> {
    let Some((path, _)) = &files.clouds else {
        return Err(wrong(format!("cloud `{name}`: {}", which(files, &[]))));
    };
    let place = format!("`{}`", path.display());
    let Some(cloud) = in_file(files, name) else {
        let names = listed(&names(files));
        return Err(wrong(format!(
            "{place} has no cloud `{name}`: it has {names}"
        )));
    };
    let mut cloud = cloud.clone();
    let secure = files.secure.as_ref().and_then(|(_, it)| clouds(it));
    if let Some(secure) = secure.and_then(|it| it.get(name)?.as_mapping()) {
        lay(secure, &mut cloud, true);
    }
    let profile = cloud.get("profile").or_else(|| cloud.get("cloud"));
    if let Some(profile) = profile.and_then(Value::as_str).map(str::to_owned) {
        let public = files.public.as_ref().map(|(_, it)| it);
        let public = public.and_then(|it| it.get("public-clouds")?.as_mapping());
        let Some(table) = public.and_then(|it| it.get(&profile)?.as_mapping()) else {
            return Err(wrong(format!(
                "cloud `{name}` of {place} has the profile `{profile}`, which no \
                 `clouds-public.yaml` has: write its `auth_url` and regions out"
            )));
        };
        lay(table, &mut cloud, false);
    }
    Ok((cloud, place))
}

/// Lays a table over another, or under it.
fn lay(from: &Mapping, to: &mut Mapping, over: bool) {
    for (key, value) in from {
        match (value, to.get_mut(key)) {
            (Value::Mapping(from), Some(Value::Mapping(to))) => lay(from, to, over),
            (_, Some(there)) if over => *there = value.clone(),
            (_, Some(_)) => {}
            (_, None) => {
                to.insert(key.clone(), value.clone());
            }
        }
    }
}

fn from_environment(env: &Environment) -> Mapping {
    let mut auth = Mapping::new();
    let value = |key: &str| {
        let value = env.get(&format!("OS_{}", key.to_ascii_uppercase()))?;
        (!value.is_empty()).then(|| Value::from(value.clone()))
    };
    for key in VARIABLES {
        if let Some(value) = value(key) {
            auth.insert(Value::from(key), value);
        }
    }
    let mut cloud = Mapping::new();
    cloud.insert(Value::from("auth"), Value::Mapping(auth));
    for key in ["auth_type", "interface", "cacert", "region_name"] {
        if let Some(value) = value(key) {
            cloud.insert(Value::from(key), value);
        }
    }
    cloud
}

/// The text of a scalar. YAML makes numbers of passwords that look like them.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

/// A cloud's table as an account; all that is wrong at once.
fn check(
    name: String,
    cloud: &Mapping,
    place: &str,
    region: Option<&String>,
    interface: Option<&String>,
) -> Result<Account, CloudError> {
    let mut faults = Vec::new();
    let top = |key: &str| cloud.get(key).and_then(scalar);
    let nothing = Mapping::new();
    let auth = cloud
        .get("auth")
        .and_then(Value::as_mapping)
        .unwrap_or(&nothing);
    let get = |key: &str| auth.get(key).and_then(scalar);
    let auth_url = get("auth_url").unwrap_or_else(|| {
        faults.push("`auth_url` is missing".to_owned());
        String::new()
    });
    let http = auth_url.starts_with("http://") || auth_url.starts_with("https://");
    if !auth_url.is_empty() && !http {
        faults.push(format!("`auth_url` is `{auth_url}`, and not `https://...`"));
    }
    if top("verify").is_some_and(|verify| verify == "false") {
        faults.push(
            "`verify: false` would send the password to anybody: name the authority's certificate \
             in `cacert`"
                .to_owned(),
        );
    }
    for key in ["cert", "key"] {
        if top(key).is_some() {
            faults.push(format!("`{key}`: skep has no client certificates"));
        }
    }
    let interface = interface.cloned();
    let interface = interface.or_else(|| top("interface").or_else(|| top("endpoint_type")));
    let interface = interface.map(|it| it.trim_end_matches("URL").to_owned());
    if let Some(bad) = &interface
        && !["public", "internal", "admin"].contains(&bad.as_str())
    {
        faults.push(format!(
            "the interface `{bad}` is none of public, internal and admin"
        ));
    }
    let regions = cloud.get("regions").and_then(Value::as_sequence);
    let first = regions.and_then(|list| {
        let first = list.first()?;
        scalar(first).or_else(|| scalar(first.get("name")?))
    });
    let region = region.cloned().or_else(|| top("region_name")).or(first);
    let login = login(&get, top("auth_type"), &mut faults);
    let endpoints: BTreeMap<String, String> = cloud
        .iter()
        .filter_map(|(key, value)| {
            let service = key.as_str()?.strip_suffix("_endpoint_override")?;
            Some((service.replace('_', "-"), scalar(value)?))
        })
        .collect();
    let (Some(login), true) = (login, faults.is_empty()) else {
        let what = if name == ENVIRONMENT {
            String::new()
        } else {
            format!("cloud `{name}`: ")
        };
        return Err(wrong(format!("{place}: {what}{}", faults.join("; "))));
    };
    let project = match login {
        Login::Application { .. } => None,
        Login::Password { .. } | Login::Token(_) => project(&get),
    };
    Ok(Account {
        name,
        auth_url,
        login,
        project,
        region,
        interface,
        cacert: top("cacert").map(PathBuf::from),
        endpoints,
    })
}

fn project(get: &dyn Fn(&str) -> Option<String>) -> Option<Project> {
    let id = get("project_id").or_else(|| get("tenant_id"));
    let name = get("project_name").or_else(|| get("tenant_name"));
    let project = id.map(NameOrId::Id).or_else(|| name.map(NameOrId::Name))?;
    let domain = get("project_domain_id").or_else(|| get("domain_id"));
    let domain_name = get("project_domain_name").or_else(|| get("domain_name"));
    let domain = domain
        .map(NameOrId::Id)
        .or_else(|| domain_name.map(NameOrId::Name));
    Some(Project {
        project,
        domain: domain.unwrap_or_else(|| NameOrId::Name("Default".to_owned())),
    })
}

fn login(
    get: &dyn Fn(&str) -> Option<String>,
    kind: Option<String>,
    faults: &mut Vec<String>,
) -> Option<Login> {
    let kind = kind.unwrap_or_else(|| {
        let kind = if get("application_credential_secret").is_some() {
            "v3applicationcredential"
        } else if get("token").is_some() {
            "token"
        } else {
            "password"
        };
        kind.to_owned()
    });
    let mut need = |key: &str| {
        let value = get(key);
        if value.is_none() {
            faults.push(format!("`{key}` is missing"));
        }
        value
    };
    match kind.as_str() {
        "password" | "v3password" => {
            let (user, password) = (need("username"), need("password"));
            let domain = get("user_domain_name").or_else(|| get("domain_name"));
            let domain = match (domain, get("user_domain_id").or_else(|| get("domain_id"))) {
                (Some(name), _) => name,
                // Keystone's first domain has this ID and that name.
                (None, Some(id)) if id == "default" => "Default".to_owned(),
                (None, None) => "Default".to_owned(),
                (None, Some(_)) => {
                    faults.push(
                        "`user_domain_id` is not understood: write `user_domain_name`".to_owned(),
                    );
                    return None;
                }
            };
            Some(Login::Password {
                user: user?,
                domain,
                password: SecretString::from(password?),
            })
        }
        "v3applicationcredential" => {
            let secret = need("application_credential_secret");
            let who = match get("application_credential_id") {
                Some(id) => Some(Application::Id(id)),
                None => match get("application_credential_name") {
                    None => {
                        faults.push("`application_credential_id` is missing".to_owned());
                        None
                    }
                    Some(name) => need("user_id").map(|user| Application::Name { name, user }),
                },
            };
            Some(Login::Application {
                who: who?,
                secret: SecretString::from(secret?),
            })
        }
        "token" | "v3token" => need("token").map(|token| Login::Token(SecretString::from(token))),
        other => {
            faults.push(format!(
                "the `auth_type` `{other}` is none of password, v3applicationcredential and token"
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret as _;

    use super::super::files::parse;
    use super::*;

    const CLOUDS: &str = "
clouds:
  plain:
    region_name: one
    auth: {auth_url: 'https://keys.example/v3', username: me, password: 12345, project_name: p,
           user_domain_id: default, project_domain_name: Corp}
  typed:
    auth_type: v3password
    interface: internalURL
    auth: {auth_url: 'https://keys.example/v3', username: me, project_id: abc}
  app:
    auth_type: v3applicationcredential
    auth: {auth_url: 'https://keys.example', application_credential_id: id}
    network_endpoint_override: https://net.example/
  bad:
    verify: false
    interface: sideways
    auth: {username: me}
  odd:
    auth_type: v3oidcpassword
    auth: {auth_url: 'https://keys.example'}
  vendor:
    profile: big
    auth: {username: me, password: secret-word}
";
    const SECURE: &str = "
clouds:
  typed: {auth: {password: secret-word}}
  app: {auth: {application_credential_secret: secret-word}}
";
    const PUBLIC: &str = "
public-clouds:
  big: {region_name: far, auth: {auth_url: 'https://big.example', username: nobody}}
";

    fn files() -> Files {
        let read = |name: &str, text| {
            let path = Path::new("/home/me").join(name);
            let mapping = parse(&path, text).unwrap();
            Some((path, mapping))
        };
        Files {
            clouds: read("clouds.yaml", CLOUDS),
            secure: read("secure.yaml", SECURE),
            public: read("clouds-public.yaml", PUBLIC),
            looked: Vec::new(),
        }
    }

    fn get(cloud: &str) -> Result<Account, CloudError> {
        let wanted = Wanted {
            cloud: Some(cloud.to_owned()),
            ..Wanted::default()
        };
        account(&wanted, &Environment::new(), &files())
    }

    fn env(pairs: &[(&str, &str)]) -> Environment {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    #[test]
    fn a_password_may_look_like_a_number_and_a_domain_be_given_by_its_id() {
        let account = get("plain").unwrap();
        let Login::Password {
            user,
            domain,
            password,
        } = &account.login
        else {
            panic!("{account:?}");
        };
        assert_eq!((user.as_str(), domain.as_str()), ("me", "Default"));
        assert_eq!(password.expose_secret(), "12345");
        let project = account.project.unwrap();
        assert_eq!(project.project, NameOrId::Name("p".to_owned()));
        assert_eq!(project.domain, NameOrId::Name("Corp".to_owned()));
        assert_eq!(account.region.as_deref(), Some("one"));
    }

    #[test]
    fn the_secure_file_is_laid_over_and_a_profile_under() {
        let account = get("typed").unwrap();
        assert!(matches!(&account.login, Login::Password { password, .. }
            if password.expose_secret() == "secret-word"));
        assert_eq!(account.interface.as_deref(), Some("internal"));
        let account = get("app").unwrap();
        assert!(
            matches!(&account.login, Login::Application { who: Application::Id(id), .. }
            if id == "id")
        );
        assert!(account.project.is_none());
        assert_eq!(account.endpoints["network"], "https://net.example/");
        let account = get("vendor").unwrap();
        assert_eq!(account.auth_url, "https://big.example");
        assert_eq!(account.region.as_deref(), Some("far"));
        assert!(matches!(account.login, Login::Password { user, .. } if user == "me"));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let error = get("bad").unwrap_err().to_string();
        for part in [
            "/home/me/clouds.yaml",
            "cloud `bad`",
            "`auth_url` is missing",
            "`cacert`",
            "`sideways`",
            "`password` is missing",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = get("odd").unwrap_err().to_string();
        assert!(error.contains("`v3oidcpassword` is none of"), "{error}");
    }

    #[test]
    fn a_cloud_that_is_not_there_names_those_that_are() {
        let error = get("prod").unwrap_err().to_string();
        assert!(
            error.contains("`/home/me/clouds.yaml` has no cloud `prod`"),
            "{error}"
        );
        assert!(error.contains("`plain`, `typed`, `app`"), "{error}");
        let error = account(&Wanted::default(), &Environment::new(), &files()).unwrap_err();
        assert!(error.to_string().contains("no cloud is named"), "{error}");
        let error = account(&Wanted::default(), &Environment::new(), &Files::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("nor is there a `clouds.yaml`"), "{error}");
    }

    #[test]
    fn the_environment_is_a_cloud_of_its_own() {
        let env = env(&[
            ("OS_AUTH_URL", "https://env.example"),
            ("OS_USERNAME", "me"),
            ("OS_PASSWORD", "secret-word"),
            ("OS_PROJECT_NAME", "p"),
            ("OS_REGION_NAME", "two"),
        ]);
        let from = account(&Wanted::default(), &env, &files()).unwrap();
        assert_eq!(from.auth_url, "https://env.example");
        assert_eq!(from.region.as_deref(), Some("two"));
        let wanted = Wanted {
            cloud: Some("plain".to_owned()),
            ..Wanted::default()
        };
        let named = account(&wanted, &env, &files()).unwrap();
        assert_eq!(named.auth_url, "https://keys.example/v3");
        assert_eq!(named.region.as_deref(), Some("two"));
    }

    #[test]
    fn no_secret_is_shown() {
        for cloud in ["plain", "typed", "app", "vendor"] {
            let shown = format!("{:?}", get(cloud).unwrap());
            assert!(
                !shown.contains("secret-word") && !shown.contains("12345"),
                "{shown}"
            );
        }
        let error =
            parse(Path::new("secure.yaml"), "a: [secret-word\nb: {secret-word").unwrap_err();
        assert!(!error.to_string().contains("secret-word"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
