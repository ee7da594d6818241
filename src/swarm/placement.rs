//! Which nodes a service's placement constraints allow, as swarmkit's scheduler reads them
//! (`manager/constraint` of moby/swarmkit): all must hold, values are compared without regard to
//! case, and a label that is not there differs from every value.

use crate::facts::Node;
use crate::inventory::Role;

/// Whether `constraints`, such as `node.labels.disk==ssd`, allow `node`. What is not known of a node,
/// such as the labels of its engine, may hold.
pub fn may_run(constraints: &[String], node: &Node) -> bool {
    constraints.iter().all(|it| holds(it, node).unwrap_or(true))
}

fn holds(constraint: &str, node: &Node) -> Option<bool> {
    let equal = constraint.contains("==");
    let (key, wanted) = constraint.split_once(if equal { "==" } else { "!=" })?;
    let (key, wanted) = (key.trim(), wanted.trim());
    let is = match key.to_ascii_lowercase().as_str() {
        "node.id" => node.id.eq_ignore_ascii_case(wanted),
        "node.hostname" => node.hostname.eq_ignore_ascii_case(wanted),
        "node.role" => match node.role {
            Role::Manager => wanted.eq_ignore_ascii_case("manager"),
            Role::Worker => wanted.eq_ignore_ascii_case("worker"),
            Role::None => return None,
        },
        _ => {
            let label = key.strip_prefix("node.labels.")?;
            let value = node.labels.get(label);
            value.is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        }
    };
    Some(is == equal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Availability;

    #[test]
    fn constraints_are_read_as_the_scheduler_reads_them() {
        let node = Node {
            id: "n1".to_owned(),
            hostname: "w1".to_owned(),
            role: Role::Worker,
            availability: Availability::Active,
            state: "ready".to_owned(),
            address: "198.18.0.1".to_owned(),
            engine: "20.10.24".to_owned(),
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            manager: None,
        };
        let allows = |constraints: &[&str]| {
            let constraints: Vec<String> = constraints.iter().map(|&it| it.to_owned()).collect();
            may_run(&constraints, &node)
        };
        for held in [
            "node.hostname==w1",
            "node.hostname == W1",
            "node.id!=n2",
            "node.role==worker",
            "node.labels.disk==SSD",
            "node.labels.rack!=3",
            "engine.labels.operatingsystem==plan 9",
            "no constraint",
        ] {
            assert!(allows(&[held]), "{held}");
        }
        for broken in [
            "node.hostname==w2",
            "node.hostname!=w1",
            "node.role==manager",
            "node.labels.disk==hdd",
            "node.labels.rack==3",
        ] {
            assert!(!allows(&[broken]), "{broken}");
            assert!(!allows(&["node.role==worker", broken]), "{broken}");
        }
        assert!(allows(&[]));
    }
}
