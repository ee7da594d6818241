//! A TOML document whose host tables can be taken out and put in, with the comments where they
//! belong.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use super::EditError;

/// The text of an inventory while it is changed.
pub(super) struct Document {
    doc: DocumentMut,
    /// Whether lines end with CR LF.
    crlf: bool,
    /// Whether a byte order mark comes first.
    mark: bool,
    /// Whether the first line is blank.
    blank: bool,
}

/// Positions of tables are this far apart while tables are put between them.
const APART: isize = 1 << 40;
/// And those of entries that are put in together.
const ENTRY: isize = 1 << 20;

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, EditError> {
        let mark = text.starts_with('\u{feff}');
        let crlf = text.contains("\r\n");
        let mut plain = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        if !plain.ends_with('\n') {
            plain.push('\n');
        }
        // The parser's own message shows a line, which could have a secret in it.
        let doc: DocumentMut = plain.parse().map_err(|_| {
            EditError::new("the inventory is not TOML").hint("See where with `skep check`.")
        })?;
        // Keys with dots that stand apart would be put together: rather nothing than that.
        if doc.to_string() != plain {
            let error = EditError::new("the inventory is written in a way that cannot be edited");
            return Err(error.hint(
                "Change it by hand, or write keys with dots, such as `a.b` and `a.c`, side by side.",
            ));
        }
        if doc
            .get("host")
            .is_some_and(|item| !item.is_array_of_tables())
        {
            let error = EditError::new("the hosts are not written as tables `[[host]]`");
            return Err(error.hint("Write each host as a table of its own, or change it by hand."));
        }
        Ok(Self {
            doc,
            crlf,
            mark,
            blank: plain.starts_with('\n'),
        })
    }

    pub(super) fn finish(self) -> String {
        let mut text = self.doc.to_string();
        if !self.blank {
            text = text.trim_start_matches('\n').to_owned();
        }
        if self.crlf {
            text = text.replace('\n', "\r\n");
        }
        if self.mark {
            text.insert(0, '\u{feff}');
        }
        text
    }

    /// The document without a way to change it.
    pub(super) fn root(&self) -> &Table {
        self.doc.as_table()
    }

    /// The tables `[[host]]`, in the order of the file.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Table> {
        let hosts = self.doc.get("host").and_then(Item::as_array_of_tables);
        hosts.into_iter().flatten()
    }

    pub(super) fn host_mut(&mut self, index: usize) -> Option<&mut Table> {
        self.array()?.get_mut(index)
    }

    fn array(&mut self) -> Option<&mut ArrayOfTables> {
        self.doc.get_mut("host")?.as_array_of_tables_mut()
    }

    /// What stands before a new entry: a blank line, unless the file has none between its hosts.
    fn gap(&self) -> String {
        let last = self.hosts().last().map(prefix).unwrap_or_default();
        let indent = last.rsplit('\n').next().unwrap_or_default();
        let dense = self.hosts().count() > 1 && !last.split_inclusive('\n').any(is_blank);
        format!("{}{indent}", if dense { "" } else { "\n" })
    }

    /// Takes an entry out, with the comment lines directly above it.
    pub(super) fn remove(&mut self, index: usize) {
        let Some(array) = self.array().filter(|array| index < array.len()) else {
            return;
        };
        let table = array.remove(index);
        let above = prefix(&table);
        let lines: Vec<&str> = above.split_inclusive('\n').collect();
        let apart = lines.iter().rposition(|line| is_blank(line));
        let kept: String = lines[..apart.map_or(0, |blank| blank + 1)].concat();
        let kept = match kept.trim_end() {
            "" => String::new(),
            comments => format!("{comments}\n"),
        };
        let (_, end) = extent(&table);
        self.with_below(end, |below, is_end| {
            // Comment lines that end the entry are a part of it.
            let rest = &below[tail(below, is_end).len()..];
            let gap = if kept.is_empty() || is_end || rest.starts_with('\n') {
                ""
            } else {
                "\n"
            };
            format!("{kept}{gap}{rest}")
        });
    }

    /// Puts entries in after the one at `index`, or as the first ones.
    pub(super) fn insert(&mut self, index: Option<usize>, tables: Vec<Table>) {
        let gap = self.gap();
        let mut end = isize::MIN;
        match index.and_then(|index| self.hosts().nth(index)) {
            Some(table) => end = extent(table).1,
            None => visit(self.doc.as_table_mut(), &mut |table| {
                end = end.max(table.position().unwrap_or(end));
            }),
        }
        let end = end.max(0);
        let mut ending = String::new();
        self.with_below(end, |below, is_end| {
            tail(below, is_end).clone_into(&mut ending);
            below[ending.len()..].to_owned()
        });
        visit(self.doc.as_table_mut(), &mut |table| {
            let position = table
                .position()
                .map(|position| position.saturating_mul(APART));
            table.set_position(position);
        });
        if self.doc.get("host").is_none() {
            let array = Item::ArrayOfTables(ArrayOfTables::new());
            self.doc.insert("host", array);
        }
        let mut at = index.map_or(0, |index| index + 1);
        let mut base = end.saturating_mul(APART);
        for mut table in tables {
            base += ENTRY;
            let (start, _) = extent(&table);
            visit(&mut table, &mut |table| {
                let position = table.position().map(|position| base + position - start);
                table.set_position(position);
            });
            table.set_position(Some(base));
            let before = format!("{}{gap}", std::mem::take(&mut ending));
            table.decor_mut().set_prefix(before);
            if let Some(array) = self.array() {
                array.insert(at, table);
                at += 1;
            }
        }
    }

    /// Changes what stands before the table after the position, or at the end of the file.
    fn with_below(&mut self, position: isize, change: impl FnOnce(&str, bool) -> String) {
        let mut next = None;
        visit(self.doc.as_table_mut(), &mut |table| {
            let place = table.position().filter(|place| *place > position);
            next = match (next, place) {
                (Some(next), Some(place)) => Some(place.min(next)),
                (next, place) => next.or(place),
            };
        });
        if next.is_none() {
            let changed = change(self.doc.trailing().as_str().unwrap_or_default(), true);
            self.doc.set_trailing(changed);
            return;
        }
        let mut change = Some(change);
        visit(self.doc.as_table_mut(), &mut |table| {
            if table.position() == next
                && let Some(change) = change.take()
            {
                let changed = change(&prefix(table), false);
                table.decor_mut().set_prefix(changed);
            }
        });
    }
}

