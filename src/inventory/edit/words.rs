//! From words back to the range that stands for them.

use super::super::range;

/// The shortest way to write `words` with at most one pair of brackets: the word itself, or what
/// [`range::expand`] makes the same words of, in the same order. `None` when there is none.
pub(super) fn pattern(words: &[&str]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    if rest.is_empty() {
        return Some((*first).to_owned());
    }
    // What all have in common, but for digits beside the number: they are part of it, so that
    // `n09` and `n10` differ in `09` and `10`.
    let prefix = rest
        .iter()
        .fold(first.len(), |length, word| length.min(common(first, word)));
    let prefix = first.get(..prefix)?.trim_end_matches(digit).len();
    let mut suffix = usize::MAX;
    for word in rest {
        let (a, b) = (first.get(prefix..)?, word.get(prefix..)?);
        let same = a.chars().rev().zip(b.chars().rev());
        let same = same.take_while(|(a, b)| a == b);
        suffix = suffix.min(same.map(|(c, _)| c.len_utf8()).sum());
    }
    let suffix = first.get(first.len().checked_sub(suffix)?..)?;
    let suffix = suffix.trim_start_matches(digit);
    let numbers: Vec<&str> = words
        .iter()
        .map(|word| word.get(prefix..word.len().checked_sub(suffix.len())?))
        .collect::<Option<_>>()?;
    let list = list(&numbers)?;
    let pattern = format!("{}[{list}]{suffix}", first.get(..prefix)?);
    let same = range::expand(&pattern).is_ok_and(|expanded| expanded == words);
    same.then_some(pattern)
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// How many bytes two words have in common at their beginning.
fn common(a: &str, b: &str) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}

/// The inside of the brackets: `1-3,5`.
fn list(numbers: &[&str]) -> Option<String> {
    let mut runs: Vec<(&str, &str)> = Vec::new();
    for number in numbers {
        if number.is_empty() || !number.chars().all(digit) {
            return None;
        }
        match runs.last_mut() {
            Some((first, last)) if follows(first, last, number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs = runs.into_iter().map(|(first, last)| {
        if first == last {
            first.to_owned()
        } else {
            format!("{first}-{last}")
        }
    });
    Some(runs.collect::<Vec<_>>().join(","))
}

/// Whether a run that is written `first-last` may go on with `next`.
fn follows(first: &str, last: &str, next: &str) -> bool {
    let zeros = first.len() > 1 && first.starts_with('0');
    let width = if zeros { first.len() } else { 0 };
    let number = last
        .parse::<u64>()
        .ok()
        .and_then(|last| last.checked_add(1));
    number.is_some_and(|number| format!("{number:0width$}") == next)
        && (!zeros || next.len() == first.len())
}

/// Cuts `columns`, all of one length, into as few pieces as can be written as ranges, in order.
/// Each piece has one pattern for each column.
pub(super) fn pieces(columns: &[Vec<&str>]) -> Vec<Vec<String>> {
    let length = columns.first().map_or(0, Vec::len);
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < length {
        let piece = |end: usize| -> Option<Vec<String>> {
            let column = |words: &Vec<&str>| pattern(words.get(start..end)?);
            columns.iter().map(column).collect()
        };
        // What can be written as a range can be so without its end too: halving finds the longest.
        let (mut good, mut bad) = (start + 1, length + 1);
        let mut best = columns
            .iter()
            .filter_map(|words| words.get(start).map(|word| (*word).to_owned()))
            .collect();
        let mut middle = length;
        while good < bad {
            match piece(middle) {
                Some(found) => (good, best) = (middle, found),
                None => bad = middle,
            }
            if bad - good <= 1 {
                break;
            }
            middle = good + (bad - good) / 2;
        }
        pieces.push(best);
        start = good;
    }
    pieces
}
