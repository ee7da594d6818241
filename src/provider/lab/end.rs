//! The end of a lab: exactly what was made for it.

use std::time::Duration;

use super::{
    Dirs, LabError, Progress, docker::CLUSTER_LABEL, docker::Docker, engine, engine::Engine, host,
    lock, network, record::Record, vm,
};
use crate::inventory::LabDriver;

pub(super) async fn end(
    dirs: &Dirs,
    engine: &Engine,
    cluster: &str,
    purge: bool,
    progress: Progress<'_>,
) -> Result<(), LabError> {
    if !dirs.root().exists() {
        return Ok(());
    }
    let _lock = lock(dirs).await?;
    let record = Record::load(&dirs.lab(cluster));
    if let Some(record) = &record
        && record.driver == LabDriver::Vm
    {
        vm::end(dirs, record, progress).await?;
        engine::remove_tree(&dirs.lab(cluster))?;
    } else if let Some(record) = &record {
        // What it made can only be removed through the engine.
        engine.start(progress).await?;
        let docker = engine.docker();
        let label = format!("{CLUSTER_LABEL}={cluster}");
        let found = docker.containers(&label).await?;
        let names: Vec<_> = found.into_iter().map(|container| container.name).collect();
        if !names.is_empty() {
            progress(&format!("removing hosts: {}", names.len()));
            remove_containers(&docker, &names).await?;
        }
        remove_labelled(&docker, "volume", &label).await?;
        remove_labelled(&docker, "network", &label).await?;
        network::close_way_out(record.subnet, &network::bridge(dirs.root(), cluster)).await?;
        engine::remove_tree(&dirs.lab(cluster))?;
    }
    // One that died leaves control groups and a switched-on forwarding behind.
    let ran = engine.runs().await;
    if engine.stop_if_unused().await? && ran {
        progress("the lab's engine has ended");
    }
    if purge {
        vm::purge(dirs)?;
    }
    if purge && !engine.runs().await && Record::all(&dirs.labs()).is_empty() {
        for dir in [dirs.engine_data(), dirs.build(), dirs.labs()] {
            engine::remove_tree(&dir)?;
        }
        let _ = std::fs::remove_file(dirs.engine_log());
        let _ = std::fs::remove_file(dirs.lock());
        // A directory that the user put other things into stays.
        let _ = std::fs::remove_dir(dirs.root());
    }
    Ok(())
}

pub(super) async fn remove_containers(docker: &Docker, names: &[String]) -> Result<(), LabError> {
    let remove = docker
        .program(["container", "rm", "--force", "--volumes"])
        .args(names)
        .deadline(Duration::from_mins(2));
    let removed = remove.run().await;
    removed.map_err(LabError::program("remove the lab's hosts"))?;
    for name in names {
        for (_, kind) in host::VOLUMES {
            let volume = format!("{name}-{kind}");
            let args = ["volume", "rm", "--force", &volume];
            docker.run("remove a host's disk", &args).await?;
        }
    }
    Ok(())
}

pub(super) async fn remove_labelled(
    docker: &Docker,
    kind: &str,
    label: &str,
) -> Result<(), LabError> {
    let doing = format!("remove the lab's {kind}s");
    let filter = format!("label={label}");
    let list = docker
        .run(&doing, &[kind, "ls", "--quiet", "--filter", &filter])
        .await?;
    for id in list.stdout.split_whitespace() {
        docker.run(&doing, &[kind, "rm", id]).await?;
    }
    Ok(())
}
