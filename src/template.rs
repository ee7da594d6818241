//! Templates of files and of single settings: minijinja, strict. What is not defined is an error
//! with its place, never an empty text, and no error tells a value.

use std::collections::BTreeSet;
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::inventory::nearest::nearest;
use crate::shell;

/// The variables of a template, by name.
pub type Vars = Map<String, serde_json::Value>;

/// How much a template may compute: enough for a line about each of ten thousand hosts, and an end
/// to one that never comes to an end by itself.
const FUEL: u64 = 5_000_000;

/// A text that may be a template, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub value: String,
    /// Where it begins.
    pub place: Place,
}

/// A line of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it is shown.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a template gives no text. No value of a variable is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct TemplateError {
    /// Where.
    pub place: Place,
    /// Why: a lower-case fragment.
    pub message: String,
}

impl Text {
    /// Whether anything in it is to be rendered.
    pub fn is_template(&self) -> bool {
        ["{{", "{%", "{#"]
            .iter()
            .any(|mark| self.value.contains(mark))
    }

    /// The first line that has this word.
    pub fn place_of(&self, word: &str) -> Place {
        let line = self.value.lines().position(|line| line.contains(word));
        Place {
            file: self.place.file.clone(),
            line: self.place.line + line.unwrap_or(0),
        }
    }

    /// The variables that it takes from outside, as `name` or `name.part`.
    ///
    /// # Errors
    /// It is no template.
    pub fn variables(&self) -> Result<BTreeSet<String>, TemplateError> {
        let environment = environment();
        let template = environment.template_from_str(&self.value);
        let template = template.map_err(|error| self.error(&error))?;
        Ok(own(&environment, template.undeclared_variables(true)))
    }

    /// The text with its variables filled in.
    ///
    /// # Errors
    /// It is no template, or a variable is not defined.
    pub fn render(&self, vars: &Vars) -> Result<String, TemplateError> {
        if !self.is_template() {
            return Ok(self.value.clone());
        }
        let environment = environment();
        let template = environment.template_from_str(&self.value);
        let template = template.map_err(|error| self.error(&error))?;
        template.render(Value::from(Serde(vars))).map_err(|error| {
            let taken = own(&environment, template.undeclared_variables(true));
            self.error_with(&error, &taken, vars)
        })
    }

    /// The variables that it takes as an expression.
    ///
    /// # Errors
    /// It is no expression.
    pub fn variables_of_expression(&self) -> Result<BTreeSet<String>, TemplateError> {
        let environment = environment();
        let expression = environment.compile_expression(&self.value);
        let expression = expression.map_err(|error| self.error(&error))?;
        Ok(own(&environment, expression.undeclared_variables(true)))
    }

    /// Whether it holds, as an expression.
    ///
    /// # Errors
    /// It is no expression, or a variable is not defined.
    pub fn holds(&self, vars: &Vars) -> Result<bool, TemplateError> {
        let environment = environment();
        let expression = environment.compile_expression(&self.value);
        let expression = expression.map_err(|error| self.error(&error))?;
        let taken = own(&environment, expression.undeclared_variables(true));
        let value = expression.eval(Value::from(Serde(vars)));
        let value = value.map_err(|error| self.error_with(&error, &taken, vars))?;
        if value.is_undefined() {
            let error = minijinja::Error::new(ErrorKind::UndefinedError, "");
            return Err(self.error_with(&error, &taken, vars));
        }
        Ok(value.is_true())
    }

    fn error(&self, error: &minijinja::Error) -> TemplateError {
        let line = error.line().unwrap_or(1).max(1) - 1;
        // What a filter says can hold the value that it was given.
        let about_the_text = matches!(
            error.kind(),
            ErrorKind::SyntaxError
                | ErrorKind::UnknownFilter
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownTest
                | ErrorKind::UnknownMethod
        );
        let kind = error.kind().to_string();
        let message = match error.detail().filter(|_| about_the_text) {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind,
        };
        TemplateError {
            place: Place {
                file: self.place.file.clone(),
                line: self.place.line + line,
            },
            message,
        }
    }

