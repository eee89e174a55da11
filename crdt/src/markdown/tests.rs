use super::*;
use yrs::{Map, XmlElementPrelim, XmlTextPrelim};

fn check(build: impl FnOnce(&Replica), expected: &str) {
    let replica = Replica::new();
    build(&replica);
    // As a server has it: from its bytes, without knowing what the root is.
    let mut loaded = Replica::new();
    loaded.apply(&replica.state()).expect("valid");
    assert_eq!(markdown(&loaded, None).as_deref(), Some(expected));
}

fn marks(names: &[&str]) -> Attrs {
    names.iter().map(|name| ((*name).into(), Any::from(std::collections::HashMap::<String, Any>::new()))).collect()
}

/// Tiptap's nodes, as nested lists: `(tag, attributes, text, children)`.
struct Node(&'static str, &'static [(&'static str, &'static str)], &'static str, Vec<Node>);

fn add(
    txn: &mut yrs::TransactionMut<'_>,
    parent: &dyn Fn(&mut yrs::TransactionMut<'_>) -> yrs::XmlElementRef,
    node: &Node,
) {
    let element = parent(txn);
    for (name, value) in node.1 {
        element.insert_attribute(txn, *name, *value);
    }
    if !node.2.is_empty() {
        element.push_back(txn, XmlTextPrelim::new(node.2));
    }
    for child in &node.3 {
        let element = element.clone();
        add(txn, &move |txn| element.push_back(txn, XmlElementPrelim::empty(child.0)), child);
    }
}

fn prosemirror(nodes: Vec<Node>, expected: &str) {
    check(
        |replica| {
            let root = replica.doc().get_or_insert_xml_fragment("default");
            let mut txn = replica.doc().transact_mut();
            for node in &nodes {
                add(&mut txn, &|txn| root.push_back(txn, XmlElementPrelim::empty(node.0)), node);
            }
        },
        expected,
    );
}

fn paragraph(text: &'static str) -> Node {
    Node("paragraph", &[], text, vec![])
}

#[test]
fn blocks_of_prosemirror_and_tiptap_become_markdown() {
    prosemirror(
        vec![
            Node("heading", &[("level", "2")], "Title", vec![]),
            paragraph("Some text"),
            paragraph(""),
            Node("codeBlock", &[("language", "rust")], "let a = `b`;\n<x>", vec![]),
            Node("horizontal_rule", &[], "", vec![]),
            Node("blockquote", &[], "", vec![paragraph("quoted"), paragraph("twice")]),
        ],
        "## Title\n\nSome text\n\n```rust\nlet a = `b`;\n<x>\n```\n\n---\n\n> quoted\n>\n> twice\n",
    );
}

#[test]
fn lists_nest_and_count() {
    let item = |children| Node("listItem", &[], "", children);
    prosemirror(
        vec![
            Node(
                "orderedList",
                &[("start", "9")],
                "",
                vec![item(vec![paragraph("nine")]), item(vec![paragraph("ten")])],
            ),
            Node(
                "bulletList",
                &[],
                "",
                vec![item(vec![
                    paragraph("outer"),
                    Node("bullet_list", &[], "", vec![item(vec![paragraph("inner")])]),
                ])],
            ),
            Node(
                "taskList",
                &[],
                "",
                vec![
                    Node("taskItem", &[("checked", "true")], "", vec![paragraph("done")]),
                    Node("taskItem", &[], "", vec![paragraph("open")]),
                ],
            ),
        ],
        "9. nine\n10. ten\n\n- outer\n\n  - inner\n\n- [x] done\n- [ ] open\n",
    );
}

#[test]
fn tables_have_a_head() {
    let row = |cells: Vec<&'static str>| {
        let cells = cells.into_iter().map(|text| Node("tableCell", &[], "", vec![paragraph(text)]));
        Node("tableRow", &[], "", cells.collect())
    };
    prosemirror(
        vec![Node("table", &[], "", vec![row(vec!["a", "b|c"]), row(vec!["1", "2"])])],
        "| a | b\\|c |\n| --- | --- |\n| 1 | 2 |\n",
    );
}

#[test]
fn text_stays_text() {
    prosemirror(
        vec![paragraph("<script>alert(1)</script> & *not bold* [x](y)")],
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \\*not bold\\* \\[x\\](y)\n",
    );
    prosemirror(
        vec![paragraph("# no heading"), paragraph("1. no list"), paragraph("- nor this")],
        "\\# no heading\n\n1\\. no list\n\n\\- nor this\n",
    );
}

#[test]
fn marks_are_kept_and_unsafe_links_are_not() {
    check(
        |replica| {
            let root = replica.doc().get_or_insert_xml_fragment("default");
            let mut txn = replica.doc().transact_mut();
            let paragraph = root.push_back(&mut txn, XmlElementPrelim::empty("paragraph"));
            let text = paragraph.push_back(&mut txn, XmlTextPrelim::new(""));
            let link = |href: &str| {
                let mark = std::collections::HashMap::from([("href".to_owned(), Any::from(href))]);
                Attrs::from([("link--x1".into(), Any::from(mark))])
            };
            let mut at = 0;
            let mut push = |piece: &str, attrs: Attrs| {
                text.insert_with_attributes(&mut txn, at, piece, attrs);
                at += piece.len() as u32;
            };
            push("plain ", Attrs::new());
            push("bold ", marks(&["bold"]));
            push("both", marks(&["strong", "em"]));
            push(" ", Attrs::new());
            push("a`b", marks(&["code"]));
            push(" ", Attrs::new());
            push("site", link("https://x.example/a b?c&d"));
            push(" ", Attrs::new());
            push("trap", link("javascript:alert(1)"));
        },
        "plain **bold** ***both*** ``a`b`` [site](https://x.example/a%20b?c&amp;d) trap\n",
    );
}

#[test]
fn quills_lines_become_blocks() {
    check(
        |replica| {
            let text = replica.doc().get_or_insert_text("quill");
            let mut txn = replica.doc().transact_mut();
            let mut at = 0;
            let mut push = |piece: &str, attrs: Attrs| {
                text.insert_with_attributes(&mut txn, at, piece, attrs);
                at += piece.len() as u32;
            };
            let attr = |name: &str, value: Any| Attrs::from([(name.into(), value)]);
            push("Title", Attrs::new());
            push("\n", attr("header", Any::from(1)));
            push("one ", Attrs::new());
            push("bold", attr("bold", Any::from(true)));
            push("\n", Attrs::new());
            push("a", Attrs::new());
            push("\n", attr("list", Any::from("ordered")));
            push("b", Attrs::new());
            push("\n", attr("list", Any::from("ordered")));
            push("let x;", Attrs::new());
            push("\n", attr("code-block", Any::from(true)));
            push("end\n", Attrs::new());
        },
        "# Title\n\none **bold**\n\n1. a\n2. b\n\n```\nlet x;\n```\n\nend\n",
    );
}

#[test]
fn what_is_no_rich_text_does_no_harm() {
    let replica = Replica::new();
    assert_eq!(markdown(&replica, None), None);
    let map = replica.doc().get_or_insert_map("m");
    map.insert(&mut replica.doc().transact_mut(), "k", 1);
    let mut loaded = Replica::new();
    loaded.apply(&replica.state()).expect("valid");
    assert_eq!(markdown(&loaded, Some("m")).as_deref(), Some(""));
}
