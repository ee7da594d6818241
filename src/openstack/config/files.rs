//! Finding and reading the files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::{Environment, wrong};
use crate::openstack::CloudError;

/// The files, where they are.
#[derive(Default)]
pub(super) struct Files {
    /// `clouds.yaml`.
    pub(super) clouds: Option<(PathBuf, Mapping)>,
    /// `secure.yaml`, which is laid over it.
    pub(super) secure: Option<(PathBuf, Mapping)>,
    /// `clouds-public.yaml`, which has the profiles.
    pub(super) public: Option<(PathBuf, Mapping)>,
    /// Where `clouds.yaml` was looked for.
    pub(super) looked: Vec<PathBuf>,
}

impl Files {
    /// Reads them. The first of each name counts, as for the other clients of OpenStack.
    pub(super) fn read(given: Option<&Path>, env: &Environment) -> Result<Self, CloudError> {
        let clouds = match given {
            Some(path) if path.exists() => vec![path.to_owned()],
            Some(path) => {
                return Err(wrong(format!("`{}` is not there", path.display())));
            }
            None => places(env, "OS_CLIENT_CONFIG_FILE", "clouds")?,
        };
        let secure = places(env, "OS_CLIENT_SECURE_FILE", "secure")?;
        let public = places(env, "OS_CLIENT_VENDOR_FILE", "clouds-public")?;
        Ok(Self {
            clouds: first(&clouds)?,
            secure: first(&secure)?,
            public: first(&public)?,
            looked: clouds,
        })
    }
}

/// Where a file may be. One that a variable names must be there.
fn places(env: &Environment, variable: &str, name: &str) -> Result<Vec<PathBuf>, CloudError> {
    if let Some(path) = env.get(variable).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.exists() {
            let path = path.display();
            return Err(wrong(format!(
                "`${variable}` names `{path}`, which is not there"
            )));
        }
        return Ok(vec![path]);
    }
    let config = env
        .get("XDG_CONFIG_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(env.get("HOME")?).join(".config")));
    let mut folders = vec![PathBuf::from(".")];
    folders.extend(config.map(|folder| folder.join("openstack")));
    folders.push(PathBuf::from("/etc/openstack"));
    let file = |folder: &PathBuf| ["yaml", "yml"].map(|end| folder.join(format!("{name}.{end}")));
    Ok(folders.iter().flat_map(file).collect())
}

fn first(places: &[PathBuf]) -> Result<Option<(PathBuf, Mapping)>, CloudError> {
    for path in places {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(wrong(format!("cannot read `{}`: {error}", path.display())));
            }
        };
        return parse(path, &text).map(|mapping| Some((path.clone(), mapping)));
    }
    Ok(None)
}

/// The text as a table. What is wrong is told by its place: the text may hold secrets.
pub(super) fn parse(path: &Path, text: &str) -> Result<Mapping, CloudError> {
    let path = path.display();
    match serde_yaml::from_str(text) {
        Ok(Value::Mapping(mapping)) => Ok(mapping),
        Ok(Value::Null) => Ok(Mapping::new()),
        Ok(_) => Err(wrong(format!("`{path}` is not a table of `clouds:`"))),
        Err(error) => Err(wrong(match error.location() {
            Some(at) => format!(
                "`{path}` is not YAML at line {}, column {}",
                at.line(),
                at.column()
            ),
            None => format!("`{path}` is not YAML"),
        })),
    }
}
