//! Tells cargo that a file added to `profiles/` is a reason to build again; nothing is generated.

fn main() {
    println!("cargo::rerun-if-changed=profiles");
}
