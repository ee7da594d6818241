//! The arithmetic of raft's quorum.

use std::fmt::Write as _;

/// How many managers must agree: more than half of them. 0 of none.
pub fn majority(managers: usize) -> usize {
    if managers == 0 { 0 } else { managers / 2 + 1 }
}

/// How many managers may be lost while the rest are still a majority.
pub fn tolerates(managers: usize) -> usize {
    managers.saturating_sub(majority(managers))
}

/// Whether a manager may be added to `total` of which `reachable` answer. It raises the majority
/// before it helps to reach it: with all reachable that is the ordinary way up, and with some away
/// those that are left must be a majority of one more.
pub fn may_add(total: usize, reachable: usize) -> bool {
    reachable == total || reachable >= majority(total + 1)
}

/// Whether one of the `reachable` managers of `total` may go away for a moment. With one or two
/// there is no way around the loss of quorum; with more, the others must be a majority.
pub fn may_spare(total: usize, reachable: usize) -> bool {
    total < 3 || reachable > majority(total)
}

/// Why `name`, one of `total` managers of which `reachable` answer, must not be taken out of raft;
/// `None` where it may. `answers`: whether it is one of the reachable. Those that are left must be a
/// majority of what raft then counts, and the last manager stays.
pub fn demotion(name: &str, total: usize, reachable: usize, answers: bool) -> Option<String> {
    let rest = total.saturating_sub(1);
    let left = reachable.saturating_sub(usize::from(answers));
    let (now, then) = (majority(total), majority(rest));
    let may = rest > 0 && reachable >= now && left >= then;
    (!may).then(|| {
        format!(
            "managers {total}, reachable {reachable}, majority {now}: demoting {name} would leave {left} of {rest}, of which {then} must be there"
        )
    })
}

/// The arithmetic in words: `3 managers: majority 2, tolerates 1 lost`.
pub fn describe(managers: usize) -> String {
    let mut text = match managers {
        1 => "1 manager".to_owned(),
        n => format!("{n} managers"),
    };
    let (majority, lost) = (majority(managers), tolerates(managers));
    // Writing to a string cannot fail.
    let _ = match lost {
        0 => write!(text, ": majority {majority}, tolerates none lost"),
        n => write!(text, ": majority {majority}, tolerates {n} lost"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_the_table_of_dockers_documentation() {
        let table = [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2)];
        let table = table.into_iter().chain([(6, 4, 2), (7, 4, 3), (9, 5, 4)]);
        for (managers, agree, lost) in table {
            assert_eq!((majority(managers), tolerates(managers)), (agree, lost));
        }
        assert_eq!((majority(0), tolerates(0)), (0, 0));
    }

    #[test]
    fn a_manager_is_added_where_the_rest_can_bear_it() {
        let may = [(0, 0), (1, 1), (2, 2), (3, 3), (5, 4)];
        assert!(
            may.iter()
                .all(|(total, reachable)| may_add(*total, *reachable))
        );
        let must_not = [(2, 1), (3, 2), (4, 2), (5, 3)];
        assert!(
            !must_not
                .iter()
                .any(|(total, reachable)| may_add(*total, *reachable))
        );
    }

    #[test]
    fn a_manager_is_spared_where_the_rest_are_a_majority() {
        let may = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4)];
        assert!(
            may.iter()
                .all(|(total, reachable)| may_spare(*total, *reachable))
        );
        let must_not = [(3, 2), (4, 3), (5, 3)];
        assert!(
            !must_not
                .iter()
                .any(|(total, reachable)| may_spare(*total, *reachable))
        );
    }

    #[test]
    fn a_manager_is_demoted_where_the_rest_are_a_majority_of_the_rest() {
        let may = [(3, 3, true), (2, 2, true), (3, 2, false), (5, 3, false)];
        for (total, reachable, answers) in may {
            assert_eq!(demotion("m2", total, reachable, answers), None);
        }
        let must_not = [
            (1, 1, true),
            (3, 2, true),
            (3, 1, false),
            (5, 3, true),
            (2, 1, false),
        ];
        for (total, reachable, answers) in must_not {
            assert!(demotion("m2", total, reachable, answers).is_some());
        }
        assert_eq!(
            demotion("m2", 3, 2, true).unwrap(),
            "managers 3, reachable 2, majority 2: demoting m2 would leave 1 of 2, of which 2 must be there"
        );
    }

    #[test]
    fn says_it_in_words() {
        assert_eq!(describe(1), "1 manager: majority 1, tolerates none lost");
        assert_eq!(describe(4), "4 managers: majority 3, tolerates 1 lost");
    }

    proptest! {
        #[test]
        fn two_majorities_always_share_a_manager(managers in 1_usize..10_000) {
            prop_assert!(2 * majority(managers) > managers);
            prop_assert!(2 * (majority(managers) - 1) <= managers);
        }

        #[test]
        fn an_even_manager_more_bears_no_loss_more(pairs in 1_usize..5_000) {
            prop_assert_eq!(tolerates(2 * pairs), tolerates(2 * pairs - 1));
            prop_assert_eq!(tolerates(2 * pairs + 1), tolerates(2 * pairs - 1) + 1);
        }
    }
}
