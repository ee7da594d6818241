//! Findings about a file, shown as a compiler does: the line, the place in it, what to do.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::inventory::diagnostic::{Diagnostic, Severity};

/// Renders the findings about the file `path` with the content `text`, one after another with an
/// empty line between; the last line ends with a line feed. No findings give an empty text.
pub fn render(path: &str, text: &str, diagnostics: &[Diagnostic], colour: bool) -> String {
    let painter = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let text = masked(text, diagnostics);
    let mut rendered = String::new();
    for diagnostic in diagnostics {
        if !rendered.is_empty() {
            rendered.push('\n');
        }
        rendered.push_str(&painter.render(&[group(path, &text, diagnostic)]));
        rendered.push('\n');
    }
    rendered
}

fn group<'a>(path: &'a str, text: &'a str, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut snippet = Snippet::source(text).path(path);
    for label in &diagnostic.labels {
        let kind = if label.primary {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        let mut annotation = kind.span(within(text, &label.span));
        if !label.text.is_empty() {
            annotation = annotation.label(label.text.as_str());
        }
        snippet = snippet.annotation(annotation);
    }
    let mut group = level.primary_title(diagnostic.message.as_str()).elements(
        // Without a place there is no line to show, only the file.
        (!diagnostic.labels.is_empty()).then_some(snippet),
    );
    if diagnostic.labels.is_empty() {
        group = group.element(annotate_snippets::Origin::path(path));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    group
}

/// The text with stars for what must not be shown. Each byte stays in its place.
fn masked<'a>(text: &'a str, diagnostics: &[Diagnostic]) -> Cow<'a, str> {
    let mut masked = Cow::Borrowed(text);
    for hidden in diagnostics.iter().flat_map(|found| &found.hidden) {
        let span = within(text, hidden);
        let stars = text[span.clone()]
            .split('\n')
            .map(|line| "*".repeat(line.len()))
            .collect::<Vec<_>>()
            .join("\n");
        masked.to_mut().replace_range(span, &stars);
    }
    masked
}

/// The span cut to the text's bounds, its ends at the boundaries of characters.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}
