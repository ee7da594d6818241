//! Docker's own package repository, for `source = "docker-ce"`.

use crate::facts::{HostFacts, Os, Probe, Probes};
use crate::inventory::{Docker, DockerSource};
use crate::known::Known;
use crate::plan::Step;

use super::kernel::unknown;
use super::{Draft, Resource, Verdict, text_diff, value_diff};

/// Where Docker's manual puts the key and the source:
/// <https://docs.docker.com/engine/install/debian/>.
const KEY: &str = "/etc/apt/keyrings/docker.asc";
const SOURCES: &str = "/etc/apt/sources.list.d/docker.sources";
const UPSTREAM: &str = "https://download.docker.com/linux";

/// Docker's package repository.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a> {
    docker: &'a Docker,
}

impl<'a> Repository<'a> {
    /// The repository that these settings ask for.
    pub fn new(docker: &'a Docker) -> Self {
        Self { docker }
    }

    fn sources(&self, os: &Os) -> String {
        let root = self.root();
        format!(
            "Types: deb\nURIs: {root}/{}\nSuites: {}\nComponents: stable\nArchitectures: {}\nSigned-By: {KEY}\n",
            family(os),
            os.codename,
            os.arch,
        )
    }

    /// Whether an entry of APT's source list is for Docker's repository, or the one in its place.
    fn is_ours(&self, entry: &str) -> bool {
        [UPSTREAM, self.root()].iter().any(|root| {
            let root = root.split_once("://").map_or(*root, |(_, rest)| rest);
            entry.contains(&format!("{root}/"))
        })
    }

    fn root(&self) -> &str {
        let root = self.docker.repository.as_deref().unwrap_or(UPSTREAM);
        root.trim_end_matches('/')
    }
}

/// What a file of APT's source list says, one text for each entry: lines of the one-line form,
/// paragraphs of the other. What is commented out or disabled is no entry.
fn entries(path: &str, text: &str) -> Vec<String> {
    let said = |line: &&str| !line.trim_start().starts_with('#');
    if !path.ends_with(".sources") {
        let lines = text.lines().filter(said).map(str::trim);
        return lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let lines: Vec<&str> = text.lines().filter(said).map(str::trim_end).collect();
    let paragraphs = lines.split(|line| line.is_empty());
    paragraphs
        .map(|lines| lines.join("\n"))
        .filter(|entry| !entry.is_empty() && !entry.to_ascii_lowercase().contains("enabled: no"))
        .collect()
}

/// Which of Docker's repositories serves an operating system.
fn family(os: &Os) -> &str {
    match os.id.as_str() {
        "ubuntu" | "debian" | "raspbian" => &os.id,
        _ if os.like.iter().any(|like| like == "ubuntu") => "ubuntu",
        _ => "debian",
    }
}

impl Resource for Repository<'_> {
    fn name(&self) -> &'static str {
        "docker.repository"
    }

    fn probes(&self) -> Probes {
        if self.docker.source != DockerSource::DockerCe {
            return Probes::new();
        }
        Probes::from([
            Probe::Os,
            Probe::AptSources,
            Probe::File(KEY.to_owned()),
            Probe::File(SOURCES.to_owned()),
        ])
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        if self.docker.source != DockerSource::DockerCe {
            return Verdict::Same;
        }
        let Known::Value(os) = &facts.os else {
            return Verdict::Unknown(unknown("operating system", "os-release", Some(&facts.os)));
        };
        let mut diff = Vec::new();
        let mut steps = Vec::new();
        let brought = self.docker.repository_key_text.as_deref();
        match facts.files.get(KEY) {
            // One that was fetched is kept: a repository that shows another key from one day to
            // the next is for a person to judge.
            Some(Known::Value(file))
                if brought.is_none_or(|new| file.content.as_deref() == Some(new)) => {}
            Some(known @ (Known::Absent | Known::Value(_))) => {
                let url = format!("{}/{}/gpg", self.root(), family(os));
                let origin = match brought {
                    Some(_) => "the key of `repository-key`".to_owned(),
                    None => format!("the key of {url}"),
                };
                let old = known.value().map(|_| "another key");
                diff.push(value_diff(KEY, old, &origin));
                steps.push(brought.map_or_else(
                    || Step::FetchKey {
                        url,
                        path: KEY.to_owned(),
                    },
                    write_key,
                ));
            }
            other => return Verdict::Unknown(unknown("file", KEY, other)),
        }
        // Two entries for one repository with different keys are an error of APT's, so an older
        // one-line list goes before the new source comes.
        let Known::Value(lists) = &facts.apt_sources else {
            return Verdict::Unknown(unknown(
                "package sources",
                "sources.list.d",
                Some(&facts.apt_sources),
            ));
        };
        for (path, text) in lists.iter().filter(|(path, _)| *path != SOURCES) {
            let entries = entries(path, text);
            let ours = entries.iter().filter(|entry| self.is_ours(entry)).count();
            if ours == 0 {
                continue;
            }
            if ours < entries.len() {
                return Verdict::Refuse {
                    why: format!(
                        "`{path}` lists Docker's repository among others, and APT accepts no second entry for it"
                    ),
                    hint: format!(
                        "Remove Docker's entry from `{path}` on the host; skep writes `{SOURCES}`."
                    ),
                };
            }
            diff.push(text_diff(path, Some(text), ""));
            steps.push(Step::MoveAside { path: path.clone() });
        }
        let wanted = self.sources(os);
        match facts.files.get(SOURCES) {
            Some(Known::Value(file)) if file.content.as_deref() == Some(&wanted) => {}
            Some(Known::Value(file)) => {
                diff.push(text_diff(SOURCES, file.content.as_deref(), &wanted));
                steps.push(write_sources(&wanted));
            }
            Some(Known::Absent) => {
                diff.push(text_diff(SOURCES, None, &wanted));
                steps.push(write_sources(&wanted));
            }
            other => return Verdict::Unknown(unknown("file", SOURCES, other)),
        }
        if steps.is_empty() {
            return Verdict::Same;
        }
        steps.push(Step::RefreshPackages);
        Verdict::Change(Draft::safe("add Docker's package repository", diff, steps))
    }
}

fn write_key(text: &str) -> Step {
    Step::WriteFile {
        path: KEY.to_owned(),
        content: text.to_owned(),
        mode: 0o644,
    }
}

fn write_sources(text: &str) -> Step {
    Step::WriteFile {
        path: SOURCES.to_owned(),
        content: text.to_owned(),
        mode: 0o644,
    }
}
