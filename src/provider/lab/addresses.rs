//! The lab's network: its subnet, who has which address, and how hosts find names.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use super::{
    Lab, LabError, address, dirs, docker::Container, free_subnet, gateway, name_servers, network,
    network_name, record::Record,
};

impl Lab {
    pub(super) fn bridge(&self) -> String {
        network::bridge(self.dirs.root(), &self.cluster)
    }

    /// Makes the cluster's network unless it is there, and tells its addresses.
    pub(super) async fn make_network(&self) -> Result<Ipv4Net, LabError> {
        let docker = self.docker();
        let name = network_name(&self.cluster);
        let format = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
        let inspect = docker.program(["network", "inspect", "--format", format, &name]);
        if let Ok(output) = inspect.run().await
            && let Ok(subnet) = output.stdout.trim().parse()
        {
            self.remember_network(subnet)?;
            return Ok(subnet);
        }
        let wanted = network::wanted(self.settings.subnet)?;
        // A lab keeps its addresses as long as it lives.
        let before = Record::load(&self.dir()).map(|record| record.subnet);
        let used = network::used().await?;
        let subnet = wanted.or(before).or_else(|| free_subnet(&used));
        let subnet = subnet.ok_or_else(|| LabError::Unfit {
            message: "no network is free for the lab".to_owned(),
            hint: "Set `subnet` in `[lab]`.".to_owned(),
        })?;
        let doing = "make the lab's network";
        let mut args = vec![
            "network".to_owned(),
            "create".to_owned(),
            "--driver=bridge".to_owned(),
            format!("--subnet={subnet}"),
            format!("--label={}", self.label()),
            format!("--opt=com.docker.network.bridge.name={}", self.bridge()),
        ];
        if let Some(gateway) = gateway(subnet) {
            args.push(format!("--gateway={gateway}"));
        }
        if let Some(mtu) = network::mtu().await {
            args.push(format!("--opt=com.docker.network.driver.mtu={mtu}"));
        }
        args.push(name);
        let create = docker.program(args).run().await;
        create.map_err(LabError::program(doing))?;
        self.remember_network(subnet)?;
        Ok(subnet)
    }

    pub(super) fn remember_network(&self, subnet: Ipv4Net) -> Result<(), LabError> {
        let dir = self.dir();
        let hosts = Record::load(&dir).map(|record| record.hosts);
        let record = Record {
            cluster: self.cluster.clone(),
            inventory: self.inventory.clone(),
            driver: self.settings.driver,
            subnet,
            hosts: hosts.unwrap_or_default(),
        };
        record.save(&dir)
    }

    pub(super) fn give_address(
        &self,
        host: &str,
        record: &Record,
        existing: &[Container],
    ) -> Result<Ipv4Addr, LabError> {
        let index = self.index(host)?;
        if let Some(address) = self.hosts[index].1 {
            return Ok(address);
        }
        let others = record.hosts.iter().filter(|(name, _)| *name != host);
        let fixed = self.hosts.iter().filter_map(|(_, address)| *address);
        let taken: Vec<_> = others
            .map(|(_, host)| host.address)
            .chain(fixed)
            .chain(existing.iter().filter_map(|container| container.address))
            .collect();
        let before = record.hosts.get(host).map(|host| host.address);
        before
            .filter(|address| !taken.contains(address) && record.subnet.contains(address))
            .or_else(|| address(record.subnet, index, &taken))
            .ok_or_else(|| LabError::Unfit {
                message: format!("no address of {} is free for host `{host}`", record.subnet),
                hint: "Set a larger `subnet` in `[lab]`.".to_owned(),
            })
    }

    /// The other hosts and the addresses that they have or will have.
    pub(super) fn neighbours(&self, host: &str, record: &Record) -> Vec<(String, Ipv4Addr)> {
        let others = self.hosts.iter().enumerate();
        others
            .filter(|(_, (name, _))| name != host)
            .filter_map(|(index, (name, fixed))| {
                let known = record.hosts.get(name).map(|host| host.address);
                let address = known
                    .or(*fixed)
                    .or_else(|| address(record.subnet, index, &[]));
                Some((name.clone(), address?))
            })
            .collect()
    }

    pub(super) fn resolv_conf(&self) -> PathBuf {
        self.dir().join("resolv.conf")
    }

    /// Writes the `resolv.conf` of the hosts, where this machine's servers answer them.
    pub(super) fn write_resolv_conf(&self) -> Result<(), LabError> {
        let own = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
        for text in own.map(std::fs::read_to_string).into_iter().flatten() {
            if !name_servers(&text).is_empty() {
                return dirs::write_whole(&self.resolv_conf(), &text, 0o644);
            }
        }
        Ok(())
    }
}
