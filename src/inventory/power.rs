//! How machines are switched on and off from here.

mod redfish;

use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Span};
use super::hosts::matching;
use super::names::address_fault;
use super::raw;
use super::read::{At, Field};
use super::resolve::{Depth, Layer, Layers, Paths, Picked, setting};
use super::{Provider, SecretRef, range};

pub use redfish::Redfish;

/// How a machine is switched on and off from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// By a packet that wakes it. It cannot be switched off so.
    WakeOnLan(WakeOnLan),
    /// By its management controller, through `ipmitool` on this machine.
    Ipmi(Ipmi),
    /// By its management controller, over HTTPS.
    Redfish(Redfish),
    /// By a program of the user's own.
    Command(PowerCommand),
}

impl Power {
    /// The password that its ways need, and whose it is, such as `admin at 10.0.1.11`.
    pub fn password(&self) -> Option<(&SecretRef, String)> {
        match self {
            Self::Ipmi(ipmi) => {
                Some((&ipmi.password, format!("{} at {}", ipmi.user, ipmi.address)))
            }
            Self::Redfish(it) => Some((&it.password, format!("{} at {}", it.user, it.url))),
            Self::WakeOnLan(_) | Self::Command(_) => None,
        }
    }
}

/// A packet that wakes a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WakeOnLan {
    /// The address of its network card: six bytes as `52:54:00:12:34:56`.
    pub mac: String,
    /// Where the packet goes.
    pub broadcast: String,
    /// The UDP port that it goes to.
    pub port: u16,
    /// The host of the inventory that sends it; `None` is this machine.
    pub via: Option<String>,
}

impl WakeOnLan {
    /// The port of the service `discard`, where nobody minds the packet.
    pub const PORT: u16 = 9;

    /// All machines of this machine's own network.
    pub const BROADCAST: &str = "255.255.255.255";

    /// What is sent: six bytes of ones, then sixteen times the address of the card (AMD, Magic Packet
    /// Technology, 1995). `None` where the address is none.
    pub fn packet(&self) -> Option<[u8; 102]> {
        let mac = mac(&self.mac)?;
        let mut packet = [0xff; 102];
        for (place, byte) in packet.iter_mut().skip(6).enumerate() {
            *byte = mac[place % 6];
        }
        Some(packet)
    }
}

/// A management controller that speaks IPMI 2.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ipmi {
    /// Its address.
    pub address: String,
    /// Its UDP port.
    pub port: u16,
    /// The number of the cipher suite; `None` lets `ipmitool` choose.
    pub cipher_suite: Option<u8>,
    /// The login name.
    pub user: String,
    /// The password.
    pub password: SecretRef,
}

impl Ipmi {
    /// The port of IPMI (`asf-rmcp` in IANA's registry).
    pub const PORT: u16 = 623;
}

/// Programs that switch a machine on and off. They get it in their environment: `SKEP_HOST`,
/// `SKEP_ADDRESS`, `SKEP_INVENTORY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PowerCommand {
    /// The program that switches it on, and its arguments.
    pub on: Vec<String>,
    /// The program that takes its power away; empty where there is none.
    pub off: Vec<String>,
    /// The program that prints `on` or `off`; empty where there is none.
    pub status: Vec<String>,
    /// Seconds that each may take.
    pub timeout: u32,
}

impl PowerCommand {
    /// Seconds that a program may take, where the inventory does not say.
    pub const TIMEOUT: u32 = 60;
}

/// The six bytes of a network card's own address.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut parts = text.split(separator);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    // The lowest bit of the first byte is that of groups, which no card has as its own.
    let own = bytes[0] & 1 == 0 && bytes != [0; 6];
    (parts.next().is_none() && own).then_some(bytes)
}

