//! Scripts that take a manager's state away and put it back.

use super::engine;
use crate::plan::step::BackupCall;
use crate::shell::quote;

/// How long the unit may take that stops the engine and copies: an engine may take 90 s to stop, and a
/// raft log is some hundred megabytes at most.
const WINDOW_SECONDS: u32 = 300;

const JOB: &str = include_str!("backup/job.sh");
const TAKE: &str = include_str!("backup/take.sh");
const PLACE: &str = include_str!("backup/place.sh");

/// The body of the script, and how long it may take in seconds; `None` where it is no business of a
/// shell's alone.
pub(super) fn body(call: &BackupCall) -> Option<(String, u32)> {
    let (copy, restore) = (BackupCall::COPY, BackupCall::RESTORE);
    Some(match call {
        BackupCall::Take { data_root, .. } => (
            engine::with_library(&format!(
                "from={}\ndir={copy}\nwindow={WINDOW_SECONDS}\nfresh={}\n{JOB}{TAKE}",
                quote(&format!("{data_root}/swarm")),
                BackupCall::FRESH,
            )),
            2 * WINDOW_SECONDS + 300,
        ),
        BackupCall::Revive => (
            engine::with_library(&format!(
                "window={WINDOW_SECONDS}\n{JOB}wait_for_job\nsince=$(date +%s)\nbring_up start || fail 82 \"the engine does not come up: $(last_words \"$since\")\"\n"
            )),
            2 * WINDOW_SECONDS + 300,
        ),
        BackupCall::Discard => (remove(copy), 60),
        BackupCall::Tidy => (remove(restore), 60),
        BackupCall::Place { data_root, sha256 } => (
            engine::with_library(&format!(
                "root={}\ndir={restore}\nsum={}\n{PLACE}",
                quote(data_root),
                quote(sha256),
            )),
            engine::SECONDS,
        ),
        BackupCall::Fetch { .. } | BackupCall::Bring { .. } | BackupCall::Wake { .. } => {
            return None;
        }
    })
}

// The file that tells of it goes last: what is left of a removal that was cut is removed by the next.
fn remove(dir: &str) -> String {
    format!(
        "[ -d {dir} ] || return 0\nfind {dir} -mindepth 1 -maxdepth 1 ! -name state -exec rm -rf -- {{}} +\nrm -rf -- {dir}\n"
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::plan::script) fn every_call() -> impl Iterator<Item = BackupCall> {
        let data_root = "/srv/it's a $(folder)".to_owned();
        [
            BackupCall::Take {
                data_root: data_root.clone(),
                without_quorum: false,
            },
            BackupCall::Revive,
            BackupCall::Discard,
            BackupCall::Place {
                data_root,
                sha256: "0123".to_owned(),
            },
            BackupCall::Tidy,
        ]
        .into_iter()
    }

    #[test]
    fn the_engine_is_started_by_the_unit_and_not_by_the_script_alone() {
        let take = every_call().next().and_then(|call| body(&call));
        let (text, _) = take.unwrap();
        let (before, unit) = text.split_once("systemd-run --quiet").unwrap();
        assert!(unit.contains("ExecStopPost="), "{unit}");
        // Nothing stops the engine outside of the unit's own script.
        let inner = before.find("SKEP_TAKE").unwrap();
        assert!(before[..inner].find("systemctl stop").is_none());
        // The copy is whole before it is called so, and the engine stands before it is copied.
        let at = |text: &str| before.find(text).unwrap();
        assert!(at("systemctl stop docker.service") < at("cp -a"));
        assert!(at("mv -T") < at("'ready %s"));
    }
}
