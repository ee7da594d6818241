//! What is wrong with an inventory, with the places in its text.

use std::ops::Range;

/// A place in the text: byte offsets.
pub type Span = Range<usize>;

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The inventory cannot be used.
    Error,
    /// It can be used, and the user should know something about it.
    Warning,
}

/// One finding about an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// The places that it is about; empty when it is about the file as a whole.
    pub labels: Vec<Label>,
    /// What to do about it, one fragment each.
    pub help: Vec<String>,
    /// Places whose text must not be shown: secrets that should not be there.
    pub hidden: Vec<Span>,
}

/// A place that a [`Diagnostic`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What to say of it; may be empty.
    pub text: String,
    /// Whether it is the place of the fault, and not one that only explains it.
    pub primary: bool,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            help: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Adds the place of the fault.
    #[must_use]
    pub fn at(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span: span.clone(),
            text: text.into(),
            primary: true,
        });
        self
    }

    /// Adds a place that explains.
    #[must_use]
    pub fn see(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span: span.clone(),
            text: text.into(),
            primary: false,
        });
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Keeps the text of a place from being shown, by this finding or any other.
    #[must_use]
    pub fn hide(mut self, span: &Span) -> Self {
        self.hidden.push(span.clone());
        self
    }

    /// Whether it makes the inventory unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Sorts findings by their place, and drops those that say the same of the same places: a setting
/// that many hosts share is wrong once.
pub(crate) fn tidy(diagnostics: &mut Vec<Diagnostic>) {
    let start = |diagnostic: &Diagnostic| {
        let primary = diagnostic.labels.iter().find(|label| label.primary);
        primary.map_or(usize::MAX, |label| label.span.start)
    };
    diagnostics.sort_by(|a, b| {
        (start(a), a.severity, &a.message).cmp(&(start(b), b.severity, &b.message))
    });
    diagnostics.dedup();
}
