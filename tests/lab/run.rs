//! Runs of the binary: started, waited for, interrupted, killed, and judged by what they said.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long one run may take, on a machine that does much else.
const LONGEST: Duration = Duration::from_mins(15);

/// A run of the binary that has not ended; it is ended when this is dropped.
pub(crate) struct Running {
    line: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    began: Instant,
}

impl Running {
    /// Starts `command`, whose streams go to files that begin with `at`.
    pub(crate) fn start(mut command: Command, at: &Path) -> Self {
        let (out, err) = (at.with_extension("out"), at.with_extension("err"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        Self {
            line: format!("skep {}", words.join(" ")),
            child: command
                .stdin(Stdio::null())
                .stdout(File::create(&out).unwrap())
                .stderr(File::create(&err).unwrap())
                .spawn()
                .unwrap(),
            out,
            err,
            began: Instant::now(),
        }
    }

    /// Waits for its end.
    pub(crate) fn ends_within(mut self, deadline: Duration) -> Ran {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return self.ran(status);
            }
            if self.began.elapsed() > deadline {
                self.child.kill().unwrap();
                let status = self.child.wait().unwrap();
                panic!("no end within {deadline:?}: {:?}", self.ran(status));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end for as long as any run may take.
    pub(crate) fn end(self) -> Ran {
        self.ends_within(LONGEST)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`; gives what it had printed. It may have ended by itself before.
    pub(crate) fn kill(mut self) -> Ran {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.ran(status)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What Ctrl-C sends.
    pub(crate) fn interrupt(&self) {
        let id = i32::try_from(self.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    }

    /// What it has said until now.
    pub(crate) fn said(&self) -> String {
        read(&self.err) + &read(&self.out)
    }

    fn ran(&self, status: ExitStatus) -> Ran {
        Ran {
            line: self.line.clone(),
            code: status.code(),
            out: read(&self.out),
            err: read(&self.err),
            took: self.began.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A run of the binary that has ended.
pub(crate) struct Ran {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// It must have ended with this exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// It must have said this, on whichever stream, in lines as long as they come.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let said = |stream: &str| stream.contains(text);
        assert!(said(&self.out) || said(&self.err), "no `{text}`: {self:?}");
        self
    }
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            code,
            out,
            err,
            took,
        } = self;
        let took = took.as_secs_f64();
        write!(
            f,
            "`{line}` ended with {code:?} after {took:.1} s\n-- stdout\n{out}\n-- stderr\n{err}"
        )
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
