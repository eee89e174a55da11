use buildspaces_policy::tenancy::Tenancy;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Part {
    sandbox: SandboxFile,
    organisations: BTreeMap<String, OrganisationFile>,
}

/// The settings of a machine with 8 GiB and four processors.
fn read(text: &str) -> Result<Sandbox, String> {
    let machine = Machine { memory: Some(8 << 30), cpus: Some(4) };
    let Part { sandbox, organisations } = toml::from_str(text).map_err(|error| error.to_string())?;
    check(sandbox, organisations, &machine, &BTreeMap::new()).map_err(|error| error.to_string())
}

fn kind(name: &str) -> RoomKind {
    RoomKind::parse(name).expect("valid")
}

#[test]
fn a_kind_has_what_it_says_and_otherwise_what_all_have() {
    let text = "
        [sandbox]
        memory_mib = 512
        pids = 100
        step_seconds = 60
        [sandbox.kinds.workshop]
        memory_mib = 2048
        step_seconds = 5
        [sandbox.kinds.plain]
        [organisations.acme]
        kinds = ['workshop', 'default']
        sandboxes = 3
        memory_mib = 4096
        cpus = 2.5
        disk_mib = 1000
        [organisations.globex]
    ";
    let Allowances { usual, kinds, organisations, tenants } = read(text).expect("valid").allowances;
    let workshop = &kinds[&kind("workshop")];
    assert_eq!((workshop.memory, workshop.pids, workshop.step), (2 << 30, 100, Duration::from_secs(5)));
    assert_eq!(
        (workshop.key("memory_mib"), workshop.key("pids")),
        ("sandbox.kinds.workshop.memory_mib".into(), "sandbox.pids".into())
    );
    let plain = &kinds[&kind("plain")];
    assert_eq!(*plain, Limits { kind: kind("plain"), ..usual.clone() });
    assert_eq!((usual.memory, usual.kind.as_str()), (512 << 20, "default"));
    let acme = OrganisationId::parse("acme").expect("valid");
    let ceilings =
        Ceilings { sandboxes: Some(3), memory: Some(4 << 30), nano_cpus: Some(2_500_000_000), disk: Some(1000 << 20) };
    assert_eq!(organisations[&acme], ceilings);
    let check = |name: &str| tenants.check(&Tenancy { kind: kind(name), organisation: Some(acme.clone()) });
    assert_eq!((check("workshop"), check("default"), check("plain").is_err()), (Ok(()), Ok(()), true));
    assert_eq!(organisations.len(), 2);
}

#[test]
fn what_cannot_be_is_refused_by_the_name_of_its_key() {
    for (text, expected) in [
        ("sandbox.kinds.a.pids = 3", "sandbox.kinds.a.pids = 3 must be from 16"),
        ("sandbox.kinds.a.colour = 3", "unknown field `colour`"),
        ("sandbox.kinds.a.memory_mib = 9000", "sandbox.kinds.a.memory_mib = 9000 is more than the 8192 MiB"),
        ("sandbox.kinds.a.cpus = 4.5", "sandbox.kinds.a.cpus = 4.5 is more than the 4 processors"),
        ("sandbox.kinds.'' = {}", "sandbox.kinds: \"\" is not a name"),
        ("sandbox.kinds.'A b' = {}", "sandbox.kinds: \"A b\" is not a name"),
        ("sandbox.kinds.default.pids = 30", "sandbox.kinds.default: rooms of the kind default have what [sandbox]"),
        ("sandbox.kinds = 3", "invalid type"),
        ("organisations.'' = {}", "organisations: \"\" is not a name"),
        ("organisations.acme.kinds = ['tiny']", "organisations.acme.kinds: there is no kind \"tiny\""),
        ("organisations.acme.kinds = ['']", "organisations.acme.kinds: there is no kind \"\""),
        ("organisations.acme.kinds = []", "organisations.acme.kinds is empty"),
        ("organisations.acme.sandboxes = 0", "organisations.acme.sandboxes = 0 must be from 1"),
        ("organisations.acme.sandboxes = 17", "sandbox.max_sandboxes"),
        ("organisations.acme.disk_mib = 1", "organisations.acme.disk_mib = 1 must be from 64"),
        (
            "organisations.acme.memory_mib = 512",
            "organisations.acme.memory_mib = 512 is less than one sandbox of the kind default has (sandbox.memory_mib = 1024)",
        ),
        (
            "organisations.acme.cpus = 1.5",
            "organisations.acme.cpus = 1.5 is less than one sandbox of the kind default has (sandbox.cpus = 2)",
        ),
        (
            "organisations.acme = { kinds = ['a'], memory_mib = 512 }\nsandbox.kinds.a.memory_mib = 600",
            "(sandbox.kinds.a.memory_mib = 600)",
        ),
        ("organisations.acme.colour = 3", "unknown field `colour`"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    // The ceiling need only hold the kinds that they may have.
    read("organisations.acme = { kinds = ['a'], memory_mib = 512 }\nsandbox.kinds.a.memory_mib = 256").expect("valid");
}
