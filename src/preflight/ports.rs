//! Whether the nodes reach each other on the swarm's ports, tried with real packets.
//!
//! Each host listens for a moment on the ports that are free, and each other host knocks. Where an
//! engine listens already, its own answer to a TCP connection is the proof; UDP of an engine that
//! runs cannot be proved from outside and is left out. The scripts are Perl, because `perl-base` is
//! essential on Debian and Ubuntu (Debian policy 3.8), while `nc`, `socat` and Python are not.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::quorum::majority;

use super::{Finding, Level};

/// How many peers each host knocks at: all pairs of a small cluster, a ring of a large one.
const PEERS: usize = 12;

/// A host that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The address that the others use.
    pub address: IpAddr,
    /// Whether it is a manager.
    pub manager: bool,
    /// The MTU of the interface with that address.
    pub mtu: u32,
}

/// Whom `place` knocks at: everybody, or the next ones around the ring.
pub fn targets(peers: &[Peer], place: usize) -> Vec<&Peer> {
    let around = (1..peers.len()).map(|step| &peers[(place + step) % peers.len()]);
    around.take(PEERS).collect()
}

/// The script that listens until its standard input ends, at most `seconds`. It says `READY` when
/// it listens, after a line `BUSY PROTO PORT` for each port that somebody else has.
pub fn listener(nonce: &str, data_path_port: u16, manager: bool, seconds: u32) -> String {
    let manager_port = if manager { "['tcp',2377]," } else { "" };
    format!(
        r#"exec perl -e '
use strict; use Socket; use IO::Select;
alarm({seconds}); $| = 1;
my $select = IO::Select->new(\*STDIN); my %kind;
for my $want ({manager_port}["tcp",7946],["udp",7946],["udp",{data_path_port}]) {{
  my ($proto, $port) = @$want;
  socket(my $s, PF_INET, $proto eq "tcp" ? SOCK_STREAM : SOCK_DGRAM, 0) or die "socket: $!\n";
  setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1) if $proto eq "tcp";
  if (!bind($s, sockaddr_in($port, INADDR_ANY)) or ($proto eq "tcp" and !listen($s, 64))) {{
    print "BUSY $proto $port\n"; next;
  }}
  $select->add($s); $kind{{fileno $s}} = $proto;
}}
print "READY\n";
while (1) {{
  for my $s ($select->can_read) {{
    my $proto = $kind{{fileno $s}};
    if (!defined $proto) {{ my $n = sysread(STDIN, my $x, 64); exit 0 if !$n; }}
    elsif ($proto eq "tcp") {{ my $c; accept($c, $s) and syswrite($c, "{nonce}\n"); }}
    else {{ my $from = recv($s, my $data, 65536, 0); send($s, "{nonce}", 0, $from) if defined $from and $data =~ /^{nonce}/; }}
  }}
}}
'
"#,
        manager_port = manager_port.replace('\'', "\"")
    )
}

