//! The automaton of Aho and Corasick ("Efficient string matching", 1975) over bytes.
//!
//! Unlike a library's it tells how deep a state is: how much of what came last is the beginning of a pattern, and so must be held back.

/// The state in which nothing that came is the beginning of a pattern.
pub(super) const ROOT: u32 = 0;

/// No node; the root is nobody's child.
const NONE: u32 = 0;

pub(super) struct Automaton {
    nodes: Vec<Node>,
    /// The children of the root, by byte, because most bytes are looked up there.
    first: Box<[u32; 256]>,
    longest: usize,
}

/// Reached by the beginning of a pattern, which is as long as the node is deep.
struct Node {
    byte: u8,
    /// The first of its children; the others are each other's siblings.
    child: u32,
    sibling: u32,
    /// Reached by the longest end of the same that is a beginning, too.
    fail: u32,
    depth: u32,
    /// The longest pattern that ends here; 0 if none does.
    longest: u32,
}

impl Automaton {
    pub(super) fn new(patterns: &[Vec<u8>]) -> Self {
        let root = Node { byte: 0, child: NONE, sibling: NONE, fail: ROOT, depth: 0, longest: 0 };
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let mut automaton = Self { nodes: vec![root], first: Box::new([NONE; 256]), longest };
        for pattern in patterns {
            automaton.insert(pattern);
        }
        automaton.link();
        automaton
    }

    /// Bytes of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn depth(&self, state: u32) -> usize {
        self.nodes[state as usize].depth as usize
    }

    /// Bytes of the longest pattern that ends in this state.
    pub(super) fn longest_at(&self, state: u32) -> usize {
        self.nodes[state as usize].longest as usize
    }

    pub(super) fn next(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            let child = self.child(state, byte);
            if child != NONE || state == ROOT {
                return child;
            }
            state = self.nodes[state as usize].fail;
        }
    }

    fn child(&self, state: u32, byte: u8) -> u32 {
        if state == ROOT {
            return self.first[usize::from(byte)];
        }
        let mut child = self.nodes[state as usize].child;
        while child != NONE && self.nodes[child as usize].byte != byte {
            child = self.nodes[child as usize].sibling;
        }
        child
    }

    fn insert(&mut self, pattern: &[u8]) {
        let mut state = ROOT;
        for byte in pattern {
            let mut next = self.child(state, *byte);
            if next == NONE {
                next = u32::try_from(self.nodes.len()).expect("patterns are far below 4 GiB");
                let Node { child, depth, .. } = self.nodes[state as usize];
                let sibling = if state == ROOT { NONE } else { child };
                self.nodes.push(Node { byte: *byte, child: NONE, sibling, fail: ROOT, depth: depth + 1, longest: 0 });
                if state == ROOT {
                    self.first[usize::from(*byte)] = next;
                } else {
                    self.nodes[state as usize].child = next;
                }
            }
            state = next;
        }
        let node = &mut self.nodes[state as usize];
        node.longest = node.depth;
    }

    /// Finds what each node falls back to, the shallow ones first.
    fn link(&mut self) {
        let mut layer: Vec<u32> = self.first.iter().copied().filter(|child| *child != NONE).collect();
        while !layer.is_empty() {
            let mut deeper = Vec::new();
            for state in layer {
                let mut child = self.nodes[state as usize].child;
                while child != NONE {
                    let fail = self.next(self.nodes[state as usize].fail, self.nodes[child as usize].byte);
                    let inherited = self.nodes[fail as usize].longest;
                    let node = &mut self.nodes[child as usize];
                    node.fail = fail;
                    // A pattern that ends here itself is longer than any that only ends with it.
                    node.longest = node.longest.max(inherited);
                    deeper.push(child);
                    child = node.sibling;
                }
            }
            layer = deeper;
        }
    }
}
