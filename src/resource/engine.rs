//! The Docker Engine's service: started at boot, and now.

use crate::facts::{HostFacts, Probe, Probes};
use crate::known::Known;
use crate::plan::{Condition, ServiceAction, Step};

use super::kernel::unknown;
use super::{Draft, Resource, Verdict, value_diff};

/// systemd's name of the engine.
const UNIT: &str = "docker.service";

/// How long an engine may take to answer after its start. Debian's slowest boards take tens of
/// seconds, and `TimeoutStartSec=0` of the packaged unit sets no limit.
const ENGINE_START_SECONDS: u32 = 120;

/// The engine's service.
#[derive(Debug, Clone, Copy)]
pub struct EngineService;

impl Resource for EngineService {
    fn name(&self) -> &'static str {
        "docker.service"
    }

    fn probes(&self) -> Probes {
        Probes::from([Probe::Unit(UNIT.to_owned()), Probe::Docker])
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let (active, enabled) = match facts.units.get(UNIT) {
            Some(Known::Value(unit)) => (unit.active.as_str(), unit.enabled.as_str()),
            Some(Known::Absent) => ("absent", "absent"),
            other => return Verdict::Unknown(unknown("unit", UNIT, other)),
        };
        if enabled == "masked" {
            return Verdict::Refuse {
                why: format!("`{UNIT}` is masked"),
                hint: format!(
                    "Somebody masked it on purpose; if it should run, `systemctl unmask {UNIT}` on the host."
                ),
            };
        }
        if active == "active" && enabled == "enabled" {
            return Verdict::Same;
        }
        let now = match facts.units.get(UNIT) {
            Some(Known::Value(_)) => Some(format!("{active}, {enabled}")),
            _ => None,
        };
        Verdict::Change(Draft::safe(
            "start the Docker Engine, now and at boot",
            vec![value_diff(UNIT, now.as_deref(), "active, enabled")],
            vec![
                Step::Service {
                    unit: UNIT.to_owned(),
                    action: ServiceAction::EnableNow,
                },
                Step::Wait {
                    condition: Condition::Engine,
                    deadline: ENGINE_START_SECONDS,
                },
            ],
        ))
    }
}
