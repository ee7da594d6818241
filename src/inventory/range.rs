//! Ranges in names and addresses: `m[1-3]`, `w[01-20]`, `10.0.0.[11-13]`, `n[1,3,5-7]`.

/// How many names one range may stand for. A swarm of thousands of nodes is beyond what swarmkit
/// was tried with, so more than this is a slip of the keyboard.
pub const MAX: usize = 10_000;

/// All the words that `pattern` stands for, in order; a pattern without brackets is itself.
///
/// Numbers keep the width that they are written with (`[01-10]` gives `01` to `10`). Several
/// brackets give every combination, the last one changing fastest.
///
/// # Errors
/// What is wrong with the pattern, as a lower-case fragment.
pub fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut words = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find(['[', ']']) {
        let (literal, after) = rest.split_at(open);
        let Some(after) = after.strip_prefix('[') else {
            return Err("`]` without a `[` before it".to_owned());
        };
        let Some(close) = after.find(']') else {
            return Err("`[` is never closed".to_owned());
        };
        let numbers = numbers(&after[..close])?;
        if words.len().saturating_mul(numbers.len()) > MAX {
            return Err(format!("the range stands for more than {MAX} names"));
        }
        words = words
            .iter()
            .flat_map(|word| numbers.iter().map(move |n| format!("{word}{literal}{n}")))
            .collect();
        rest = &after[close + 1..];
    }
    for word in &mut words {
        word.push_str(rest);
    }
    Ok(words)
}

/// Whether the word has brackets.
pub fn is_range(pattern: &str) -> bool {
    pattern.contains(['[', ']'])
}

/// The numbers inside one pair of brackets, as they are written in names.
fn numbers(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for item in text.split(',') {
        let item = item.trim();
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (first.trim(), last.trim());
        let (from, to) = (number(first, text)?, number(last, text)?);
        if from > to {
            return Err(format!("the range `{item}` runs backwards"));
        }
        let has_zeros = |text: &str| text.len() > 1 && text.starts_with('0');
        if first.len() != last.len() && (has_zeros(first) || has_zeros(last)) {
            return Err(format!(
                "the numbers of `{item}` have leading zeros and different widths"
            ));
        }
        let count = usize::try_from(to - from).unwrap_or(MAX);
        if count >= MAX || all.len() + count >= MAX {
            return Err(format!("the range stands for more than {MAX} names"));
        }
        let width = if has_zeros(first) { first.len() } else { 0 };
        all.extend((from..=to).map(|n| format!("{n:0width$}")));
    }
    Ok(all)
}

fn number(text: &str, list: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && text.len() <= 18 => Ok(number),
        _ if digits => Err(format!("the number `{text}` is too large")),
        _ => Err(format!(
            "expected numbers such as `1-3` or `1,3,5-7` in `[{list}]`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expands() {
        let expanded = |pattern: &str| expand(pattern).unwrap().join(" ");
        assert_eq!(expanded("nas"), "nas");
        assert_eq!(expanded("m[1-3]"), "m1 m2 m3");
        assert_eq!(expanded("w[08-11]x"), "w08x w09x w10x w11x");
        assert_eq!(expanded("10.0.0.[9-11]"), "10.0.0.9 10.0.0.10 10.0.0.11");
        assert_eq!(expanded("n[1,3, 5-7]"), "n1 n3 n5 n6 n7");
        assert_eq!(expanded("r[1-2]n[1-2]"), "r1n1 r1n2 r2n1 r2n2");
        assert_eq!(expanded("h[0-1]"), "h0 h1");
    }

    #[test]
    fn refuses() {
        let refused = |pattern: &str| expand(pattern).unwrap_err();
        assert_eq!(refused("m[1-3"), "`[` is never closed");
        assert_eq!(refused("m1-3]"), "`]` without a `[` before it");
        assert_eq!(refused("m[3-1]"), "the range `3-1` runs backwards");
        assert!(refused("m[a-c]").starts_with("expected numbers"));
        assert!(refused("m[]").starts_with("expected numbers"));
        assert!(refused("m[01-100]").contains("different widths"));
        assert!(refused("m[1-10001]").contains("more than 10000"));
        assert!(refused("m[1-200][1-200]").contains("more than 10000"));
        assert!(refused("m[1-99999999999999999999]").contains("too large"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c0-9\\[\\],-]{0,24}") {
            let _ = expand(&text);
        }

        #[test]
        fn gives_each_number_once(from in 0_u64..500, count in 0_u64..200, width in 1_usize..6) {
            let to = from + count;
            let width = width.max(to.to_string().len());
            let words = expand(&format!("n[{from:0width$}-{to:0width$}]")).unwrap();
            let expected: Vec<_> = (from..=to).map(|n| format!("n{n:0width$}")).collect();
            prop_assert_eq!(words, expected);
        }
    }
}
