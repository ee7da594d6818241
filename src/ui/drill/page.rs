//! The report as a page that stands alone: no script, nothing from elsewhere, light and dark, and
//! fit to be printed. What it shows in colour it says in words or hatching too.

use std::fmt::Write as _;

use crate::drill::findings::{Finding, Record, by_itself, healed, seconds};
use crate::ui::text;

use super::{Drills, ending, heading, nodes, of_requests, timeline};

/// The colours are those of Okabe and Ito, which the colour-blind can tell apart.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1b1b; --faint: #5c5c5c; --paper: #ffffff; --line: #c9c9c9;
  --good: #0072b2; --on-good: #ffffff; --bad: #e69f00; --on-bad: #1b1b1b; --none: #dedede; --on-none: #3a3a3a;
  --act: #5c5c5c; --on-act: #ffffff; --mark: #a33c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --faint: #a8a8a8; --paper: #16181a;
  --line: #45494d; --good: #56b4e9; --on-good: #10161a; --bad: #e69f00; --on-bad: #16181a; --none: #3a3e42;
  --on-none: #d6d6d6; --act: #b4b4b4; --on-act: #16181a; --mark: #ff9a57; } }
@media print { :root { color-scheme: light; --ink: #000000; --faint: #444444; --paper: #ffffff; --line: #b0b0b0;
  --good: #0072b2; --on-good: #ffffff; --bad: #e69f00; --on-bad: #000000; --none: #dedede; --on-none: #333333;
  --act: #5c5c5c; --on-act: #ffffff; --mark: #a33c00; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  section { break-before: page; } section:first-of-type { break-before: auto; } svg, tr { break-inside: avoid; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } p { margin: .3rem 0; } code { font-size: .92em; } .faint { color: var(--faint); }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0;
  border-bottom: 1px solid var(--line); } .n { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; } figure > svg { display: block; width: 100%; min-width: 42rem; height: auto; }
figcaption { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; color: var(--faint); }
figcaption svg { width: 1.6rem; height: .9rem; vertical-align: -.1rem; margin-right: .35rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .head { font-weight: 600; fill: var(--faint); stroke: var(--paper); stroke-width: 4px; paint-order: stroke; }
svg .tick { font-size: 11px; fill: var(--faint); stroke: var(--paper); stroke-width: 3px; paint-order: stroke; } svg .grid { stroke: var(--line); stroke-width: .6; }
svg .stage { stroke: var(--mark); stroke-width: 1.4; stroke-dasharray: 5 3; } svg .stage-name { fill: var(--mark); font-weight: 600; }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); } svg .none { fill: var(--none); } svg .act { fill: var(--act); }
svg .hatch { stroke: var(--on-bad); stroke-width: 1.6; opacity: .45; } svg .dots { fill: var(--on-none); opacity: .5; }
svg .on-good { fill: var(--on-good); } svg .on-none { fill: var(--on-none); } svg .on-act { fill: var(--on-act); font-size: 10px; font-weight: 600; }
svg .on-bad { fill: var(--on-bad); font-weight: 600; stroke: var(--bad); stroke-width: 4px; paint-order: stroke; }
svg .frame { fill: none; stroke: var(--line); }
";

/// The hatching of all timelines of the page: what is wrong is not told by its colour alone.
const PATTERNS: &str = r#"<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
<pattern id="wrong" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="bad" width="7" height="7"/><line class="hatch" x1="0" y1="0" x2="0" y2="7"/></pattern>
<pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="none" width="6" height="6"/><circle class="dots" cx="3" cy="3" r=".9"/></pattern>
</defs></svg>
"#;

/// The report as an HTML page, which is well-formed XML too.
pub fn page(drills: &Drills) -> String {
    let title = format!("Drill of {}", drills.cluster);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{PATTERNS}\
         <h1>{title}</h1>\n<p class=\"faint\">{when}, skep {version}; {nodes}.</p>\n",
        title = escape(&title),
        when = drills.began.strftime("%Y-%m-%d %H:%M UTC"),
        version = escape(&drills.version),
        nodes = escape(&nodes(drills)),
    );
    for record in &drills.records {
        section(&mut out, record);
    }
    out += "</body>\n</html>\n";
    out
}

fn section(out: &mut String, record: &Record) {
    let _infallible = write!(
        out,
        "<section>\n<h2>{}</h2>\n<p><strong>{}</strong> {}</p>\n<figure>\n{}{}</figure>\n",
        prose(&heading(record)),
        prose(&ending(record)),
        escape(&of_requests(record)),
        timeline::svg(record),
        legend(),
    );
    let acts: Vec<_> = record.acts().collect();
    if !acts.is_empty() {
        *out += "<h3>What skep did</h3>\n<table><thead><tr><th class=\"n\">no.</th><th class=\"n\">at</th><th class=\"n\">for</th><th>what</th></tr></thead><tbody>\n";
        for (number, (at, millis, what)) in (1..).zip(acts) {
            let _infallible = writeln!(
                out,
                "<tr><td class=\"n\">{number}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                seconds(at),
                seconds(millis),
                prose(what)
            );
        }
        *out += "</tbody></table>\n";
    }
    findings(
        out,
        "What the cluster did by itself, after the failure",
        &by_itself(record),
    );
    findings(
        out,
        "What came of the healing, after it began",
        &healed(record),
    );
    if !record.missed.is_empty() {
        *out += "<h3>Waited for in vain</h3>\n<ul>\n";
        for missed in &record.missed {
            let _infallible = writeln!(out, "<li>{}</li>", escape(missed));
        }
        *out += "</ul>\n";
    }
    *out += "</section>\n";
}

fn findings(out: &mut String, title: &str, found: &[Finding]) {
    if found.is_empty() {
        return;
    }
    let _infallible = write!(
        out,
        "<h3>{title}</h3>\n<table><thead><tr><th class=\"n\">after</th><th>what</th></tr></thead><tbody>\n"
    );
    for it in found {
        let after = it.after.map_or_else(String::new, seconds);
        let what = escape(&it.what);
        let _infallible = writeln!(out, "<tr><td class=\"n\">{after}</td><td>{what}</td></tr>");
    }
    *out += "</tbody></table>\n";
}

fn legend() -> String {
    let mut out = String::from("<figcaption>\n");
    for (paint, what) in [
        (
            "class=\"good\"",
            "ready; takes orders; leads; tasks running; requests answered",
        ),
        (
            "fill=\"url(#wrong)\"",
            "down; takes no orders; fewer tasks; requests not answered",
        ),
        ("fill=\"url(#unknown)\"", "unknown; does not answer"),
        (
            "class=\"act\"",
            "skep at work: the numbers are those of the table below",
        ),
    ] {
        let _infallible = writeln!(
            out,
            "<span><svg viewBox=\"0 0 26 14\"><rect {paint} width=\"26\" height=\"14\"/></svg>{what}</span>"
        );
    }
    out + "</figcaption>\n"
}

/// The same as [`escape`], with what stands between backticks as code.
fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len().saturating_sub(1);
    for (place, part) in parts.iter().enumerate() {
        let part = escape(part);
        if place % 2 == 0 {
            out += &part;
        } else if place == last {
            // A backtick without another.
            out.extend(["`", &part]);
        } else {
            out.extend(["<code>", &part, "</code>"]);
        }
    }
    out
}

/// Text that is nothing but text in HTML and XML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text::clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no place for these, not even escaped.
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}
