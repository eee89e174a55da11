//! Which hosts sandboxes may reach. Pure.

/// A host, or all names below one, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// In small letters, without the star.
    name: String,
    below: bool,
    port: u16,
}

/// Why a pattern is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    #[error("is not a host such as pypi.org, *.npmjs.org or git.example:8443")]
    Invalid,
    /// What an address stands for is not checked by anybody.
    #[error("is an address; list hosts by name, because their certificates are what programs check")]
    Address,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.trim().to_ascii_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => {
                (host, port.parse().ok().filter(|port| *port != 0).ok_or(PatternError::Invalid)?)
            }
            Some(_) => return Err(PatternError::Address),
            None => (&*text, 443),
        };
        let (name, below) = host.strip_prefix("*.").map_or((host, false), |name| (name, true));
        if name.parse::<std::net::IpAddr>().is_ok() {
            return Err(PatternError::Address);
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // One label alone is a top-level domain, or a name of the server's own network.
        let is_name = name.contains('.') && name.len() <= 253 && name.split('.').all(is_label);
        is_name.then(|| Self { name: name.to_owned(), below, port }).ok_or(PatternError::Invalid)
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        let same = match self.below {
            true => host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => host == self.name,
        };
        same && port == self.port
    }
}

/// What sandboxes may reach, and how much they may exchange with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub allowed: Vec<Pattern>,
    /// Bytes of one sandbox, both ways together, for as long as it lives.
    pub max_bytes: u64,
}

impl Policy {
    /// `host` in small letters, without a dot at its end.
    pub(super) fn allows(&self, host: &str, port: u16) -> bool {
        self.allowed.iter().any(|pattern| pattern.matches(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_allowed() {
        let allowed = ["PyPI.org", "*.npmjs.org", "git.example:8443"].map(|text| Pattern::parse(text).expect("valid"));
        let policy = Policy { allowed: allowed.to_vec(), max_bytes: 1 };
        for (host, port, expected) in [
            ("pypi.org", 443, true),
            ("pypi.org", 80, false),
            ("files.pypi.org", 443, false),
            ("registry.npmjs.org", 443, true),
            ("a.b.npmjs.org", 443, true),
            ("npmjs.org", 443, false),
            (".npmjs.org", 443, false),
            ("evilnpmjs.org", 443, false),
            ("npmjs.org.evil.example", 443, false),
            ("git.example", 8443, true),
            ("git.example", 443, false),
            ("127.0.0.1", 443, false),
        ] {
            assert_eq!(policy.allows(host, port), expected, "{host}:{port}");
        }
        assert!(!Policy { allowed: Vec::new(), max_bytes: 1 }.allows("pypi.org", 443));
    }

    #[test]
    fn what_is_no_host_is_not_listed() {
        for wrong in [
            "",
            "*",
            "*.",
            "*.org",
            "localhost",
            "https://pypi.org",
            "pypi.org/simple",
            "a..b",
            "a.*.b",
            "a.b:0",
            "a.b:x",
        ] {
            assert_eq!(Pattern::parse(wrong), Err(PatternError::Invalid), "{wrong}");
        }
        for address in ["10.0.0.1", "1.1.1.1:443", "[::1]:443", "::1"] {
            assert_eq!(Pattern::parse(address), Err(PatternError::Address), "{address}");
        }
    }
}
