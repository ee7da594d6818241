//! Which hosts a command is for: `managers`, `web-*`, `w[1-3]`, `@disk=ssd & !w2`.
//!
//! `,` is either, `&` is both, `!` is not; `!` binds closer than `&`, and `&` closer than `,`.
//! Atoms are a host's name, a pattern with `*` and `?`, a range, `all`, `managers`, `workers`,
//! `members` (both), a group by its name or as `%group`, `@label` and `@label=value`. The hosts
//! outside the swarm are `!members`.

use super::{Host, Inventory, Role, nearest, range};
use crate::error::Error;

/// A parsed selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Terms of which one must hold; each is a list of which all must hold.
    any: Vec<Vec<Factor>>,
}

/// An atom, or what it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Factor {
    negated: bool,
    atom: Atom,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Atom {
    All,
    Members,
    Role(Role),
    Label(String, Option<String>),
    Group(String),
    /// A host or a group by name.
    Name(String),
    Pattern(String),
    Names(Vec<String>),
}

/// Why a selector is wrong, or selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it: a sentence.
    pub hint: Option<String>,
}

impl SelectorError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<SelectorError> for Error {
    fn from(error: SelectorError) -> Self {
        let usage = Self::usage(error.message);
        match error.hint {
            Some(hint) => usage.hint(hint),
            None => usage,
        }
    }
}

impl Inventory {
    /// The hosts that `selector` selects, in the order of the file.
    ///
    /// # Errors
    /// The text is no selector, or names something that is not in the inventory, or selects no
    /// host at all.
    pub fn select(&self, selector: &str) -> Result<Vec<&Host>, SelectorError> {
        let hosts = selector.parse::<Selector>()?.select(self)?;
        if hosts.is_empty() {
            return Err(SelectorError::new(format!("`{selector}` selects no host")));
        }
        Ok(hosts)
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut any = Vec::new();
        let terms = split(text, ',');
        for term in &terms {
            let all = split(term, '&');
            let all: Vec<Factor> = all
                .iter()
                .map(|f| factor(f, text))
                .collect::<Result<_, _>>()?;
            any.push(all);
        }
        // `managers,!m2` would be nearly every host: who writes it means something else.
        let only_negated = |all: &Vec<Factor>| all.iter().all(|factor| factor.negated);
        if any.len() > 1 && any.iter().any(only_negated) {
            let joined = terms
                .iter()
                .map(|term| term.trim())
                .collect::<Vec<_>>()
                .join(" & ");
            return Err(SelectorError::new(format!(
                "`{text}` has a `!` on its own beside a comma, which selects nearly every host"
            ))
            .hint(format!("To leave hosts out, write `{joined}`.")));
        }
        Ok(Self { any })
    }
}

/// Splits at `separator` outside brackets, where a comma belongs to a range.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut inside = false;
    text.split(|c| {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        c == separator && !inside
    })
    .collect()
}

fn factor(text: &str, whole: &str) -> Result<Factor, SelectorError> {
    let mut rest = text.trim();
    let mut negated = false;
    while let Some(after) = rest.strip_prefix('!') {
        negated = !negated;
        rest = after.trim_start();
    }
    let atom = atom(rest, whole)?;
    Ok(Factor { negated, atom })
}

fn atom(text: &str, whole: &str) -> Result<Atom, SelectorError> {
    if text.is_empty() {
        let error = SelectorError::new(format!("a name is missing in the selector `{whole}`"));
        return Err(error.hint("Write one such as `managers`, `web-*`, `@disk=ssd & !w2`."));
    }
    if text.contains(['(', ')', '|']) || text.contains(char::is_whitespace) {
        let error = SelectorError::new(format!("`{text}` cannot be read in a selector"));
        return Err(error.hint("`,` is either, `&` is both, `!` is not; there are no parentheses."));
    }
    if let Some(label) = text.strip_prefix('@') {
        return Ok(match label.split_once('=') {
            Some((name, value)) => Atom::Label(name.to_owned(), Some(value.to_owned())),
            None => Atom::Label(label.to_owned(), None),
        });
    }
    if let Some(group) = text.strip_prefix('%') {
        return Ok(Atom::Group(group.to_owned()));
    }
    Ok(match text {
        "all" => Atom::All,
        "members" => Atom::Members,
        "managers" => Atom::Role(Role::Manager),
        "workers" => Atom::Role(Role::Worker),
        "none" => {
            let error = SelectorError::new("`none` is not a selector");
            return Err(error.hint("The hosts outside the swarm are `!members`."));
        }
        "leader" => {
            let error = SelectorError::new("`leader` is not known before the hosts are asked");
            return Err(error.hint("Use `managers`, or name the host that `skep status` shows."));
        }
        _ if range::is_range(text) => Atom::Names(range::expand(text).map_err(|fault| {
            SelectorError::new(format!("bad range in the selector `{text}`: {fault}"))
        })?),
        _ if text.contains(['*', '?']) => Atom::Pattern(text.to_owned()),
        _ => Atom::Name(text.to_owned()),
    })
}

