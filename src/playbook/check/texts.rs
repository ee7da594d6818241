//! Texts of a playbook: paths, units, and the content of files.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use crate::inventory::diagnostic::{Diagnostic, Span};
use crate::inventory::read::{At, Field};
use crate::inventory::source::decode;
use crate::playbook::{Content, FILE_LIMIT};
use crate::template::{Place, Text, Vars};

use super::{Checker, Use};

/// The kinds of units that a task may be about.
const UNITS: [&str; 5] = [".service", ".socket", ".timer", ".target", ".path"];

impl Checker<'_> {
    /// The value of a field that need not be there.
    pub(super) fn optional(&mut self, field: &Field<String>) -> Option<Text> {
        field.at().map(|at| self.rendered(at))
    }

    /// The same, with what holds where it is not.
    pub(super) fn or(&mut self, field: &Field<String>, default: &str) -> Text {
        self.optional(field).unwrap_or_else(|| Text {
            value: default.to_owned(),
            place: Place {
                file: self.path.display().to_string(),
                line: 1,
            },
        })
    }

    /// A unit of systemd, with its kind.
    pub(super) fn unit(&mut self, field: &Field<String>) -> Option<Text> {
        let at = field.at()?;
        let text = self.rendered(at);
        if !text.is_template() && !UNITS.iter().any(|kind| at.value.ends_with(kind)) {
            let error = Diagnostic::error(format!("`{}` is no unit", at.value));
            self.out.push(
                error
                    .at(&at.span, "expected a name with its kind")
                    .help(format!("write it like `{}.service`", at.value)),
            );
        }
        Some(text)
    }

    /// A path on the host, from its root.
    pub(super) fn path(&mut self, field: &Field<String>, key: &str, table: &Span) -> Option<Text> {
        let text = self.required(field, key, table)?;
        if let Some(at) = field.at()
            && !text.is_template()
            && let Some(fault) = path_fault(&at.value)
        {
            let error = Diagnostic::error(format!("`{}` is no path on a host", at.value));
            self.out.push(error.at(&at.span, fault));
        }
        Some(text)
    }

    /// The same, of a field that need not be there: the outer `None` is an error.
    #[expect(clippy::option_option, reason = "the two are not the same")]
    pub(super) fn optional_path(
        &mut self,
        field: &Field<String>,
        key: &str,
    ) -> Option<Option<Text>> {
        match field {
            Field::Absent => Some(None),
            given => self.path(given, key, &(0..0)).map(Some),
        }
    }

    /// The content that a file gets, from the playbook or from a file beside it.
    pub(super) fn content(
        &mut self,
        content: &Field<String>,
        source: &Field<String>,
        table: &Span,
        template: bool,
    ) -> Option<Content> {
        let (text, span) = match (content.at(), source.at()) {
            (Some(content), Some(source)) => {
                let error = Diagnostic::error("both `content` and `source` give the content");
                let error = error.at(&source.span, "one of them is enough");
                self.out.push(error.see(&content.span, ""));
                return None;
            }
            (Some(content), None) => (self.text_at(content), &content.span),
            (None, Some(source)) => (self.source(source)?, &source.span),
            (None, None) => {
                if content.is_absent() && source.is_absent() {
                    let error = Diagnostic::error("the file has no content");
                    let expected = "expected `content` or `source`";
                    self.out.push(error.at(&self.head(table), expected));
                }
                return None;
            }
        };
        if text.value.len() > FILE_LIMIT {
            let error = Diagnostic::error("the content is too long");
            let most = format!("expected {} KiB at most", FILE_LIMIT / 1024);
            self.out.push(error.at(span, most));
        }
        let mut secrets = BTreeMap::new();
        if template {
            for name in self.variables(&text, span, Use::Content) {
                if let Some(reference) = self.secrets.get(&name) {
                    secrets.insert(name, reference.clone());
                }
            }
        }
        Some(Content {
            text,
            template,
            secrets,
            vars: Vars::new(),
        })
    }

    /// The text of a file beside the playbook.
    fn source(&mut self, source: &At<String>) -> Option<Text> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = folder.join(&source.value);
        let shown = path.display().to_string();
        let wrong = match (self.read)(&path).map(decode) {
            Ok((value, None)) => {
                let place = Place {
                    file: shown,
                    line: 1,
                };
                return Some(Text { value, place });
            }
            Ok((_, Some(_))) => format!("`{shown}` is not UTF-8"),
            Err(error) => format!("cannot read `{shown}`: {error}"),
        };
        let error = Diagnostic::error(wrong);
        self.out
            .push(error.at(&source.span, "from the playbook's folder"));
        None
    }
}

/// Why a text is no path that a task may be about.
pub(in crate::playbook) fn path_fault(path: &str) -> Option<&'static str> {
    if path.chars().any(char::is_control) {
        return Some("holds a line feed or another control character");
    }
    let path = Path::new(path);
    if !path.is_absolute() {
        return Some("expected a path that begins with `/`");
    }
    if path.components().any(|it| it == Component::ParentDir) {
        return Some("`..` is not allowed");
    }
    if path.parent().is_none() {
        return Some("this is the root itself");
    }
    None
}
