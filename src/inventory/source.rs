//! From a file to the model.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::diagnostic::{self, Diagnostic, Span};
use super::read::{Read, Value};
use super::{Inventory, check, raw};

/// An inventory's text with all that was found in it.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The model; `None` when a finding is an error.
    pub inventory: Option<Inventory>,
    /// Errors and warnings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why there is no inventory.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Its content is wrong. `ui::diagnostic::render` shows the places.
    Invalid(Box<Source>),
}

/// Reads the inventory at `path`.
///
/// Warnings are dropped; [`read`] gives them too.
///
/// # Errors
/// The file cannot be read, or its content is wrong: all errors in it at once.
pub fn load(path: &Path) -> Result<Inventory, LoadError> {
    let mut source = read(path)?;
    match source.inventory.take() {
        Some(inventory) => Ok(inventory),
        None => Err(LoadError::Invalid(Box::new(source))),
    }
}

/// Reads the inventory at `path` with its text and all findings.
///
/// # Errors
/// The file cannot be read. What is wrong in it is in [`Source::diagnostics`].
pub fn read(path: &Path) -> Result<Source, LoadError> {
    let bytes = std::fs::read(path).map_err(|error| LoadError::Read {
        path: path.to_owned(),
        error,
    })?;
    let (text, bad) = decode(bytes);
    let (inventory, diagnostics) = match bad {
        None => parse(&text, path),
        Some(error) => (None, vec![error]),
    };
    Ok(Source {
        path: path.to_owned(),
        text,
        inventory,
        diagnostics,
    })
}

/// The text of a file, and what is wrong with it as a text. A lossy one keeps the places of what is
/// before the first bad byte.
pub(crate) fn decode(bytes: Vec<u8>) -> (String, Option<Diagnostic>) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let span = start..start + 1;
            let error = Diagnostic::error("the file is not UTF-8").at(&span, "this byte");
            (text, Some(error))
        }
    }
}

/// Reads an inventory's text as that of the file `path`, from whose directory relative paths
/// start. `~/` is the home of the process's user. Nothing is read from disk.
///
/// There is an inventory exactly when no finding is an error. Errors of TOML's syntax are told
/// without others, because what follows from broken text is not to be trusted.
pub fn parse(text: &str, path: &Path) -> (Option<Inventory>, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let inventory = root(text, &mut found)
        .and_then(|root| raw::Inventory::read(&root, &mut found))
        .map(|raw| check::check(&raw, path, text.len(), &mut found));
    diagnostic::tidy(&mut found);
    let inventory = inventory.filter(|_| !found.iter().any(Diagnostic::is_error));
    (inventory, found)
}

/// The table that a text of TOML is; `None` where it is none, with the errors of its syntax.
pub(crate) fn root<'t>(text: &'t str, found: &mut Vec<Diagnostic>) -> Option<Value<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let unquoted = ["invalid float", "invalid integer", "string values must"]
            .iter()
            .any(|start| error.message().starts_with(start));
        let error = Diagnostic::error(error.message()).at(&span, "");
        found.push(if unquoted {
            error.help("if this is meant to be text, put it in quotes")
        } else {
            error
        });
    }
    if let Some(first) = found.first_mut() {
        // Which of these lines is shown, and by which finding, does not matter.
        first.hidden.extend(secrets(text));
        return None;
    }
    let span = table.span();
    Some(toml::Spanned::new(span, DeValue::Table(table.into_inner())))
}

/// The values of secret keys in a text that is not TOML, where they are no references: a secret
/// without quotes is an error of syntax, and its line would be shown.
fn secrets(text: &str) -> impl Iterator<Item = Span> {
    let lines = text.split_inclusive('\n').scan(0, |start, line| {
        let begin = *start;
        *start += line.len();
        Some((begin, line.trim_end()))
    });
    lines.filter_map(|(begin, line)| {
        let (key, value) = line.split_once('=')?;
        let secret = key.contains("password") || key.contains("passphrase");
        let reference = value.trim_start().starts_with('{');
        (secret && !reference).then(|| begin + key.len() + 1..begin + line.len())
    })
}

impl Source {
    /// How many findings are errors.
    pub fn errors(&self) -> usize {
        self.diagnostics
            .iter()
            .filter(|found| found.is_error())
            .count()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => {
                write!(f, "cannot read the inventory `{}`: {error}", path.display())
            }
            Self::Invalid(source) => {
                let many = if source.errors() == 1 { "" } else { "s" };
                let (count, path) = (source.errors(), source.path.display());
                write!(f, "the inventory `{path}` has {count} error{many}")
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::Invalid(_) => None,
        }
    }
}

impl From<LoadError> for crate::error::Error {
    fn from(error: LoadError) -> Self {
        let missing = matches!(
            &error,
            LoadError::Read { error, .. } if error.kind() == std::io::ErrorKind::NotFound
        );
        let usage = Self::usage(error.to_string());
        if missing {
            usage.hint("Write one with `skep init`, or name another with `-i FILE`.")
        } else {
            usage
        }
    }
}
