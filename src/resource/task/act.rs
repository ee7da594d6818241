//! Commands and waits.

use crate::plan::{HostCall, Step};
use crate::playbook::{Command, Until, Wait};
use crate::resource::{Draft, Verdict, text_diff};

use super::{Scene, exists, succeeds, until};

/// What the summary of a command ends with that runs every time.
pub(crate) const ALWAYS: &str = " (runs always)";

/// The test that tells that a command has nothing to do.
pub(super) fn test_of(command: &Command) -> Option<String> {
    let creates = command.creates.as_ref().map(|path| exists(&path.value));
    creates.or_else(|| command.unless.as_ref().map(|it| it.value.clone()))
}

/// The test of what is waited for.
pub(super) fn wait_test(what: &Until) -> String {
    until(what).0
}

pub(super) fn command(command: &Command, scene: &Scene<'_>) -> Verdict {
    let unless = test_of(command);
    let always = match &unless {
        None => ALWAYS,
        Some(test) => match succeeds(scene.facts, test) {
            Ok(true) => return Verdict::Same,
            Ok(false) => "",
            Err(why) => return Verdict::Unknown(why),
        },
    };
    let run = command.run.value.trim().to_owned();
    let call = HostCall::Command {
        run: run.clone(),
        unless,
        timeout: command.timeout,
        id: scene.id.to_owned(),
        note: None,
    };
    let title = call.to_string();
    // What the title cuts is shown whole.
    let diff = if title.ends_with(&run) {
        Vec::new()
    } else {
        vec![text_diff("the command", None, &format!("{run}\n"))]
    };
    Verdict::Change(Draft::safe(
        format!("{title}{always}"),
        diff,
        vec![Step::Host(call)],
    ))
}

pub(super) fn wait(wait: &Wait, scene: &Scene<'_>) -> Verdict {
    let (test, what) = until(&wait.until);
    match succeeds(scene.facts, &test) {
        // What holds now may not hold any more after a restart.
        Ok(true) if !scene.moving => return Verdict::Same,
        Ok(_) => {}
        Err(why) => return Verdict::Unknown(why),
    }
    Verdict::Change(Draft::safe(
        format!("wait until {what}"),
        Vec::new(),
        vec![Step::Host(HostCall::WaitFor {
            what,
            test,
            timeout: wait.timeout,
        })],
    ))
}
