//! Reads what git prints for programs. All of it is a stranger's word: anything can stand there, and nothing of it may cost more than its
//! length. Pure.

use super::{Branch, Change, ChangeKind, Commit, Status, Upstream};

/// Changes that are told of. Of more it is only said that there are more.
pub(super) const MAX_CHANGES: usize = 2000;

/// Longest text of one field that is passed on, in characters.
const MAX_TEXT: usize = 500;

/// Co-authors of one commit that are told of.
const MAX_CO_AUTHORS: usize = 50;

/// `git status --porcelain=v2 --branch -z`. `cut` says that the end is missing. `None` if it is something else.
pub(super) fn status(printed: &[u8], cut: bool) -> Option<Status> {
    let mut status = Status { truncated: cut, ..Status::default() };
    let mut records = records(printed);
    while let Some(record) = records.next() {
        if let Some(header) = record.strip_prefix(b"# ") {
            read_header(&mut status, header);
            continue;
        }
        let change = match record.split_first()? {
            (b'1', rest) => ordinary(rest, 7, None)?,
            (b'2', rest) => match records.next() {
                Some(from) => ordinary(rest, 8, Some(from))?,
                None if cut => break,
                None => return None,
            },
            (b'u', rest) => Change { kind: ChangeKind::Conflicted, ..ordinary(rest, 9, None)? },
            (b'?', rest) => Change {
                path: text(rest.strip_prefix(b" ")?),
                from: None,
                kind: ChangeKind::Untracked,
                staged: false,
                unstaged: true,
            },
            // Ignored files are not asked for.
            (b'!', _) => continue,
            _ => return None,
        };
        if status.changes.len() == MAX_CHANGES {
            status.truncated = true;
            break;
        }
        status.changes.push(change);
    }
    Some(status)
}

/// What ends with a NUL; what comes after the last one is half a record.
fn records(printed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = printed.iter().rposition(|byte| *byte == 0).map_or(&[][..], |end| &printed[..end]);
    // An empty output has no record, not an empty one.
    let some = !whole.is_empty();
    whole.split(|byte| *byte == 0).filter(move |_| some)
}

fn read_header(status: &mut Status, header: &[u8]) {
    let header = text(header);
    let Some((name, value)) = header.split_once(' ') else { return };
    match name {
        "branch.oid" if value != "(initial)" => status.head = Some(value.to_owned()),
        "branch.head" if value != "(detached)" => status.branch = Some(value.to_owned()),
        "branch.upstream" => {
            status.upstream = Some(Upstream { name: value.to_owned(), ahead: None, behind: None });
        }
        "branch.ab" => {
            let (Some(upstream), Some((ahead, behind))) = (&mut status.upstream, value.split_once(' ')) else { return };
            upstream.ahead = ahead.strip_prefix('+').and_then(|count| count.parse().ok());
            upstream.behind = behind.strip_prefix('-').and_then(|count| count.parse().ok());
        }
        _ => {}
    }
}

/// ` XY <fields> <path>`, with so many fields before the path.
fn ordinary(rest: &[u8], fields: usize, from: Option<&[u8]>) -> Option<Change> {
    let mut parts = rest.strip_prefix(b" ")?.splitn(fields + 1, |byte| *byte == b' ');
    let &[x, y] = parts.next()? else { return None };
    let path = parts.nth(fields - 1)?;
    // What counts is the difference to the last commit, whether it is in the index or not.
    let kind = match (x, y) {
        (b'R', _) | (_, b'R') => ChangeKind::Renamed,
        (b'A' | b'C', b'D') => ChangeKind::Deleted,
        (b'A' | b'C', _) | (_, b'A' | b'C') => ChangeKind::Added,
        (b'D', b'.') | (_, b'D') => ChangeKind::Deleted,
        _ => ChangeKind::Modified,
    };
    let from = from.map(text);
    Some(Change { path: text(path), from, kind, staged: x != b'.', unstaged: y != b'.' })
}

/// The format that [`log`] reads, with `-z`.
pub(super) const LOG_FORMAT: &str = "--format=%H%x00%P%x00%an%x00%ae%x00%at%x00%s%x00\
                                     %(trailers:key=Co-authored-by,valueonly=true,unfold=true,separator=%x1f)";
const LOG_FIELDS: usize = 7;

