//! Framing: sections between markers that carry a nonce, so that noise before, between and after
//! them does no harm and a section that was cut short is not there at all.

use std::collections::BTreeMap;

/// What a section said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// What it printed.
    pub(super) body: &'a [u8],
    /// Its exit status.
    pub(super) status: u8,
}

impl<'a> Section<'a> {
    /// Its text; what is not UTF-8 is replaced.
    pub(super) fn text(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.body)
    }
}

/// The letters and digits of a nonce, which need no quoting anywhere.
pub(super) fn clean(nonce: &str) -> String {
    let clean: String = nonce.chars().filter(char::is_ascii_alphanumeric).collect();
    // A leading letter keeps it a word even where the caller gave nothing usable.
    format!("skep{clean}")
}

/// The sections of `stdout` that are there from beginning to end, by name.
pub(super) fn sections<'a>(nonce: &str, stdout: &'a [u8]) -> BTreeMap<String, Section<'a>> {
    let nonce = clean(nonce);
    let opening = format!("\n{nonce} < ").into_bytes();
    let mut found = BTreeMap::new();
    let mut rest = stdout;
    while let Some(at) = find(rest, &opening) {
        rest = &rest[at + opening.len()..];
        let Some(line) = find(rest, b"\n") else { break };
        let Ok(name) = std::str::from_utf8(&rest[..line]) else {
            continue;
        };
        let closing = format!("\n{nonce} > {name} ").into_bytes();
        let body = &rest[line + 1..];
        // An empty body leaves the line feed of the closing marker right behind the opening one.
        let Some(end) = find(body, &closing) else {
            continue;
        };
        let tail = &body[end + closing.len()..];
        // Without its line feed the status may be cut short: `1` of `124`.
        let Some(line) = find(tail, b"\n") else {
            break;
        };
        let status = std::str::from_utf8(&tail[..line])
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(status) = status {
            let section = Section {
                body: &body[..end],
                status,
            };
            found.entry(name.to_owned()).or_insert(section);
        }
        rest = &tail[line..];
    }
    found
}

/// Where `needle` first is in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|&byte| byte == first) {
        let at = from + at;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
