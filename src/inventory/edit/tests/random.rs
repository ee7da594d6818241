//! Random ranges.

use proptest::prelude::*;

use super::*;

#[test]
fn words_become_ranges_again() {
    let pieces = |pattern: &str, without: usize| {
        let mut words = range::expand(pattern).unwrap();
        words.remove(without);
        let words = words.iter().map(String::as_str).collect();
        let pieces = super::words::pieces(&[words]);
        pieces.concat().join(" ")
    };
    assert_eq!(pieces("m[1-5]", 2), "m[1-2,4-5]");
    assert_eq!(pieces("w[08-11]x", 0), "w[09-11]x");
    assert_eq!(pieces("w[098-101]", 1), "w[098,100-101]");
    assert_eq!(pieces("10.0.[9-11].1", 3 - 1), "10.0.[9-10].1");
    assert_eq!(pieces("r[1-2]n[1-3]", 1), "r1n[1,3] r2n[1-3]");
    assert_eq!(pieces("fd00::[8-11]", 0), "fd00::[9-11]");
}

/// An entry: its own letter, the numbers in brackets and how many they are.
fn entry() -> impl Strategy<Value = (String, usize)> {
    let numbers = (0_u64..120, 0_usize..8, 0_usize..4);
    let list = prop::collection::vec(numbers, 1..3);
    (list, any::<bool>()).prop_map(|(list, split)| {
        let mut at = 0;
        let mut count = 0;
        let mut items = Vec::new();
        for (skip, more, width) in list {
            let (from, to) = (at + skip, at + skip + more as u64);
            at = to + 1;
            count += more + 1;
            let width = if width == 0 {
                0
            } else {
                width.max(to.to_string().len())
            };
            items.push(format!("{from:0width$}-{to:0width$}"));
        }
        let pattern = format!("[{}]", items.join(","));
        if split {
            (format!("{pattern}x[1-2]"), count * 2)
        } else {
            (pattern, count)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn removing_a_host_leaves_exactly_the_others(
        entries in prop::collection::vec((entry(), 0..3_usize), 1..6),
        pick in any::<prop::sample::Index>(),
        change in any::<prop::sample::Index>(),
    ) {
        let mut text = "# Top.\n\ncluster.name = \"t\"\nswarm.allow-even-managers = true\n\n[[host]]\nname = \"keeper\"\naddress = \"192.0.2.1\"\nrole = \"manager\"\n".to_owned();
        let mut names = Vec::new();
        for (index, ((pattern, count), role)) in entries.iter().enumerate() {
            let role = ["manager", "worker", "none"][*role];
            let name = format!("h{index}-{pattern}");
            names.extend(range::expand(&name).unwrap());
            let address = format!("10.{index}.0.[{}-{}]", 3, 2 + count);
            let block = format!(
                "\n# About {index}.\n[[host]]\nname = \"{name}\" # name\naddress = \"{address}\"\nrole = \"{role}\"\nvars.of = {index}\n"
            );
            text.push_str(&block);
        }
        let gone = &names[pick.index(names.len())];
        let before = hosts(&text);
        let after = remove_host(&text, gone).unwrap();
        let expected: Vec<&Host> = before.iter().filter(|host| host.name != *gone).collect();
        let left = hosts(&after);
        prop_assert_eq!(left.iter().collect::<Vec<_>>(), expected);

        let changed = &names[change.index(names.len())];
        let mut expected = before.clone();
        for host in expected.iter_mut().filter(|host| host.name == *changed) {
            host.role = Role::None;
        }
        let after = set_role(&text, changed, Role::None).unwrap();
        prop_assert_eq!(hosts(&after), expected);
    }

    #[test]
    fn never_panics(text in "(\\[\\[host\\]\\]\n|name = \"[a-c\\[\\]0-9-]{0,5}\"\n|# x\n|\n|\\[nfs\\]\n|role = \"none\"\n){0,9}") {
        let _ = add_host(&text, &new("x1", "192.0.2.1", Role::Worker));
        let _ = remove_host(&text, "a1");
        let _ = set_role(&text, "a", Role::None);
    }
}