/// Calls `act` with each table that has a header, but not with the one that is given.
fn visit(table: &mut Table, act: &mut impl FnMut(&mut Table)) {
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(table) => {
                if !table.is_dotted() && table.position().is_some() {
                    act(table);
                }
                visit(table, act);
            }
            Item::ArrayOfTables(array) => {
                for table in array.iter_mut() {
                    act(table);
                    visit(table, act);
                }
            }
            _ => {}
        }
    }
}

/// The positions of a table's header and of the last header of its own tables.
fn extent(table: &Table) -> (isize, isize) {
    let start = table.position().unwrap_or_default();
    let mut end = start;
    visit(&mut table.clone(), &mut |table| {
        end = end.max(table.position().unwrap_or(end));
    });
    (start, end)
}

/// What stands before the header of a table.
fn prefix(table: &Table) -> String {
    let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str());
    prefix.unwrap_or_default().to_owned()
}

fn is_blank(line: &str) -> bool {
    line.ends_with('\n') && line.trim().is_empty()
}

/// The comment lines at the beginning of `below` that belong to what stands above them: a blank
/// line or the end of the file follows.
fn tail(below: &str, is_end: bool) -> &str {
    let mut length = 0;
    for line in below.split_inclusive('\n') {
        if line.trim_start().starts_with('#') {
            length += line.len();
        } else if is_blank(line) {
            return &below[..length];
        } else {
            break;
        }
    }
    if is_end { &below[..length] } else { "" }
}

/// A copy of an entry without its comments.
pub(super) fn bare(table: &Table) -> Table {
    let mut table = table.clone();
    strip(&mut table);
    table
}

fn strip(table: &mut Table) {
    let decor = table.decor_mut();
    let before = without_comments(decor.prefix().and_then(|text| text.as_str()));
    decor.set_prefix(before);
    let after = without_comments(decor.suffix().and_then(|text| text.as_str()));
    decor.set_suffix(after);
    for (mut key, item) in table.iter_mut() {
        let decor = key.leaf_decor_mut();
        let before = decor.prefix().and_then(|text| text.as_str());
        if before.is_some_and(|text| text.contains('#')) {
            decor.set_prefix(without_comments(before));
        }
        match item {
            Item::Table(table) => strip(table),
            Item::ArrayOfTables(array) => array.iter_mut().for_each(strip),
            Item::Value(value) => {
                let decor = value.decor_mut();
                let after = decor.suffix().and_then(|text| text.as_str());
                if after.is_some_and(|text| text.contains('#')) {
                    decor.set_suffix("");
                }
            }
            Item::None => {}
        }
    }
}

/// The text without its comments, nor the lines and blanks that lead to them.
fn without_comments(text: Option<&str>) -> String {
    let lines = text.unwrap_or_default().split_inclusive('\n');
    lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect()
}
