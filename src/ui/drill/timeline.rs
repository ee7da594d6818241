//! The timeline of a drill as SVG: a lane for each node, each manager, the leader, the tasks, the
//! requests and skep itself.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use crate::drill::findings::{Record, Span, seconds};
use crate::drill::watch::{NodeState, Stage, Voice};
use crate::inventory::Role;
use crate::ui::text;

use super::page::escape;
use super::{answers, node};

/// The width of the drawing, of the names beside it and of the margin at its end, in pixels.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 132.0;
const MARGIN: f64 = 18.0;
/// The height of a lane with its gap, and of what is drawn in it.
const LANE: f64 = 21.0;
const BAR: f64 = 16.0;
/// The height of a heading above lanes.
const HEAD: f64 = 24.0;
/// The width of a letter and of the space that a text needs beside it, in pixels at most: a font that
/// is wider than most.
const LETTER: f64 = 7.2;
const PADDING: f64 = 8.0;
/// How many columns of a name fit.
const NAME_COLUMNS: usize = 16;
/// The least width of something that took no time.
const LEAST: f64 = 3.0;
/// The columns of the requests, at most.
const BINS: u64 = 160;

struct Drawing {
    out: String,
    /// What is drawn over all else.
    over: String,
    y: f64,
    /// Milliseconds of the whole width.
    length: f64,
}

/// The drawing of a record.
pub(super) fn svg(record: &Record) -> String {
    let mut it = Drawing {
        out: String::new(),
        over: String::new(),
        y: 0.0,
        length: as_float(record.length().max(1_000)),
    };
    let names = it.stage_names(record);
    it.axis();
    let top = it.y;
    let (managers, others): (Vec<_>, Vec<_>) = record
        .hosts
        .iter()
        .partition(|(_, role)| *role == Role::Manager);
    it.head("Nodes, as the managers see them");
    for (host, _) in managers.iter().chain(&others) {
        it.lane(host);
        it.spans(&record.node(host), |state| match state {
            NodeState::Ready => (Paint::Good, node(*state).to_owned()),
            NodeState::Down => (Paint::Wrong, node(*state).to_owned()),
            NodeState::Unknown => (Paint::Unknown, node(*state).to_owned()),
        });
    }
    it.head("Managers, when they are asked");
    for (host, _) in &managers {
        it.lane(host);
        it.spans(&record.voice(host), |voice| {
            let paint = match voice {
                Voice::Orders => Paint::Good,
                Voice::NoOrders => Paint::Wrong,
                Voice::Silent => Paint::Unknown,
            };
            (paint, answers(*voice).to_owned())
        });
    }
    it.head("The swarm");
    it.lane("leader");
    it.spans(&record.leaders(), |leader| match leader {
        Some(host) => (Paint::Good, host.clone()),
        None => (Paint::Unknown, "none".to_owned()),
    });
    it.lane("tasks");
    let wanted = record.tasks;
    it.spans(&record.running(), |running| match running {
        Some(running) if *running >= wanted => (Paint::Good, format!("{running} of {wanted}")),
        Some(running) => (Paint::Wrong, format!("{running} of {wanted}")),
        None => (Paint::Unknown, "unknown".to_owned()),
    });
    it.lane("requests");
    it.requests(record);
    it.head("skep");
    it.acts(record);
    let bottom = it.y + 4.0;
    it.stages(record, &names, top, bottom);
    let drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\n",
        number(bottom + 4.0),
        escape(&format!(
            "Timeline of the drill {} over {}; the tables below tell the same in words",
            record.drill,
            seconds(record.length())
        )),
    );
    drawing + &it.out + &it.over + "</svg>\n"
}

/// How something is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Good,
    Wrong,
    Unknown,
}

impl Paint {
    fn fill(self) -> &'static str {
        match self {
            Self::Good => "class=\"good\"",
            Self::Wrong => "fill=\"url(#wrong)\"",
            Self::Unknown => "fill=\"url(#unknown)\"",
        }
    }

    fn ink(self) -> &'static str {
        match self {
            Self::Good => "on-good",
            Self::Wrong => "on-bad",
            Self::Unknown => "on-none",
        }
    }
}

impl Drawing {
    /// Where a time is, from the left.
    fn x(&self, at: u64) -> f64 {
        let share = (as_float(at) / self.length).min(1.0);
        NAMES + share * (WIDTH - NAMES - MARGIN)
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let _infallible = self.out.write_fmt(text);
        self.out.push('\n');
    }

