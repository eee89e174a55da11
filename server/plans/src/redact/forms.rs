//! The spellings of a value that programs print by accident. Pure.
//!
//! White space is left out of all of them, as it is passed over in what they are compared with.

use std::fmt::Write;

/// Bytes that a spelling has at least, white space not counted. A shorter one would be found everywhere.
pub const MIN_BYTES: usize = 8;

/// Bytes that a line of a longer value has at least to be looked for by itself. Shorter lines stand in other files, too.
const MIN_LINE: usize = 16;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What percent-encoders leave as it is besides letters and digits: RFC 3986's unreserved characters, Python's `quote`, JavaScript's
/// `encodeURIComponent` and `encodeURI`, and nothing.
const KEPT: [&[u8]; 5] = [b"-._~", b"-._~/", b"-._~!'()*", b"-._~!'()*;/?:@&=+$,#", b""];

/// Every spelling of `value`, in no order.
pub fn of(value: &str) -> Vec<Vec<u8>> {
    let value = value.trim_matches(|c: char| c.is_ascii_whitespace());
    let bytes = value.as_bytes();
    let mut forms = vec![bytes.to_vec(), json(value, false), json(value, true)];
    for others in [Others::Kept, Others::Escaped, Others::Bytes] {
        forms.extend(["'", "\\'"].map(|quote| python(value, others, quote)));
    }
    let tags = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    for double in ["\"", "&quot;", "&#34;"] {
        let half = tags.replace('"', double);
        forms.extend(["'", "&#x27;", "&#39;"].map(|single| half.replace('\'', single).into_bytes()));
    }
    for upper in [true, false] {
        forms.extend(
            KEPT.map(|kept| percent(bytes, upper, |byte| byte.is_ascii_alphanumeric() || kept.contains(&byte))),
        );
        forms.push(percent(bytes, upper, |_| false));
        // As forms are sent: a plus for a space.
        let form = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) || byte == b' ';
        let spaces = |byte| if byte == b' ' { b'+' } else { byte };
        forms.push(percent(bytes, upper, form).into_iter().map(spaces).collect());
        forms.push(hex(bytes, upper));
    }
    for alphabet in [STANDARD, URL_SAFE] {
        // By itself, with and without what fills it up, and anywhere within something else.
        let whole = base64(bytes, 0, (8 * bytes.len()).div_ceil(6), alphabet);
        let mut filled = whole.clone();
        filled.resize(whole.len().div_ceil(4) * 4, b'=');
        forms.extend([whole, filled]);
        forms.extend((0..3).map(|lead| within_base64(bytes, lead, alphabet)));
    }
    if value.contains('\n') {
        let lines = value.lines().map(|line| line.trim().as_bytes().to_vec());
        forms.extend(lines.filter(|line| line.len() >= MIN_LINE && !line.starts_with(b"-----")));
    }
    for form in &mut forms {
        form.retain(|byte| !byte.is_ascii_whitespace());
    }
    forms.retain(|form| form.len() >= MIN_BYTES);
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Bytes of `value` that count for [`MIN_BYTES`].
pub fn weight(value: &str) -> usize {
    value.bytes().filter(|byte| !byte.is_ascii_whitespace()).count()
}

fn json(value: &str, ascii: bool) -> Vec<u8> {
    let quoted = serde_json::to_string(value).expect("a text is JSON");
    let inner = &quoted[1..quoted.len() - 1];
    if !ascii {
        return inner.as_bytes().to_vec();
    }
    let mut escaped = String::with_capacity(inner.len());
    for char in inner.chars() {
        if char.is_ascii() {
            escaped.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped.into_bytes()
}

/// What Python makes of what is not ASCII: `repr`, `ascii`, and `repr` of bytes.
#[derive(Clone, Copy)]
enum Others {
    Kept,
    Escaped,
    Bytes,
}

fn python(value: &str, others: Others, quote: &str) -> Vec<u8> {
    let mut shown = String::with_capacity(value.len());
    for char in value.chars() {
        let code = u32::from(char);
        let _ = match (char, others) {
            ('\\', _) => write!(shown, "\\\\"),
            ('\'', _) => write!(shown, "{quote}"),
            ('\t', _) => write!(shown, "\\t"),
            ('\n', _) => write!(shown, "\\n"),
            ('\r', _) => write!(shown, "\\r"),
            _ if char.is_ascii_control() => write!(shown, "\\x{code:02x}"),
            _ if char.is_ascii() => write!(shown, "{char}"),
            (_, Others::Kept) => write!(shown, "{char}"),
            (_, Others::Bytes) => {
                char.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(shown, "\\x{byte:02x}"))
            }
            (_, Others::Escaped) if code <= 0xff => write!(shown, "\\x{code:02x}"),
            (_, Others::Escaped) if code <= 0xffff => write!(shown, "\\u{code:04x}"),
            (_, Others::Escaped) => write!(shown, "\\U{code:08x}"),
        };
    }
    shown.into_bytes()
}

fn percent(bytes: &[u8], upper: bool, is_kept: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if is_kept(*byte) {
            encoded.push(*byte);
        } else {
            encoded.push(b'%');
            encoded.extend(digits(*byte, upper));
        }
    }
    encoded
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    bytes.iter().flat_map(|byte| digits(*byte, upper)).collect()
}