/// `git log -z` in [`LOG_FORMAT`]. What cannot be read ends the list.
pub(super) fn log(printed: &[u8]) -> Vec<Commit> {
    let fields: Vec<&[u8]> = records(printed).collect();
    let mut commits = Vec::new();
    for record in fields.chunks_exact(LOG_FIELDS) {
        let [id, parents, author, email, at, subject, co_authors] = record else { break };
        let id = text(id);
        if !super::words::is_commit(&id) {
            break;
        }
        let co_authors = text(co_authors);
        commits.push(Commit {
            id,
            parents: text(parents).split_whitespace().map(str::to_owned).collect(),
            author: short(author),
            email: short(email),
            at: text(at).parse::<i64>().unwrap_or_default().saturating_mul(1000),
            subject: short(subject),
            co_authors: co_authors
                .split('\u{1f}')
                .map(|name| name.trim().chars().take(MAX_TEXT).collect::<String>())
                .filter(|name| !name.is_empty())
                .take(MAX_CO_AUTHORS)
                .collect(),
        });
    }
    commits
}

/// The format that [`branches`] reads.
pub(super) const BRANCH_FORMAT: &str =
    "--format=%(refname:lstrip=2)%00%(HEAD)%00%(upstream:lstrip=2)%00%(committerdate:unix)%00%(contents:subject)";