impl Selector {
    /// The hosts that it selects, in the order of the file; none is no error here.
    ///
    /// # Errors
    /// It names a host, group or label that is not in the inventory.
    pub fn select<'a>(&self, inventory: &'a Inventory) -> Result<Vec<&'a Host>, SelectorError> {
        for factor in self.any.iter().flatten() {
            factor.atom.check(inventory)?;
        }
        let holds = |host: &Host, all: &[Factor]| {
            all.iter()
                .all(|factor| factor.atom.holds(host) != factor.negated)
        };
        let selected = |host: &&Host| self.any.iter().any(|all| holds(host, all));
        Ok(inventory.hosts.iter().filter(selected).collect())
    }
}

impl Selector {
    /// Whether it names the host itself, alone or in a range, and so is wrong without it.
    pub(super) fn mentions(&self, host: &str) -> bool {
        let same = |name: &String| name.eq_ignore_ascii_case(host);
        self.any.iter().flatten().any(|factor| match &factor.atom {
            Atom::Name(name) => same(name),
            Atom::Names(names) => names.iter().any(same),
            _ => false,
        })
    }
}

impl Atom {
    fn holds(&self, host: &Host) -> bool {
        match self {
            Self::All => true,
            Self::Members => host.role != Role::None,
            Self::Role(role) => host.role == *role,
            Self::Label(name, None) => host.labels.contains_key(name),
            Self::Label(name, Some(value)) => host.labels.get(name) == Some(value),
            Self::Group(group) => host.groups.contains(group),
            Self::Name(name) => host.name.eq_ignore_ascii_case(name) || host.groups.contains(name),
            Self::Pattern(pattern) => matches(pattern.as_bytes(), host.name.as_bytes()),
            Self::Names(names) => names
                .iter()
                .any(|name| host.name.eq_ignore_ascii_case(name)),
        }
    }

    /// What is named must be there: else a typing error would select nothing without a word.
    fn check(&self, inventory: &Inventory) -> Result<(), SelectorError> {
        let hosts = &inventory.hosts;
        let names = || hosts.iter().map(|host| host.name.as_str());
        let groups = || {
            hosts
                .iter()
                .flat_map(|host| host.groups.iter().map(String::as_str))
        };
        let there = || hosts.iter().any(|host| self.holds(host));
        match self {
            Self::All | Self::Members | Self::Role(_) => Ok(()),
            Self::Names(wanted) => {
                // One pass each way: a range of thousands must not be compared pair by pair.
                let known: std::collections::HashSet<String> =
                    names().map(str::to_ascii_lowercase).collect();
                match wanted
                    .iter()
                    .find(|name| !known.contains(&name.to_ascii_lowercase()))
                {
                    None => Ok(()),
                    Some(name) => Err(unknown("host", name, names())),
                }
            }
            _ if there() => Ok(()),
            Self::Pattern(pattern) => {
                // The letters before the first star are what can be mistyped.
                let literal = pattern.split(['*', '?']).next().unwrap_or_default();
                let beginning = |name: &str| name.chars().take(literal.chars().count()).collect();
                let beginnings: Vec<String> = names().map(beginning).collect();
                let error = SelectorError::new(format!("no host's name is like `{pattern}`"));
                let near = nearest::nearest(literal, beginnings.iter().map(String::as_str));
                let like = near.and_then(|near| names().find(|name| name.starts_with(near)));
                Err(match like {
                    Some(name) => error.hint(format!("There is a host `{name}`.")),
                    None => error.hint(SEE),
                })
            }
            Self::Group(group) => Err(unknown("group with hosts", group, groups())),
            Self::Name(name) => {
                let words = ["all", "managers", "members", "workers"];
                let known = names().chain(groups()).chain(words);
                Err(unknown("host or group", name, known))
            }
            Self::Label(name, value) => {
                let labels = hosts.iter().flat_map(|host| &host.labels);
                let values: Vec<&str> = labels
                    .clone()
                    .filter(|(label, _)| *label == name)
                    .map(|(_, value)| value.as_str())
                    .collect();
                Err(match value {
                    Some(value) if !values.is_empty() => {
                        let values = values.into_iter();
                        unknown(&format!("label `{name}` with the value"), value, values)
                    }
                    _ => unknown("label", name, labels.map(|(label, _)| label.as_str())),
                })
            }
        }
    }
}