fn digits(byte: u8, upper: bool) -> [u8; 2] {
    let alphabet = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    [alphabet[usize::from(byte >> 4)], alphabet[usize::from(byte & 15)]]
}

/// The characters that stand for `bytes` alone where `lead` bytes (of each three) precede them: what only shares a character with its
/// neighbours, at most four bits at either end, is left out.
fn within_base64(bytes: &[u8], lead: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let mut padded = vec![0; lead];
    padded.extend_from_slice(bytes);
    base64(&padded, (8 * lead).div_ceil(6), 8 * padded.len() / 6, alphabet)
}

/// The base64 of `bytes`, padded.
pub(crate) fn in_base64(bytes: &[u8]) -> String {
    let mut text = base64(bytes, 0, (8 * bytes.len()).div_ceil(6), STANDARD);
    text.resize(bytes.len().div_ceil(3) * 4, b'=');
    text.into_iter().map(char::from).collect()
}

/// The characters from number `from` to `to` of the base64 of `bytes`.
fn base64(bytes: &[u8], from: usize, to: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let at = |index: usize| u16::from(bytes.get(index).copied().unwrap_or(0));
    let six = |character: usize| {
        let (byte, bit) = (character * 6 / 8, character * 6 % 8);
        usize::from(((at(byte) << 8 | at(byte + 1)) >> (10 - bit)) & 63)
    };
    (from..to).map(|character| alphabet[six(character)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) {
        let all = of(value);
        let all: Vec<_> = all.iter().map(|form| String::from_utf8_lossy(form).into_owned()).collect();
        assert!(all.iter().any(|known| known == form), "{form} is not among {all:#?}");
    }

    #[test]
    fn the_spellings_of_a_value() {
        // By coreutils' base64, xxd, Python's quote and json.dumps.
        has("p@ss/w0rd+ü~", "p@ss/w0rd+ü~");
        has("p@ss/w0rd+ü~", "cEBzcy93MHJkK8O8fg==");
        has("p@ss/w0rd+ü~", "cEBzcy93MHJkK8O8fg");
        has("p@ss/w0rd+ü~", "704073732f773072642bc3bc7e");
        has("p@ss/w0rd+ü~", "704073732F773072642BC3BC7E");
        has("p@ss/w0rd+ü~", "p%40ss/w0rd%2B%C3%BC~");
        has("p@ss/w0rd+ü~", "p%40ss%2fw0rd%2b%c3%bc~");
        has("p@ss/w0rd+ü~", "p%40ss%2Fw0rd%2B%C3%BC%7E");
        has("p@ss/w0rd+ü~", "p@ss/w0rd+\\u00fc~");
        has("say \"please\"", "say\\\"please\\\"");
        has("say \"please\"", "say+%22please%22");
        // By Python's repr and html.escape.
        has(r#"back\slash "é""#, r#"back\\slash"é""#);
        has(r#"it's "a\b" é"#, r#"it\'s"a\\b"é"#);
        has("it's \"x\"\tq9zzz", r#"it\'s"x"\tq9zzz"#);
        has("cafe-é-12345", r"cafe-\xc3\xa9-12345");
        has("cafe-é-12345", r"cafe-\xe9-12345");
        has("smile-😀€", r"smile-\U0001f600\u20ac");
        has("abc\"defgh", "abc&#34;defgh");
        has(r#"<it's "a" & b>"#, "&lt;it&#x27;s&quot;a&quot;&amp;b&gt;");
        has(r#"<it's "a" & b>"#, "&lt;it&#39;s&quot;a&quot;&amp;b&gt;");
        has(r#"<it's "a" & b>"#, "&lt;it's\"a\"&amp;b&gt;");
        has("~~~???>>>", "fn5-Pz8_Pj4-");
        has("~~~???>>>", "fn5+Pz8/Pj4+");
    }

    #[test]
    fn a_value_within_something_else_in_base64() {
        // base64 of "x:12345678!", "xy:…" and "xyz:…" holds these.
        for (lead, form) in [(0, "MTIzNDU2Nz"), (1, "EyMzQ1Njc4"), (2, "xMjM0NTY3O")] {
            assert_eq!(String::from_utf8_lossy(&within_base64(b"12345678", lead, STANDARD)), form, "{lead}");
        }
    }

    #[test]
    fn the_lines_of_a_value_count_by_themselves() {
        let key = "-----BEGIN KEY-----\nAAAAB3NzaC1yc2EAAAADAQAB\nshort\n-----END KEY-----\n";
        has(key, "AAAAB3NzaC1yc2EAAAADAQAB");
        has(key, "-----BEGINKEY-----AAAAB3NzaC1yc2EAAAADAQABshort-----ENDKEY-----");
        assert!(!of(key).contains(&b"-----BEGINKEY-----".to_vec()));
    }

    #[test]
    fn what_is_too_short_is_not_looked_for() {
        assert!(of("abc").iter().all(|form| form.len() >= MIN_BYTES));
        assert_eq!(weight(" a b\nc "), 3);
    }
}
