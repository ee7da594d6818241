//! What the README and the pages under `docs/` say is what skep does: their command lines parse,
//! their links lead somewhere, their inventories pass the check, and they name every key.
//!
//! What they say of hosts is proved on hosts, by `tests/lab.rs`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use skep::playbook::Verb;

/// What makes a part of an inventory whole.
const CLUSTER: &str = "[cluster]\nname = \"docs\"\n";
const HOST: &str = "[[host]]\nname = \"m1\"\naddress = \"192.0.2.1\"\nrole = \"manager\"\n";

/// A page and its text.
struct Page {
    path: PathBuf,
    text: String,
}

/// A fenced block of a page.
struct Block<'a> {
    /// What follows the fence, such as `console` or `toml fragment`.
    info: &'a str,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| Page {
        text: fs::read_to_string(&path).unwrap(),
        path,
    };
    paths.into_iter().map(read).collect()
}

impl Page {
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<Block<'_>> = None;
        for line in self.text.lines() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(info), None) => {
                    let text = String::new();
                    open = Some(Block { info, text });
                }
                (None, Some(mut block)) => {
                    block.text.extend([line, "\n"]);
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(
            open.is_none(),
            "{}: a block has no end",
            self.path.display()
        );
        blocks
    }

    /// The text outside fenced blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let outside = |line: &&str| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        };
        self.text
            .lines()
            .filter(outside)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What stands between single backticks.
    fn quoted(&self) -> Vec<String> {
        let prose = self.prose();
        let parts = prose.split('`').enumerate();
        let inside = parts.filter(|(place, _)| place % 2 == 1);
        inside.map(|(_, text)| text.replace('\n', " ")).collect()
    }
}

/// The calls of skep in a line of a shell, as their arguments with the program's name.
fn calls(line: &str) -> Vec<Vec<String>> {
    let words = shell_words::split(line).unwrap();
    let commands = words.split(|word| ["|", "&&", ";"].contains(&word.as_str()));
    let of_skep = |command: &[String]| {
        let command: Vec<String> = command
            .iter()
            .take_while(|word| *word != ">")
            .cloned()
            .collect();
        match command.iter().position(|word| word == "--") {
            Some(end) if command.starts_with(&["cargo".into(), "run".into()]) => {
                let rest = command[end + 1..].iter().cloned();
                Some(["skep".to_owned()].into_iter().chain(rest).collect())
            }
            _ if command.first().is_some_and(|name| name == "skep") => Some(command),
            _ => None,
        }
    };
    commands.filter_map(of_skep).collect()
}

#[test]
fn every_command_line_parses() {
    let mut count = 0;
    for page in pages() {
        let blocks = page.blocks();
        let consoles = blocks.iter().filter(|block| block.info == "console");
        let typed = consoles.flat_map(|block| block.text.lines());
        let typed = typed.filter_map(|line| line.strip_prefix("$ "));
        let quoted = page.quoted();
        // A verb alone in a sentence stands for the verb, whatever it needs.
        let spoken = quoted.iter().map(String::as_str);
        let spoken = spoken.filter(|text| text.split_whitespace().count() > 2);
        let spoken = spoken.filter(|text| text.starts_with("skep ") && !text.contains("..."));
        for line in typed.chain(spoken) {
            for call in calls(line) {
                count += 1;
                if let Err(error) = skep::cli::command().try_get_matches_from(&call) {
                    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
                    let shown = matches!(error.kind(), DisplayHelp | DisplayVersion);
                    assert!(shown, "{}: `{line}`: {error}", page.path.display());
                }
            }
        }
    }
    assert!(count > 50, "only {count} command lines were found");
}

