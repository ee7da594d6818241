//! Questions to a person. Who is not a person is told how to do without.

use std::io::{self, IsTerminal};

use inquire::InquireError;
use secrecy::SecretString;

use crate::error::{Error, Kind, Result};

/// Whether there is somebody to ask: both ends of the conversation are a terminal.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks `question`, such as "Make these 23 changes?"; `yes` answers it beforehand.
///
/// # Errors
///
/// A usage error where there is nobody to ask, so that a script never hangs on a question;
/// [`Kind::Interrupted`] on Ctrl-C or Escape.
pub fn confirm(question: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !can_ask() {
        return Err(
            Error::usage("there is no terminal to ask for confirmation").hint(
                "Pass `--yes` to go ahead without being asked; `skep plan` shows what would change.",
            ),
        );
    }
    inquire::Confirm::new(question)
        .with_default(false)
        .prompt()
        .map_err(into_error)
}

/// Asks for a text; an empty answer takes `default`, where there is one.
pub fn text(question: &str, default: Option<&str>, help: &str) -> Result<String> {
    let mut prompt = inquire::Text::new(question).with_help_message(help);
    if let Some(default) = default {
        prompt = prompt.with_default(default);
    }
    prompt.prompt().map_err(into_error)
}

/// Asks for a secret; nothing of it is shown.
///
/// # Errors
///
/// Where there is nobody to ask, or nobody answers.
pub fn secret(what: &str) -> io::Result<SecretString> {
    if !can_ask() {
        return Err(io::Error::other("there is no terminal to ask on"));
    }
    let answer = inquire::Password::new(what)
        .without_confirmation()
        .prompt()
        .map_err(io::Error::other)?;
    Ok(SecretString::from(answer))
}

fn into_error(error: InquireError) -> Error {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            Error::new(Kind::Interrupted, "interrupted; nothing was changed")
        }
        other => Error::failed("cannot ask on this terminal")
            .because(other)
            .hint("Pass `--yes` to go ahead without being asked."),
    }
}
