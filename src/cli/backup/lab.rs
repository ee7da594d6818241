//! A host of its own for a backup that is tried out.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::backup::archive::{Checked, Identities};
use crate::cli::Global;
use crate::cli::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::execute::{self, Stop};
use crate::fleet::Fleet as _;
use crate::fleet::live::{Keys, Live, contents};
use crate::inventory::{self, DockerSource, Inventory, Role};
use crate::plan::swarm::wait_member;
use crate::plan::{BackupCall, DockerCall, Step};
use crate::procedure::{Procedure, without_swarm};
use crate::provider::lab::Lab;
use crate::shell::quote;
use crate::swarm::Contents;
use crate::ui::working::Working;
use crate::ui::{Printer, interrupt, prompt};

/// The host.
const HOST: &str = "m1";

/// How long it may take from its start to a login.
const BOOT: Duration = Duration::from_mins(2);

/// How long a short script may take on it.
const SHORT: Duration = Duration::from_secs(30);

/// Restores a backup onto a host that is made for it, and compares what is there then.
pub(super) async fn verify(
    checked: &Checked,
    identities: Arc<Identities>,
    unlock: Option<SecretString>,
    yes: bool,
    global: &Global,
    printer: &Printer,
) -> Result<()> {
    let folder = tempfile::tempdir().map_err(|error| {
        Error::failed("cannot make a folder for the inventory of the lab").because(error)
    })?;
    // The version and mirror of the inventory, where there is one; a backup can do without it.
    let own = inventory::read(&global.inventory_path()).ok();
    let own = own.and_then(|source| source.inventory);
    let text = inventory_text(checked, own.as_ref());
    let (inventory, _) = inventory::parse(&text, &folder.path().join("skep.toml"));
    let inventory =
        inventory.ok_or_else(|| Error::failed("the inventory of the lab is not right"))?;
    let name = inventory.cluster.clone();
    let cluster = Cluster::open_with(inventory, None, printer).await?;
    let Some(lab) = cluster.lab.clone() else {
        return Err(Error::failed("there is no lab"));
    };
    let needs = lab.preflight().await.map_err(|error| {
        Error::from(crate::fleet::Fault::from(error)).hint("Without a lab: `--checksums-only`.")
    })?;
    for line in needs.lines() {
        printer.say(format!("on this machine: {line}"));
    }
    let question = format!("Make a host on this machine to try the backup out (`{name}`)?");
    if !prompt::confirm(&question, yes)? {
        return Err(Error::new(
            Kind::Interrupted,
            "not confirmed; the checksums are right",
        ));
    }
    cluster.live.keep_keys(Keys { identities, unlock });
    let stop = interrupt::watch(printer)?;
    let tried = tokio::select! {
        tried = try_out(&cluster, &lab, checked, printer) => tried,
        () = stop.soft.cancelled() => Err(Error::new(Kind::Interrupted, "interrupted")),
    };
    let ended = lab.down(false, &|line| printer.detail(line)).await;
    let found = tried?;
    ended.map_err(|error| Error::from(crate::fleet::Fault::from(error)))?;
    compare(checked, &found, printer)
}

/// One manager, with the engine that the backup wants.
fn inventory_text(checked: &Checked, own: Option<&Inventory>) -> String {
    let mut nonce = crate::ssh::nonce();
    nonce.truncate(6);
    let manager = own.and_then(|own| own.host(&checked.manifest.host));
    let source = match manager.map(|host| host.docker.source) {
        // The lab's hosts are Debian's, whose packages those of a folder may not fit.
        Some(DockerSource::DockerCe | DockerSource::Offline) => "docker-ce",
        _ => "distro",
    };
    let mut text = format!(
        "[cluster]\nname = \"skep-verify-{nonce}\"\nprovider = \"lab\"\n\n[docker]\nsource = \"{source}\"\n"
    );
    if source == "docker-ce" {
        let _infallible = writeln!(text, "version = \"{}\"", checked.manifest.engine);
    }
    if let Some(mirror) = own.and_then(|own| own.lab.mirror.as_ref()) {
        let mirror = toml::Value::String(mirror.clone());
        let _infallible = writeln!(text, "\n[lab]\nmirror = {mirror}");
    }
    text + &format!("\n[[host]]\nname = \"{HOST}\"\nrole = \"manager\"\n")
}