/// The kinds of a table that are given, each with its place.
fn kinds(table: &raw::Power) -> Vec<(&'static str, Option<&Span>)> {
    let mut kinds = Vec::new();
    if !table.wake_on_lan.is_absent() {
        kinds.push(("wake-on-lan", table.wake_on_lan.at().map(|at| &at.span)));
    }
    if !table.ipmi.is_absent() {
        kinds.push(("ipmi", table.ipmi.at().map(|at| &at.span)));
    }
    if !table.redfish.is_absent() {
        kinds.push(("redfish", table.redfish.at().map(|at| &at.span)));
    }
    if !table.command.is_absent() {
        kinds.push(("command", table.command.at().map(|at| &at.span)));
    }
    kinds
}

/// A block's name, or range of names, and how many hosts it has.
struct Block<'a> {
    name: &'a At<String>,
    count: usize,
}

/// How each host of a block is switched on, and through whom the packets go that wake them: that is
/// checked when all hosts are known. The nearest kind holds; its single settings come from wherever
/// they stand.
pub(super) fn power<'a>(
    layers: &Layers<'a>,
    name: &At<String>,
    count: usize,
    provider: Option<Provider>,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) -> (Vec<Option<Power>>, Option<Picked<'a, String>>) {
    let block = &Block { name, count };
    let none = vec![None; block.count];
    let mut kind: Option<(&str, Layer<'_>, &Span)> = None;
    for &layer in &layers.0 {
        let Some(at) = setting::power(layer).and_then(Field::at) else {
            continue;
        };
        if provider == Some(Provider::Lab) {
            if matches!(layer, Layer::Host(_)) {
                let error = Diagnostic::error("`power` on a host of the lab");
                let error = error.at(&at.span, "the lab switches it on itself");
                out.push(error.help("remove it"));
            }
            continue;
        }
        let given = kinds(&at.value);
        if let [(first, first_span), (second, second_span), ..] = given[..] {
            let error = Diagnostic::error(format!("`{first}` and `{second}` for one machine"))
                .at(second_span.unwrap_or(&at.span), "a second way")
                .see(first_span.unwrap_or(&at.span), "the first");
            out.push(error.help("keep one of them"));
            return (none, None);
        }
        let Some((name, span)) = given.first() else {
            // An empty table on a host: none of what its groups and the cluster say.
            if matches!(layer, Layer::Host(_)) {
                return (none, None);
            }
            let error = Diagnostic::error("`power` without a way");
            let error = error.at(
                &at.span,
                "expected `wake-on-lan`, `ipmi`, `redfish` or `command`",
            );
            out.push(
                error.help("only a host may have it empty, which means none of the cluster's"),
            );
            continue;
        };
        let span = span.unwrap_or(&at.span);
        match (&kind, layer) {
            (None, _) => kind = Some((name, layer, span)),
            (Some((other, Layer::Group(one, _), first)), Layer::Group(two, _)) if other != name => {
                let error = Diagnostic::error(format!(
                    "groups `{one}` and `{two}` contradict each other about `power`"
                ));
                out.push(error.at(span, "one way").see(first, "another"));
            }
            _ => {}
        }
    }
    match kind {
        Some(("wake-on-lan", _, span)) => wake_on_lan(layers, block, span, out),
        Some(("ipmi", _, span)) => (ipmi(layers, block, span, paths, out), None),
        Some(("redfish", _, span)) => (redfish::read(layers, block, span, paths, out), None),
        Some((_, _, span)) => (vec![command(layers, span, out); block.count], None),
        None => (none, None),
    }
}

/// Whether no layer has this key, not even a wrong one: what stands there and is wrong has been reported.
fn is_absent<'a, T: 'a>(
    layers: &Layers<'a>,
    field: impl Fn(&'a raw::Power) -> Option<&'a Field<T>>,
) -> bool {
    let mut tables = layers.0.iter().filter_map(|layer| layer.power());
    tables.all(|table| field(table).is_none_or(Field::is_absent))
}

/// A text that is read on, where it stands.
fn place(picked: &Picked<'_, String>) -> At<String> {
    At {
        value: picked.value.clone(),
        span: picked.span.clone(),
    }
}

fn missing(key: &str, what: &str, span: &Span, out: &mut Vec<Diagnostic>) {
    let error = Diagnostic::error(format!("{what} without `{key}`"));
    out.push(error.at(span, format!("`{key}` is missing")));
}

fn wake_on_lan<'a>(
    layers: &Layers<'a>,
    block: &Block<'_>,
    span: &Span,
    out: &mut Vec<Diagnostic>,
) -> (Vec<Option<Power>>, Option<Picked<'a, String>>) {
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick(
                $name,
                |layer| Some(&layer.power()?.wake_on_lan.get()?.$field),
                out,
            )
        };
    }
    let none = vec![None; block.count];
    let via = pick!(via, "power.wake-on-lan.via");
    let port = pick!(port, "power.wake-on-lan.port");
    if let Some(port) = port.as_ref().filter(|port| *port.value == 0) {
        out.push(Diagnostic::error("0 is not a port").at(port.span, "expected 1 to 65535"));
    }
    let broadcast = pick!(broadcast, "power.wake-on-lan.broadcast");
    let fits = |text: &str| text.parse::<std::net::Ipv4Addr>().is_ok();
    if let Some(broadcast) = broadcast.as_ref().filter(|it| !fits(it.value)) {
        let error = Diagnostic::error(format!("`{}` is no IPv4 address", broadcast.value));
        let error = error.at(broadcast.span, "expected a broadcast address");
        out.push(error.help("write that of the machine's network, such as `10.0.0.255`"));
    }
    let Some(macs) = pick!(mac, "power.wake-on-lan.mac") else {
        missing("mac", "`wake-on-lan`", span, out);
        return (none, via);
    };
    let list = &macs.value.0;
    if list.len() != block.count {
        let names = if block.count == 1 { "name" } else { "names" };
        let error = Diagnostic::error(format!(
            "{} {names} and {} of `mac`",
            block.count,
            list.len()
        ));
        let error = error.at(macs.span, "one for each name, in their order");
        out.push(error.see(&block.name.span, "the names"));
        return (none, via);
    }
    let power = list.iter().map(|text| {
        let Some(bytes) = mac(&text.value) else {
            let error = Diagnostic::error(format!("`{}` is no card's address", text.value));
            let error = error.at(&text.span, "expected six bytes");
            out.push(error.help("write it like `52:54:00:12:34:56`: `ip link` shows it"));
            return None;
        };
        let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Power::WakeOnLan(WakeOnLan {
            mac: words.join(":"),
            broadcast: broadcast
                .as_ref()
                .map_or(WakeOnLan::BROADCAST, |it| it.value)
                .to_owned(),
            port: port.as_ref().map_or(WakeOnLan::PORT, |port| *port.value),
            via: via.as_ref().map(|via| via.value.clone()),
        }))
    });
    (power.collect(), via)
}

