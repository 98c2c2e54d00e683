#[allow(
    clippy::disallowed_macros,
    reason = "by its output a build script tells cargo what to do"
)]
fn main() {
    napi_build::setup();
    // Node unloads an addon with the last environment that has it, which may be a worker's. The I/O thread outlives that.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
