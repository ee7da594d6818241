//! Text for terminals: how wide it is, what is safe to show, and plain English forms.

use std::borrow::Cow;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

/// How many columns `text` takes on a terminal; colours take none.
pub fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// `text` without what could move the cursor, recolour the terminal or hide other text.
///
/// Lines that hosts print go through this: they are not ours, and a progress bar redraws around
/// them. Tabs become blanks, and of a line that overwrote itself only the last state stays.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let plain = anstream::adapter::strip_str(text).to_string();
    let last = plain.trim_end_matches('\r').rsplit('\r').next();
    Cow::Owned(
        last.unwrap_or_default()
            .replace('\t', "    ")
            .chars()
            .filter(|&c| !is_unsafe(c))
            .collect(),
    )
}

fn is_unsafe(c: char) -> bool {
    // Beside the control characters these are the marks that reverse the direction of writing.
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` cut to `columns`, with `…` where something is missing. `text` must be free of colours.
pub fn shorten(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + c.to_string().width() + 1 > columns {
            break;
        }
        short.push(c);
    }
    short.push('…');
    Cow::Owned(short)
}

/// `1 host`, `2 hosts`: the regular plural.
pub fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// A duration for people: `0.3s`, `12.3s`, `2m05s`, `1h02m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => {
            let tenths = duration.as_millis() / 100;
            format!("{}.{}s", tenths / 10, tenths % 10)
        }
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Each line of `text` with `prefix` before it.
pub fn indent(text: &str, prefix: &str) -> String {
    text.lines()
        .map(|line| format!("{prefix}{line}").trim_end().to_owned() + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_well() {
        let of = |millis| duration(Duration::from_millis(millis));
        assert_eq!(of(49), "0.0s");
        assert_eq!(of(12_345), "12.3s");
        assert_eq!(of(59_999), "59.9s");
        assert_eq!(of(125_000), "2m05s");
        assert_eq!(of(3_720_000), "1h02m");
    }

    #[test]
    fn escape_sequences_of_hosts_do_not_reach_the_terminal() {
        assert_eq!(clean("\x1b[31mred\x1b[0m \x1b]0;title\x07x"), "red x");
        assert_eq!(clean("10%\r55%\r100%\r"), "100%");
        assert_eq!(clean("a\tb"), "a    b");
    }

    #[test]
    fn wide_characters_are_cut_by_their_width() {
        assert_eq!(shorten("蜂蜂蜂", 5), "蜂蜂…");
        assert_eq!(shorten("蜂蜂蜂", 6), "蜂蜂蜂");
        assert_eq!(width("\x1b[1m蜂\x1b[0m"), 2);
    }

    proptest! {
        #[test]
        fn cleaned_text_has_no_control_characters(text in any::<String>()) {
            prop_assert!(!clean(&text).chars().any(is_unsafe));
        }

        #[test]
        fn shortened_text_fits(text in "\\PC{0,30}", columns in 1_usize..20) {
            prop_assert!(shorten(&text, columns).width() <= columns);
        }
    }
}