async fn try_out(
    cluster: &Cluster,
    lab: &Lab,
    checked: &Checked,
    printer: &Printer,
) -> Result<Contents> {
    let working = Working::begin(printer, "trying the backup out");
    let tell = |line: &str| {
        working.tell(line);
        printer.detail(line);
    };
    let of_lab = |error| Error::from(crate::fleet::Fault::from(error));
    lab.prepare(&tell).await.map_err(of_lab)?;
    lab.create(HOST, &tell).await.map_err(of_lab)?;
    let remote = cluster.live.remote(HOST)?;
    remote.wait_for_login(BOOT).await?;
    tell("installing the engine");
    install(cluster).await?;
    cut_off(&cluster.live, &checked.manifest.address).await?;
    let manifest = &checked.manifest;
    let id = manifest.node_id.clone();
    let steps = [
        Step::Backup(BackupCall::Bring {
            archive: checked.path.clone(),
            sha256: checked.sha256.clone(),
        }),
        Step::Backup(BackupCall::Place {
            data_root: crate::inventory::DATA_ROOT.to_owned(),
            sha256: checked.sha256.clone(),
        }),
        Step::Backup(BackupCall::Wake { id: id.clone() }),
        Step::Docker(DockerCall::SwarmForce {
            id,
            advertise: manifest.address.clone(),
            data_path: None,
            autolock: false,
        }),
        wait_member(Role::Manager, &[HOST.to_owned()]),
    ];
    for step in &steps {
        tell(&step.to_string());
        cluster
            .live
            .run(HOST, step, &|line| printer.detail(line))
            .await?;
    }
    Ok(contents(&remote.docker()).await?)
}

/// Installs the engine and makes no swarm.
async fn install(cluster: &Cluster) -> Result<()> {
    let (_, plan) = cluster.plan(&Procedure::UP, &|_| {}).await;
    if let Some(refusal) = plan.refusals.first() {
        return Err(Error::failed(refusal.why.clone()).hint(refusal.hint.clone()));
    }
    let changes = without_swarm(plan.changes);
    let ran = execute::run(cluster.live.as_ref(), &changes, &Stop::default(), &|_| {}).await;
    let ran = ran.map_err(|error| Error::failed(error.to_string()))?;
    let failed = ran.outcomes.values().find_map(|outcome| match outcome {
        execute::Outcome::Failed { fault, .. } => Some(fault.clone()),
        _ => None,
    });
    match failed {
        Some(fault) => Err(Error::from(fault)),
        None if ran.is_done() => Ok(()),
        None => Err(Error::failed("the engine was not installed")),
    }
}

/// Takes the way out away, and gives the host the manager's address. A restored manager that reached
/// the living swarm would vote there in the name of the one that it is a copy of. An engine finds its
/// address by the route to the other managers, and does not start without one: it gets one that ends at
/// the host itself.
async fn cut_off(live: &Live, address: &str) -> Result<()> {
    let address = quote(address);
    let (family, length) = if address.contains(':') {
        (6, 128)
    } else {
        (4, 32)
    };
    let script = format!(
        "set -eu\n\
         while ip route show default | grep -q .; do ip route del default; done\n\
         while ip -6 route show default | grep -q .; do ip -6 route del default; done\n\
         ip address replace {address}/{length} dev lo\n\
         ip -{family} route replace default dev lo src {address}\n\
         out=$(ip route show default; ip -6 route show default)\n\
         if printf '%s\\n' \"$out\" | grep -v ' dev lo '; then echo 'there is a way out still' >&2; exit 1; fi\n"
    );
    let remote = live.remote(HOST)?;
    let session = remote.session().await?;
    let ended = remote.run(&session, &script, SHORT, &|_, _| {}).await?;
    if ended.status.is_success() {
        return Ok(());
    }
    let why = ended.stderr_tail.trim().to_owned();
    Err(Error::failed(format!(
        "the host cannot be cut off, so nothing was restored onto it: {why}"
    )))
}

fn compare(checked: &Checked, found: &Contents, printer: &Printer) -> Result<()> {
    let differences = checked.manifest.contents.differences(found);
    if differences.is_empty() {
        return printer.data("restored on a host of its own: the nodes, services, secrets and configs are all there\n");
    }
    for line in &differences {
        printer.warn(line);
    }
    Err(Error::failed("the restored swarm is not what the manifest says")
        .hint("Something may have been changed in the seconds around the backup; take another one and verify that."))
}
