//! Rich text as Markdown: a `Y.XmlFragment` as ProseMirror and Tiptap write it, or a `Y.Text` with Quill's formats.
//!
//! What Markdown has no word for loses its form and keeps its text. Text is escaped so that it stays text, for Markdown and for
//! the HTML that Markdown may contain; links that a page could not follow safely become their text alone. Node and mark names:
//! `prosemirror-schema-basic` (`code_block`, `strong`) and Tiptap (`codeBlock`, `bold`); formats: Quill's Delta.
//!
//! It walks the document as yrs does, without a bound on its steps: call it where an export may be given up.

use std::fmt::Write;

use yrs::types::Attrs;
use yrs::types::text::YChange;
use yrs::{Any, GetString, Number, Out, ReadTxn, Text, Transact, Xml, XmlFragment, XmlOut};

use crate::Replica;

/// Deepest nesting of lists and quotes that is shown; what is deeper stands at that depth.
const MAX_DEPTH: usize = 32;

/// The type at `root` as Markdown; without `root`, the document's only type, or the first by name. `None` if there is none.
pub fn markdown(replica: &Replica, root: Option<&str>) -> Option<String> {
    let txn = replica.doc().transact();
    let name = match root {
        Some(root) => root.to_owned(),
        None => txn.root_refs().map(|(name, _)| name.to_owned()).min()?,
    };
    let xml = txn.get_xml_fragment(name.as_str())?;
    let mut blocks = Vec::new();
    if xml.first_child().is_some() {
        let nodes: Vec<XmlOut> = xml.children(&txn).collect();
        push_blocks(&txn, nodes, 0, &mut blocks);
    } else {
        let text = txn.get_text(name.as_str())?;
        let pieces = text.diff(&txn, YChange::identity).into_iter();
        push_lines(
            pieces.map(|piece| (piece.insert, piece.attributes.map(|attrs| *attrs).unwrap_or_default())),
            &mut blocks,
        );
    }
    let mut out = blocks.join("\n\n");
    if !out.is_empty() {
        out.push('\n');
    }
    Some(out)
}

fn push_blocks<T: ReadTxn>(txn: &T, nodes: Vec<XmlOut>, depth: usize, blocks: &mut Vec<String>) {
    let mut inline = String::new();
    for node in nodes {
        let element = match node {
            XmlOut::Element(element) => element,
            XmlOut::Text(text) => {
                push_inline_text(txn, &text, &mut inline);
                continue;
            }
            XmlOut::Fragment(_) => continue,
        };
        if let Some(part) = inline_element(txn, &element) {
            inline.push_str(&part);
            continue;
        }
        flush(&mut inline, blocks);
        let children: Vec<XmlOut> = element.children(txn).collect();
        match element.tag().as_ref() {
            "heading" => {
                let level = attribute(txn, &element, "level").and_then(|level| level.parse().ok()).unwrap_or(1);
                let text = one_line(&inline_of(txn, children));
                blocks.push(format!("{} {text}", "#".repeat(usize::clamp(level, 1, 6))));
            }
            "paragraph" => {
                let text = inline_of(txn, children);
                if !text.is_empty() {
                    blocks.push(at_line_starts(&text));
                }
            }
            "codeBlock" | "code_block" => {
                let language = attribute(txn, &element, "language").unwrap_or_default();
                blocks.push(fenced(&plain_of(txn, children), &language));
            }
            "horizontalRule" | "horizontal_rule" => blocks.push("---".to_owned()),
            "blockquote" => {
                let inner = nested(txn, children, depth);
                blocks.push(prefixed(&inner, "> ", "> "));
            }
            "bulletList" | "bullet_list" | "taskList" | "task_list" => {
                blocks.push(list(txn, children, depth, |_| "- ".to_owned()));
            }
            "orderedList" | "ordered_list" => {
                let start = attribute(txn, &element, "start").or_else(|| attribute(txn, &element, "order"));
                let start: u64 = start.and_then(|start| start.parse().ok()).unwrap_or(1);
                blocks.push(list(txn, children, depth, |at| format!("{}. ", start.saturating_add(at))));
            }
            "table" => blocks.push(table(txn, children)),
            _ => push_blocks(txn, children, depth + 1, blocks),
        }
    }
    flush(&mut inline, blocks);
}

