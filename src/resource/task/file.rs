//! Files and folders.

use secrecy::ExposeSecret as _;

use crate::facts::File as FileFacts;
use crate::known::Known;
use crate::plan::{Diff, HostCall, ServiceAction, Step};
use crate::playbook::{Content, Directory, FILE_LIMIT, File};
use crate::resource::kernel::unknown;
use crate::resource::{Draft, Verdict, text_diff, value_diff};
use crate::template::Vars;

use super::{Scene, SecretValues, is_folder, succeeds};

/// Where it is written down that a unit must still be restarted for a file that has changed: a run
/// that ends between the two owes it to the next.
pub(super) fn marker(unit: &str) -> String {
    format!("/var/lib/skep/restart/{unit}")
}

pub(super) fn file(file: &File, scene: &Scene<'_>) -> Verdict {
    let path = &file.path.value;
    let there = match scene.facts.files.get(path) {
        Some(Known::Value(there)) => Some(there),
        Some(Known::Absent) => None,
        other => return Verdict::Unknown(unknown("file", path, other)),
    };
    let mut diff = Vec::new();
    let mut steps = Vec::new();
    let summary = match &file.content {
        None => {
            if let Some(there) = there {
                let old = there.content.as_deref();
                diff.push(Diff::Value {
                    name: path.clone(),
                    old: Some(old.map_or("a file", |_| "a text").to_owned()),
                    new: None,
                });
                steps.push(Step::RemoveFile { path: path.clone() });
            }
            format!("remove {path}")
        }
        Some(content) => {
            match write(file, content, there, scene.secrets) {
                Ok((found, step)) => {
                    diff = found;
                    steps.extend(step);
                }
                Err(why) => return Verdict::Unknown(why),
            }
            format!("write {path}")
        }
    };
    let Some(unit) = file.restart.as_ref().map(|unit| unit.value.clone()) else {
        return verdict(summary, diff, steps);
    };
    let marker = marker(&unit);
    let owed = match scene.facts.files.get(&marker) {
        Some(Known::Value(_)) => true,
        Some(Known::Absent) => false,
        other => return Verdict::Unknown(unknown("file", &marker, other)),
    };
    if steps.is_empty() && !owed {
        return Verdict::Same;
    }
    let summary = if steps.is_empty() {
        format!("restart {unit}, which an earlier run did not come to")
    } else {
        let content = format!("{path} has changed\n");
        let mode = 0o600;
        let path = marker.clone();
        steps.insert(
            0,
            Step::WriteFile {
                path,
                content,
                mode,
            },
        );
        format!("{summary} and restart {unit}")
    };
    let action = ServiceAction::Restart;
    steps.push(Step::Service { unit, action });
    steps.push(Step::RemoveFile { path: marker });
    verdict(summary, diff, steps)
}

fn verdict(summary: String, diff: Vec<Diff>, steps: Vec<Step>) -> Verdict {
    if steps.is_empty() {
        return Verdict::Same;
    }
    Verdict::Change(Draft::safe(summary, diff, steps))
}

/// What differs, and the step that writes the file.
fn write(
    file: &File,
    content: &Content,
    there: Option<&FileFacts>,
    secrets: &SecretValues,
) -> Result<(Vec<Diff>, Option<Step>), String> {
    let path = &file.path.value;
    let secret = !content.secrets.is_empty();
    let wanted = if secret {
        let vars = with_secrets(&content.vars, secrets);
        // What the error says of a value is nothing: it has none in it.
        let rendered = content.text.render(&vars);
        rendered.map_err(|error| error.to_string())?
    } else {
        content.text.value.clone()
    };
    if wanted.len() > FILE_LIMIT {
        let most = FILE_LIMIT / 1024;
        return Err(format!("{path} would have more than {most} KiB"));
    }
    let mut diff = Vec::new();
    let old = there.map(|there| there.content.as_deref());
    if old != Some(Some(wanted.as_str())) {
        diff.push(match old {
            _ if secret => {
                let old = old.map(|_| "another one, not shown");
                value_diff(path, old, "with secrets, not shown")
            }
            Some(None) => value_diff(path, Some("no text of up to 256 KiB"), "a text"),
            old => text_diff(path, old.flatten(), &wanted),
        });
    }
    let owner = format!("{}:{}", file.owner.value, file.group.value);
    // What a new file of root's has anyway need not be told.
    if there.is_some() || (file.mode, owner.as_str()) != (0o644, "root:root") {
        diff.extend(rights(there, file.mode, &owner));
    }
    if diff.is_empty() {
        return Ok((diff, None));
    }
    let (path, mode) = (path.clone(), file.mode);
    let step = if secret {
        HostCall::RenderFile {
            path,
            template: content.text.clone(),
            vars: content.vars.clone(),
            secrets: content.secrets.clone(),
            mode,
            owner,
        }
    } else {
        HostCall::PutFile {
            path,
            content: wanted,
            mode,
            owner,
        }
    };
    Ok((diff, Some(Step::Host(step))))
}

/// The variables of a template with the secrets among them.
fn with_secrets(vars: &Vars, secrets: &SecretValues) -> Vars {
    let secrets = secrets.iter().map(|(name, secret)| {
        let value = secret.expose_secret().to_owned();
        (name.clone(), value.into())
    });
    vars.clone().into_iter().chain(secrets).collect()
}

/// What differs in permissions and owner. Numbers are as good as names.
fn rights(there: Option<&FileFacts>, mode: u32, owner: &str) -> Vec<Diff> {
    let mut diff = Vec::new();
    let old = there.map(|there| format!("{:04o}", there.mode));
    let new = format!("{mode:04o}");
    if old.as_deref() != Some(&new) {
        diff.push(value_diff("mode", old.as_deref(), &new));
    }
    let old = there.map(|there| there.owner.as_str());
    if old != Some(owner) {
        diff.push(value_diff("owner", old, owner));
    }
    diff
}

pub(super) fn directory(directory: &Directory, scene: &Scene<'_>) -> Verdict {
    let path = &directory.path.value;
    let there = match scene.facts.files.get(path) {
        Some(Known::Value(there)) => Some(there),
        Some(Known::Absent) => None,
        other => return Verdict::Unknown(unknown("folder", path, other)),
    };
    match succeeds(scene.facts, &is_folder(path)) {
        Ok(false) if there.is_some() => {
            return Verdict::Refuse {
                why: format!("`{path}` is there and is no folder"),
                hint: "Look at it on the host, and move it away if it is not needed.".to_owned(),
            };
        }
        Ok(_) => {}
        Err(why) => return Verdict::Unknown(why),
    }
    let owner = format!("{}:{}", directory.owner.value, directory.group.value);
    let diff = rights(there, directory.mode, &owner);
    if diff.is_empty() {
        return Verdict::Same;
    }
    let step = HostCall::MakeDirectory {
        path: path.clone(),
        mode: directory.mode,
        owner,
    };
    let verb = if there.is_some() { "change" } else { "make" };
    let summary = format!("{verb} the folder {path}");
    Verdict::Change(Draft::safe(summary, diff, vec![Step::Host(step)]))
}