    /// Writes over all that is drawn.
    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        let _infallible = self.over.write_fmt(text);
        self.over.push('\n');
    }

    fn head(&mut self, title: &str) {
        let y = self.y + HEAD - 7.0;
        self.write(format_args!(
            "<text class=\"head\" x=\"0\" y=\"{}\">{}</text>",
            number(y),
            escape(title)
        ));
        self.y += HEAD;
    }

    /// Begins a lane: its name, cut where it is too long and told whole when it is pointed at.
    fn lane(&mut self, name: &str) {
        let short = short(name);
        let y = self.y + BAR - 4.0;
        self.put(format_args!(
            "<text x=\"8\" y=\"{}\"><title>{}</title>{}</text>",
            number(y),
            escape(name),
            escape(&short)
        ));
        let (y, width) = (self.y, WIDTH - NAMES - MARGIN);
        self.put(format_args!(
            "<rect class=\"frame\" x=\"{NAMES}\" y=\"{}\" width=\"{width}\" height=\"{BAR}\"/>",
            number(y)
        ));
        self.y += LANE;
    }

    /// Draws what held for a while into the lane that was begun last, with a word where there is room.
    fn spans<T>(&mut self, spans: &[Span<T>], show: impl Fn(&T) -> (Paint, String)) {
        let y = self.y - LANE;
        for span in spans {
            let (paint, word) = show(&span.value);
            let x = self.x(span.from);
            let width = (self.x(span.to) - x).max(LEAST).min(WIDTH - MARGIN - x);
            let (from, to) = (seconds(span.from), seconds(span.to));
            self.put(format_args!(
                "<rect {} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{BAR}\"><title>{}: from {from} to {to}</title></rect>",
                paint.fill(),
                number(x),
                number(y),
                number(width),
                escape(&word),
            ));
            if wide(&word) + PADDING <= width {
                self.write(format_args!(
                    "<text class=\"{}\" x=\"{}\" y=\"{}\">{}</text>",
                    paint.ink(),
                    number(x + PADDING / 2.0),
                    number(y + BAR - 4.0),
                    escape(&word),
                ));
            }
        }
    }

    /// Draws the requests as columns: the share that was answered below, the other above it.
    fn requests(&mut self, record: &Record) {
        let y = self.y - LANE;
        let length = record.length().max(1_000);
        let bin = length.div_ceil(BINS).max(500);
        let mut bins = vec![(0_u32, 0_u32); usize::try_from(length / bin + 1).unwrap_or(1)];
        for (at, ok) in record.requests() {
            let place = usize::try_from(at / bin).unwrap_or(usize::MAX);
            if let Some((answered, failed)) = bins.get_mut(place) {
                *(if ok { answered } else { failed }) += 1;
            }
        }
        for (from, (answered, failed)) in (0..).map(|place| place * bin).zip(bins) {
            let all = answered + failed;
            if all == 0 {
                continue;
            }
            let x = self.x(from);
            let width = (self.x(from + bin) - x).max(1.0);
            let bad = BAR * f64::from(failed) / f64::from(all);
            for (paint, top, height) in [(Paint::Wrong, 0.0, bad), (Paint::Good, bad, BAR - bad)] {
                if height <= 0.0 {
                    continue;
                }
                self.put(format_args!(
                    "<rect {} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{answered} answered, {failed} not, at {}</title></rect>",
                    paint.fill(),
                    number(x),
                    number(y + top),
                    number(width),
                    number(height),
                    seconds(from),
                ));
            }
        }
    }

    /// Draws what skep did, each with its number; those that would cover another get a row below.
    fn acts(&mut self, record: &Record) {
        let mut rows: Vec<f64> = Vec::new();
        let top = self.y;
        for (no, (at, millis, what)) in (1..).zip(record.acts()) {
            let label = format!("{no}");
            let least = wide(&label) + PADDING;
            let x = self.x(at).min(WIDTH - MARGIN - least);
            let width = (self.x(at + millis) - x).max(least);
            let row = rows.iter().position(|end| *end + 1.0 <= x);
            let row = row.unwrap_or_else(|| {
                rows.push(0.0);
                rows.len() - 1
            });
            if let Some(end) = rows.get_mut(row) {
                *end = x + width;
            }
            let y = top + as_float(row as u64) * LANE;
            self.put(format_args!(
                "<rect class=\"act\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{BAR}\" rx=\"2\"><title>{}, for {}</title></rect>",
                number(x),
                number(y),
                number(width),
                escape(what),
                seconds(millis),
            ));
            self.put(format_args!(
                "<text class=\"on-act\" x=\"{}\" y=\"{}\">{label}</text>",
                number(x + PADDING / 2.0),
                number(y + BAR - 4.5),
            ));
        }
        self.y = top + as_float(rows.len().max(1) as u64) * LANE;
    }

    /// Makes room above for the names of the stages, in as many rows as they need, and gives where
    /// each is: its time, its name and its height.
    fn stage_names(&mut self, record: &Record) -> Vec<(u64, &'static str, f64)> {
        let mut rows: Vec<f64> = Vec::new();
        let mut names = Vec::new();
        for (stage, name) in [
            (Stage::Broken, "failure"),
            (Stage::Healing, "healing begins"),
            (Stage::Proof, "healed"),
        ] {
            let Some(at) = record.stage(stage) else {
                continue;
            };
            let x = self.x(at).min(WIDTH - wide(name));
            let row = rows.iter().position(|end| *end + PADDING <= x);
            let row = row.unwrap_or_else(|| {
                rows.push(0.0);
                rows.len() - 1
            });
            if let Some(end) = rows.get_mut(row) {
                *end = x + wide(name);
            }
            names.push((at, name, 12.0 + as_float(row as u64) * 15.0));
        }
        self.y = as_float(rows.len().max(1) as u64) * 15.0;
        names
    }

    /// Draws the stages over all lanes.
    fn stages(&mut self, record: &Record, names: &[(u64, &str, f64)], top: f64, bottom: f64) {
        debug_assert!(record.length() >= names.iter().map(|it| it.0).max().unwrap_or(0));
        for (at, name, y) in names {
            let x = self.x(*at);
            let from = y + 3.0;
            let text = x.min(WIDTH - wide(name));
            self.put(format_args!(
                "<line class=\"stage\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>",
                number(from.min(top)),
                number(bottom),
                x = number(x),
            ));
            self.put(format_args!(
                "<text class=\"stage-name\" x=\"{}\" y=\"{}\">{name}</text>",
                number(text),
                number(*y),
            ));
        }
    }

    /// Draws the times: as many as have room.
    fn axis(&mut self) {
        const STEPS: [u64; 9] = [1, 2, 5, 10, 15, 30, 60, 120, 300];
        let whole = self.length / 1_000.0;
        let step = STEPS
            .into_iter()
            .find(|step| whole / as_float(*step) <= 12.0);
        let step = step.unwrap_or(600);
        let y = self.y + 12.0;
        let mut at = 0;
        while as_float(at) <= whole {
            let x = self.x(at * 1_000);
            self.write(format_args!(
                "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                number(x),
                number(y),
                clock(at),
            ));
            self.put(format_args!(
                "<line class=\"grid\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>",
                number(y + 3.0),
                number(y + 8.0),
                x = number(x),
            ));
            at += step;
        }
        self.y += 20.0;
    }
}

