//! What a cloud has and what is asked of it: plain data, with only the fields that skep uses.
//!
//! Nothing here holds a secret. Sizes of memory and images are in the units of the field's name;
//! sizes of volumes and disks are in GiB, as the cloud counts them.

mod ask;
mod have;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use ask::{
    Affinity, BootVolume, Direction, Ether, ImageFormat, NewFloatingIp, NewImage, NewKeypair,
    NewPort, NewRule, NewSecurityGroup, NewServer, NewServerGroup, NewVolume, Peer, PortChange,
    PowerAct,
};
pub use have::{
    Allowance, AttachedVolume, Attachment, FixedIp, Flavor, FloatingIp, Image, ImageStatus,
    Keypair, Limits, Network, Port, Router, SecurityGroup, SecurityRule, Server, ServerAddress,
    ServerFault, ServerGroup, ServerStatus, Subnet, Volume, VolumeStatus, Zone, ZoneOf,
};

/// The kinds of resources that skep makes, and removes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A virtual machine.
    Server,
    /// A server's network card, with its addresses.
    Port,
    /// A public address that leads to a port.
    FloatingIp,
    /// A disk of its own.
    Volume,
    /// A set of rules of the firewall around ports.
    SecurityGroup,
    /// One rule of a security group.
    SecurityRule,
    /// A public key that servers get when they boot.
    Keypair,
    /// Servers that are to run apart, or together.
    ServerGroup,
    /// What servers boot from.
    Image,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Port => "port",
            Self::FloatingIp => "floating IP",
            Self::Volume => "volume",
            Self::SecurityGroup => "security group",
            Self::SecurityRule => "security-group rule",
            Self::Keypair => "keypair",
            Self::ServerGroup => "server group",
            Self::Image => "image",
        })
    }
}

/// The mark that everything of one cluster carries in the cloud.
///
/// Servers, ports, floating IPs, security groups and images carry it as a tag, servers and volumes
/// as metadata too; keypairs and server groups have neither and carry it in their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cluster(pub String);

impl Cluster {
    /// The key of the metadata of servers, volumes and images; its value is the cluster's name.
    pub const KEY: &str = "skep-cluster";

    /// The tag. Nova and Neutron allow 60 characters without `/` and `,`, which is room for a
    /// cluster's name of 55.
    pub fn tag(&self) -> String {
        format!("skep={}", self.0)
    }

    /// The name of a keypair or server group of this cluster. A cluster's name has no space, so that
    /// no cluster's names begin like another's.
    pub fn name_of(&self, what: &str) -> String {
        format!("skep {} {what}", self.0)
    }

    /// The other way: what `name` is called within this cluster; `None` where it is another's.
    pub fn within<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix("skep ")?
            .strip_prefix(self.0.as_str())?
            .strip_prefix(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_cluster_are_not_those_of_another() {
        let (one, two) = (Cluster("a".to_owned()), Cluster("a-b".to_owned()));
        assert_eq!(one.within(&one.name_of("managers")), Some("managers"));
        assert_eq!(two.within(&one.name_of("b managers")), None);
        assert_eq!(one.within(&two.name_of("managers")), None);
        assert_eq!(one.within("managers"), None);
    }
}
