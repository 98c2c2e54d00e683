//! A deliberate memory error, only in the build for the sanitizer.

pub fn read_after_free() -> u8 {
    let freed = Box::into_raw(Box::new(7_u8));
    // SAFETY: none. The first line is right, and the second is what has to be found.
    unsafe {
        drop(Box::from_raw(freed));
        std::ptr::read_volatile(freed)
    }
}
