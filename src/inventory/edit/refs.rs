//! Where else an inventory names a host.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::diagnostic::Span;
use super::super::nfs::split_source;
use super::super::read::{At, Field, Read as _};
use super::super::{Selector, raw};

/// A place that names a host.
pub(super) struct Reference {
    /// Where the value stands, with its quotes.
    pub(super) span: Span,
    /// The value.
    pub(super) value: String,
    /// What kind of place it is.
    pub(super) kind: Kind,
}

/// How a place names a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `host` of an export.
    Export,
    /// `source` of a mount.
    Source,
    /// `on` of a mount.
    On,
    /// `on` of a hook.
    Hook,
    /// `jump` of a table `ssh`.
    Jump,
}

impl Reference {
    /// The place for a reader.
    pub(super) fn place(&self, text: &str) -> String {
        let line = text.get(..self.span.start).unwrap_or_default();
        let line = line.matches('\n').count() + 1;
        let table = match self.kind {
            Kind::Export => "`host` of an `[[nfs.export]]`",
            Kind::Source => "`source` of an `[[nfs.mount]]`",
            Kind::On => "`on` of an `[[nfs.mount]]`",
            Kind::Hook => "`on` of a `[[hook]]`",
            Kind::Jump => "`ssh.jump`",
        };
        format!("line {line}, {table}")
    }

    /// The value with `new` in place of `old`; `None` where it stands for `old` by a range.
    pub(super) fn renamed(&self, old: &str, new: &str) -> Option<String> {
        match self.kind {
            Kind::Export | Kind::Jump => Some(new.to_owned()),
            Kind::Source => {
                let (_, path) = split_source(&self.value)?;
                Some(format!("{new}:{path}"))
            }
            Kind::On | Kind::Hook => {
                let end = |c: char| ",&!".contains(c) || c.is_whitespace();
                let words = self.value.split_inclusive(end).map(|piece| {
                    let word = piece.trim_end_matches(end);
                    if word.eq_ignore_ascii_case(old) {
                        format!("{new}{}", &piece[word.len()..])
                    } else {
                        piece.to_owned()
                    }
                });
                let value: String = words.collect();
                (!mentions(&value, old)).then_some(value)
            }
        }
    }
}

fn mentions(selector: &str, name: &str) -> bool {
    selector
        .parse::<Selector>()
        .is_ok_and(|selector| selector.mentions(name))
}

/// All places that name the host, in the order of the text.
pub(super) fn references(text: &str, name: &str) -> Vec<Reference> {
    let (table, _) = DeTable::parse_recoverable(text);
    let span = table.span();
    let root = Spanned::new(span, DeValue::Table(table.into_inner()));
    // What is wrong is the loader's to tell.
    let Some(raw) = raw::Inventory::read(&root, &mut Vec::new()) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut add = |kind: Kind, at: Option<&At<String>>, named: &dyn Fn(&str) -> bool| {
        if let Some(at) = at.filter(|at| named(&at.value)) {
            all.push(Reference {
                span: at.span.clone(),
                value: at.value.clone(),
                kind,
            });
        }
    };
    let same = |word: &str| word.eq_ignore_ascii_case(name);
    if let Some(nfs) = raw.nfs.get() {
        for export in nfs.export.get().into_iter().flatten() {
            add(Kind::Export, export.value.host.at(), &same);
        }
        for mount in nfs.mount.get().into_iter().flatten() {
            add(Kind::Source, mount.value.source.at(), &|source| {
                split_source(source).is_some_and(|(server, _)| same(server))
            });
            add(Kind::On, mount.value.on.at(), &|on| mentions(on, name));
        }
    }
    for hook in raw.hook.get().into_iter().flatten() {
        add(Kind::Hook, hook.value.on.at(), &|on| mentions(on, name));
    }
    let mut jump = |ssh: &Field<raw::Ssh>| {
        add(Kind::Jump, ssh.get().and_then(|ssh| ssh.jump.at()), &same);
    };
    jump(&raw.ssh);
    for group in raw.group.get().into_iter().flatten() {
        jump(&group.1.value.ssh);
    }
    for host in raw.host.get().into_iter().flatten() {
        jump(&host.value.ssh);
    }
    all.sort_by_key(|reference| reference.span.start);
    all
}