fn flush(inline: &mut String, blocks: &mut Vec<String>) {
    let text = std::mem::take(inline);
    if !text.trim().is_empty() {
        blocks.push(at_line_starts(&text));
    }
}

fn nested<T: ReadTxn>(txn: &T, children: Vec<XmlOut>, depth: usize) -> String {
    let mut blocks = Vec::new();
    push_blocks(txn, children, depth + 1, &mut blocks);
    blocks.join("\n\n")
}

fn list<T: ReadTxn>(txn: &T, items: Vec<XmlOut>, depth: usize, marker: impl Fn(u64) -> String) -> String {
    let mut out = Vec::new();
    for (item, at) in items.into_iter().zip(0..) {
        let XmlOut::Element(item) = item else { continue };
        let mut inner = nested(txn, item.children(txn).collect(), depth);
        if matches!(item.tag().as_ref(), "taskItem" | "task_item") {
            let done = attribute(txn, &item, "checked").is_some_and(|checked| checked == "true");
            inner.insert_str(0, if done { "[x] " } else { "[ ] " });
        }
        let marker = marker(at);
        let indent = if depth < MAX_DEPTH { " ".repeat(marker.len()) } else { String::new() };
        out.push(prefixed(&inner, &marker, &indent));
    }
    out.join("\n")
}

fn table<T: ReadTxn>(txn: &T, rows: Vec<XmlOut>) -> String {
    let mut lines = Vec::new();
    for row in rows {
        let XmlOut::Element(row) = row else { continue };
        let cells: Vec<String> = row
            .children(txn)
            .filter_map(|cell| match cell {
                XmlOut::Element(cell) => Some(cell),
                _ => None,
            })
            .map(|cell| {
                one_line(&nested(txn, cell.children(txn).collect(), 0)).replace('|', "\\|").replace("\\\\|", "\\|")
            })
            .collect();
        lines.push(format!("| {} |", cells.join(" | ")));
        if lines.len() == 1 {
            lines.push(format!("|{}", " --- |".repeat(cells.len())));
        }
    }
    lines.join("\n")
}

/// An element that stands within a line.
fn inline_element<T: ReadTxn>(txn: &T, element: &yrs::XmlElementRef) -> Option<String> {
    match element.tag().as_ref() {
        "hardBreak" | "hard_break" => Some("\\\n".to_owned()),
        "image" => {
            let of = |name: &str| attribute(txn, element, name).unwrap_or_default();
            let alt = one_line(&escaped(&of("alt")));
            Some(
                safe_url(&of("src"))
                    .map_or_else(|| alt.clone(), |url| format!("![{alt}]({url}{})", title(&of("title")))),
            )
        }
        _ => None,
    }
}

/// Everything below as one run of formatted text.
fn inline_of<T: ReadTxn>(txn: &T, nodes: Vec<XmlOut>) -> String {
    let mut out = String::new();
    for node in nodes {
        match node {
            XmlOut::Text(text) => push_inline_text(txn, &text, &mut out),
            XmlOut::Element(element) => match inline_element(txn, &element) {
                Some(part) => out.push_str(&part),
                None => out.push_str(&inline_of(txn, element.children(txn).collect())),
            },
            XmlOut::Fragment(_) => {}
        }
    }
    out
}

/// Everything below without any formatting.
fn plain_of<T: ReadTxn>(txn: &T, nodes: Vec<XmlOut>) -> String {
    let mut out = String::new();
    for node in nodes {
        match node {
            XmlOut::Text(text) => {
                for piece in text.diff(txn, YChange::identity) {
                    if let Out::Any(Any::String(text)) = piece.insert {
                        out.push_str(&text);
                    }
                }
            }
            XmlOut::Element(element) => out.push_str(&plain_of(txn, element.children(txn).collect())),
            XmlOut::Fragment(_) => {}
        }
    }
    out
}

