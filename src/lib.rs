//! skep takes machines and turns them into a healthy Docker Swarm, then keeps that swarm right.
//!
//! Everything that changes anything goes one way: the inventory says what is wanted, probes say
//! what is there, a pure planner makes a graph of changes from the two, guards read the graph and
//! may refuse it, a person confirms it, the executor runs it, and a second plan proves it.
//!
//! The core (`inventory` to `plan`) does no I/O. Only `fleet`, `provider`, `ssh`, `docker` and
//! `openstack` reach outside; `cli` and `ui` only parse and print.

pub mod audit;
pub mod backup;
pub mod cli;
pub mod docker;
pub mod drill;
pub mod error;
pub mod execute;
pub mod facts;
pub mod fleet;
pub mod gather;
pub mod guard;
pub mod inventory;
pub mod known;
pub mod local;
pub mod nfs;
pub mod openstack;
pub mod plan;
pub mod playbook;
pub mod preflight;
pub mod procedure;
pub mod provider;
pub mod quorum;
pub mod record;
pub mod resource;
pub mod secret;
pub mod shell;
pub mod ssh;
pub mod state;
pub mod status;
pub mod swarm;
pub mod template;
pub mod ui;