    /// The same; names the variable that is not defined.
    fn error_with(
        &self,
        error: &minijinja::Error,
        taken: &BTreeSet<String>,
        vars: &Vars,
    ) -> TemplateError {
        let mut told = self.error(error);
        if error.kind() == ErrorKind::UndefinedError
            && let Some(missing) = taken.iter().find(|name| !is_defined(name, vars))
        {
            told.message = undefined(missing, vars.keys().map(String::as_str));
        }
        told
    }
}

/// Says that a variable is not defined, and which of `known` was perhaps meant.
pub fn undefined<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) if near != name => format!("`{name}` is not defined; there is `{near}`"),
        _ => format!("`{name}` is not defined"),
    }
}

/// Whether `name.part` leads to a value.
fn is_defined(name: &str, vars: &Vars) -> bool {
    let mut parts = name.split('.');
    let mut value = parts.next().and_then(|first| vars.get(first));
    for part in parts {
        // The members of a text or a list are not variables.
        match value {
            Some(serde_json::Value::Object(map)) => value = map.get(part),
            other => return other.is_some(),
        }
    }
    value.is_some()
}

/// What a template takes from outside, without what the environment itself has.
fn own(environment: &Environment<'_>, names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let globals: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
    let names = names.into_iter();
    names
        .filter(|name| !globals.contains(name.as_str()))
        .collect()
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    // It prints all variables.
    environment.remove_global("debug");
    environment.add_filter("json", |value: Value| {
        serde_json::to_string(&value)
            .map_err(|_| minijinja::Error::new(ErrorKind::BadSerialization, ""))
    });
    environment.add_filter("shell", |word: &str| shell::quote(word));
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    // The delimiters are the usual ones, which are sound.
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Text {
        Text {
            value: value.to_owned(),
            place: Place {
                file: "web.conf.j2".to_owned(),
                line: 1,
            },
        }
    }

    fn vars() -> Vars {
        let vars = serde_json::json!({
            "name": "it's \"a\" <b>",
            "port": 80,
            "password": "hunter2",
            "facts": { "os": { "id": "debian" } },
            "list": ["a", "b"],
        });
        vars.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn fills_in() {
        let rendered = text(
            "{% for it in list %}\n  - {{ it }}\n{% endfor %}\n{{ name | json }} {{ name | shell }} {{ port + 1 }}\n",
        )
        .render(&vars());
        assert_eq!(
            rendered.unwrap(),
            "  - a\n  - b\n\"it's \\\"a\\\" <b>\" 'it'\\''s \"a\" <b>' 81\n"
        );
        assert!(
            text("facts.os.id == 'debian' and port > 79")
                .holds(&vars())
                .unwrap()
        );
        assert!(!text("port in [1, 2]").holds(&vars()).unwrap());
    }

    #[test]
    fn says_what_is_wrong_and_where_and_no_value() {
        let wrong = [
            "a\nb {{ prot }}",
            "{{ facts.os.codename }}",
            "{% if port %}",
            "x\n\n{{ name | jsn }}",
            "{{ password | int }}",
            "{{ password + 1 }}",
            "{% for it in password.x %}{% endfor %}",
            "{{ debug() }}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
        ];
        let told = wrong.map(|wrong| text(wrong).render(&vars()).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"), @r#"
        web.conf.j2:2: `prot` is not defined; there is `port`
        web.conf.j2:1: `facts.os.codename` is not defined
        web.conf.j2:1: syntax error: unexpected end of input, expected end of block
        web.conf.j2:3: unknown filter: filter jsn is unknown
        web.conf.j2:1: invalid operation
        web.conf.j2:1: invalid operation
        web.conf.j2:1: undefined value
        web.conf.j2:1: unknown function: debug is unknown
        web.conf.j2:1: engine ran out of fuel
        "#);
        let told = ["prot > 1", "port >", "facts.os.idd"]
            .map(|wrong| text(wrong).holds(&vars()).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"), @r#"
        web.conf.j2:1: `prot` is not defined; there is `port`
        web.conf.j2:1: syntax error: unexpected end of input, expected expression
        web.conf.j2:1: `facts.os.idd` is not defined
        "#);
    }
}
