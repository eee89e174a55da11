//! Every key of the specification, and what becomes of it here. `docs/how-to/devcontainer.md` has the same table for people.

use serde_json::Value;

use super::{Object, Reading, Terms, commands, environment, ports, shown, substituted};

/// What becomes of a key.
enum Fate {
    /// Read by a function of its own, in an order of its own.
    Done,
    /// About an editor, or about something that is always so here.
    Silent,
    /// It does not do what it says; what happens instead.
    Refused(&'static str),
}

/// Lifecycle commands that run in a new sandbox, in this order.
const SETUP: [&str; 3] = ["onCreateCommand", "updateContentCommand", "postCreateCommand"];

/// Longest name of an image that is compared, in bytes. Registries allow 255 of a name and 128 of a tag.
const MAX_IMAGE: usize = 512;

fn fate(key: &str) -> Option<Fate> {
    use Fate::{Done, Refused, Silent};
    Some(match key {
        "image"
        | "containerEnv"
        | "remoteUser"
        | "containerUser"
        | "forwardPorts"
        | "portsAttributes"
        | "hostRequirements"
        | "onCreateCommand"
        | "updateContentCommand"
        | "postCreateCommand"
        | "workspaceFolder" => Done,
        // Process 1 is the agent, which collects what others leave; runs wait for all commands; a sandbox ends when it is idle.
        "$schema"
        | "name"
        | "customizations"
        | "otherPortsAttributes"
        | "waitFor"
        | "userEnvProbe"
        | "updateRemoteUserUID"
        | "shutdownAction"
        | "init" => Silent,
        "initializeCommand" => Refused("It would run on the server's own machine, so it is never run."),
        "privileged" => Refused("It would give programs the host, so it is not granted. The sandbox is as any other."),
        "capAdd" => Refused("No sandbox has capabilities, and none are granted."),
        "securityOpt" => Refused("What protects the host cannot be turned off. The sandbox is as any other."),
        "runArgs" => Refused("Arguments for the container engine are not passed on. The sandbox is as any other."),
        "mounts" => {
            Refused("Nothing of the host is mounted. Only /workspace, /tmp and the home folder can be written to.")
        }
        "workspaceMount" => Refused("The room's files are at /workspace, and nothing else is mounted."),
        "build" | "dockerFile" | "context" => Refused(
            "Images are not built for rooms. The operator builds one (buildspaces image build) and lists it in sandbox.images.",
        ),
        "dockerComposeFile" | "service" | "runServices" => {
            Refused("A room has one container, and no others are started beside it.")
        }
        "features" | "overrideFeatureInstallOrder" => Refused(
            "Features are installed when an image is built. Ask the operator for an image that has them (sandbox.images).",
        ),
        "appPort" => {
            Refused("No port of the host is opened. Whatever listens in the sandbox is in the room's list of ports.")
        }
        "overrideCommand" => Refused("The image's own command is never run: the sandbox waits for runs and terminals."),
        "remoteEnv" => Refused("It is passed over. Put variables into containerEnv; steps and terminals get them."),
        "postStartCommand" | "postAttachCommand" => {
            Refused("It is not run: a sandbox starts once. Put it into postCreateCommand, or type it in a terminal.")
        }
        "secrets" => Refused("It is passed over. A host puts secrets into the room and says which runs get them."),
        _ => return None,
    })
}

/// Reads all keys of a file.
pub(super) fn read(file: &Object, reading: &mut Reading<'_>) {
    image(file.get("image"), reading);
    if let Some(value) = file.get("containerEnv") {
        environment::read(value, reading);
    }
    for key in SETUP {
        if let Some(value) = file.get(key) {
            commands::read(key, value, reading);
        }
    }
    ports::read(file, reading);
    for key in ["remoteUser", "containerUser"] {
        user(key, file.get(key), reading);
    }
    workspace_folder(file.get("workspaceFolder"), reading);
    requirements(file.get("hostRequirements"), reading);
    for (key, value) in file {
        match fate(key) {
            Some(Fate::Done | Fate::Silent) => {}
            // Somebody who says that they want none gets what they want.
            Some(Fate::Refused(_)) if is_nothing(value) => {}
            Some(Fate::Refused(instead)) => reading.notice(Some(key), instead),
            None => reading.notice(Some(key), "This server does not know it, and passes it over."),
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn image(value: Option<&Value>, reading: &mut Reading<'_>) {
    let image = match value {
        None => return,
        Some(Value::String(image)) if image.len() <= MAX_IMAGE => image,
        Some(Value::String(_)) => {
            return reading.notice(Some("image"), "That is too long for a name. The usual image is used.");
        }
        Some(other) => return reading.wrong("image", other, "the name of an image"),
    };
    // By the very name: `name` and `docker.io/library/name:latest` may be the same, and guessing so is not ours.
    if *image == reading.terms.image {
        return;
    }
    if reading.terms.images.contains(image) {
        reading.granted.image = Some(image.clone());
        return;
    }
    let message = format!(
        "{} is none of this server's images, so the sandbox has {}. The operator can list it in sandbox.images.",
        shown(image),
        reading.terms.image
    );
    reading.notice(Some("image"), message);
}

fn user(key: &str, value: Option<&Value>, reading: &mut Reading<'_>) {
    let own = reading.terms.user;
    let name = match value {
        None => return,
        Some(Value::String(name)) => name,
        Some(other) => return reading.wrong(key, other, "the name of a user"),
    };
    // The name it has in the usual image; what other images call that number only they know.
    if *name == own.to_string() || (name == "workspace" && reading.granted.image.is_none()) {
        return;
    }
    let message = match name.as_str() {
        "root" | "0" => format!("No program in a sandbox runs as root. It runs as user {own}."),
        name => format!(
            "Programs always run as user {own}, whatever name the image has for it; {} is not looked up.",
            shown(name)
        ),
    };
    reading.notice(Some(key), message);
}

fn workspace_folder(value: Option<&Value>, reading: &mut Reading<'_>) {
    let is_ours = |folder: &str| substituted(folder).is_ok_and(|folder| folder.trim_end_matches('/') == "/workspace");
    match value {
        None => {}
        Some(Value::String(folder)) if is_ours(folder) => {}
        Some(_) => {
            reading.notice(Some("workspaceFolder"), "The room's files are at /workspace, where everything begins.")
        }
    }
}

fn requirements(value: Option<&Value>, reading: &mut Reading<'_>) {
    const KEY: &str = "hostRequirements";
    let needs = match value {
        None => return,
        Some(Value::Object(needs)) => needs,
        Some(other) => return reading.wrong(KEY, other, "an object"),
    };
    let Terms { cpus, memory, disk, .. } = reading.terms;
    for (name, value) in needs {
        let key = format!("{KEY}.{name}");
        match name.as_str() {
            "cpus" => match value.as_f64() {
                Some(wanted) if wanted > cpus.most => {
                    let message = format!("A sandbox has {} processors ({}), not {wanted}.", cpus.most, cpus.key);
                    reading.notice(Some(&key), message);
                }
                Some(_) => {}
                None => reading.wrong(&key, value, "a number"),
            },
            "memory" | "storage" => {
                let (given, begin, end) = match name.as_str() {
                    "memory" => (memory, "A sandbox has", "of memory"),
                    _ => (disk, "A room's files may take", "of the disk"),
                };
                match value.as_str().and_then(bytes) {
                    Some(wanted) if wanted > u128::from(given.most) => {
                        let (most, wanted) = (given.most >> 20, wanted >> 20);
                        let message = format!("{begin} {most} MiB {end} ({}), not {wanted} MiB.", given.key);
                        reading.notice(Some(&key), message);
                    }
                    Some(_) => {}
                    None => reading.notice(Some(&key), "It must be a size such as \"4gb\". It is passed over."),
                }
            }
            "gpu" => match value {
                Value::Bool(false) | Value::Null => {}
                Value::String(wish) if wish == "optional" => {}
                _ => reading.notice(Some(&key), "No sandbox has a graphics processor."),
            },
            _ => reading.notice(Some(&key), "This server does not know it, and passes it over."),
        }
    }
}

/// The bytes of `4gb`, by powers of 1024 as engines count memory.
fn bytes(text: &str) -> Option<u128> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "tb" => 40,
        "gb" => 30,
        "mb" => 20,
        "kb" => 10,
        "" => 0,
        _ => return None,
    };
    // As many digits as fit, so that nothing overflows below.
    number.parse::<u64>().ok().map(|number| u128::from(number) << shift)
}
