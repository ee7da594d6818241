//! What a host owes its engine after `daemon.json` was changed, and the file that it had before.

/// A file that is there from before `daemon.json` is changed until the engine works with it, so
/// that a run that was cut in between is completed by the next one. It holds the former file, to
/// be put back where the engine does not bear the new one. Mode 0600: proxies may hold passwords.
pub const RESTART_MARKER: &str = "/var/lib/skep/restart-docker";

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Whether the engine can take the change without a restart.
    pub reload: bool,
    /// The file with which the engine runs, or ran when the change began.
    pub former: Former,
}

/// The `daemon.json` from before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Former {
    /// Nobody kept it.
    Unknown,
    /// There was none.
    Absent,
    /// Its text and permissions.
    Text(String, u32),
}

impl Pending {
    /// The text of the marker: two lines for the scripts, then the former file as it was.
    pub fn to_text(&self) -> String {
        let action = if self.reload { "reload" } else { "restart" };
        match &self.former {
            Former::Unknown => format!("{action}\nformer: unknown\n"),
            Former::Absent => format!("{action}\nformer: none\n"),
            Former::Text(text, mode) => format!("{action}\nformer: {mode:o}\n{text}"),
        }
    }

    /// Reads the marker. Whatever it says that is not understood is a restart that is owed.
    pub fn parse(text: &str) -> Self {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let (second, former) = rest.split_once('\n').unwrap_or((rest, ""));
        let former = match second.strip_prefix("former: ") {
            Some("none") => Former::Absent,
            Some(mode) => u32::from_str_radix(mode, 8).map_or(Former::Unknown, |mode| {
                Former::Text(former.to_owned(), mode)
            }),
            None => Former::Unknown,
        };
        Self {
            reload: first == "reload",
            former,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for former in [
            Former::Unknown,
            Former::Absent,
            Former::Text(String::new(), 0o600),
            Former::Text("{\n  \"a\": 1\n}".to_owned(), 0o644),
        ] {
            for reload in [false, true] {
                let former = former.clone();
                let pending = Pending { reload, former };
                assert_eq!(Pending::parse(&pending.to_text()), pending);
            }
        }
        let old = Pending::parse("daemon.json was changed; the engine was not restarted since\n");
        assert_eq!((old.reload, old.former), (false, Former::Unknown));
    }
}
