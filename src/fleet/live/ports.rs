//! Carries the preflight's scripts to the hosts: everybody listens, then everybody knocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::preflight::ports::{Heard, Peer, busy, knocker, listener, parse, targets};
use crate::ssh::{SshStream, StreamTo, nonce};

use super::{Live, Remote};

/// How long a host may take until it listens.
const READY: Duration = Duration::from_secs(15);

/// How long a knocker may take: its own alarm ends it after 40 s.
const KNOCK: Duration = Duration::from_mins(1);

/// After how many seconds a listener that was forgotten ends by itself.
const LISTEN_SECONDS: u32 = 120;

/// What the hosts heard of each other, and which ports were taken, by host.
#[derive(Debug, Default)]
pub struct Tried {
    /// What each host heard.
    pub heard: BTreeMap<String, Heard>,
    /// The ports that each host's listener could not have.
    pub busy: BTreeMap<String, Vec<(String, u16)>>,
}

impl Live {
    /// Tries the swarm's ports between all `peers`. A host that cannot take part is left out.
    pub async fn try_ports(&self, peers: &[Peer], data_path_port: u16) -> Tried {
        let nonce = nonce();
        let mut tried = Tried::default();
        let listeners = peers.iter().map(|peer| {
            let script = listener(&nonce, data_path_port, peer.manager, LISTEN_SECONDS);
            async move { listen(self.remote(&peer.name).ok()?, script).await }
        });
        let mut holds = Vec::new();
        for (peer, listening) in peers.iter().zip(join_all(listeners).await) {
            if let Some((stream, said)) = listening {
                tried.busy.insert(peer.name.clone(), busy(&said));
                holds.push(stream);
            }
        }
        let listening: Vec<&str> = tried.busy.keys().map(String::as_str).collect();
        let knocks = peers.iter().enumerate().map(|(place, peer)| {
            let targets = targets(peers, place);
            // Silence of a host that does not even listen says nothing about the network.
            let targets: Vec<&Peer> = targets
                .into_iter()
                .filter(|target| listening.contains(&target.name.as_str()))
                .collect();
            let script = knocker(&nonce, data_path_port, peer.mtu, &targets);
            async move { knock(self.remote(&peer.name).ok()?, &script).await }
        });
        for (peer, heard) in peers.iter().zip(join_all(knocks).await) {
            if let Some(heard) = heard {
                tried.heard.insert(peer.name.clone(), heard);
            }
        }
        drop(holds);
        tried
    }
}

/// Starts a listener; it ends when the stream is dropped.
async fn listen(remote: &Arc<Remote>, script: String) -> Option<(BufReader<SshStream>, String)> {
    let session = remote.session().await.ok()?;
    let to = StreamTo::Command { script, root: true };
    let mut stream = BufReader::new(session.stream(&to).await.ok()?);
    let mut said = String::new();
    let ready = timeout(READY, async {
        while !said.ends_with("READY\n") {
            if stream.read_line(&mut said).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    });
    ready.await.ok()??;
    Some((stream, said))
}

async fn knock(remote: &Arc<Remote>, script: &str) -> Option<Heard> {
    let session = remote.session().await.ok()?;
    let output = remote.run(&session, script, KNOCK, &|_, _| {}).await.ok()?;
    Some(parse(&String::from_utf8_lossy(&output.stdout)))
}
