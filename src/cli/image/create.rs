//! `skep image create`: of a server's disk, where that is no node of a swarm.

use crate::error::{Error, Result};
use crate::gather::gather;
use crate::inventory::{Host, Inventory, Provider, Role};
use crate::known::Known;
use crate::openstack::model::{Server, ServerStatus};
use crate::ui::{Printer, prompt};

use super::super::cluster::Cluster;
use super::{CreateArgs, alone, connect, is_free, ready, told};

pub(super) async fn run(args: &CreateArgs, inventory: Inventory, printer: &Printer) -> Result<()> {
    let Some(host) = inventory.host(&args.host) else {
        let error = Error::usage(format!("the inventory has no host `{}`", args.host));
        return Err(error.hint("`skep inventory` lists the hosts."));
    };
    if host.provider != Provider::OpenStack {
        return Err(Error::usage(format!(
            "`{}` is no server of a cloud",
            args.host
        )));
    }
    let day = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
    let default = || format!("{}-{}-{day}", inventory.cluster, args.host);
    let name = args.name.clone().unwrap_or_else(default);
    let _alone = alone(&inventory)?;
    let cluster = Cluster::open_with(inventory, None, printer).await?;
    let cloud = connect(&cluster.inventory)?;
    let (there, images) = tokio::try_join!(cloud.servers(), cloud.images()).map_err(told)?;
    is_free(&name, &images, |_| false)?;
    let mut there = there.iter().filter(|it| it.name == args.host);
    let (Some(server), None) = (there.next(), there.next()) else {
        let error = Error::failed(format!("the cloud has no single server `{}`", args.host));
        return Err(error.hint("`skep plan` tells what is there."));
    };
    if server.image.is_none() {
        let error = Error::refused(format!("`{}` boots from a volume", args.host));
        return Err(error.hint(
            "Its image would be a snapshot of that volume, which stays when the image goes: make it with the cloud's own tools.",
        ));
    }
    if let Some(host) = cluster.inventory.host(&args.host) {
        in_no_swarm(&cluster, host).await?;
    }
    let question = format!(
        "Make the image `{name}` of `{}`?{}",
        args.host,
        runs(server)
    );
    if !prompt::confirm(&question, args.yes)? {
        return Err(Error::refused("not confirmed; nothing was made"));
    }
    if server.status == ServerStatus::Active {
        printer.warn(format!(
            "`{}` runs: what it writes at the moment may be half in the image",
            args.host
        ));
    }
    let made = cloud.snapshot(&server.id, &name).await.map_err(told)?;
    let image = ready(&cloud, &made.id, &name, printer).await?;
    printer.say(format!("made the image `{name}` ({})", image.id));
    Ok(())
}

fn runs(server: &Server) -> &'static str {
    match server.status {
        ServerStatus::Active => " It runs.",
        _ => "",
    }
}

/// Refuses a host of which it is not sure that it is in no swarm and holds nothing of one. A host
/// without a role is never put into one.
async fn in_no_swarm(cluster: &Cluster, host: &Host) -> Result<()> {
    if host.role == Role::None {
        return Ok(());
    }
    let mut gathered = gather(cluster.live.as_ref(), [host], &[], &|_| {}).await;
    let name = &host.name;
    let why = match gathered.remove(name) {
        Some(Ok(facts)) => match (&facts.swarm, &facts.leftovers) {
            (Known::Absent, Known::Absent) => return Ok(()),
            (Known::Absent, Known::Value(left)) if !left.swarm => return Ok(()),
            (Known::Absent, Known::Value(left)) => {
                format!(
                    "`{}/swarm` of `{name}` holds the state of a swarm",
                    left.data_root
                )
            }
            (Known::Value(_), _) => format!("`{name}` is in a swarm"),
            _ => format!("`{name}` does not tell whether it is in a swarm"),
        },
        Some(Err(why)) => format!("`{name}` does not tell whether it is in a swarm: {why}"),
        None => format!("`{name}` does not tell whether it is in a swarm"),
    };
    Err(Error::refused(format!("{why}; nothing was made")).hint(
        "Every server of the image would take itself for that node. Make it of a host with `role = \"none\"`, or of one that is in no swarm yet.",
    ))
}