#[test]
fn every_verb_in_the_prose_is_one() {
    let command = skep::cli::command();
    for page in pages() {
        for text in page.quoted() {
            let mut words = text.split_whitespace();
            let (Some("skep"), Some(verb)) = (words.next(), words.next()) else {
                continue;
            };
            assert!(
                verb.starts_with('-') || command.find_subcommand(verb).is_some(),
                "{}: `{text}` is no command of skep",
                page.path.display()
            );
        }
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for page in pages() {
        let prose = page.prose();
        let targets = prose.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let path = page.path.parent().unwrap().join(file);
            assert!(path.exists(), "{}: `{target}`", page.path.display());
        }
    }
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for page in pages() {
        let path = page.path.strip_prefix(root()).unwrap();
        let link = format!("]({})", path.display());
        assert!(
            path == Path::new("README.md") || readme.contains(&link),
            "the README has no link to {}",
            path.display()
        );
    }
}

#[test]
fn every_inventory_passes_the_check() {
    for page in pages() {
        for block in page.blocks() {
            let whole: Vec<String> = match block.info {
                "toml" => vec![block.text],
                "toml fragment" => vec![complete(&block.text)],
                "toml ssh" => {
                    let lines = block.text.lines();
                    let settings =
                        lines.map(|line| complete(&format!("[ssh]\nbecome = true\n{line}\n")));
                    settings.collect()
                }
                "toml playbook" => {
                    assert_playbook(Verb::Run, &page.path, block.text);
                    continue;
                }
                "toml playbook shutdown" => {
                    assert_playbook(Verb::Shutdown, &page.path, block.text);
                    continue;
                }
                other => {
                    let known = ["", "console"].contains(&other);
                    assert!(known, "{}: a block of `{other}`", page.path.display());
                    continue;
                }
            };
            for text in whole {
                let (inventory, findings) = skep::inventory::parse(&text, Path::new("skep.toml"));
                let messages: Vec<&str> = findings.iter().map(|it| it.message.as_str()).collect();
                assert!(
                    inventory.is_some(),
                    "{}: {messages:?} in\n{text}",
                    page.path.display()
                );
            }
        }
    }
}

fn assert_playbook(verb: Verb, page: &Path, text: String) {
    let none = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let path = Path::new("p.toml");
    let source = skep::playbook::parse_for(verb, text.into_bytes(), path, &none, None);
    assert_eq!(source.diagnostics, [], "{}", page.display());
    assert!(source.playbook.is_some());
}

fn complete(part: &str) -> String {
    let mut text = part.to_owned();
    for (heading, rest) in [("[cluster]", CLUSTER), ("[[host]]", HOST)] {
        if !part.contains(heading) {
            text.push_str(rest);
        }
    }
    text
}

#[test]
fn the_keys_that_are_told_are_those_of_the_schema() {
    assert_keys("schema/inventory.json", "docs/inventory.md", 30);
    assert_keys("schema/playbook.json", "docs/playbooks.md", 20);
}

fn assert_keys(schema: &str, page: &str, least: usize) {
    let schema = fs::read_to_string(root().join(schema)).unwrap();
    let mut keys = BTreeSet::new();
    collect_keys(&serde_json::from_str(&schema).unwrap(), &mut keys);
    let path = root().join(page);
    let text = fs::read_to_string(&path).unwrap();
    let page = Page { path, text };

    let words: BTreeSet<String> = page
        .text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .map(str::to_owned)
        .collect();
    for key in &keys {
        assert!(words.contains(key), "`{key}` is not told");
    }

    let mut in_table = false;
    let mut told = 0;
    for line in page.text.lines() {
        in_table = line.starts_with("| key |") || (in_table && line.starts_with('|'));
        let cell = line.split('|').nth(1).filter(|_| in_table);
        let names = cell.unwrap_or_default().split('`').skip(1).step_by(2);
        for name in names {
            told += 1;
            assert!(keys.contains(name), "`{name}` is told, and is no key");
        }
    }
    assert!(told > least, "only {told} keys were found in the tables");
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            object.values().for_each(|it| collect_keys(it, keys));
        }
        Value::Array(list) => list.iter().for_each(|it| collect_keys(it, keys)),
        _ => {}
    }
}
