//! Which bytes of a file a request asks for (RFC 9110, section 14): players ask for those they show, and downloads go on where they broke off. Pure.
//!
//! One range at a time. Whoever asks for several at once gets the whole file, as the RFC allows, and as with anything here that is no range.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// What of a file is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Whole,
    Part(Range<u64>),
    /// Something, but nothing that is there.
    Beyond,
}

impl Wanted {
    /// `length`: bytes of the file as it is now.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, length: u64) -> Self {
        // What a file was before is not told (`ETag`), so it is another one than `If-Range` means.
        let is_ranged = method == Method::GET && !headers.contains_key(header::IF_RANGE);
        let text = headers.get(header::RANGE).filter(|_| is_ranged).and_then(|value| value.to_str().ok());
        text.and_then(|text| Self::read(text, length)).unwrap_or(Self::Whole)
    }

    /// `None`: that is no range of bytes.
    fn read(text: &str, length: u64) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
        let part = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..length.min(last.saturating_add(1)),
            (Some(first), None) if last.is_empty() => first..length,
            (None, Some(most)) if first.is_empty() => length.saturating_sub(most)..length,
            _ => return None,
        };
        Some(if part.is_empty() { Self::Beyond } else { Self::Part(part) })
    }

    /// The answer: `headers` of the file, and the `body` of so many of its bytes.
    pub(crate) fn answer(self, length: u64, mut headers: HeaderMap, body: impl FnOnce(Range<u64>) -> Body) -> Response {
        let (status, bytes, range) = match self {
            Self::Whole => (StatusCode::OK, 0..length, None),
            Self::Part(bytes) => {
                let range = format!("{}-{}/{length}", bytes.start, bytes.end - 1);
                (StatusCode::PARTIAL_CONTENT, bytes, Some(range))
            }
            Self::Beyond => {
                let message = format!("there are no such bytes: the file has {length}");
                let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range", message);
                return ([(header::CONTENT_RANGE, format!("bytes */{length}"))], error).into_response();
            }
        };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
        let answer = (status, headers, body(bytes));
        match range {
            Some(range) => ([(header::CONTENT_RANGE, format!("bytes {range}"))], answer).into_response(),
            None => answer.into_response(),
        }
    }
}

/// Digits alone; more than there are numbers for are the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(method: &Method, headers: &[(&str, &str)], length: u64) -> Wanted {
        let name = |text: &str| text.parse::<header::HeaderName>().expect("a name");
        let headers = headers.iter().map(|(header, value)| (name(header), value.parse().expect("a value")));
        Wanted::of(method, &headers.collect(), length)
    }

    #[test]
    fn a_range_says_which_bytes_are_sent() {
        use Wanted::{Beyond, Part, Whole};
        let cases: &[(&str, u64, Wanted)] = &[
            ("bytes=0-", 10, Part(0..10)),
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=3-5", 10, Part(3..6)),
            ("BYTES=9-", 10, Part(9..10)),
            ("bytes=3-99999999999999999999999", 10, Part(3..10)),
            ("bytes=-4", 10, Part(6..10)),
            ("bytes=-40", 10, Part(0..10)),
            ("bytes=10-", 10, Beyond),
            ("bytes=10-12", 10, Beyond),
            ("bytes=99999999999999999999999-", 10, Beyond),
            ("bytes=-0", 10, Beyond),
            ("bytes=0-", 0, Beyond),
            ("bytes=-1", 0, Beyond),
            ("bytes=5-3", 10, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1--2", 10, Whole),
            ("lines=1-2", 10, Whole),
        ];
        for (range, length, expected) in cases {
            assert_eq!(wanted(&Method::GET, &[("range", range)], *length), *expected, "{range} of {length}");
        }
        assert_eq!(wanted(&Method::GET, &[], 10), Whole);
        assert_eq!(wanted(&Method::HEAD, &[("range", "bytes=1-2")], 10), Whole);
        assert_eq!(wanted(&Method::GET, &[("range", "bytes=1-2"), ("if-range", "\"1\"")], 10), Whole);
    }
}
