//! Tests of scripts as a whole.
