//! JSON with comments to JSON: `//`, `/* */` and commas before a closing bracket become blanks, so lines and columns stay as they are.

/// The text without what JSON does not have. A comment that does not end goes to the end of the text.
pub(super) fn blank(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut json = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // Where in `json` the last comma is, if nothing but blanks came since.
    let mut comma = None;
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => {
                comma = None;
                json.push(c);
                while let Some(c) = chars.next() {
                    json.push(c);
                    match c {
                        '\\' => json.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => {
                json.push(' ');
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    push_blanks(&mut json, c);
                }
            }
            ('/', Some('*')) => {
                chars.next();
                json.push_str("  ");
                let mut before = ' ';
                for c in chars.by_ref() {
                    push_blanks(&mut json, c);
                    if (before, c) == ('*', '/') {
                        break;
                    }
                    before = c;
                }
            }
            _ => {
                match c {
                    ',' => comma = Some(json.len()),
                    ']' | '}' => {
                        if let Some(at) = comma.take() {
                            json.replace_range(at..=at, " ");
                        }
                    }
                    c if c.is_ascii_whitespace() => {}
                    _ => comma = None,
                }
                json.push(c);
            }
        }
    }
    json
}

/// As many bytes, because that is what the parser counts columns in.
fn push_blanks(json: &mut String, c: char) {
    match c {
        '\n' => json.push('\n'),
        c => json.extend(std::iter::repeat_n(' ', c.len_utf8())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_does_not_have_becomes_blanks() {
        for (text, expected) in [
            ("", ""),
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("{ // a \"b\"\n\"c\": 2, }", "{         \n\"c\": 2  }"),
            ("/* é\n*/[1,/**/2 , /* x */ ] // end", "     \n  [1,    2           ]       "),
            ("{\"a // b\": \"/* c */ ,}\"}", "{\"a // b\": \"/* c */ ,}\"}"),
            ("[\"\\\"//\", \"\\\\\" //x\n]", "[\"\\\"//\", \"\\\\\"    \n]"),
            ("[1,\n,]", "[1,\n ]"),
            ("/*/ [1] */ 2", "           2"),
            ("1 /", "1 /"),
            ("1 /* never", "1         "),
            ("\u{feff}{}", "{}"),
            ("\"open, // text", "\"open, // text"),
            ("\"\\", "\"\\"),
        ] {
            assert_eq!(blank(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_and_columns_of_errors_are_the_files_own() {
        let text = "{\n  // first é\n  \"image\": /* x */ nonsense,\n}";
        let error = serde_json::from_str::<serde_json::Value>(&blank(text)).expect_err("no JSON");
        assert_eq!((error.line(), error.column()), (3, 21));
    }
}