fn ipmi(
    layers: &Layers<'_>,
    block: &Block<'_>,
    span: &Span,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) -> Vec<Option<Power>> {
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick($name, |layer| Some(&layer.power()?.ipmi.get()?.$field), out)
        };
    }
    let none = vec![None; block.count];
    let address = pick!(address, "power.ipmi.address");
    let user = pick!(user, "power.ipmi.user");
    let password = pick!(password, "power.ipmi.password");
    let port = pick!(port, "power.ipmi.port");
    let cipher = pick!(cipher_suite, "power.ipmi.cipher-suite");
    if let Some(port) = port.as_ref().filter(|port| *port.value == 0) {
        out.push(Diagnostic::error("0 is not a port").at(port.span, "expected 1 to 65535"));
    }
    for (key, absent) in [
        (
            "address",
            is_absent(layers, |power| Some(&power.ipmi.get()?.address)),
        ),
        (
            "user",
            is_absent(layers, |power| Some(&power.ipmi.get()?.user)),
        ),
        (
            "password",
            is_absent(layers, |power| Some(&power.ipmi.get()?.password)),
        ),
    ] {
        if absent {
            missing(key, "`ipmi`", span, out);
        }
    }
    let (Some(address), Some(user), Some(password)) = (address, user, password) else {
        return none;
    };
    let pattern = place(&address);
    if block.count > 1 && !range::is_range(&pattern.value) {
        let error = Diagnostic::error("one controller for several machines");
        let error = error.at(&pattern.span, "each has its own");
        out.push(error.help("write a range, such as `10.0.1.[21-40]`"));
        return none;
    }
    let Some(addresses) = matching(&pattern, block.name, block.count, out) else {
        return none;
    };
    if let Some((fault, help)) = addresses.iter().find_map(|one| address_fault(one)) {
        let error = Diagnostic::error(format!("`{}` cannot be an address", pattern.value));
        out.push(error.at(&pattern.span, fault).help(help));
        return none;
    }
    let one = |address| {
        Some(Power::Ipmi(Ipmi {
            address,
            port: port.as_ref().map_or(Ipmi::PORT, |port| *port.value),
            cipher_suite: cipher.as_ref().map(|cipher| *cipher.value),
            user: user.value.clone(),
            password: paths.secret(password.value),
        }))
    };
    addresses.into_iter().map(one).collect()
}

