//! The project's examples.
