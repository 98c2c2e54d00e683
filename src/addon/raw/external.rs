//! External strings: their text lies outside of V8's heap. V8 puts them into the old generation at once, and frees them only with it.
//! So they serve strings that would become old anyway, and save two copies.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use libloading::os::unix::Library;
use napi::sys;

use super::{Scope, ScopedValue};

/// The most bytes of external strings: V8 counts them, but does not collect garbage for them alone.
const MOST: usize = 64 << 20;

static OUTSIDE: AtomicUsize = AtomicUsize::new(0);

type Finalize = unsafe extern "C" fn(sys::napi_env, *mut c_void, *mut c_void);
type Create = unsafe extern "C" fn(
    sys::napi_env,
    *mut c_char,
    usize,
    Finalize,
    *mut c_void,
    *mut sys::napi_value,
    *mut bool,
) -> sys::napi_status;

/// A function of Node-API 10, which Node.js has since 18.18.
static CREATE: LazyLock<Option<Create>> = LazyLock::new(|| {
    let process = Library::this();
    // SAFETY: the type is that of Node-API, whose interface is stable.
    unsafe { Some(*process.get(b"node_api_create_external_string_latin1\0").ok()?) }
});

impl<'scope> Scope<'scope> {
    /// An external string of Latin-1. None where Node.js lacks them, or at the limit.
    pub fn external_latin1(self, bytes: &[u8]) -> Option<ScopedValue<'scope>> {
        let create = (*CREATE)?;
        let length = bytes.len();
        let fits = |outside: usize| outside.checked_add(length).filter(|sum| *sum <= MOST);
        OUTSIDE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        let text = Box::into_raw(Box::<[u8]>::from(bytes)).cast::<u8>();
        let (mut raw, mut copied) = (ptr::null_mut(), false);
        // SAFETY: only `release` frees the text, by its length, and nothing changes it. Node calls `release` at once for a string that
        // it copies. On failure the owner of the text is unknown: it is never freed.
        let status = unsafe {
            let length_of_text = ptr::without_provenance_mut(length);
            create(
                self.env,
                text.cast(),
                length,
                release,
                length_of_text,
                &mut raw,
                &mut copied,
            )
        };
        (status == sys::Status::napi_ok).then(|| {
            adjust(self.env, length as i64);
            ScopedValue {
                raw,
                lifetime: PhantomData,
            }
        })
    }
}

/// Node's callback: the string was freed. It may run during a garbage collection, or after the environment has ended, without one.
unsafe extern "C" fn release(env: sys::napi_env, text: *mut c_void, length: *mut c_void) {
    let length = length.addr();
    // SAFETY: text and length are those of a boxed slice that `external_latin1` gave away, and Node calls a finalizer once.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(text.cast::<u8>(), length)) });
    OUTSIDE.fetch_sub(length, Ordering::Relaxed);
    if !env.is_null() {
        adjust(env, -(length as i64));
    }
}

/// Tells V8 how much memory its strings hold outside of its heap.
fn adjust(env: sys::napi_env, change: i64) {
    let mut now = 0;
    // SAFETY: the environment is alive; the result goes to a local. This is allowed in finalizers.
    unsafe { sys::napi_adjust_external_memory(env, change, &mut now) };
}