/// `git for-each-ref` in [`BRANCH_FORMAT`]. What cannot be read is left out.
pub(super) fn branches(printed: &[u8]) -> Vec<Branch> {
    let line = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let [name, head, upstream, at, subject] = fields.as_slice() else { return None };
        Some(Branch {
            name: text(name),
            current: *head == b"*",
            upstream: Some(text(upstream)).filter(|name| !name.is_empty()),
            at: text(at).parse::<i64>().unwrap_or_default().saturating_mul(1000),
            subject: short(subject),
        })
    };
    printed.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn short(bytes: &[u8]) -> String {
    text(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn nul(records: &[&str]) -> Vec<u8> {
        records.iter().flat_map(|record| record.bytes().chain([0])).collect()
    }

    fn shown(status: &Status) -> String {
        let Status { branch, head, upstream, changes, truncated } = status;
        let mut lines = vec![format!("{branch:?} {head:?} {upstream:?} truncated: {truncated}")];
        lines.extend(changes.iter().map(|change| {
            let Change { path, from, kind, staged, unstaged } = change;
            format!("{kind:?} {path:?} from {from:?} staged: {staged}, unstaged: {unstaged}")
        }));
        lines.join("\n")
    }

    #[test]
    fn every_kind_of_change_is_read_and_names_may_hold_anything() {
        let hash = "0123456789012345678901234567890123456789";
        let printed = nul(&[
            &format!("# branch.oid {hash}"),
            "# branch.head feature/login",
            "# branch.upstream origin/main",
            "# branch.ab +2 -13",
            "# something.new entirely",
            &format!("1 .M N... 100644 100644 100644 {hash} {hash} src/a file.py"),
            &format!("1 A. N... 000000 100644 100644 {hash} {hash} new\nline\ttab"),
            &format!("1 D. N... 100644 000000 000000 {hash} {hash} gone"),
            &format!("1 .D N... 100644 100644 000000 {hash} {hash} gone too"),
            &format!("1 AD N... 000000 100644 000000 {hash} {hash} came and went"),
            &format!("1 .T N... 100644 100644 120000 {hash} {hash} now a link"),
            &format!("2 R. N... 100644 100644 100644 {hash} {hash} R100 to here"),
            "1 from there",
            &format!("u UU N... 100644 100644 100644 100644 {hash} {hash} {hash} both of us"),
            "? # branch.head forged",
            "? -rf",
            "! ignored",
        ]);
        expect![[r##"
            Some("feature/login") Some("0123456789012345678901234567890123456789") Some(Upstream { name: "origin/main", ahead: Some(2), behind: Some(13) }) truncated: false
            Modified "src/a file.py" from None staged: false, unstaged: true
            Added "new\nline\ttab" from None staged: true, unstaged: false
            Deleted "gone" from None staged: true, unstaged: false
            Deleted "gone too" from None staged: false, unstaged: true
            Deleted "came and went" from None staged: true, unstaged: true
            Modified "now a link" from None staged: false, unstaged: true
            Renamed "to here" from Some("1 from there") staged: true, unstaged: false
            Conflicted "both of us" from None staged: true, unstaged: true
            Untracked "# branch.head forged" from None staged: false, unstaged: true
            Untracked "-rf" from None staged: false, unstaged: true"##]]
        .assert_eq(&shown(&status(&printed, false).expect("a status")));
    }

    #[test]
    fn a_new_repository_and_a_lost_head_are_read() {
        let new = nul(&["# branch.oid (initial)", "# branch.head main"]);
        expect![[r#"Some("main") None None truncated: false"#]]
            .assert_eq(&shown(&status(&new, false).expect("a status")));
        let detached = nul(&["# branch.oid abcd", "# branch.head (detached)"]);
        expect![[r#"None Some("abcd") None truncated: false"#]]
            .assert_eq(&shown(&status(&detached, false).expect("a status")));
        assert_eq!(status(b"", false), Some(Status::default()));
    }

    #[test]
    fn half_a_record_is_none_and_too_many_are_counted_off() {
        let mut printed = nul(&["? a", "? b"]);
        printed.extend(b"? half");
        let read = status(&printed, true).expect("a status");
        assert_eq!((read.changes.len(), read.truncated), (2, true));
        // The second half of a rename is missing.
        assert_eq!(status(&nul(&["2 R. N... 1 1 1 a b R100 to"]), true).expect("a status").changes, []);
        let many: Vec<u8> = (0..=MAX_CHANGES).flat_map(|n| format!("? {n}\0").into_bytes()).collect();
        let read = status(&many, false).expect("a status");
        assert_eq!((read.changes.len(), read.truncated), (MAX_CHANGES, true));
    }

    #[test]
    fn what_git_does_not_print_is_no_status() {
        for bad in ["hello", "1 M", "1 M. N...", "1 MMM N... 1 1 1 a b c", "?x", "2 R.", ""] {
            let printed = nul(&[bad]);
            let read = status(&printed, false);
            assert!(read.is_none() || bad.is_empty(), "{bad:?} {read:?}");
        }
        assert_eq!(status(b"? \xff\0", false).expect("a status").changes[0].path, "\u{fffd}");
    }

    #[test]
    fn any_bytes_at_all_are_survived() {
        const LIKELY: &[u8] = b"\0\0 12u?!#.RMDA\n\xffa";
        let mut seed = 1_u64;
        for length in 0..400 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    LIKELY[(seed >> 33) as usize % LIKELY.len()]
                })
                .collect();
            let _ = status(&bytes, length % 2 == 0);
            let _ = (log(&bytes), branches(&bytes));
        }
    }

    #[test]
    fn commits_are_read_and_a_forged_one_ends_the_list() {
        let printed = nul(&[
            "abcdef12",
            "12345678 9abcdef0",
            "Ann",
            "u1@x",
            "1700000000",
            "Fix\u{7}it",
            "Bob <b@x>\u{1f} Bot (agent) <a@x>\u{1f}",
            "12345678",
            "",
            "Bob",
            "u2@x",
            "never",
            "",
            "",
            "not a commit",
            "",
            "",
            "",
            "",
            "",
            "",
        ]);
        expect![[r#"
            [
                Commit {
                    id: "abcdef12",
                    parents: [
                        "12345678",
                        "9abcdef0",
                    ],
                    author: "Ann",
                    email: "u1@x",
                    at: 1700000000000,
                    subject: "Fix it",
                    co_authors: [
                        "Bob <b@x>",
                        "Bot (agent) <a@x>",
                    ],
                },
                Commit {
                    id: "12345678",
                    parents: [],
                    author: "Bob",
                    email: "u2@x",
                    at: 0,
                    subject: "",
                    co_authors: [],
                },
            ]
        "#]]
        .assert_debug_eq(&log(&printed));
        assert_eq!(log(b""), []);
    }

    #[test]
    fn branches_are_read() {
        let printed = "main|*|origin/main|1700000000|Fix it\nold/one| ||5|\nnot a branch\n".replace('|', "\0");
        expect![[r#"
            [
                Branch {
                    name: "main",
                    current: true,
                    upstream: Some(
                        "origin/main",
                    ),
                    at: 1700000000000,
                    subject: "Fix it",
                },
                Branch {
                    name: "old/one",
                    current: false,
                    upstream: None,
                    at: 5000,
                    subject: "",
                },
            ]
        "#]]
        .assert_debug_eq(&branches(printed.as_bytes()));
    }
}