fn command(layers: &Layers<'_>, span: &Span, out: &mut Vec<Diagnostic>) -> Option<Power> {
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick(
                $name,
                |layer| Some(&layer.power()?.command.get()?.$field),
                out,
            )
        };
    }
    let on = pick!(on, "power.command.on");
    let off = pick!(off, "power.command.off");
    let status = pick!(status, "power.command.status");
    let timeout = pick!(timeout, "power.command.timeout");
    if on.is_none() {
        missing("on", "`command`", span, out);
    }
    let mut words = |picked: Option<Picked<'_, Vec<At<String>>>>| -> Vec<String> {
        let Some(picked) = picked else {
            return Vec::new();
        };
        let words: Vec<String> = picked.value.iter().map(|it| it.value.clone()).collect();
        if words.first().is_none_or(String::is_empty) || words.iter().any(|it| it.contains('\0')) {
            let error = Diagnostic::error("no program that can be run").at(picked.span, "");
            out.push(error.help("write `[\"./power.sh\", \"on\"]`"));
        }
        words
    };
    let (has_on, on, off, status) = (on.is_some(), words(on), words(off), words(status));
    has_on.then(|| {
        Power::Command(PowerCommand {
            on,
            off,
            status,
            timeout: timeout.map_or(PowerCommand::TIMEOUT, |time| time.value.0),
        })
    })
}

/// Through whom packets go: a host of the inventory, and another than the one that sleeps.
pub(super) fn check_via(
    list: &mut [super::Host],
    index: usize,
    via: &Picked<'_, String>,
    out: &mut Vec<Diagnostic>,
) {
    let known = list.iter().any(|host| host.name == *via.value);
    let host = &mut list[index];
    let Some(Power::WakeOnLan(wake)) = &mut host.power else {
        return;
    };
    if !known {
        let error = Diagnostic::error(format!("there is no host `{}`", via.value));
        out.push(error.at(via.span, "expected a host of this inventory"));
    } else if host.name == *via.value {
        // What a group or the cluster says is for those behind it.
        if via.depth == Depth::Host {
            let error = Diagnostic::error(format!("host `{}` is to wake itself", host.name));
            out.push(error.at(via.span, "is the host itself"));
        }
        wake.via = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_address_sixteen_times() {
        let wake = WakeOnLan {
            mac: "52:54:00:12:34:56".to_owned(),
            broadcast: WakeOnLan::BROADCAST.to_owned(),
            port: 9,
            via: None,
        };
        let packet = wake.packet().unwrap();
        assert_eq!(packet[..6], [0xff; 6]);
        assert_eq!(packet[6..12], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(packet[96..], packet[6..12]);
    }

    #[test]
    fn not_every_text_is_the_address_of_a_card() {
        assert!(mac("52-54-00-12-34-56").is_some());
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "5:54:00:12:34:567",
            "gg:54:00:12:34:56",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}
