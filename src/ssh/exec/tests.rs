use super::*;

#[test]
fn only_a_zero_is_success() {
    assert!(Exit::Code(0).is_success());
    for exit in [
        Exit::Code(1),
        Exit::Signal("TERM".to_owned()),
        Exit::Lost("gone".to_owned()),
        Exit::Deadline(Duration::from_secs(1)),
    ] {
        assert!(!exit.is_success(), "{exit}");
    }
}
