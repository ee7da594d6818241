//! How a difference looks: `name: old -> new` for a value, a unified diff for a text.

use std::fmt::Write;

use similar::{ChangeTag, TextDiff};

use crate::plan::Diff;
use crate::ui::style::{self, paint};
use crate::ui::text;

/// Takes secrets out of a text before anything of it is shown.
pub type Redact<'a> = &'a dyn Fn(&str) -> String;

/// Hides the passwords in addresses such as `http://user:password@proxy:3128`, which `daemon.json`
/// and package sources may hold.
pub fn hide_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/\"'".contains(c));
        let authority = &after[..end.unwrap_or(after.len())];
        rest = after;
        if let Some((login, _)) = authority.rsplit_once('@')
            && let Some((user, _)) = login.split_once(':')
        {
            shown.push_str(user);
            shown.push_str(":***");
            rest = &after[login.len()..];
        }
    }
    shown.push_str(rest);
    shown
}

/// How many unchanged lines are shown around each change, as `diff -u` does.
const CONTEXT: usize = 3;

/// `diff` as text with colours. Each text goes through `redact` first, so that a secret shows
/// neither in what changes nor around it.
pub fn render(diff: &Diff, redact: Redact<'_>) -> String {
    match diff {
        Diff::Value { name, old, new } => value(name, old.as_deref(), new.as_deref(), redact),
        Diff::Text { path, old, new } => file(path, old, new, redact),
    }
}

fn value(name: &str, old: Option<&str>, new: Option<&str>, redact: Redact<'_>) -> String {
    let show = |value: Option<&str>| match value {
        Some("") => "\"\"".to_owned(),
        Some(value) => text::clean(&redact(value)).into_owned(),
        None => "(none)".to_owned(),
    };
    let old = paint(style::REMOVED, show(old));
    let new = paint(style::ADDED, show(new));
    format!("{name}: {old} -> {new}\n")
}

fn file(path: &str, old: &str, new: &str, redact: Redact<'_>) -> String {
    let (shown_old, shown_new) = (redact(old), redact(new));
    if shown_old == shown_new {
        return if old == new {
            String::new()
        } else {
            format!("{path}: only secret values differ\n")
        };
    }
    let (from, to) = (
        if old.is_empty() { "(no file)" } else { path },
        if new.is_empty() { "(no file)" } else { path },
    );
    let mut out = String::new();
    let _infallible = writeln!(out, "{}", paint(style::STRONG, format!("--- {from}")));
    let _infallible = writeln!(out, "{}", paint(style::STRONG, format!("+++ {to}")));
    let diff = TextDiff::from_lines(&shown_old, &shown_new);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        let header = hunk.header().to_string();
        let _infallible = writeln!(out, "{}", paint(style::FAINT, header.trim_end()));
        for change in hunk.iter_changes() {
            let line = change.value();
            let ended = line.ends_with('\n');
            let line = text::clean(line.trim_end_matches(['\n', '\r'])).into_owned();
            let line = match change.tag() {
                ChangeTag::Equal => format!(" {line}"),
                ChangeTag::Delete => paint(style::REMOVED, format!("-{line}")),
                ChangeTag::Insert => paint(style::ADDED, format!("+{line}")),
            };
            let _infallible = writeln!(out, "{line}");
            if !ended {
                out.push_str("\\ no line feed at the end\n");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(diff: &Diff) -> String {
        let redact = |text: &str| text.replace("hunter2", "***");
        anstream::adapter::strip_str(&render(diff, &redact)).to_string()
    }

    fn text(old: &str, new: &str) -> Diff {
        Diff::Text {
            path: "/etc/docker/daemon.json".into(),
            old: old.into(),
            new: new.into(),
        }
    }

    #[test]
    fn a_changed_file_is_a_unified_diff() {
        let diff = text(
            "{\n  \"debug\": true,\n  \"mtu\": 1400\n}\n",
            "{\n  \"log-driver\": \"journald\",\n  \"mtu\": 1400\n}\n",
        );
        insta::assert_snapshot!(show(&diff), @r#"
        --- /etc/docker/daemon.json
        +++ /etc/docker/daemon.json
        @@ -1,4 +1,4 @@
         {
        -  "debug": true,
        +  "log-driver": "journald",
           "mtu": 1400
         }
        "#);
    }

    #[test]
    fn a_new_file_comes_from_nothing() {
        insta::assert_snapshot!(show(&text("", "a\nb")), @r"
        --- (no file)
        +++ /etc/docker/daemon.json
        @@ -0,0 +1,2 @@
        +a
        +b
        \ no line feed at the end
        ");
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(
            show(&text("a\npw=hunter2\n", "b\npw=hunter2\n"))
                .matches("hunter2")
                .count(),
            0
        );
        assert_eq!(
            show(&text("pw=***\n", "pw=hunter2\n")),
            "/etc/docker/daemon.json: only secret values differ\n"
        );
    }

    #[test]
    fn values_show_what_is_not_there() {
        let diff = |old: Option<&str>, new: Option<&str>| Diff::Value {
            name: "docker.io".into(),
            old: old.map(Into::into),
            new: new.map(Into::into),
        };
        assert_eq!(
            show(&diff(None, Some("20.10"))),
            "docker.io: (none) -> 20.10\n"
        );
        assert_eq!(
            show(&diff(Some("20.10"), None)),
            "docker.io: 20.10 -> (none)\n"
        );
        assert_eq!(show(&diff(Some(""), Some("x"))), "docker.io: \"\" -> x\n");
    }
}

#[cfg(test)]
mod redaction {
    use super::hide_passwords;

    #[test]
    fn passwords_in_addresses_are_hidden() {
        let text = r#"{"proxy": "http://me:s3cret@proxy:3128/x", "a": "https://host/@b:c"}"#;
        let shown = r#"{"proxy": "http://me:***@proxy:3128/x", "a": "https://host/@b:c"}"#;
        assert_eq!(hide_passwords(text), shown);
        assert_eq!(hide_passwords("ssh://me@host x:y@z"), "ssh://me@host x:y@z");
    }
}
