//! libuv's `uv_poll`: the JavaScript thread polls a socket. The functions are looked up at run time: not every runtime with
//! Node-API has libuv.
//!
//! The closing callback frees a handle, and libuv calls it from the event loop. An asynchronous cleanup hook makes an ending
//! environment wait for it: a loop that ends with an open handle aborts the process.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::LazyLock;

use libloading::os::unix::Library;
use napi::sys;

use super::Scope;

/// `uv_handle_t`, as an opaque type.
type Handle = c_void;
type OnReadable = unsafe extern "C" fn(*mut Handle, c_int, c_int);
type OnClosed = unsafe extern "C" fn(*mut Handle);

/// Members of `uv_handle_type` and `uv_poll_event`, which are stable in libuv 1.
const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

struct Libuv {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    set_data: unsafe extern "C" fn(*mut Handle, *mut c_void),
    get_data: unsafe extern "C" fn(*const Handle) -> *mut c_void,
    init: unsafe extern "C" fn(*mut sys::uv_loop_s, *mut Handle, c_int) -> c_int,
    start: unsafe extern "C" fn(*mut Handle, c_int, OnReadable) -> c_int,
    stop: unsafe extern "C" fn(*mut Handle) -> c_int,
    unref: unsafe extern "C" fn(*mut Handle),
    close: unsafe extern "C" fn(*mut Handle, OnClosed),
}

static LIBUV: LazyLock<Option<Libuv>> = LazyLock::new(|| {
    let process = Library::this();
    // SAFETY: the types are those of libuv 1, whose interface is stable.
    unsafe {
        Some(Libuv {
            handle_size: *process.get(b"uv_handle_size\0").ok()?,
            set_data: *process.get(b"uv_handle_set_data\0").ok()?,
            get_data: *process.get(b"uv_handle_get_data\0").ok()?,
            init: *process.get(b"uv_poll_init\0").ok()?,
            start: *process.get(b"uv_poll_start\0").ok()?,
            stop: *process.get(b"uv_poll_stop\0").ok()?,
            unref: *process.get(b"uv_unref\0").ok()?,
            close: *process.get(b"uv_close\0").ok()?,
        })
    }
});

/// Calls a function on the JavaScript thread while the socket is readable. It does not keep the process alive.
pub struct Poll(Rc<PollState>);

struct PollState {
    libuv: &'static Libuv,
    env: sys::napi_env,
    /// The memory of the handle, which must not move.
    memory: Box<[Cell<u64>]>,
    on_readable: Box<dyn Fn(Scope)>,
    /// Open while libuv may use it.
    _socket: OwnedFd,
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
    is_started: Cell<bool>,
    is_closing: Cell<bool>,
}

impl Poll {
    /// A handle that is not started. None where libuv is missing.
    pub fn new(scope: Scope, socket: OwnedFd, on_readable: impl Fn(Scope) + 'static) -> Option<Self> {
        let libuv = LIBUV.as_ref()?;
        let mut event_loop = ptr::null_mut();
        // SAFETY: the result goes to a local.
        let status = unsafe { sys::napi_get_uv_event_loop(scope.env, &mut event_loop) };
        if status != sys::Status::napi_ok {
            return None;
        }
        // SAFETY: a plain function of a number.
        let size = unsafe { (libuv.handle_size)(UV_POLL) };
        let number = socket.as_raw_fd();
        let state = Rc::new(PollState {
            libuv,
            env: scope.env,
            memory: vec![Cell::new(0); size.div_ceil(size_of::<u64>())].into(),
            on_readable: Box::new(on_readable),
            _socket: socket,
            hook: Cell::new(ptr::null_mut()),
            is_started: Cell::new(false),
            is_closing: Cell::new(false),
        });
        // SAFETY: this is the thread of the loop. The memory is as large as libuv wants it, and aligned to 8 bytes. It lives as long as
        // the state: until `closed`, as the handle's data holds a reference to it. If `init` fails, libuv does not keep the memory.
        unsafe {
            if (libuv.init)(event_loop, state.handle(), number) != 0 {
                return None;
            }
            let data = Rc::into_raw(state.clone()).cast_mut().cast::<c_void>();
            (libuv.set_data)(state.handle(), data);
            (libuv.unref)(state.handle());
            let mut hook = ptr::null_mut();
            let status = sys::napi_add_async_cleanup_hook(scope.env, Some(ending), data, &mut hook);
            state.hook.set(hook);
            let poll = Self(state);
            (status == sys::Status::napi_ok).then_some(poll)
        }
    }

    pub fn is_started(&self) -> bool {
        self.0.is_started.get()
    }

    pub fn start(&self) {
        let state = &self.0;
        if state.is_closing.get() || state.is_started.get() {
            return;
        }
        // SAFETY: the handle is alive, as it is not closing, and this is its thread.
        let status = unsafe { (state.libuv.start)(state.handle(), UV_READABLE, readable) };
        state.is_started.set(status == 0);
    }

    pub fn stop(&self) {
        let state = &self.0;
        if state.is_closing.get() || !state.is_started.replace(false) {
            return;
        }
        // SAFETY: as in `start`.
        unsafe { (state.libuv.stop)(state.handle()) };
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl PollState {
    fn handle(&self) -> *mut Handle {
        self.memory.as_ptr().cast_mut().cast()
    }

    fn close(&self) {
        if self.is_closing.replace(true) {
            return;
        }
        // SAFETY: the handle is alive, this is its thread, and it is closed once.
        unsafe { (self.libuv.close)(self.handle(), closed) };
    }
}

/// libuv's callback: the socket is readable, or has an error, which a read returns too. At an error libuv has stopped the handle.
unsafe extern "C" fn readable(handle: *mut Handle, status: c_int, _events: c_int) {
    let Some(libuv) = LIBUV.as_ref() else { return };
    // SAFETY: the data is what `new` gave the handle: a reference that lasts until `closed`. The one made here outlives a callback that
    // drops its `Poll`.
    let state = unsafe {
        let data = (libuv.get_data)(handle).cast::<PollState>();
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    };
    if status < 0 {
        state.is_started.set(false);
    }
    let mut handles = ptr::null_mut();
    // SAFETY: the environment is alive while its loop runs; this is its thread.
    if unsafe { sys::napi_open_handle_scope(state.env, &mut handles) } != sys::Status::napi_ok {
        return;
    }
    let scope = Scope {
        env: state.env,
        lifetime: PhantomData,
    };
    // The panic hook has printed a panic, which must not unwind into libuv.
    let _ = catch_unwind(AssertUnwindSafe(|| (state.on_readable)(scope)));
    // SAFETY: it is the scope that was opened above.
    unsafe { sys::napi_close_handle_scope(state.env, handles) };
}

/// Node's callback: the environment ends. It waits until the hook is removed.
unsafe extern "C" fn ending(_hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the data is that of the handle, which holds a reference until `closed`, where the hook is removed.
    unsafe { (*data.cast::<PollState>()).close() };
}

/// libuv's callback: the handle is closed, and libuv does not use it from now on.
unsafe extern "C" fn closed(handle: *mut Handle) {
    let Some(libuv) = LIBUV.as_ref() else { return };
    // SAFETY: the reference that `new` gave to the handle is taken back, once; nothing uses the handle afterwards. The hook was
    // made with it.
    unsafe {
        let state = Rc::from_raw((libuv.get_data)(handle).cast::<PollState>());
        sys::napi_remove_async_cleanup_hook(state.hook.get());
    }
}
