//! Machines that are switched on and off: packets, controllers, programs, the lab, a cloud, people.

mod redfish;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::UdpSocket;
use tokio::time::sleep;

use crate::fleet::{Fault, FaultKind};
use crate::inventory::{Ipmi, Power, PowerCommand, SecretRef, WakeOnLan};
use crate::local::{LocalError, Program};
use crate::openstack::model::PowerAct;
use crate::plan::{PowerCall, PowerWay};
use crate::provider::lab::LabState;

use super::Live;

/// How often a packet is sent, for nobody confirms one, and the pause between two.
const PACKETS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(200);

/// How long a controller may take; it tries again by itself for some seconds.
const IPMI: Duration = Duration::from_secs(45);

/// How long a host may take to send a packet for another.
const ANSWER: Duration = Duration::from_secs(10);

/// Whether a machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Powered {
    /// It has.
    On,
    /// It has not.
    Off,
    /// Nobody can be asked.
    Unknown,
}

/// Sends a packet from another host: arguments are its bytes in hexadecimal digits, address and port.
/// perl is part of every Debian and of most others.
const SEND: &str = "perl -MSocket -e '
socket(S, PF_INET, SOCK_DGRAM, getprotobyname(\"udp\")) or die \"socket: $!\\n\";
setsockopt(S, SOL_SOCKET, SO_BROADCAST, pack(\"l\", 1)) or die \"broadcast: $!\\n\";
for (1..3) { send(S, pack(\"H*\", $ARGV[0]), 0, sockaddr_in($ARGV[2], inet_aton($ARGV[1]))) or die \"send: $!\\n\"; }
'";

/// Carries out `call` for `host`.
pub(super) async fn power(
    live: &Live,
    host: &str,
    call: &PowerCall,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    match call {
        PowerCall::On { way } => on(live, host, way, output).await,
        PowerCall::Cut { way } => cut(live, host, way, output).await,
        PowerCall::ShutDown { deadline } => {
            let off = super::power::Off {
                deadline: Duration::from_secs(u64::from(*deadline)),
                force: false,
                here: None,
                // The cloud starts only what it knows to be off.
                way: live.ways.get(host).filter(|way| **way == PowerWay::Cloud),
            };
            super::power::off(live, host, &off, output).await
        }
    }
}

async fn on(
    live: &Live,
    host: &str,
    way: &PowerWay,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    match way {
        PowerWay::Lab => match &live.lab {
            Some(lab) => lab.start(host).await.map_err(Fault::from),
            None => Err(no_lab()),
        },
        PowerWay::Cloud => live.cloud()?.switch(host, PowerAct::Start, output).await,
        PowerWay::Inventory(Power::WakeOnLan(wake)) => self::wake(live, wake).await,
        PowerWay::Inventory(Power::Ipmi(it)) => ipmi(live, it, "on", output).await.map(drop),
        PowerWay::Inventory(Power::Redfish(it)) => {
            redfish::on(it, &password(live, &it.password, &it.url)?).await
        }
        PowerWay::Inventory(Power::Command(it)) => {
            command(live, host, it, &it.on, output).await.map(drop)
        }
        PowerWay::Person { address } => {
            output(&format!(
                "waiting for somebody to press the power button of {host} ({address})"
            ));
            Ok(())
        }
    }
}

async fn cut(
    live: &Live,
    host: &str,
    way: &PowerWay,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    match way {
        PowerWay::Lab => {
            let lab = live.lab.as_ref().ok_or_else(no_lab)?;
            if status(live, host, way).await? == Powered::Off {
                return Ok(());
            }
            lab.kill(host).await.map_err(Fault::from)
        }
        PowerWay::Cloud => live.cloud()?.switch(host, PowerAct::Stop, output).await,
        PowerWay::Inventory(Power::Ipmi(it)) => ipmi(live, it, "off", output).await.map(drop),
        PowerWay::Inventory(Power::Redfish(it)) => {
            redfish::cut(it, &password(live, &it.password, &it.url)?).await
        }
        PowerWay::Inventory(Power::Command(it)) if !it.off.is_empty() => {
            command(live, host, it, &it.off, output).await.map(drop)
        }
        PowerWay::Inventory(_) | PowerWay::Person { .. } => {
            let why = format!("nobody but a person can take its power away ({way})");
            Err(Fault::new(FaultKind::Failed, why))
        }
    }
}

/// Whether a machine has power, as far as somebody can be asked.
pub(super) async fn status(live: &Live, host: &str, way: &PowerWay) -> Result<Powered, Fault> {
    let quiet = |_: &str| {};
    let told = match way {
        PowerWay::Lab => {
            let lab = live.lab.as_ref().ok_or_else(no_lab)?;
            let hosts = lab.reflect().await?;
            return Ok(
                match hosts.iter().find(|it| it.name == host).map(|it| it.state) {
                    Some(LabState::Running | LabState::Paused | LabState::Cut) => Powered::On,
                    Some(LabState::Stopped) | None => Powered::Off,
                    Some(LabState::Other) => Powered::Unknown,
                },
            );
        }
        PowerWay::Cloud => return live.cloud()?.powered(host).await,
        PowerWay::Inventory(Power::Ipmi(it)) => ipmi(live, it, "status", &quiet).await?,
        PowerWay::Inventory(Power::Redfish(it)) => {
            return redfish::status(it, &password(live, &it.password, &it.url)?).await;
        }
        PowerWay::Inventory(Power::Command(it)) if !it.status.is_empty() => {
            command(live, host, it, &it.status, &quiet).await?
        }
        PowerWay::Inventory(_) | PowerWay::Person { .. } => return Ok(Powered::Unknown),
    };
    // ipmitool says `Chassis Power is on`.
    match told.split_whitespace().next_back() {
        Some("on") => Ok(Powered::On),
        Some("off") => Ok(Powered::Off),
        _ => {
            let why = format!("it said neither `on` nor `off`: {}", told.trim());
            Err(Fault::new(FaultKind::Failed, why))
        }
    }
}

fn no_lab() -> Fault {
    Fault::new(FaultKind::Failed, "this inventory has no lab")
}

async fn wake(live: &Live, wake: &WakeOnLan) -> Result<(), Fault> {
    let failed = |why: String| Fault::new(FaultKind::Failed, why);
    let packet = wake.packet();
    let packet = packet.ok_or_else(|| failed(format!("`{}` is no card's address", wake.mac)))?;
    let Some(via) = &wake.via else {
        let sent = send(&packet, &wake.broadcast, wake.port).await;
        return sent.map_err(|error| {
            failed(format!("cannot send to {} port {}: {error}", wake.broadcast, wake.port))
                .hint("Set `broadcast` to that of the machine's network, or send it through a host there: `via`.")
        });
    };
    let script = format!(
        "{SEND} {} {} {}\n",
        crate::shell::hex(&packet),
        crate::shell::quote(&wake.broadcast),
        wake.port
    );
    live.script_on(via, &script, ANSWER)
        .await
        .map(drop)
        .map_err(|fault| Fault {
            message: format!("cannot send the packet from {via}: {}", fault.message),
            ..fault
        })
}

async fn send(packet: &[u8], broadcast: &str, port: u16) -> std::io::Result<()> {
    let to: Ipv4Addr = broadcast.parse().map_err(std::io::Error::other)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.set_broadcast(true)?;
    for _ in 0..PACKETS {
        socket.send_to(packet, SocketAddrV4::new(to, port)).await?;
        sleep(BETWEEN).await;
    }
    Ok(())
}

/// The call of `ipmitool`: the password is in its environment, which only this user and root can read,
/// and never in its arguments, which everybody can.
fn ipmitool(ipmi: &Ipmi, password: &SecretString, verb: &str) -> Program {
    let cipher = ipmi
        .cipher_suite
        .map(|it| ["-C".to_owned(), it.to_string()]);
    Program::new("ipmitool")
        .args(["-I", "lanplus", "-H", &ipmi.address])
        .args(["-p", &ipmi.port.to_string(), "-U", &ipmi.user, "-E"])
        .args(cipher.into_iter().flatten())
        .args(["chassis", "power", verb])
        .env("IPMI_PASSWORD", password.expose_secret())
        .deadline(IPMI)
}

/// The password of the controller at `address`, where it was looked up.
fn password(live: &Live, of: &SecretRef, address: &str) -> Result<SecretString, Fault> {
    let kept = live.of_power.get().and_then(|kept| kept.get(Some(of)));
    kept.ok_or_else(|| {
        let why = format!("the password of the controller at {address} is not known");
        Fault::new(FaultKind::Failed, why)
    })
}

async fn ipmi(
    live: &Live,
    ipmi: &Ipmi,
    verb: &str,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<String, Fault> {
    let password = password(live, &ipmi.password, &ipmi.address)?;
    let program = ipmitool(ipmi, &password, verb);
    program
        .run_with(output)
        .await
        .map(|told| told.stdout)
        .map_err(|error| fault(&error))
}

async fn command(
    live: &Live,
    host: &str,
    power: &PowerCommand,
    words: &[String],
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<String, Fault> {
    let inventory = std::path::absolute(&live.inventory).map_err(|error| {
        Fault::new(
            FaultKind::Failed,
            format!("cannot tell where the inventory is: {error}"),
        )
    })?;
    let directory = inventory.parent().unwrap_or(Path::new("/"));
    let target = live.remote(host)?.target();
    let address = target.map(|target| target.address).unwrap_or_default();
    let program = Program::beside(directory, words)
        .deadline(Duration::from_secs(u64::from(power.timeout)))
        .env("SKEP_INVENTORY", &inventory)
        .env("SKEP_HOST", host)
        .env("SKEP_ADDRESS", address)
        .env_remove(crate::state::Token::VARIABLE);
    program
        .run_with(output)
        .await
        .map(|told| told.stdout)
        .map_err(|error| fault(&error))
}

fn fault(error: &LocalError) -> Fault {
    let fault = Fault {
        output: error.tail().to_vec(),
        ..Fault::new(FaultKind::Failed, error.to_string())
    };
    match error {
        LocalError::NotFound { program } if program == "ipmitool" => {
            fault.hint("Install it on this machine: `apt install ipmitool`.")
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_packet_arrives() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let wake = WakeOnLan {
            mac: "52:54:00:12:34:56".to_owned(),
            broadcast: "127.0.0.1".to_owned(),
            port: socket.local_addr().unwrap().port(),
            via: None,
        };
        let packet = wake.packet().unwrap();
        send(&packet, &wake.broadcast, wake.port).await.unwrap();
        let mut got = [0; 200];
        for _ in 0..PACKETS {
            let length = socket.recv(&mut got).await.unwrap();
            assert_eq!(got[..length], packet);
        }
    }

    /// What another host runs to send it.
    #[tokio::test]
    async fn a_packet_arrives_from_another_host() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let script = format!("{SEND} ffff00 '127.0.0.1' {port}");
        Program::new("sh")
            .args(["-c", &script])
            .run()
            .await
            .unwrap();
        let mut got = [0; 200];
        let length = socket.recv(&mut got).await.unwrap();
        assert_eq!(got[..length], [0xff, 0xff, 0]);
    }

    #[test]
    fn the_password_is_no_argument() {
        let ipmi = Ipmi {
            address: "198.18.1.1".to_owned(),
            port: 623,
            cipher_suite: Some(3),
            user: "admin".to_owned(),
            password: crate::inventory::SecretRef::Env("X".to_owned()),
        };
        let line = ipmitool(&ipmi, &"hunter2".into(), "status").line();
        assert_eq!(
            line,
            "ipmitool -I lanplus -H 198.18.1.1 -p 623 -U admin -E -C 3 chassis power status"
        );
    }
}
