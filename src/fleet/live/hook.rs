//! Hooks that run on this machine.

use std::path::Path;

use crate::fleet::{Fault, FaultKind};
use crate::inventory::HookCommand;
use crate::local::{LocalError, Program};
use crate::plan::HookStep;
use crate::state::Token;

/// Runs a hook in the directory of the inventory. What it starts is ended with it at its deadline, or
/// when the run is cut off. `token` lets a skep that it starts work under this run's lock.
pub(super) async fn here(
    hook: &HookStep,
    inventory: &Path,
    token: Option<&Token>,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let program = program(hook, inventory, token).map_err(|error| {
        let why = format!("cannot tell where the inventory is: {error}");
        Fault::new(FaultKind::Failed, why)
    })?;
    // What a hook prints is written down; one that prints its environment gives nothing away.
    let hide = |line: &str| match token {
        Some(token) => line.replace(token.expose(), "***"),
        None => line.to_owned(),
    };
    let failed = |why: String, tail: &[String]| Fault {
        output: tail.iter().map(|line| hide(line)).collect(),
        ..Fault::new(FaultKind::Failed, why)
    };
    let ran = program.run_with(&|line| output(&hide(line))).await;
    ran.map(drop).map_err(|error| match &error {
        LocalError::TimedOut { deadline, tail, .. } => Fault {
            kind: FaultKind::TimedOut,
            ..failed(
                format!("it did not end within {} s", deadline.as_secs()),
                tail,
            )
        },
        LocalError::Failed { status, tail, .. } => {
            let how = match status {
                Some(code) => format!("exit status {code}"),
                None => "ended by a signal".to_owned(),
            };
            failed(how, tail)
        }
        LocalError::NotFound { .. } | LocalError::Io { .. } => failed(error.to_string(), &[]),
    })
}

fn program(hook: &HookStep, inventory: &Path, token: Option<&Token>) -> std::io::Result<Program> {
    let inventory = std::path::absolute(inventory)?;
    let directory = inventory.parent().unwrap_or(Path::new("/"));
    let program = match &hook.hook.command {
        HookCommand::Script(text) => Program::new("sh").args(["-e", "-c", text]),
        HookCommand::Program(words) => Program::beside(directory, words),
    };
    let mut program = program
        .directory(directory)
        .deadline(hook.deadline())
        .env("SKEP_INVENTORY", &inventory);
    for (name, value) in &hook.variables {
        program = program.env(name, value);
    }
    Ok(match token {
        Some(token) => program.env(Token::VARIABLE, token.expose()),
        None => program.env_remove(Token::VARIABLE),
    })
}