/// The script that knocks at `targets` and says for each what came back:
/// `TCP ADDRESS PORT ok|refused|silent`, `UDP ADDRESS PORT ok|silent`, and
/// `MTU ADDRESS BYTES`, the largest packet that arrived whole.
pub fn knocker(nonce: &str, data_path_port: u16, mtu: u32, targets: &[&Peer]) -> String {
    let list: Vec<String> = targets
        .iter()
        .filter(|peer| peer.address.is_ipv4())
        .map(|peer| format!("[\"{}\",{}]", peer.address, u8::from(peer.manager)))
        .collect();
    format!(
        r#"exec perl -e '
use strict; use Socket; use IO::Select; use Errno qw(EINPROGRESS ECONNREFUSED);
alarm(40); $| = 1;
sub tcp {{ my ($ip, $port) = @_;
  socket(my $s, PF_INET, SOCK_STREAM, 0) or return "silent";
  use Fcntl; fcntl($s, F_SETFL, O_NONBLOCK);
  connect($s, sockaddr_in($port, inet_aton($ip))) or $! == EINPROGRESS or return $! == ECONNREFUSED ? "refused" : "silent";
  IO::Select->new($s)->can_write(3) or return "silent";
  my $e = unpack("i", getsockopt($s, SOL_SOCKET, SO_ERROR));
  return $e == 0 ? "ok" : $e == ECONNREFUSED ? "refused" : "silent";
}}
sub udp {{ my ($ip, $port, $size) = @_;
  for (1..3) {{
    socket(my $s, PF_INET, SOCK_DGRAM, 0) or return 0;
    setsockopt($s, 0, 10, pack("i", 3)) if $size;
    my $data = "{nonce}"; $data .= "x" x ($size - 28 - length $data) if $size;
    connect($s, sockaddr_in($port, inet_aton($ip)));
    defined send($s, $data, 0) or return 0 if $size; send($s, $data, 0) if !$size;
    next if !IO::Select->new($s)->can_read(1);
    my $r; return 1 if defined recv($s, $r, 64, 0) and $r eq "{nonce}";
  }}
  return 0;
}}
for my $t ({targets}) {{
  next if fork;
  my ($ip, $manager) = @$t;
  my $out = "";
  $out .= "TCP $ip $_ " . tcp($ip, $_) . "\n" for ($manager ? 2377 : (), 7946);
  for my $port (7946, {data_path_port}) {{ $out .= "UDP $ip $port " . (udp($ip, $port, 0) ? "ok" : "silent") . "\n"; }}
  for my $port (7946, {data_path_port}) {{
    next if !udp($ip, $port, 0);
    for my $size ({mtu}, 1500, 1450, 1400, 1350, 1280) {{ next if $size > {mtu}; if (udp($ip, $port, $size)) {{ $out .= "MTU $ip $size\n"; last; }} }}
    last;
  }}
  syswrite(STDOUT, $out); exit 0;
}}
1 while wait != -1;
'
"#,
        targets = list.join(","),
    )
}

/// What one host heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// By address and port: `ok`, `refused` or `silent`.
    pub tcp: BTreeMap<(String, u16), String>,
    /// By address and port: `ok` or `silent`.
    pub udp: BTreeMap<(String, u16), String>,
    /// By address: the largest packet that arrived.
    pub mtu: BTreeMap<String, u32>,
}

/// Reads what a knocker printed; lines that are not its own are passed over.
pub fn parse(stdout: &str) -> Heard {
    let mut heard = Heard::default();
    for line in stdout.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["TCP", address, port, result] => {
                if let Ok(port) = port.parse() {
                    heard
                        .tcp
                        .insert(((*address).to_owned(), port), (*result).to_owned());
                }
            }
            ["UDP", address, port, result] => {
                if let Ok(port) = port.parse() {
                    heard
                        .udp
                        .insert(((*address).to_owned(), port), (*result).to_owned());
                }
            }
            ["MTU", address, bytes] => {
                if let Ok(bytes) = bytes.parse() {
                    heard.mtu.insert((*address).to_owned(), bytes);
                }
            }
            _ => {}
        }
    }
    heard
}

/// The ports that a listener could not have: protocol and port.
pub fn busy(stdout: &str) -> Vec<(String, u16)> {
    let lines = stdout.lines().filter_map(|line| line.strip_prefix("BUSY "));
    let words = lines.filter_map(|rest| rest.split_once(' '));
    words
        .filter_map(|(proto, port)| Some((proto.to_owned(), port.parse().ok()?)))
        .collect()
}

