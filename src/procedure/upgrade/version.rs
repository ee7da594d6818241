//! Versions of Debian packages, compared as dpkg does (Debian Policy, 5.6.12).

use std::cmp::Ordering;

/// Compares two versions.
pub(in crate::procedure) fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let epochs = one.0.cmp(&other.0);
    epochs
        .then_with(|| part(one.1, other.1))
        .then_with(|| part(one.2, other.2))
}

/// Epoch, upstream version, revision.
fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

fn part<'a>(mut one: &'a str, mut other: &'a str) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let (words, rests) = split(one, other, |c| !c.is_ascii_digit());
        let words = by_letters(words.0, words.1);
        if words != Ordering::Equal {
            return words;
        }
        let (numbers, rests) = split(rests.0, rests.1, |c| c.is_ascii_digit());
        let number = |digits: &str| digits.trim_start_matches('0').to_owned();
        let (a, b) = (number(numbers.0), number(numbers.1));
        let numbers = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
        if numbers != Ordering::Equal {
            return numbers;
        }
        (one, other) = rests;
    }
    Ordering::Equal
}

type Pair<'a> = (&'a str, &'a str);

fn split<'a>(one: &'a str, other: &'a str, is: impl Fn(char) -> bool) -> (Pair<'a>, Pair<'a>) {
    let at = |text: &'a str| {
        let end = text.find(|c| !is(c)).unwrap_or(text.len());
        text.split_at(end)
    };
    let ((a, rest_a), (b, rest_b)) = (at(one), at(other));
    ((a, b), (rest_a, rest_b))
}

/// Letters come before everything else but `~`, which comes even before the end.
fn by_letters(one: &str, other: &str) -> Ordering {
    let order = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i64::from(u32::from(c)),
        Some(c) => i64::from(u32::from(c)) + 256,
    };
    let (mut one, mut other) = (one.chars(), other.chars());
    loop {
        let (a, b) = (one.next(), other.next());
        if a.is_none() && b.is_none() {
            return Ordering::Equal;
        }
        let compared = order(a).cmp(&order(b));
        if compared != Ordering::Equal {
            return compared;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let rising = [
            "1.0~rc1",
            "1.0",
            "1.0+dfsg1-1",
            "20.10.5+dfsg1-1",
            "20.10.24+dfsg1-1",
            "20.10.24+dfsg1-1+b3",
            "20.10.24+dfsg1-1+deb12u1",
            "26.1.5+dfsg1-9",
            "26.1.5+dfsg1-10",
            "5:20.10.24~3-0~debian-bookworm",
            "5:27.3.1-1~debian.12~bookworm",
            "5:27.10.0-1~debian.12~bookworm",
        ];
        for (place, one) in rising.iter().enumerate() {
            for (other_place, other) in rising.iter().enumerate() {
                let wanted = place.cmp(&other_place);
                assert_eq!(compare(one, other), wanted, "{one} {other}");
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }
}
