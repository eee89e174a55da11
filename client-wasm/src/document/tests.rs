use std::path::Path;

use yrs::types::Attrs;

use super::*;

fn text_of(document: &mut Document) -> TypeId {
    document.root("text", Kind::Text)
}

/// A document with `text` in it.
fn with_text(text: &str) -> (Document, TypeId) {
    let mut document = Document::new();
    let of = text_of(&mut document);
    document.insert_text(0, of, 0, text, None).expect("fits");
    (document, of)
}

/// Brings what one did since last time to the other.
fn bring(from: &mut Document, to: &mut Document) {
    for update in from.take_updates() {
        to.apply(&update).expect("valid");
    }
}

#[test]
fn an_index_is_within_the_text_and_never_within_a_pair() {
    let (mut document, of) = with_text("a😀b");
    assert_eq!(document.text_len(of), Ok(4));
    let state = document.state();
    assert_eq!(document.insert_text(0, of, 5, "x", None), Err(Error::OutOfRange { index: 5, len: 4 }));
    assert_eq!(document.insert_text(0, of, 2, "x", None), Err(Error::SplitsPair(2)));
    assert_eq!(document.delete_text(0, of, 1, 1), Err(Error::SplitsPair(2)));
    assert_eq!(document.delete_text(0, of, 2, 2), Err(Error::SplitsPair(2)));
    assert_eq!(document.delete_text(0, of, 4, u32::MAX), Err(Error::OutOfRange { index: u32::MAX, len: 4 }));
    assert_eq!(document.state(), state, "nothing of that changed anything");
    document.delete_text(0, of, 1, 2).expect("a whole character");
    assert_eq!(document.text(of), Ok("ab".to_owned()));
    // Others bring such characters too.
    let (mut other, theirs) = with_text("😀");
    bring(&mut document, &mut other);
    assert_eq!(
        other.insert_text(0, theirs, 1, "x", None).is_err(),
        other.text(theirs).expect("there").starts_with('😀')
    );
    let mut fresh = Document::new();
    let of = text_of(&mut fresh);
    fresh.apply(&other.state().expect("whole")).expect("valid");
    let at = fresh.text(of).expect("there").encode_utf16().position(|unit| unit >= 0xd800).expect("it is there") as u32;
    assert_eq!(fresh.insert_text(0, of, at + 1, "x", None), Err(Error::SplitsPair(at + 1)));
}

#[test]
fn a_transaction_is_one_update_with_its_origin() {
    let mut document = Document::new();
    let of = text_of(&mut document);
    document.observe(of).expect("there");
    document.begin(0, Some("me")).expect("none is open");
    assert_eq!(document.begin(0, None), Err(Error::Busy));
    document.insert_text(0, of, 0, "hello", None).expect("fits");
    document.insert_text(0, of, 5, " world", None).expect("what was written can be read at once");
    assert_eq!(document.text_len(of), Ok(11));
    assert_eq!(document.state(), Err(Error::Busy));
    assert!(document.take_changes().is_empty(), "nobody hears of half a transaction");
    assert_eq!(document.commit(), Ok(true));
    assert_eq!(document.commit(), Ok(false));
    let changes = document.take_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].origin.as_deref(), Some("me"));
    let inserted = Edit::Insert(vec![Value::Any(Any::from("hello world"))], Vec::new());
    assert_eq!(changes[0].delta, std::slice::from_ref(&inserted));
    let updates = document.take_updates();
    assert_eq!(updates.len(), 1);
    let mut other = Document::new();
    let of = text_of(&mut other);
    other.observe(of).expect("there");
    other.apply(&updates[0]).expect("valid");
    let changes = other.take_changes();
    assert_eq!((changes[0].origin.clone(), changes[0].delta.as_slice()), (None, [inserted].as_slice()));
    other.unobserve(of).expect("there");
    other.insert_text(0, of, 0, "x", None).expect("fits");
    assert!(other.take_changes().is_empty());
}