fn push_inline_text<T: ReadTxn>(txn: &T, text: &yrs::XmlTextRef, out: &mut String) {
    for piece in text.diff(txn, YChange::identity) {
        if let Out::Any(Any::String(text)) = piece.insert {
            out.push_str(&formatted(&text, &piece.attributes.map(|attrs| *attrs).unwrap_or_default()));
        }
    }
}

/// Quill's lines: a line's format is that of the newline at its end.
fn push_lines(pieces: impl Iterator<Item = (Out, Attrs)>, blocks: &mut Vec<String>) {
    let (mut line, mut plain) = (String::new(), String::new());
    let mut code: Option<String> = None;
    let mut numbers = 0;
    let mut last_list = String::new();
    let mut end_line = |line: &mut String, plain: &mut String, attrs: &Attrs, blocks: &mut Vec<String>| {
        let of = |name: &str| attrs.get(name).filter(|value| !is_off(value)).map(scalar);
        if of("code-block").is_some() {
            let code = code.get_or_insert_default();
            code.push_str(plain);
            code.push('\n');
            line.clear();
            plain.clear();
            return;
        }
        if let Some(code) = code.take() {
            blocks.push(fenced(code.trim_end_matches('\n'), ""));
        }
        let (text, _) = (std::mem::take(line), std::mem::take(plain));
        let kind = of("list").unwrap_or_default();
        numbers = if kind == "ordered" && last_list == "ordered" { numbers + 1 } else { 1 };
        let goes_on = !kind.is_empty() && (kind == last_list);
        let block = if let Some(level) = of("header") {
            format!("{} {text}", "#".repeat(level.parse().unwrap_or(1usize).clamp(1, 6)))
        } else if !kind.is_empty() {
            let depth = of("indent").and_then(|depth| depth.parse().ok()).unwrap_or(0usize).min(MAX_DEPTH);
            let marker = match kind.as_str() {
                "ordered" => format!("{numbers}. "),
                "checked" => "- [x] ".to_owned(),
                "unchecked" => "- [ ] ".to_owned(),
                _ => "- ".to_owned(),
            };
            format!("{}{marker}{text}", "  ".repeat(depth))
        } else if of("blockquote").is_some() {
            format!("> {}", at_line_starts(&text))
        } else {
            at_line_starts(&text)
        };
        last_list = kind;
        match blocks.last_mut().filter(|_| goes_on) {
            Some(list) => write!(list, "\n{block}").expect("a string takes everything"),
            None if block.trim().is_empty() => {}
            None => blocks.push(block),
        }
    };
    for (insert, attrs) in pieces {
        let Out::Any(value) = insert else { continue };
        match value {
            Any::String(text) => {
                for (at, part) in text.split('\n').enumerate() {
                    if at > 0 {
                        end_line(&mut line, &mut plain, &attrs, blocks);
                    }
                    line.push_str(&formatted(part, &attrs));
                    plain.push_str(part);
                }
            }
            Any::Map(embed) => {
                if let Some(url) = embed.get("image").and_then(|url| safe_url(&scalar(url))) {
                    write!(line, "![]({url})").expect("a string takes everything");
                }
            }
            _ => {}
        }
    }
    end_line(&mut line, &mut plain, &Attrs::new(), blocks);
}