/// A name that fits: without its domain, and else without its middle, for names of many hosts differ at
/// their end.
fn short(name: &str) -> String {
    if name.width() <= NAME_COLUMNS {
        return name.to_owned();
    }
    let first = name.split('.').next().unwrap_or(name);
    if first.width() <= NAME_COLUMNS {
        return first.to_owned();
    }
    let mut end: Vec<char> = Vec::new();
    for c in first.chars().rev() {
        end.push(c);
        if end.iter().collect::<String>().width() >= NAME_COLUMNS / 2 {
            break;
        }
    }
    let begin = text::shorten(first, NAME_COLUMNS / 2);
    end.reverse();
    begin.into_owned() + &end.into_iter().collect::<String>()
}

/// Seconds on the axis: `40 s`, `1:20`.
fn clock(at: u64) -> String {
    if at < 60 {
        format!("{at} s")
    } else {
        format!("{}:{:02}", at / 60, at % 60)
    }
}

/// How wide a text is at most.
fn wide(text: &str) -> f64 {
    as_float(text.width() as u64) * LETTER
}

#[expect(
    clippy::cast_precision_loss,
    reason = "minutes in milliseconds, and rows"
)]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// A number as SVG takes it: no more places than can be seen.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0")
        .map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_what_tells_them_apart() {
        assert_eq!(short("w1"), "w1");
        assert_eq!(short("sixteen-columns1"), "sixteen-columns1");
        assert_eq!(short("w1.cluster.example.org"), "w1");
        assert_eq!(
            short("worker-with-a-long-name-17.example.org"),
            "worker-…-name-17"
        );
        assert!(short("蜂蜂蜂蜂蜂蜂蜂蜂蜂蜂蜂").width() <= NAME_COLUMNS);
        assert_eq!(short("").width(), 0);
    }
}
