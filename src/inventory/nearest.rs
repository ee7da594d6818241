//! The known word that a mistyped one was most likely meant to be.

/// The one of `known` nearest to `word`, if one is near enough to be worth proposing: within a
/// third of the word's length in edits (two letters swapped are one), or its beginning.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = match word.chars().count() {
        0 | 1 => 0,
        letters => (letters / 3).max(1),
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let other = candidate.to_lowercase();
        let beginning = lower.len() >= 3 && other.starts_with(&lower);
        let distance = if beginning { 1 } else { edits(&lower, &other) };
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance: insertions, deletions, replacements, and swaps of
/// neighbours.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Far too different, or too long to be a word: not worth a table of a*b cells.
    if a.len().abs_diff(b.len()) > 20 || a.len() > 256 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits_and_swaps() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("mangaer", "manager"), 1);
    }

    #[test]
    fn proposes_only_what_is_near() {
        let known = ["manager", "worker", "none"];
        assert_eq!(nearest("mangaer", known), Some("manager"));
        assert_eq!(nearest("Workers", known), Some("worker"));
        assert_eq!(nearest("man", known), Some("manager"));
        assert_eq!(nearest("gateway", known), None);
        assert_eq!(nearest("c", ["a", "b"]), None);
    }
}
