//! Archives as programs make them, and as nobody should.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::*;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A tar of entries: kind, name, mode, content. The name is written as it is.
fn tar_of(entries: &[(tar::EntryType, &str, u32, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, mode, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).expect("in memory");
    }
    gz(&builder.into_inner().expect("in memory"))
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

/// A zip of entries: name, Unix' mode, content, whether it is compressed.
fn zip_of(entries: &[(&str, u32, &[u8], bool)]) -> Vec<u8> {
    let (mut bytes, mut table) = (Vec::new(), Vec::new());
    for (name, mode, content, compressed) in entries {
        let packed = if *compressed {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(content).expect("in memory");
            encoder.finish().expect("in memory")
        } else {
            content.to_vec()
        };
        let at = bytes.len() as u32;
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        common.extend(if *compressed { 8_u16 } else { 0 }.to_le_bytes());
        common.extend([0; 4]);
        common.extend(crc(content).to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(packed);
        table.extend(b"PK\x01\x02\x14\x03");
        table.extend(&common);
        table.extend([0; 6]);
        table.extend((mode << 16).to_le_bytes());
        table.extend(at.to_le_bytes());
        table.extend(name.as_bytes());
    }
    let (at, size, count) = (bytes.len() as u32, table.len() as u32, entries.len() as u16);
    bytes.extend(table);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend(0_u16.to_le_bytes());
    bytes
}

fn names(sent: &[u8]) -> Result<Vec<(String, String, bool)>, Error> {
    let file = |file: NewFile| (file.path, String::from_utf8_lossy(&file.bytes).into_owned(), file.executable);
    Ok(unpack(sent)?.into_iter().map(file).collect())
}

fn own(path: &str, text: &str, executable: bool) -> (String, String, bool) {
    (path.to_owned(), text.to_owned(), executable)
}

const FILE: tar::EntryType = tar::EntryType::Regular;

#[test]
fn files_come_out_with_their_folders_and_whether_they_can_be_executed() {
    let expected = vec![own("a.py", "x = 1\n", false), own("bin/run", "#!", true)];
    let directory = tar::EntryType::Directory;
    let tar = tar_of(&[
        (FILE, "./a.py", 0o644, b"x = 1\n"),
        (directory, "bin/", 0o755, b""),
        (FILE, "bin//run", 0o755, b"#!"),
    ]);
    assert_eq!(names(&tar), Ok(expected.clone()));
    let zip = zip_of(&[
        ("a.py", 0o100_644, b"x = 1\n", true),
        ("bin/", 0o40_755, b"", false),
        ("bin/run", 0o100_755, b"#!", false),
    ]);
    assert_eq!(names(&zip), Ok(expected));
}

#[test]
fn a_folder_around_everything_is_left_out() {
    let inside = zip_of(&[("tool-main/a", 0, b"1", false), ("tool-main/b/c", 0, b"2", false)]);
    assert_eq!(names(&inside), Ok(vec![own("a", "1", false), own("b/c", "2", false)]));
    let beside = zip_of(&[("tool/a", 0, b"1", false), ("toolbox/b", 0, b"2", false)]);
    assert_eq!(names(&beside).expect("files").len(), 2);
    assert_eq!(names(&beside).expect("files")[0].0, "tool/a");
}

#[test]
fn nothing_leads_out_of_an_archive() {
    for name in ["/etc/passwd", "../x", "a/../../x", "..", "a\\..\\..\\x", "\\x"] {
        let escapes = Err(Error::Escapes(name.to_owned()));
        assert_eq!(names(&zip_of(&[("ok", 0, b"", false), (name, 0, b"x", false)])), escapes);
        assert_eq!(names(&tar_of(&[(FILE, name, 0o644, b"x")])), escapes);
    }
    // Links and devices are not made, whatever they lead to.
    let odd = tar_of(&[
        (tar::EntryType::Symlink, "link", 0o777, b""),
        (tar::EntryType::Link, "hard", 0, b""),
        (tar::EntryType::Fifo, "fifo", 0, b""),
    ]);
    assert_eq!(names(&odd), Err(Error::Empty));
    assert_eq!(names(&zip_of(&[("link", 0o120_777, b"/etc/passwd", false)])), Err(Error::Empty));
    let twice = zip_of(&[("a", 0, b"first", false), ("./a", 0, b"second", false)]);
    assert_eq!(names(&twice), Ok(vec![own("a", "first", false)]));
}

#[test]
fn what_is_too_much_is_refused_before_it_is_in_memory() {
    let zeros = vec![0; 1 << 20];
    let bomb: Vec<(String, &[u8])> = (0..=MAX_BYTES >> 20).map(|n| (format!("f{n}"), zeros.as_slice())).collect();
    let bomb: Vec<(&str, u32, &[u8], bool)> =
        bomb.iter().map(|(name, zeros)| (name.as_str(), 0, *zeros, true)).collect();
    assert_eq!(names(&zip_of(&bomb)), Err(Error::TooLarge));
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").expect("short");
    header.set_size(MAX_BYTES + 1);
    header.set_cksum();
    assert_eq!(names(&gz(header.as_bytes())), Err(Error::TooLarge));
    let many: Vec<String> = (0..=MAX_FILES).map(|n| n.to_string()).collect();
    let many: Vec<(&str, u32, &[u8], bool)> = many.iter().map(|name| (name.as_str(), 0, &b""[..], false)).collect();
    assert_eq!(names(&zip_of(&many)), Err(Error::TooMany));
    let deep = "d/".repeat(MAX_DEPTH) + "x";
    assert!(matches!(names(&zip_of(&[(&deep, 0, b"", false)])), Err(Error::BadName(_))));
}

#[test]
fn damage_and_nonsense_end_in_an_error_and_nothing_worse() {
    assert_eq!(names(b"hello"), Err(Error::UnknownFormat));
    assert_eq!(names(b""), Err(Error::UnknownFormat));
    let whole = zip_of(&[("a.py", 0, b"some text, long enough", true), ("b.py", 0, b"more", false)]);
    let tar = tar_of(&[(FILE, "a.py", 0o644, b"some text")]);
    for whole in [whole, tar] {
        for length in 0..whole.len() {
            let _ = names(&whole[..length]);
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = names(&damaged);
        }
    }
    let mut damaged = zip_of(&[("a", 0, b"right", false)]);
    let at = damaged.windows(5).position(|window| window == b"right").expect("there");
    damaged[at] = b'w';
    assert_eq!(names(&damaged), Err(Error::Broken("a file is damaged".to_owned())));
}

#[test]
fn what_cannot_lie_in_one_folder_and_nothing_at_all_is_refused() {
    let both = [(tar::EntryType::Regular, "a/b", 0o644, b"x".as_slice()), (tar::EntryType::Regular, "a", 0o644, b"y")];
    assert_eq!(names(&tar_of(&both)), Err(Error::Clash("a".to_owned())));
    let long = "n".repeat(256);
    assert!(matches!(names(&zip_of(&[(&long, 0, b"", false)])), Err(Error::BadName(_))));
    assert_eq!(names(&zip_of(&[])), Err(Error::Empty));
    assert_eq!(names(&tar_of(&[])), Err(Error::Empty));
    assert_eq!(names(&gz(&[0; 100_000])), Err(Error::Empty));
}
