//! Hostile workspaces, and the task with a real watcher.
