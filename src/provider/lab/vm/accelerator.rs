//! Whether KVM really boots a machine here: a device that is there does not say so, as inside other
//! virtual machines.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::engine::Process;
use super::super::{Dirs, LabError, Progress, dirs};
use super::args::Accelerator;
use crate::local::Program;

/// How long the kernel has to reach its first program. With a KVM that works it takes two seconds.
const TRIAL: Duration = Duration::from_secs(15);

/// What initramfs-tools says first.
const ALIVE: &str = "Loading, please wait";

/// What to run machines with: what an earlier trial of this boot found, else a trial.
pub(super) async fn choose(
    dirs: &Dirs,
    image: &Path,
    progress: Progress<'_>,
) -> Result<Accelerator, LabError> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accelerator::Tcg);
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = dirs.vm_images().join("accelerator");
    let noted = |kind: Accelerator| format!("{} {}\n", kind.name(), boot.trim());
    let text = std::fs::read_to_string(&note).unwrap_or_default();
    for kind in [Accelerator::Kvm, Accelerator::Tcg] {
        if text == noted(kind) {
            return Ok(kind);
        }
    }
    progress("trying whether KVM boots a machine here");
    dirs::make_private(&dirs.vm_run())?;
    let kind = if boots(&dirs.vm_run(), image).await {
        Accelerator::Kvm
    } else {
        progress("it does not: machines run without it, many times slower");
        Accelerator::Tcg
    };
    dirs::write_whole(&note, &noted(kind), 0o600)?;
    Ok(kind)
}

async fn boots(run: &Path, image: &Path) -> bool {
    let file = |kind: &str| -> PathBuf { run.join(format!("trial-{}.{kind}", std::process::id())) };
    let (pid_file, console) = (file("pid"), file("console"));
    let [accel, accel_value, cpu, cpu_value] = Accelerator::Kvm.args();
    let start = Program::new("qemu-system-x86_64")
        .args(["-machine", "q35", accel, accel_value, cpu, cpu_value])
        .args(["-m", "512", "-display", "none", "-nodefaults", "-no-reboot"])
        .args(["-append", "console=ttyS0 panic=-1", "-kernel"])
        .arg(image.join("vmlinuz"))
        .arg("-initrd")
        .arg(image.join("initrd"))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-pidfile")
        .arg(&pid_file)
        .arg("-daemonize");
    let began = Instant::now();
    let mut alive = false;
    if start.run().await.is_ok() {
        while !alive && began.elapsed() < TRIAL && Process::find(&pid_file, &pid_file).is_some() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let said = std::fs::read(&console).unwrap_or_default();
            alive = String::from_utf8_lossy(&said).contains(ALIVE);
        }
    }
    if let Some(process) = Process::find(&pid_file, &pid_file) {
        let _ = process.kill().await;
    }
    for file in [pid_file, console] {
        let _ = std::fs::remove_file(file);
    }
    alive
}
