//! Machines that are switched on and off.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::{Host, Power, Provider};

/// Something that is done to a machine's power, from outside of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerCall {
    /// Switches it on. Well if it is.
    On {
        /// How.
        way: PowerWay,
    },
    /// Takes its power away, whatever it does. Well if it is off.
    Cut {
        /// How.
        way: PowerWay,
    },
    /// Shuts it down from within, and waits until it gives no answer any more.
    ShutDown {
        /// How long that may take, in seconds.
        deadline: u32,
    },
}

/// How a machine is switched on and off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerWay {
    /// The lab on this machine does it.
    Lab,
    /// The cloud that it is a server of.
    Cloud,
    /// As the inventory says.
    Inventory(Power),
    /// Somebody presses its button.
    Person {
        /// Where it is.
        address: String,
    },
}

impl PowerWay {
    /// The way of a host.
    pub fn of(host: &Host) -> Self {
        match (&host.power, host.provider) {
            (_, Provider::Lab) => Self::Lab,
            (Some(power), Provider::Static | Provider::OpenStack) => Self::Inventory(power.clone()),
            (None, Provider::OpenStack) => Self::Cloud,
            (None, Provider::Static) => Self::Person {
                address: host.address.clone().unwrap_or_default(),
            },
        }
    }

    /// Whether it can take a machine's power away.
    pub fn cuts(&self) -> bool {
        match self {
            Self::Lab | Self::Cloud | Self::Inventory(Power::Ipmi(_) | Power::Redfish(_)) => true,
            Self::Inventory(Power::Command(command)) => !command.off.is_empty(),
            Self::Inventory(Power::WakeOnLan(_)) | Self::Person { .. } => false,
        }
    }
}

/// What it is called in a table.
impl fmt::Display for PowerWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lab => f.write_str("the lab"),
            Self::Cloud => f.write_str("the cloud"),
            Self::Inventory(Power::WakeOnLan(wake)) => {
                write!(f, "wake-on-LAN of {}", wake.mac)?;
                match &wake.via {
                    Some(via) => write!(f, " through {via}"),
                    None => Ok(()),
                }
            }
            Self::Inventory(Power::Ipmi(ipmi)) => write!(f, "IPMI at {}", ipmi.address),
            Self::Inventory(Power::Redfish(it)) => match &it.system {
                Some(system) => write!(f, "Redfish at {}, system {system}", it.url),
                None => write!(f, "Redfish at {}", it.url),
            },
            Self::Inventory(Power::Command(command)) => {
                let program = command.on.first().map_or("", String::as_str);
                write!(f, "the program {program}")
            }
            Self::Person { .. } => f.write_str("by hand"),
        }
    }
}

impl fmt::Display for PowerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On {
                way: PowerWay::Person { address },
            } => write!(
                f,
                "PRESS ITS POWER BUTTON: nobody else can switch {address} on"
            ),
            Self::On { way } => write!(f, "switch it on ({way})"),
            Self::Cut { way } => write!(f, "take its power away ({way})"),
            Self::ShutDown { deadline } => {
                write!(
                    f,
                    "shut it down, and wait up to {deadline} s until it is silent"
                )
            }
        }
    }
}