/// Text with its marks. Space at the ends stays outside of them, because Markdown wants it so.
fn formatted(text: &str, attrs: &Attrs) -> String {
    // Marks that may overlap with themselves carry a hash after their name (y-prosemirror).
    let mark = |names: &[&str]| {
        attrs.iter().find(|(name, value)| {
            let name = name.split("--").next().unwrap_or_default();
            names.contains(&name) && !is_off(value)
        })
    };
    let inner = text.trim();
    if inner.is_empty() {
        return text.to_owned();
    }
    let (before, after) = (&text[..text.len() - text.trim_start().len()], &text[text.trim_end().len()..]);
    let mut out = if mark(&["code"]).is_some() { code_span(inner) } else { escaped(inner) };
    for (names, with) in
        [(["strike", "s", "strikethrough"], "~~"), (["italic", "em", "i"], "*"), (["bold", "strong", "b"], "**")]
    {
        if mark(&names).is_some() {
            out = format!("{with}{out}{with}");
        }
    }
    if let Some((_, value)) = mark(&["link"]) {
        let (href, name) = match value {
            Any::Map(link) => (link.get("href").map(scalar), link.get("title").map(scalar)),
            other => (Some(scalar(other)), None),
        };
        if let Some(url) = href.as_deref().and_then(safe_url) {
            out = format!("[{out}]({url}{})", title(&name.unwrap_or_default()));
        }
    }
    format!("{before}{out}{after}")
}

fn is_off(value: &Any) -> bool {
    matches!(value, Any::Null | Any::Undefined | Any::Bool(false))
}

fn scalar(value: &Any) -> String {
    match value {
        Any::String(text) => text.to_string(),
        Any::Bool(value) => value.to_string(),
        Any::Number(Number::Int(value)) => value.to_string(),
        Any::Number(Number::Float(value)) => value.to_string(),
        _ => String::new(),
    }
}

fn attribute<T: ReadTxn>(txn: &T, element: &yrs::XmlElementRef, name: &str) -> Option<String> {
    match element.get_attribute(txn, name)? {
        Out::Any(value) if !is_off(&value) || matches!(value, Any::Bool(false)) => Some(scalar(&value)),
        Out::YText(text) => Some(text.get_string(txn)),
        _ => None,
    }
}

/// Text that stays text in Markdown and in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '|' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\\n"),
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

/// Escapes what would make a line a heading, an item or a rule.
fn at_line_starts(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let rest = line.trim_start();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let lead = &line[..line.len() - rest.len()];
        // Four spaces would make it code.
        let lead = if lead.len() >= 4 || lead.contains('\t') { "" } else { lead };
        let line = if rest.starts_with(['#', '+', '-', '=']) {
            format!("{lead}\\{rest}")
        } else if digits > 0 && rest[digits..].starts_with(['.', ')']) {
            format!("{lead}{}\\{}", &rest[..digits], &rest[digits..])
        } else {
            format!("{lead}{rest}")
        };
        lines.push(line);
    }
    lines.join("\n")
}

fn one_line(text: &str) -> String {
    text.replace("\\\n", " ").replace('\n', " ").trim().to_owned()
}

fn longest_run_of_backquotes(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn code_span(text: &str) -> String {
    let fence = "`".repeat(longest_run_of_backquotes(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('\n', " "))
}

fn fenced(code: &str, language: &str) -> String {
    let fence = "`".repeat((longest_run_of_backquotes(code) + 1).max(3));
    let language: String =
        language.chars().filter(|c| c.is_alphanumeric() || matches!(c, '+' | '-' | '#' | '_')).collect();
    format!("{fence}{language}\n{code}\n{fence}")
}

fn prefixed(text: &str, first: &str, rest: &str) -> String {
    let lines = text.split('\n').enumerate().map(|(at, line)| {
        let prefix = if at == 0 { first } else { rest };
        if line.is_empty() { prefix.trim_end().to_owned() } else { format!("{prefix}{line}") }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn title(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(" \"{}\"", one_line(&escaped(title)).replace('"', "&quot;")) }
}

/// A URL that does no more than lead somewhere, without characters that end it early.
fn safe_url(url: &str) -> Option<String> {
    let url = url.trim();
    let scheme = url.split(['/', '?', '#']).next().and_then(|head| head.split_once(':')).map(|(scheme, _)| scheme);
    let safe = scheme
        .is_none_or(|scheme| ["http", "https", "mailto", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known)));
    if url.is_empty() || !safe || url.chars().any(char::is_control) {
        return None;
    }
    let mut out = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            ' ' | '(' | ')' | '<' | '>' | '"' | '\\' | '`' => {
                write!(out, "%{:02X}", u32::from(c)).expect("a string takes everything");
            }
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