#[test]
fn undo_takes_back_what_its_origin_did_and_nothing_else() {
    let (mut mine, of) = with_text("base ");
    let undo = mine.new_undo(&[of], &["me".to_owned()], 500).expect("a root");
    mine.begin(1_000, Some("me")).expect("none is open");
    mine.insert_text(1_000, of, 5, "mine ", None).expect("fits");
    mine.commit().expect("whole");
    mine.insert_text(1_100, of, 0, "program ", None).expect("fits");
    let (mut other, theirs) = {
        let mut other = Document::new();
        let theirs = text_of(&mut other);
        bring(&mut mine, &mut other);
        (other, theirs)
    };
    other.insert_text(0, theirs, 0, "theirs ", None).expect("fits");
    bring(&mut other, &mut mine);
    assert_eq!(mine.text(of), Ok("theirs program base mine ".to_owned()));
    assert!(mine.can_undo(undo) && !mine.can_redo(undo));
    mine.observe(of).expect("there");
    assert_eq!(mine.undo(2_000, undo), Ok(true));
    assert_eq!(mine.take_changes()[0].origin.as_deref(), Some(UNDO));
    assert_eq!(mine.text(of), Ok("theirs program base ".to_owned()));
    bring(&mut mine, &mut other);
    assert_eq!(other.text(theirs), mine.text(of), "others get it as any other change");
    assert_eq!(mine.undo(2_000, undo), Ok(false));
    assert_eq!(mine.redo(3_000, undo), Ok(true));
    assert_eq!(mine.text(of), Ok("theirs program base mine ".to_owned()));
    bring(&mut mine, &mut other);
    assert_eq!(other.text(theirs), mine.text(of));
    mine.end_undo(undo).expect("no transaction is open");
    assert_eq!(mine.undo(4_000, undo), Ok(false));
}

#[test]
fn steps_of_undo_are_parted_by_a_pause_or_a_cut() {
    let (mut document, of) = with_text("");
    let undo = document.new_undo(&[of], &[], 500).expect("a root");
    for (now, chunk) in [(1_000, "a"), (1_400, "b"), (2_400, "c")] {
        let end = document.text_len(of).expect("there");
        document.insert_text(now, of, end, chunk, None).expect("fits");
    }
    document.cut_undo(undo);
    document.insert_text(2_401, of, 3, "d", None).expect("fits");
    let mut seen = Vec::new();
    while document.undo(9_000, undo).expect("whole") {
        seen.push(document.text(of).expect("there"));
    }
    assert_eq!(seen, ["abc", "ab", ""]);
}

#[test]
fn positions_stay_where_they_are() {
    let (mut document, of) = with_text("hello");
    let left = document.position(of, 2, true).expect("within");
    let right = document.position(of, 2, false).expect("within");
    let end = document.position(of, 5, false).expect("within");
    assert!(document.position(of, 6, false).is_err());
    document.insert_text(0, of, 2, "XX", None).expect("fits");
    assert_eq!(document.resolve(&left), Ok(Some((of, 2))));
    assert_eq!(document.resolve(&right), Ok(Some((of, 4))));
    assert_eq!(document.resolve(&end), Ok(Some((of, 7))));
    assert!(document.resolve(&[9, 9, 9]).is_err());
}

#[test]
fn maps_arrays_and_types_within_types_travel() {
    let mut document = Document::new();
    let map = document.root("map", Kind::Map);
    document.map_set(0, map, "n", New::Any(Any::from(1.5))).expect("there");
    let list = document.map_set(0, map, "list", New::Type(Kind::Array)).expect("there").expect("a type");
    document.array_insert(0, list, 0, vec![Any::from("a"), Any::Bool(true)]).expect("fits");
    let inner = document.array_insert_type(0, list, 1, Kind::Text).expect("fits");
    document.insert_text(0, inner, 0, "deep", None).expect("fits");
    assert!(document.array_insert(0, list, 9, vec![Any::Null]).is_err());
    assert_eq!(document.map_set(0, list, "k", New::Any(Any::Null)), Err(Error::WrongKind(Kind::Array)));
    let mut other = Document::new();
    let theirs = other.root("map", Kind::Map);
    other.observe(theirs).expect("there");
    bring(&mut document, &mut other);
    assert!(!other.take_changes().is_empty());
    let Some(Value::Type(list, Kind::Array)) = other.map_get(theirs, "list").expect("there") else {
        panic!("an array")
    };
    assert_eq!(other.array_len(list), Ok(3));
    let Some(Value::Type(inner, Kind::Text)) = other.array_get(list, 1).expect("there") else { panic!("a text") };
    assert_eq!(other.text(inner), Ok("deep".to_owned()));
    assert_eq!(other.map_entries(theirs).expect("there").len(), 2);
    // Somebody else deletes what is held here.
    document.map_delete(0, map, "list").expect("there");
    bring(&mut document, &mut other);
    let gone = other.take_changes();
    assert!(
        gone.iter().any(|change| matches!(change.keys.as_slice(), [(key, Entry::Removed { .. })] if key == "list"))
    );
    assert_eq!(other.text(inner), Err(Error::Gone));
    assert_eq!(other.insert_text(0, inner, 0, "x", None), Err(Error::Gone));
    assert_eq!(other.array_values(list), Err(Error::Gone));
}

