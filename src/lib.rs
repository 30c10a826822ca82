//! rprov
