use super::*;
use crate::drill::findings::tests::one_manager;
use crate::drill::watch::Stage;

fn drills(records: Vec<Record>) -> Drills {
    Drills {
        cluster: "hive".to_owned(),
        began: "2026-11-21T20:12:00Z".parse().unwrap(),
        version: "0.1.0".to_owned(),
        records,
    }
}

/// Twenty nodes with names that do not fit, one of which is not kind.
fn twenty() -> Record {
    let mut record = one_manager();
    let long = |n: usize| format!("worker-with-a-name-that-is-far-too-long-{n:02}.example.org");
    record
        .hosts
        .extend((3..=18).map(|n| (long(n), Role::Worker)));
    record
        .hosts
        .push(("</svg><b> & \"'".to_owned(), Role::Worker));
    for (name, _) in record.hosts.clone().into_iter().skip(5) {
        let host = name;
        let state = NodeState::Ready;
        record.events.insert(
            0,
            Event {
                at: 0,
                what: What::Node { host, state },
            },
        );
    }
    record
        .missed
        .push("a <thing> | that did not come".to_owned());
    record.ending = Ending::Failed("w1 is <still> down & out".to_owned());
    record
}

fn nothing() -> Record {
    Record {
        events: Vec::new(),
        hosts: Vec::new(),
        ending: Ending::Interrupted,
        ..one_manager()
    }
}

#[test]
fn the_report_in_markdown() {
    insta::assert_snapshot!(markdown(&drills(vec![one_manager()])));
}

#[test]
fn text_of_others_is_nothing_but_text_in_markdown() {
    let text = markdown(&drills(vec![twenty(), nothing()]));
    assert!(
        text.contains("a \\<thing\\> \\| that did not come"),
        "{text}"
    );
    assert!(text.contains("| one-manager | **no** |"), "{text}");
    assert!(text.contains("`skep drill heal` heals it"), "{text}");
}

/// Every shape of a report is a well-formed document, with text that stays text.
#[test]
fn the_page_is_well_formed_whatever_is_in_it() {
    for record in [one_manager(), twenty(), nothing()] {
        let hosts = record.hosts.len();
        let page = page(&drills(vec![record]));
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let parsed = roxmltree::Document::parse_with_options(&page, options);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {page}"));
        let named = |name: &str| {
            parsed
                .descendants()
                .filter(|it| it.has_tag_name(name))
                .count()
        };
        assert_eq!(named("script"), 0);
        assert_eq!(named("b"), 0);
        assert_eq!(named("link") + named("img") + named("iframe"), 0);
        let svg = "http://www.w3.org/2000/svg";
        let drawn = parsed
            .descendants()
            .filter(|it| it.has_tag_name((svg, "svg")));
        assert_eq!(drawn.count(), 1);
        let frames = parsed
            .descendants()
            .filter(|it| it.attribute("class") == Some("frame"));
        let managers = if hosts == 0 { 0 } else { 3 };
        // A lane for each node and each manager, the leader, the tasks and the requests.
        assert_eq!(frames.count(), hosts + managers + 3);
        for rect in parsed
            .descendants()
            .filter(|it| it.has_tag_name((svg, "rect")))
        {
            let of = |name: &str| rect.attribute(name).unwrap_or("0").parse::<f64>().unwrap();
            assert!(of("x") >= 0.0 && of("x") + of("width") <= 960.0, "{rect:?}");
            assert!(of("width") > 0.0 && of("height") > 0.0, "{rect:?}");
        }
    }
}

/// What is wrong is hatched and said in words: colour alone tells nothing.
#[test]
fn nothing_is_told_by_colour_alone() {
    let page = page(&drills(vec![one_manager()]));
    for told in [
        "url(#wrong)",
        ">does not answer<",
        ">m2<",
        ">5 of 5<",
        ">none<",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    for rule in ["prefers-color-scheme: dark", "@media print"] {
        assert!(page.contains(rule), "{rule}");
    }
}

#[test]
fn lines_tell_the_time_since_the_failure() {
    let record = one_manager();
    let lines: Vec<String> = record
        .events
        .iter()
        .filter_map(|it| line(it, 3_000))
        .collect();
    assert!(
        lines.contains(&"     14.4 s  m2 is the leader".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"     28.0 s  m1 is down".to_owned()),
        "{lines:?}"
    );
    let stage = Event {
        at: 0,
        what: What::Stage(Stage::Over),
    };
    assert_eq!(line(&stage, 0), None);
}

#[test]
fn the_list_names_every_drill() {
    let list = anstream::adapter::strip_str(&list()).to_string();
    assert!(
        Drill::ALL.iter().all(|drill| list.contains(drill.name())),
        "{list}"
    );
    assert_eq!(about(Drill::OneWorker), "1 min");
}
