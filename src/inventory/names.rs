//! Which texts can be the names and addresses of hosts.

use std::net::IpAddr;

use super::diagnostic::Diagnostic;
use super::range;
use super::read::At;

/// Words that selectors have for sets of hosts.
pub(super) const RESERVED: [&str; 6] = ["all", "leader", "managers", "members", "none", "workers"];

/// The names of a block.
pub(super) fn names(name: &At<String>, out: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let names = expand_range(name, out)?;
    // All names of a range are alike: one error is enough.
    for name_of_range in &names {
        if let Some((fault, help)) = name_fault(name_of_range) {
            let error = Diagnostic::error(format!("`{name_of_range}` cannot be a host's name"))
                .at(&name.span, fault);
            out.push(error.help(help));
            break;
        }
    }
    Some(names)
}

pub(super) fn expand_range(pattern: &At<String>, out: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    match range::expand(&pattern.value) {
        Ok(words) => Some(words),
        Err(fault) => {
            let error = Diagnostic::error(format!("bad range in `{}`", pattern.value))
                .at(&pattern.span, fault);
            out.push(error.help("write it like `m[1-3]`, `w[01-20]` or `n[1,3,5-7]`"));
            None
        }
    }
}

/// Why a text is no host name (RFC 1123), and what to do.
fn name_fault(name: &str) -> Option<(String, &'static str)> {
    const RULE: &str = "a host name has letters, digits and hyphens, in parts of 1 to 63 \
                        separated by dots (RFC 1123)";
    let bad = name
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !['-', '.'].contains(c));
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        let help = "choose another name";
        return Some(("selectors use this word".to_owned(), help));
    }
    if let Some(bad) = bad {
        return Some((format!("`{bad}` is not allowed"), RULE));
    }
    let part_fault = |part: &str| {
        part.is_empty() || part.len() > 63 || part.starts_with('-') || part.ends_with('-')
    };
    if name.len() > 253 || name.split('.').any(part_fault) {
        return Some(("too long, empty, or a hyphen at an end".to_owned(), RULE));
    }
    if name
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        let help = "begin it with a letter";
        return Some(("reads as a number or an address".to_owned(), help));
    }
    None
}

/// Why a text is neither an IP address nor a host name, and what to do.
pub(super) fn address_fault(address: &str) -> Option<(&'static str, &'static str)> {
    if address.parse::<IpAddr>().is_ok() {
        return None;
    }
    if address.contains('@') {
        return Some(("has a user", "put the user into `ssh = { user = \"...\" }`"));
    }
    if let Some((host, port)) = address.rsplit_once(':')
        && !host.contains(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some(("has a port", "put the port into `ssh = { port = ... }`"));
    }
    let numeric = address
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Names of DNS in real life have underscores too.
    let name = address.replace('_', "-");
    if numeric || name_fault(&name).is_some() {
        return Some(("not an address", "write an IP address or a host name"));
    }
    None
}
