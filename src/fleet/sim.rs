//! A simulated fleet: hosts with packages, files, engines and raft membership, faults from a seed,
//! and the same trait as the live one, so that the planner, the guards and the executor run on it
//! unchanged and any failure can be replayed.

mod backup;
mod engine;
mod facts;
mod host;
mod lock;
mod member;
mod nfs;
mod outside;
mod recover;
mod rotate;
mod shutdown;
mod start;
mod storage;
mod switch;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use crate::facts::{HostFacts, Probes};
use crate::fleet::{Fault, FaultKind, Fleet};
use crate::known::Known;
use crate::plan::Step;

use world::Mishap;

pub use host::SimTasks;
pub use lock::SimLock;
pub use recover::SimRecovery;
pub use rotate::{SimKeys, SimSecrets};
pub use storage::{SimDisk, SimStorage};
pub use world::{SimArchive, SimCluster, SimHook, SimHost, SimNode, SimService, World};

/// How likely faults are, in thousandths of all steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The connection is lost before the step did anything.
    pub lost_before: u32,
    /// The step did all its work and the connection is lost before it could say so.
    pub lost_after: u32,
    /// The step fails and did nothing.
    pub failed: u32,
    /// A join is not over when the engine's own patience is: it goes on by itself.
    pub join_pending: u32,
    /// The managers elect a leader just then and do nothing.
    pub election: u32,
    /// A restart leaves the engine dead.
    pub engine_dies: u32,
    /// A row of the managers' list says the contrary of what is so when they are asked: that a node is
    /// down or ready, that a manager is reachable or not.
    pub flips: u32,
}

/// The simulated fleet.
#[derive(Debug)]
pub struct SimFleet {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    world: World,
    faults: Faults,
    seed: u64,
}

impl SimFleet {
    /// A fleet of this world whose accidents follow from `seed`.
    pub fn new(world: World, faults: Faults, seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                world,
                faults,
                seed,
            }),
        }
    }

    /// Looks at the world, or changes it from outside.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.lock().world)
    }

    /// Changes how likely faults are from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next number of splitmix64, by Steele, Lea and Flood (OOPSLA 2014): small, and enough to
    /// choose accidents.
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        self.next() % 1000 < u64::from(thousandths)
    }

    /// Lets rows of the managers' list flip for this one answer.
    fn flip(&mut self, facts: &mut HostFacts) {
        let flips = self.faults.flips;
        let (true, Known::Value(nodes)) = (flips > 0, &mut facts.nodes) else {
            return;
        };
        for node in nodes {
            if self.chance(flips) {
                let other = if node.state == "ready" {
                    "down"
                } else {
                    "ready"
                };
                other.clone_into(&mut node.state);
            }
            if let Some(manager) = &mut node.manager
                && self.chance(flips)
            {
                manager.reachable = !manager.reachable;
            }
        }
    }
}

fn unreachable(host: &str) -> Fault {
    Fault::new(
        FaultKind::Unreachable,
        format!("no answer from `{host}` within 20 s"),
    )
}

fn lost() -> Fault {
    Fault::new(FaultKind::Lost, "the connection was lost")
}

impl Fleet for SimFleet {
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut state = self.lock();
            let answer = state.world.facts(host, probes);
            let mut facts = answer.ok_or_else(|| unreachable(host))?;
            state.flip(&mut facts);
            Ok(facts)
        })
    }

    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        _output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let (pause, before, failed, election, after, mishap) = {
                let mut state = self.lock();
                let faults = state.faults;
                let pause = Duration::from_millis(10 + state.next() % 5000);
                let before = state.chance(faults.lost_before);
                let failed = state.chance(faults.failed);
                let after = state.chance(faults.lost_after);
                let election = state.chance(faults.election) && matches!(step, Step::Docker(_));
                let mishap = Mishap {
                    join_pending: state.chance(faults.join_pending),
                    engine_dies: state.chance(faults.engine_dies),
                };
                (pause, before, failed, election, after, mishap)
            };
            tokio::time::sleep(pause / 2).await;
            if before {
                return Err(lost());
            }
            if failed {
                return Err(Fault::new(FaultKind::Failed, "the step failed"));
            }
            if election {
                return Err(Fault::new(FaultKind::NoQuorum, "the swarm has no leader"));
            }
            self.lock().world.step(host, step, mishap)?;
            tokio::time::sleep(pause / 2).await;
            if after { Err(lost()) } else { Ok(()) }
        })
    }
}
