//! Files of secrets, for as long as one step runs.
//!
//! They are in a folder in the sandbox's memory. It goes with the container, and the container goes with the agent, which is its process 1;
//! so a file is there only while a step that was given it runs, whoever is killed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

/// Writes each file, readable by its owner alone. `Err` says why not; what was written until then stays.
pub(super) fn write(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in files {
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_str()) {
            return Err("a secret has a name that cannot be a file's".to_owned());
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o400).open(folder.join(name));
        file.and_then(|mut file| file.write_all(value.as_bytes()))
            .map_err(|error| format!("the secret {name} cannot be written into {}: {error}", folder.display()))?;
    }
    Ok(())
}

/// Removes everything in the folder, also what programs put there.
pub(super) fn remove_all(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Neither follows a symbolic link.
        if fs::remove_file(entry.path()).is_err() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
