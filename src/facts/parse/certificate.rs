//! When a certificate ends.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, ContextSpecific, GeneralizedTime, UtcTime};
use der::{Decode, Header, SliceReader, Tag, TagNumber};
use jiff::Timestamp;

use super::Section;

/// Reads a certificate in base64, the first one of its file.
pub(super) fn end(section: &Section<'_>) -> Option<Timestamp> {
    let text: String = section.text().split_whitespace().collect();
    let bytes = STANDARD.decode(text).ok()?;
    let since = not_after(&bytes).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Timestamp::from_second(seconds).ok()
}

/// `notAfter` as the time since 1970 (RFC 5280, section 4.1): the second field of the fifth in the
/// first part of a certificate, where a version stands in front.
fn not_after(bytes: &[u8]) -> der::Result<Duration> {
    let mut file = SliceReader::new(bytes)?;
    Header::decode(&mut file)?.tag().assert_eq(Tag::Sequence)?;
    Header::decode(&mut file)?.tag().assert_eq(Tag::Sequence)?;
    if Tag::peek(&file)?.is_context_specific() {
        ContextSpecific::<AnyRef<'_>>::decode_explicit(&mut file, TagNumber(0))?;
    }
    // Serial number, signature's algorithm, issuer.
    for _ in 0..3 {
        AnyRef::decode(&mut file)?;
    }
    Header::decode(&mut file)?.tag().assert_eq(Tag::Sequence)?;
    AnyRef::decode(&mut file)?;
    match Tag::peek(&file)? {
        Tag::UtcTime => UtcTime::decode(&mut file).map(|it| it.to_unix_duration()),
        _ => GeneralizedTime::decode(&mut file).map(|it| it.to_unix_duration()),
    }
}
