//! What a new room can begin with.

/// A small project that works, with tests that run by themselves.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub id: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub language: &'static str,
    /// Paths from the workspace's root and their text.
    pub files: &'static [(&'static str, &'static str)],
    /// Files whose change runs the tests.
    pub test_globs: &'static [&'static str],
}

macro_rules! file {
    ($template:literal, $path:literal) => {
        ($path, include_str!(concat!("../templates/", $template, "/", $path)))
    };
}

/// Every template, in the order they are offered.
pub const TEMPLATES: &[Template] = &[
    Template {
        id: "python",
        title: "Python with unittest",
        description: "A shopping basket with unit tests that run as you type.",
        language: "Python",
        files: &[file!("python", "README.md"), file!("python", "basket.py"), file!("python", "test_basket.py")],
        test_globs: &["**/*.py"],
    },
    Template {
        id: "node",
        title: "Node.js with node:test",
        description: "A word counter with tests that run as you type.",
        language: "JavaScript",
        files: &[
            file!("node", "README.md"),
            file!("node", "package.json"),
            file!("node", "src/words.js"),
            file!("node", "test/words.test.js"),
        ],
        test_globs: &["**/*.js", "**/*.mjs", "**/*.cjs", "package.json"],
    },
];

/// The template called `id`.
pub fn template(id: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.id == id)
}
