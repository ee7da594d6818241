//! What the files of a raft log are called, and what its engine said of it.

use super::super::RaftLog;
use super::Section;

/// Reads the names of the files, whether they are sealed, and the line of the journal.
pub(super) fn raft(section: &Section<'_>) -> Option<RaftLog> {
    let text = section.text();
    let lines = || text.lines().map(str::trim);
    let at_least = lines().filter_map(index_of).max();
    let last = lines().filter_map(last_entry).next_back();
    // A folder without any of it is being made or taken away.
    (at_least.is_some() || last.is_some()).then(|| RaftLog {
        last,
        at_least: at_least.unwrap_or_default(),
        sealed: lines().any(|line| line == "sealed"),
    })
}

/// The index in a file's name: `TERM-INDEX.snap` is a snapshot up to there, `NUMBER-INDEX.wal` begins
/// with that entry; all in hexadecimal digits.
fn index_of(name: &str) -> Option<u64> {
    let stem = name
        .strip_suffix(".snap")
        .or_else(|| name.strip_suffix(".wal"))?;
    let (_, index) = stem.split_once('-')?;
    u64::from_str_radix(index, 16).ok()
}

/// Term and index in `1d2c [logterm: 2, index: 18] sent MsgVote request to 3e4f at term 5`.
fn last_entry(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = line.split_once("[logterm: ")?;
    let (term, rest) = rest.split_once(", index: ")?;
    let (index, rest) = rest.split_once(']')?;
    let asks = rest.trim_start().starts_with("sent Msg");
    Some((term.parse().ok()?, index.parse().ok()?)).filter(|_| asks)
}
