//! The order of a procedure's playbook: what must come before what, what may be left out, and where
//! the user's own tasks have a place. All of it is known before any host is asked.

use crate::inventory::diagnostic::{Diagnostic, Span};
use crate::inventory::read::{At, Field};
use crate::playbook::{Action, Verb, raw};

use super::Checker;

/// A step of the procedure, where it is in the file.
struct Step<'r> {
    place: usize,
    action: Action,
    span: &'r Span,
}

impl Checker<'_> {
    /// Looks at the steps of `raw`, which is to be the playbook of `verb`.
    pub(super) fn order(&mut self, verb: Verb, raw: &raw::Playbook) {
        let tasks = raw.task.get().map_or(&[][..], Vec::as_slice);
        for task in tasks.iter().filter(|task| task.value.action.at().is_some()) {
            self.alone(&task.value);
        }
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut unknown = false;
        for (place, task) in tasks.iter().enumerate() {
            unknown |= matches!(task.value.action, Field::Wrong);
            let Some(at) = task.value.action.at() else {
                continue;
            };
            let (action, span) = (at.value, &at.span);
            if action.verb() != verb {
                self.elsewhere(verb, action, span);
                unknown = true;
            } else if let Some(first) = steps.iter().find(|it| it.action == action) {
                let word = action.word();
                let error = Diagnostic::error(format!("`{word}` is there twice"));
                let error = error
                    .at(span, "expected once")
                    .see(first.span, "the first one");
                self.out.push(error);
            } else {
                steps.push(Step {
                    place,
                    action,
                    span,
                });
            }
        }
        if verb == Verb::Run {
            return;
        }
        if steps.is_empty() && !unknown {
            self.no_procedure(verb);
            return;
        }
        if raw.ordered.get() != Some(&true) && !matches!(raw.ordered, Field::Wrong) {
            let error = Diagnostic::error("the tasks of a procedure come one after the other");
            let error = match raw.ordered.at() {
                Some(at) => error.at(&at.span, "expected `true`"),
                None => error,
            };
            self.out.push(error.help("write `ordered = true`"));
        }
        for step in &steps {
            self.comes_after(step, &steps);
        }
        if !unknown {
            self.missing(verb, &steps);
        }
        self.own_tasks(verb, tasks, &steps);
    }

    /// What belongs to tasks for hosts has no place beside `use`.
    fn alone(&mut self, task: &raw::Task) {
        let spans = [
            task.on.at().map(|it| ("on", &it.span)),
            task.needs.at().map(|it| ("needs", &it.span)),
            task.when.at().map(|it| ("when", &it.span)),
            task.serial.at().map(|it| ("serial", &it.span)),
        ];
        for (key, span) in spans.into_iter().flatten() {
            let error = Diagnostic::error(format!("`{key}` has no place beside `use`"));
            let error = error.at(span, "remove it");
            self.out.push(
                error.help("a step of a procedure knows its hosts, and its place is its order"),
            );
        }
    }

    fn elsewhere(&mut self, verb: Verb, action: Action, span: &Span) {
        let (word, its) = (action.word(), action.verb().name());
        let error = Diagnostic::error(format!("`{word}` is a step of `skep {its}`"));
        let error = error.at(
            span,
            format!("this is a playbook for `skep {}`", verb.name()),
        );
        self.out.push(error.help(format!(
            "it goes into `playbooks/{its}.toml` beside the inventory, and `skep {its}` does it"
        )));
    }

    fn no_procedure(&mut self, verb: Verb) {
        let name = verb.name();
        let error = Diagnostic::error(format!(
            "a playbook of this name takes the place of skep's own for `skep {name}`, and no task here has `use`"
        ));
        let error = error.help(format!(
            "`skep {name} --playbook` prints skep's own to begin with"
        ));
        self.out
            .push(error.help("give an ordinary playbook for `skep run` another name"));
    }

    /// What must come before a step, and comes after it.
    fn comes_after(&mut self, step: &Step<'_>, steps: &[Step<'_>]) {
        for (before, why) in step.action.comes_after() {
            let late = steps
                .iter()
                .find(|it| it.action == *before && it.place > step.place);
            let Some(late) = late else { continue };
            let (word, before) = (step.action.word(), before.word());
            let error = Diagnostic::error(format!("`{word}` comes before `{before}`"));
            let error = error.at(step.span, format!("expected after `{before}`"));
            self.out.push(
                error
                    .see(late.span, format!("`{before}` is here"))
                    .help(*why),
            );
        }
    }

    /// What may not be left out, and is not there.
    fn missing(&mut self, verb: Verb, steps: &[Step<'_>]) {
        let is = |action: Action| steps.iter().any(|it| it.action == action);
        let off = steps.iter().find(|it| it.action.powers_off());
        for action in Action::all(verb).filter(|action| !is(*action)) {
            let word = action.word();
            let why = match (action.needed(), off) {
                (Some(why), _) => why,
                (None, Some(_)) if action.powers_off() => {
                    "the hosts of a swarm are switched off all, or none of them"
                }
                _ => continue,
            };
            let mut error = Diagnostic::error(format!("`use = \"{word}\"` is missing"));
            // Where it belongs: before the first of those that come after it.
            let next = steps.iter().find(|it| {
                let mut after = it.action.comes_after().iter();
                after.any(|(before, _)| *before == action)
            });
            if let Some(next) = next {
                error = error.at(next.span, format!("expected `{word}` before this"));
            } else if let Some(last) = steps.last() {
                error = error.at(last.span, format!("expected `{word}` after this"));
            }
            self.out.push(error.help(why));
        }
    }

    /// Where the user's own tasks stand.
    fn own_tasks(&mut self, verb: Verb, tasks: &[At<raw::Task>], steps: &[Step<'_>]) {
        let step = |action: Action| steps.iter().find(|it| it.action == action);
        let (first, why) = match verb {
            Verb::Shutdown => (
                step(Action::Record),
                "by the record it is known what was done, when a shutdown that was cut off is gone on with",
            ),
            _ => (
                step(Action::Quorum),
                "before that hosts are off, and cannot be asked",
            ),
        };
        let off = steps.iter().find(|it| it.action.powers_off());
        for (place, task) in tasks.iter().enumerate() {
            if !task.value.action.is_absent() {
                continue;
            }
            let head = self.head(&task.span);
            let own = "a task of your own";
            if let Some(first) = first.filter(|it| place < it.place) {
                let word = first.action.word();
                let error = Diagnostic::error(format!("{own} comes before `{word}`"));
                let error = error.at(&head, format!("expected after `{word}`"));
                self.out
                    .push(error.see(first.span, format!("`{word}` is here")).help(why));
            }
            if let Some(off) = off.filter(|it| place > it.place) {
                let word = off.action.word();
                let error = Diagnostic::error(format!("{own} comes after `{word}`"));
                let error = error.at(&head, format!("expected before `{word}`"));
                let error = error.see(off.span, "from here on hosts are off");
                self.out.push(error.help(
                    "what is to be done when all is off is a command of your own after `skep shutdown`",
                ));
            }
            if let Some(at) = task.value.reboot.at() {
                let error = Diagnostic::error(format!("`skep {}` reboots no host", verb.name()));
                self.out.push(
                    error
                        .at(&at.span, "remove it")
                        .help("`skep reboot` does that"),
                );
            }
        }
    }
}
