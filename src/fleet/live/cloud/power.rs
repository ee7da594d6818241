//! Servers that the cloud switches on and off.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::switch::Powered;
use super::{CloudRun, TICK};
use crate::fleet::{Fault, FaultKind};
use crate::openstack::model::{PowerAct, Server, ServerStatus};

/// How long a server may take to be switched on or off. Nova asks the machine itself to shut down, and
/// takes its power away when that takes longer than a minute (`shutdown_timeout`).
const SWITCHED: Duration = Duration::from_mins(5);

impl CloudRun {
    /// Whether the server of a host has power.
    pub(in crate::fleet::live) async fn powered(&self, host: &str) -> Result<Powered, Fault> {
        Ok(powered(&self.server(host).await?))
    }

    /// Switches the server of a host on or off, and waits until the cloud says that it is.
    pub(in crate::fleet::live) async fn switch(
        &self,
        host: &str,
        act: PowerAct,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let wanted = match act {
            PowerAct::Stop => Powered::Off,
            _ => Powered::On,
        };
        let until = Instant::now() + SWITCHED;
        let mut asked = false;
        let mut told = String::new();
        loop {
            let server = self.server(host).await?;
            if powered(&server) == wanted && server.task.is_none() {
                return Ok(());
            }
            // While something is done to it, the cloud takes no request.
            if server.task.is_none() && !asked {
                self.cloud.power(&server.id, act).await?;
                asked = true;
            }
            let state = server
                .task
                .unwrap_or_else(|| format!("{:?}", server.status));
            if state != told {
                output(&state);
                told = state;
            }
            if Instant::now() > until {
                let why = format!(
                    "the cloud has not done it after {} s: {told}",
                    SWITCHED.as_secs()
                );
                return Err(Fault::new(FaultKind::TimedOut, why)
                    .hint(format!("`openstack server show {}` tells more.", server.id)));
            }
            sleep(TICK).await;
        }
    }

    async fn server(&self, host: &str) -> Result<Server, Fault> {
        let servers = self.servers().await?;
        let server = servers.iter().find(|it| it.name == host);
        server.cloned().ok_or_else(|| {
            let why = format!("the cloud has no server `{host}` of this cluster");
            Fault::new(FaultKind::Failed, why).hint("`skep up` makes it.")
        })
    }
}

/// Whether a server has power, in the cloud's view: that of a machine which went off by itself is some
/// seconds old, on some clouds minutes.
fn powered(server: &Server) -> Powered {
    match (&server.status, server.task.as_deref()) {
        (ServerStatus::Stopped, Some("powering-on"))
        | (ServerStatus::Active | ServerStatus::Rebooting | ServerStatus::Building, _) => {
            Powered::On
        }
        (ServerStatus::Stopped, _) => Powered::Off,
        // One that is paused, shelved or in error may or may not.
        (ServerStatus::Error | ServerStatus::Other(_), _) => Powered::Unknown,
    }
}
