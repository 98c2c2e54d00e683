//! Strings whose text lies outside of V8's heap. V8 makes them old at once: it drops them only when it collects the old generation. So they
//! are for what would become old anyway, which they save it from copying, twice.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use libloading::os::unix::Library;
use napi::sys;

use super::{Scope, Value};

/// So many bytes the process has outside at most: V8 is told of them, but does not collect for them alone.
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

/// A part of Node-API 10; Node has it from 18.18 on.
static CREATE: LazyLock<Option<Create>> = LazyLock::new(|| {
    let process = Library::this();
    // SAFETY: the type is that of Node-API, whose interface is stable.
    unsafe { Some(*process.get(b"node_api_create_external_string_latin1\0").ok()?) }
});

impl<'scope> Scope<'scope> {
    /// A string of Latin-1. None where there can be none, or too many are there.
    pub fn external_latin1(self, bytes: &[u8]) -> Option<Value<'scope>> {
        let create = (*CREATE)?;
        let length = bytes.len();
        let fits = |outside: usize| outside.checked_add(length).filter(|sum| *sum <= MOST);
        OUTSIDE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        let text = Box::into_raw(Box::<[u8]>::from(bytes)).cast::<u8>();
        let (mut raw, mut copied) = (ptr::null_mut(), false);
        // SAFETY: the text is not freed until `release`, which is told its length, and nobody changes it. A string that Node has copied is
        // released by it at once. If there is none it is not known who holds the text, which then is never freed.
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
            Value {
                raw,
                lifetime: PhantomData,
            }
        })
    }
}

/// Node's callback: the string is gone. It may be called amid a garbage collection, and without an environment once that has ended.
unsafe extern "C" fn release(env: sys::napi_env, text: *mut c_void, length: *mut c_void) {
    let length = length.addr();
    // SAFETY: text and length are those of a boxed slice that `external_latin1` gave away, and Node calls a finalizer once.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(text.cast::<u8>(), length)) });
    OUTSIDE.fetch_sub(length, Ordering::Relaxed);
    if !env.is_null() {
        adjust(env, -(length as i64));
    }
}

/// Tells V8 of memory that its strings hold.
fn adjust(env: sys::napi_env, change: i64) {
    let mut now = 0;
    // SAFETY: the environment is alive; the result goes to a local. This is allowed in finalizers.
    unsafe { sys::napi_adjust_external_memory(env, change, &mut now) };
}
