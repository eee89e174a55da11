//! How documents are found by their names.

/// A row for each document, with its last update.
pub(super) const ABOUT: &str = "
    SELECT document.name, epoch, begins, deleted_at, deleted_by, last.seq, last.at
    FROM document LEFT JOIN document_update AS last ON last.document = document.id AND last.seq =
        (SELECT MAX(seq) FROM document_update WHERE document = document.id AND seq > document.begins)";

/// True of names that are no room's: what [`DocumentName::kind`] says.
pub(crate) const IS_PLAIN: &str = "NOT (instr(document.name, '/') > 1 AND (
    substr(document.name, instr(document.name, '/') + 1) IN ('tree:main', 'runs:main')
    OR (substr(document.name, instr(document.name, '/') + 1) GLOB 'file:?*'
        AND instr(substr(document.name, instr(document.name, '/') + 1), '/') = 0)))";

/// The query of a list. `?1` is the name before it, `?2` the prefix, `?3` how many, `?4` what comes after all with the prefix.
pub(super) fn list_sql(has_end: bool, plain: bool) -> String {
    let end = if has_end { "AND document.name < ?4" } else { "" };
    let plain = if plain { format!("AND {IS_PLAIN}") } else { String::new() };
    format!(
        "{ABOUT} WHERE document.name > ?1 AND document.name >= ?2 {end} {plain} AND deleted_at IS NULL
         ORDER BY document.name LIMIT ?3"
    )
}

/// The first of all names that come after those with the prefix; `None` if they are the last.
pub(super) fn after_all_with(prefix: &str) -> Option<String> {
    let mut prefix = prefix.to_owned();
    while let Some(last) = prefix.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}