#[test]
fn formatted_text_and_xml_travel() {
    let (mut document, of) = with_text("bold move");
    document.format(0, of, 0, 4, Attrs::from([("b".into(), Any::Bool(true))])).expect("within");
    document.embed(0, of, 9, Any::from("img"), None).expect("within");
    let root = document.root("xml", Kind::XmlFragment);
    let paragraph = document.xml_insert(0, root, 0, Node::Element("p")).expect("within");
    document.xml_set_attribute(0, paragraph, "class", Some(Any::from("x"))).expect("there");
    document.xml_insert(0, paragraph, 0, Node::Text("hi")).expect("within");
    let mut other = Document::new();
    let (theirs, tree) = (text_of(&mut other), other.root("xml", Kind::XmlFragment));
    bring(&mut document, &mut other);
    let pieces = other.pieces(theirs).expect("there");
    assert_eq!(pieces.len(), 3, "{pieces:?}");
    assert_eq!(pieces[0].attributes, [("b".to_owned(), Any::Bool(true))]);
    assert_eq!(other.xml_string(tree), Ok(r#"<p class="x">hi</p>"#.to_owned()));
    let children = other.xml_children(tree).expect("there");
    let [Value::Type(element, Kind::XmlElement)] = children.as_slice() else { panic!("{children:?}") };
    assert_eq!(other.xml_tag(*element), Ok("p".to_owned()));
    assert_eq!(other.xml_attributes(*element).expect("there").len(), 1);
    assert_eq!(other.xml_len(*element), Ok(1));
    other.xml_delete(0, tree, 0, 1).expect("within");
    assert_eq!(other.xml_string(tree), Ok(String::new()));
}

#[test]
fn a_document_that_may_only_be_read_is_not_changed() {
    let (mut document, of) = with_text("as it is");
    document.set_read_only(true);
    assert_eq!(document.insert_text(0, of, 0, "x", None), Err(Error::ReadOnly));
    assert_eq!(document.text(of), Ok("as it is".to_owned()));
    let (mut author, _) = with_text("news");
    bring(&mut author, &mut document);
    assert!(document.text(of).expect("there").contains("news"), "what others write is still taken");
}

/// The updates that make yrs alone diverge, panic, hang or read freed memory.
#[test]
fn hostile_updates_change_nothing_or_all_of_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crdt/tests/hostile");
    let mut tried = 0;
    for file in std::fs::read_dir(folder).expect("they are there").flatten() {
        if file.path().extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let mut document = Document::new();
        let (text, list) = (text_of(&mut document), document.root("array", Kind::Array));
        document.observe(text).expect("there");
        document.observe(list).expect("there");
        for line in std::fs::read_to_string(file.path()).expect("text").lines() {
            let pair = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal");
            let bytes: Vec<u8> = (0..line.len() / 2).map(|at| pair(at * 2)).collect();
            let before = document.state_vector();
            if !matches!(document.apply(&bytes), Ok(Applied::Changed)) {
                assert_eq!(document.state_vector(), before);
            }
            document.take_changes();
            tried += 1;
        }
        document.text(text).expect("there");
        let copy = document.state().expect("whole");
        Document::new().apply(&copy).expect("what is kept can be taken by others");
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn a_document_of_thousands_of_clients_is_taken_in_parts() {
    let mut author = Replica::new();
    for number in 0..5_000 {
        let one = vec![(format!("{number}"), Some(true.into()))];
        let update = Replica::new().set_map("map", &one).expect("changed");
        author.apply(&update).expect("valid");
    }
    let mut document = Document::new();
    assert_eq!(document.apply(&author.state()), Ok(Applied::Changed));
    let of = document.root("map", Kind::Map);
    assert_eq!(document.map_entries(of).expect("there").len(), 5_000);
}
