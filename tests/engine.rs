//! The Docker Engine from every source, its configuration and the swarm's settings, on real hosts
//! with the real binary.
//!
//! Needs root, a Debian mirror and the right to mount. Run it with
//! `cargo test --test engine -- --ignored --test-threads=1`; `SKEP_LAB_DIR` says where the lab keeps
//! its things, so that its images need not be made anew each time.

#![expect(clippy::unwrap_used, reason = "a test: a failed step ends it")]

#[path = "engine/apt.rs"]
mod apt;
#[path = "engine/cluster.rs"]
mod cluster;
#[path = "engine/configuration.rs"]
mod configuration;
#[path = "engine/packages.rs"]
mod packages;
#[path = "engine/repository.rs"]
mod repository;
#[path = "engine/settings.rs"]
mod settings;
