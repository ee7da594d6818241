//! Reads what hosts say of their mounts.

use std::collections::BTreeSet;

use super::Answers;
use crate::facts::MountFacts;
use crate::known::Known;

/// What is mounted on `target`, asked as number `index`.
pub(super) fn mount(answers: &Answers<'_>, index: usize, target: &str) -> Known<MountFacts> {
    answers.read(&format!("mount{index}"), |section| {
        let text = section.text();
        let mut facts = MountFacts::default();
        for line in text.lines() {
            if let Some(answer) = line.strip_prefix("answer ") {
                facts.stale = stale(answer);
            } else if let Some((kind, source)) = mounted(line, target) {
                // The last one lies on top.
                if kind == "autofs" {
                    facts.automount = true;
                    facts.mounted = None;
                } else {
                    facts.mounted = Some((kind.to_owned(), unescape(source)));
                }
            }
        }
        text.contains("answer ").then_some(facts)
    })
}

/// The type and source of a line of `/proc/self/mountinfo` (proc(5)) whose mount point is `target`.
fn mounted<'a>(line: &'a str, target: &str) -> Option<(&'a str, &'a str)> {
    let point = line.split(' ').nth(4)?;
    let (_, tail) = line.split_once(" - ")?;
    let mut words = tail.split(' ');
    let (kind, source) = (words.next()?, words.next()?);
    (unescape(point) == target).then_some((kind, source))
}

/// The kernel writes blanks, tabs, line feeds and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// Why there is no answer, by the status and words of the program that asked.
fn stale(answer: &str) -> Option<String> {
    let (status, said) = answer.split_once(' ').unwrap_or((answer, ""));
    // The text begins with the program's name and the folder, which the reader knows.
    let said = said.trim().rsplit(": ").next().unwrap_or_default();
    match status {
        "0" | "unasked" => None,
        "none" => Some("it does not answer, and a process that asked it still waits".to_owned()),
        "124" | "137" => Some("it does not answer".to_owned()),
        _ if said.is_empty() => Some(format!("it does not answer (status {status})")),
        _ => Some(format!("it does not answer: {said}")),
    }
}

/// The units of mounts that are skep's.
pub(super) fn units(answers: &Answers<'_>) -> Known<BTreeSet<String>> {
    let names = answers.read("mountunits", |section| {
        let text = section.text();
        let names = text.lines().filter(|line| !line.is_empty());
        Some(
            names
                .filter_map(|path| Some(path.rsplit_once('/')?.1.to_owned()))
                .collect(),
        )
    });
    match names {
        // A host without the folder has no unit in it.
        Known::Absent => Known::Value(BTreeSet::new()),
        other => other,
    }
}
