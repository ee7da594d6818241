//! Asks all hosts at once.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use crate::execute::Event;
use crate::facts::{Probe, Probes};
use crate::fleet::Fleet;
use crate::inventory::Host;
use crate::resource::probes_of;
use crate::swarm::Gathered;

/// How many hosts are asked at the same time. Each costs one connection, so this bounds open files
/// (the usual hard limit is far higher) and memory, about 70 kB a connection.
const AT_ONCE: usize = 500;

/// Asks each host what came of its first answers, and adds it to them. A host that does not answer any
/// more gave no answer.
pub async fn gather_later(
    fleet: &dyn Fleet,
    gathered: &mut Gathered,
    probes: BTreeMap<String, Probes>,
) {
    let asked = stream::iter(probes).map(|(host, mut probes)| async move {
        probes.insert(Probe::Busy);
        let answer = fleet.gather(&host, &probes).await;
        (host, answer.map_err(|fault| fault.message))
    });
    let answers: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    for (host, answer) in answers {
        match (gathered.get_mut(&host), answer) {
            (Some(Ok(facts)), Ok(later)) => facts.add(later),
            (Some(told), Err(why)) => *told = Err(why),
            _ => {}
        }
    }
}

/// Asks `hosts` all that a plan needs to know, and `more`. A host that does not answer costs the others
/// nothing.
pub async fn gather<'a>(
    fleet: &dyn Fleet,
    hosts: impl IntoIterator<Item = &'a Host>,
    more: &[Probe],
    emit: &(dyn Fn(Event) + Send + Sync),
) -> Gathered {
    let hosts: Vec<&Host> = hosts.into_iter().collect();
    emit(Event::GatherStarted { hosts: hosts.len() });
    let answers = stream::iter(hosts).map(|host| async move {
        let began = Instant::now();
        let mut probes = probes_of(host);
        probes.extend(more.iter().cloned());
        let answer = fleet.gather(&host.name, &probes).await;
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        emit(Event::Gathered {
            host: host.name.clone(),
            fault: answer.as_ref().err().cloned(),
            millis,
        });
        if host.optional && answer.is_err() {
            let host = host.name.clone();
            emit(Event::LeftOut { host });
        }
        (host.name.clone(), answer.map_err(|fault| fault.message))
    });
    answers.buffer_unordered(AT_ONCE).collect().await
}