/// What it all means: one finding for each pair that does not work, and one for all that do.
pub fn examine(
    peers: &[Peer],
    heard: &BTreeMap<String, Heard>,
    busy: &BTreeMap<String, Vec<(String, u16)>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tried = 0;
    for (place, peer) in peers.iter().enumerate() {
        let Some(heard) = heard.get(&peer.name) else {
            continue;
        };
        for target in targets(peers, place) {
            let address = target.address.to_string();
            let taken = busy.get(&target.name);
            let is_busy =
                |port: u16| taken.is_some_and(|taken| taken.contains(&("udp".to_owned(), port)));
            let tcp = heard.tcp.iter().filter(|((to, _), _)| *to == address);
            let udp = heard
                .udp
                .iter()
                .filter(|((to, port), _)| *to == address && !is_busy(*port));
            let tcp = tcp.map(|((_, port), result)| ("tcp", *port, result));
            let udp = udp.map(|((_, port), result)| ("udp", *port, result));
            for (proto, port, result) in tcp.chain(udp) {
                tried += 1;
                if result != "ok" {
                    findings.push(unreachable(peer, target, proto, port, result));
                }
            }
            if let Some(bytes) = heard.mtu.get(&address)
                && *bytes < peer.mtu
            {
                let text = format!(
                    "to {}: packets of {} bytes, the interface's MTU, do not arrive; {bytes} bytes do",
                    target.name, peer.mtu
                );
                findings.push(
                    Finding::new(&peer.name, "mtu", Level::Warn, text)
                        .hint("Set the interface's MTU to what the network carries."),
                );
            }
        }
    }
    if tried > 0 && findings.iter().all(|finding| finding.level != Level::Fail) {
        let managers = peers.iter().filter(|peer| peer.manager).count();
        findings.push(Finding {
            host: None,
            check: "ports",
            level: Level::Ok,
            text: format!(
                "{tried} paths between {} nodes answer; {managers} managers, majority {}",
                peers.len(),
                majority(managers)
            ),
            hint: None,
        });
    }
    findings
}

fn unreachable(from: &Peer, to: &Peer, proto: &str, port: u16, result: &str) -> Finding {
    let text = format!(
        "to {} ({}): {port}/{proto} is {result}",
        to.name, to.address
    );
    Finding::new(&from.name, "ports", Level::Fail, text)
        .hint("Open the port between the nodes, in the hosts' firewalls and in the network.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, address: &str) -> Peer {
        Peer {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            manager: true,
            mtu: 1500,
        }
    }

    #[test]
    fn a_large_cluster_is_tried_as_a_ring() {
        let peers: Vec<Peer> = (0..100)
            .map(|n| peer(&format!("m{n}"), &format!("192.0.2.{n}")))
            .collect();
        let names: Vec<&str> = targets(&peers, 99)
            .iter()
            .map(|peer| peer.name.as_str())
            .collect();
        assert_eq!(names.len(), PEERS);
        assert_eq!(names[0], "m0");
        assert_eq!(targets(&peers[..2], 0).len(), 1);
    }

    #[test]
    fn silence_is_told_with_both_ends() {
        let peers = [peer("m1", "192.0.2.1"), peer("m2", "192.0.2.2")];
        let heard = parse(
            "TCP 192.0.2.2 2377 silent\nUDP 192.0.2.2 4789 silent\nnoise\nMTU 192.0.2.2 1400\n",
        );
        let busy = BTreeMap::from([("m2".to_owned(), super::busy("BUSY udp 4789\nREADY\n"))]);
        let findings = examine(&peers, &BTreeMap::from([("m1".to_owned(), heard)]), &busy);
        let texts: Vec<&str> = findings
            .iter()
            .map(|finding| finding.text.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "to m2 (192.0.2.2): 2377/tcp is silent",
                "to m2: packets of 1500 bytes, the interface's MTU, do not arrive; 1400 bytes do",
            ]
        );
    }

    /// The two scripts against each other on this machine, in the shell that runs them.
    #[test]
    fn the_scripts_find_an_open_and_a_closed_port() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let script = listener("n0nce", 4789, true, 20);
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = String::new();
        while !said.contains("READY") {
            said += &(lines.next().unwrap().unwrap() + "\n");
        }
        let me = peer("m1", "127.0.0.1");
        let output = Command::new("sh")
            .args(["-c", &knocker("n0nce", 4789, 1500, &[&me])])
            .output()
            .unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        let heard = parse(&String::from_utf8_lossy(&output.stdout));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(heard.tcp[&("127.0.0.1".to_owned(), 7946)], "ok", "{stderr}");
        if !busy(&said).contains(&("udp".to_owned(), 7946)) {
            assert_eq!(heard.udp[&("127.0.0.1".to_owned(), 7946)], "ok", "{stderr}");
            assert_eq!(heard.mtu["127.0.0.1"], 1500, "{stderr}");
        }
    }
}