/// What to do when nothing is near.
const SEE: &str = "See what there is with `skep inventory --list`.";

fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> SelectorError {
    let error = SelectorError::new(format!("there is no {what} `{name}`"));
    match nearest::nearest(name, known) {
        Some(near) => error.hint(format!("Did you mean `{near}`?")),
        None => error.hint(SEE),
    }
}

/// Whether a name matches a pattern, in which `*` is any text and `?` any one character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when the text after the last `*` does not match: it takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    const TEXT: &str = r#"
        cluster.name = "t"
        cluster.provider = "lab"
        group.ssd = {}
        [[host]]
        name = "m[1-3]"
        role = "manager"
        [[host]]
        name = "web-[1-3]"
        role = "worker"
        labels = { tier = "front" }
        groups = ["ssd"]
        [[host]]
        name = "nas"
        role = "none"
    "#;

    fn inventory() -> Inventory {
        let (inventory, found) = super::super::parse(TEXT, Path::new("t.toml"));
        assert_eq!(found, []);
        inventory.unwrap()
    }

    fn select(selector: &str) -> Result<String, SelectorError> {
        let inventory = inventory();
        let hosts = inventory.select(selector)?;
        Ok(hosts
            .iter()
            .map(|host| host.name.as_str())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn selects() {
        let all = "m1 m2 m3 web-1 web-2 web-3 nas";
        for (selector, hosts) in [
            ("all", all),
            ("managers", "m1 m2 m3"),
            ("workers,nas", "web-1 web-2 web-3 nas"),
            ("!members", "nas"),
            ("managers & !m2", "m1 m3"),
            ("m[1,3]", "m1 m3"),
            ("m[1,3],nas", "m1 m3 nas"),
            ("web-*", "web-1 web-2 web-3"),
            ("?1", "m1"),
            ("*", all),
            ("@tier", "web-1 web-2 web-3"),
            ("@tier=front&!web-[1-2]", "web-3"),
            ("ssd", "web-1 web-2 web-3"),
            ("%ssd", "web-1 web-2 web-3"),
            ("M1", "m1"),
            ("!!m1", "m1"),
        ] {
            assert_eq!(select(selector).as_deref(), Ok(hosts), "{selector}");
        }
    }

    #[test]
    fn refuses_with_the_nearest() {
        let refusals: Vec<String> = [
            "manager",
            "web-9",
            "m[1-4]",
            "wbe-*",
            "@teir",
            "@tier=frnt",
            "%sdd",
            "leader",
            "none",
            "managers,!m2",
            "m1,,m2",
            "",
            "(m1)",
            "m[3-1]",
            "m1 & m2",
        ]
        .into_iter()
        .map(|selector| {
            let error = select(selector).unwrap_err();
            let hint = error.hint.map(|hint| format!(" / {hint}"));
            format!("{selector}: {}{}", error.message, hint.unwrap_or_default())
        })
        .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        manager: there is no host or group `manager` / Did you mean `managers`?
        web-9: there is no host or group `web-9` / Did you mean `web-1`?
        m[1-4]: there is no host `m4` / Did you mean `m1`?
        wbe-*: no host's name is like `wbe-*` / There is a host `web-1`.
        @teir: there is no label `teir` / Did you mean `tier`?
        @tier=frnt: there is no label `tier` with the value `frnt` / Did you mean `front`?
        %sdd: there is no group with hosts `sdd` / Did you mean `ssd`?
        leader: `leader` is not known before the hosts are asked / Use `managers`, or name the host that `skep status` shows.
        none: `none` is not a selector / The hosts outside the swarm are `!members`.
        managers,!m2: `managers,!m2` has a `!` on its own beside a comma, which selects nearly every host / To leave hosts out, write `managers & !m2`.
        m1,,m2: a name is missing in the selector `m1,,m2` / Write one such as `managers`, `web-*`, `@disk=ssd & !w2`.
        : a name is missing in the selector `` / Write one such as `managers`, `web-*`, `@disk=ssd & !w2`.
        (m1): `(m1)` cannot be read in a selector / `,` is either, `&` is both, `!` is not; there are no parentheses.
        m[3-1]: bad range in the selector `m[3-1]`: the range `3-1` runs backwards
        m1 & m2: `m1 & m2` selects no host
        "#);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z0-9!&,@%=*?\\[\\] -]{0,20}") {
            let _ = select(&text);
        }

        #[test]
        fn a_name_matches_the_pattern_that_it_was_cut_from(name in "[a-c]{1,8}", cut in 0_usize..8) {
            let cut = cut.min(name.len());
            let pattern = format!("{}*", &name[..cut]);
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
            let pattern = format!("*{}", &name[cut..]);
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
