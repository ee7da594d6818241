//! Controllers that speak Redfish.

use std::cmp::Ordering;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Block, Power, is_absent, missing, place};
use crate::inventory::diagnostic::{Diagnostic, Span};
use crate::inventory::hosts::matching;
use crate::inventory::names::expand_range;
use crate::inventory::read::At;
use crate::inventory::resolve::{Layers, Paths};
use crate::inventory::{SecretRef, range};

/// A management controller that speaks Redfish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Redfish {
    /// Where it is: `https://`, its address, and a port where it is not 443.
    pub url: String,
    /// The machine's name there; `None` is the only one.
    pub system: Option<String>,
    /// The login name.
    pub user: String,
    /// The password.
    pub password: SecretRef,
    /// The certificates of those who may vouch for it; `None` is everybody whom browsers trust.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// What is wrong with a URL, and what to write.
fn url_fault(text: &str) -> Option<(&'static str, &'static str)> {
    const LIKE: &str = "write it like `https://10.0.1.11` or `https://m1-bmc.example.net:8443`";
    let Ok(url) = reqwest::Url::parse(text) else {
        return Some(("expected a URL", LIKE));
    };
    match url.scheme() {
        "https" => {}
        "http" => return Some(("the password would go over the network in the clear", LIKE)),
        _ => return Some(("expected `https://`", LIKE)),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some((
            "has a user",
            "put it into `user`, and the password's place into `password`",
        ));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let help = "end it after the address: `/redfish/v1` is added, and the machine's name there is `system`";
        return Some(("has a path", help));
    }
    None
}

/// Whether the brackets are those of an IPv6 address.
fn is_v6(url: &str) -> bool {
    let bracket = url
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracket.is_some_and(|(inside, _)| inside.parse::<Ipv6Addr>().is_ok())
}

/// The URL of each host of the block.
fn urls(
    url: &At<String>,
    shared: bool,
    block: &Block<'_>,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<String>> {
    let all = if is_v6(&url.value) || (shared && !range::is_range(&url.value)) {
        vec![url.value.clone(); block.count]
    } else {
        matching(url, block.name, block.count, out)?
    };
    if let Some((fault, help)) = all.iter().find_map(|one| url_fault(one)) {
        let mut error = Diagnostic::error("no URL of a controller").at(&url.span, fault);
        // A password may be in it.
        if url.value.contains('@') {
            error = error.hide(&url.span);
        }
        out.push(error.help(help));
        return None;
    }
    Some(all)
}

/// The name of each host of the block on its controller.
fn systems(
    system: Option<&At<String>>,
    block: &Block<'_>,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<Option<String>>> {
    let Some(system) = system else {
        return Some(vec![None; block.count]);
    };
    let all = expand_range(system, out)?;
    let fits = |name: &str| {
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '?', '#', '\0'])
    };
    if !all.iter().all(|name| fits(name)) {
        let error = Diagnostic::error(format!("`{}` is no name of a system", system.value));
        let error = error.at(&system.span, "expected the last part of its path");
        out.push(error.help("write `1` for `/redfish/v1/Systems/1`"));
        return None;
    }
    if all.len() == block.count {
        return Some(all.into_iter().map(Some).collect());
    }
    // Each machine has its own controller, and all of these call it the same.
    if let [one] = &all[..] {
        return Some(vec![Some(one.clone()); block.count]);
    }
    let error = Diagnostic::error(format!(
        "{} names and {} of `system`",
        block.count,
        all.len()
    ));
    let error = error.at(&system.span, "one for each name, in their order");
    out.push(error.see(&block.name.span, "the names"));
    None
}

/// How the hosts of a block are switched by their controllers.
pub(super) fn read(
    layers: &Layers<'_>,
    block: &Block<'_>,
    span: &Span,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) -> Vec<Option<Power>> {
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick(
                $name,
                |layer| Some(&layer.power()?.redfish.get()?.$field),
                out,
            )
        };
    }
    let none = vec![None; block.count];
    let url = pick!(url, "power.redfish.url");
    let system = pick!(system, "power.redfish.system");
    let user = pick!(user, "power.redfish.user");
    let password = pick!(password, "power.redfish.password");
    let ca_file = pick!(ca_file, "power.redfish.ca-file");
    let insecure = pick!(insecure, "power.redfish.insecure");
    for (key, absent) in [
        (
            "url",
            is_absent(layers, |power| Some(&power.redfish.get()?.url)),
        ),
        (
            "user",
            is_absent(layers, |power| Some(&power.redfish.get()?.user)),
        ),
        (
            "password",
            is_absent(layers, |power| Some(&power.redfish.get()?.password)),
        ),
    ] {
        if absent {
            missing(key, "`redfish`", span, out);
        }
    }
    // The nearer of the two holds.
    let insecure = insecure.filter(|it| *it.value);
    let both = ca_file.as_ref().zip(insecure.as_ref());
    let between = both.map(|(ca, insecure)| ca.depth.cmp(&insecure.depth));
    if let (Some(ca), Some(insecure), Some(Ordering::Equal)) = (&ca_file, &insecure, between) {
        let error = Diagnostic::error("`ca-file` and `insecure` contradict each other");
        let error = error.at(insecure.span, "any certificate will do");
        out.push(
            error
                .see(ca.span, "only those vouched for by these")
                .help("keep one of them"),
        );
    }
    let ca_file = ca_file.filter(|_| between != Some(Ordering::Greater));
    let insecure = insecure.is_some() && ca_file.is_none();
    let (Some(url), Some(user), Some(password)) = (url, user, password) else {
        return none;
    };
    let (url, system) = (place(&url), system.as_ref().map(place));
    let shared = system.as_ref().is_some_and(|it| range::is_range(&it.value));
    if block.count > 1 && !shared && (!range::is_range(&url.value) || is_v6(&url.value)) {
        let error = Diagnostic::error("one controller for several machines");
        let error = error.at(&url.span, "each has its own");
        out.push(error.help("write a range, such as `https://10.0.1.[21-40]`; for machines that share one, a range of `system`"));
        return none;
    }
    let (urls, systems) = (
        urls(&url, shared, block, out),
        systems(system.as_ref(), block, out),
    );
    let (Some(urls), Some(systems)) = (urls, systems) else {
        return none;
    };
    let one = |(url, system): (String, Option<String>)| {
        Some(Power::Redfish(Redfish {
            url: url.trim_end_matches('/').to_owned(),
            system,
            user: user.value.clone(),
            password: paths.secret(password.value),
            ca_file: ca_file.as_ref().map(|file| paths.resolve(file.value)),
            insecure,
        }))
    };
    urls.into_iter().zip(systems).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_url_over_tls_is_one_of_a_controller() {
        for good in [
            "https://10.0.1.11",
            "https://bmc.example.net:8443/",
            "https://[fd00::1]",
        ] {
            assert_eq!(url_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "10.0.1.11",
            "http://10.0.1.11",
            "ftp://10.0.1.11",
            "https://admin:hunter2@10.0.1.11",
            "https://10.0.1.11/redfish/v1",
            "https://10.0.1.11?x",
        ] {
            assert!(url_fault(bad).is_some(), "{bad}");
        }
        assert!(is_v6("https://[fd00::1]:8443") && !is_v6("https://10.0.1.[11-13]"));
    }
}
