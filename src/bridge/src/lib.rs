//! The text engines of candela behind a C interface.
