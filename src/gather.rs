//! Asks all hosts at once.

use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use crate::execute::Event;
use crate::facts::Probe;
use crate::fleet::Fleet;
use crate::inventory::Host;
use crate::resource::probes_of;
use crate::swarm::Gathered;

/// How many hosts are asked at the same time. Each costs one connection, so this bounds open files
/// (the usual hard limit is far higher) and memory, about 70 kB a connection.
const AT_ONCE: usize = 500;

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
