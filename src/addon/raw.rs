//! Node-API for the hot path, where `#[napi]` costs twice as much (docs/design/memory.md has the figures). All `unsafe` of the
//! crate is in this module; what it exports is safe to use during the call that it belongs to.
#![allow(unsafe_code, reason = "Node-API is C")]

#[cfg(unix)]
mod external;
#[cfg(unix)]
pub mod poll;
#[cfg(feature = "sanitize")]
pub mod seeded;
mod text;
#[cfg(not(unix))]
mod external {
    use super::{Scope, ScopedValue};

    impl<'scope> Scope<'scope> {
        /// Windows has no external strings here.
        pub fn external_latin1(self, _: &[u8]) -> Option<ScopedValue<'scope>> {
            None
        }
    }
}
#[cfg(not(unix))]
pub mod poll {
    /// Windows has no poll handle: there the I/O thread reads all sockets.
    pub enum Poll {}

    impl Poll {
        pub fn is_started(&self) -> bool {
            match *self {}
        }

        pub fn start(&self) {
            match *self {}
        }

        pub fn stop(&self) {
            match *self {}
        }
    }
}

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use napi::Env;
use napi::bindgen_prelude::{JsValue, Unknown};
use napi::sys;
use smallvec::SmallVec;

use crate::error::{Error, Result};
pub use text::TextWrite;

/// On the stack up to a size that most commands need.
pub type Buffer = SmallVec<[u8; 1024]>;

/// The environment, valid during the current call.
#[derive(Clone, Copy)]
pub struct Scope<'scope> {
    env: sys::napi_env,
    lifetime: PhantomData<&'scope ()>,
}

/// A JavaScript value, valid during the current call.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct ScopedValue<'scope> {
    raw: sys::napi_value,
    lifetime: PhantomData<&'scope ()>,
}

impl<'scope> Scope<'scope> {
    pub fn of(env: &'scope Env) -> Self {
        Self {
            env: env.raw(),
            lifetime: PhantomData,
        }
    }

    pub fn env(self) -> Env {
        Env::from_raw(self.env)
    }

    /// Converts a value that `#[napi]` received.
    pub fn import<'value>(self, value: &impl JsValue<'value>) -> ScopedValue<'scope> {
        ScopedValue {
            raw: value.raw(),
            lifetime: PhantomData,
        }
    }

    /// Converts a value for `#[napi]` to return. Null after a throw.
    pub fn export(self, value: sys::napi_value) -> Unknown<'scope> {
        // SAFETY: the value belongs to this scope, or is null while an exception is pending, and then nothing reads it.
        unsafe { Unknown::from_raw_unchecked(self.env, value) }
    }

    /// The value as a number, if it is one.
    pub fn number(self, value: ScopedValue) -> Option<f64> {
        let mut number = 0.0;
        // SAFETY: the value belongs to this scope; the result goes to a local.
        let status = unsafe { sys::napi_get_value_double(self.env, value.raw, &mut number) };
        (status == sys::Status::napi_ok).then_some(number)
    }

    /// The elements of an array. None if the value is no array.
    #[inline]
    pub fn elements(
        self,
        value: ScopedValue<'scope>,
    ) -> Option<impl ExactSizeIterator<Item = Result<ScopedValue<'scope>>>> {
        let (mut is_array, mut length) = (false, 0);
        // SAFETY: the value belongs to this scope; results go to locals.
        let status = unsafe {
            sys::napi_is_array(self.env, value.raw, &mut is_array);
            if is_array {
                sys::napi_get_array_length(self.env, value.raw, &mut length)
            } else {
                -1
            }
        };
        let element = move |index| {
            let mut raw = ptr::null_mut();
            // SAFETY: as above; an index past the end gives undefined.
            check(unsafe { sys::napi_get_element(self.env, value.raw, index, &mut raw) })?;
            Ok(ScopedValue {
                raw,
                lifetime: PhantomData,
            })
        };
        (status == sys::Status::napi_ok).then(|| (0..length).map(element))
    }

    #[inline]
    pub fn null(self) -> Result<ScopedValue<'scope>> {
        // SAFETY: the result goes to a local.
        self.made(|result| unsafe { sys::napi_get_null(self.env, result) })
    }

    pub fn double(self, number: f64) -> Result<ScopedValue<'scope>> {
        // SAFETY: the result goes to a local.
        self.made(|result| unsafe { sys::napi_create_double(self.env, number, result) })
    }

    /// A string from UTF-8. Invalid bytes become U+FFFD.
    pub fn string(self, bytes: &[u8]) -> Result<ScopedValue<'scope>> {
        if bytes.is_ascii() {
            return self.latin1(bytes);
        }
        let (start, length) = (bytes.as_ptr().cast::<c_char>(), bytes.len() as isize);
        // SAFETY: `start` and `length` are those of a slice; the result goes to a local.
        self.made(|result| unsafe { sys::napi_create_string_utf8(self.env, start, length, result) })
    }

    /// A string from Latin-1, which includes ASCII: V8 copies it, in half the time of decoding UTF-8.
    #[inline]
    pub fn latin1(self, bytes: &[u8]) -> Result<ScopedValue<'scope>> {
        let (start, length) = (bytes.as_ptr().cast::<c_char>(), bytes.len() as isize);
        // SAFETY: as in `string`.
        self.made(|result| unsafe { sys::napi_create_string_latin1(self.env, start, length, result) })
    }

    #[inline]
    pub fn undefined(self) -> Result<ScopedValue<'scope>> {
        // SAFETY: the result goes to a local.
        self.made(|result| unsafe { sys::napi_get_undefined(self.env, result) })
    }

    /// Calls a JavaScript function.
    pub fn call(
        self,
        function: ScopedValue<'scope>,
        arguments: &[ScopedValue<'scope>],
    ) -> Result<ScopedValue<'scope>> {
        let this = self.undefined()?;
        let values = arguments.as_ptr().cast::<sys::napi_value>();
        // SAFETY: a `ScopedValue` is a `napi_value` by its representation; all belong to this scope.
        self.made(|result| unsafe {
            sys::napi_call_function(self.env, this.raw, function.raw, arguments.len(), values, result)
        })
    }

    /// Calls a JavaScript function from the event loop, then the microtasks. What it throws is an uncaught exception.
    pub fn call_from_loop(self, function: ScopedValue<'scope>) {
        // SAFETY: the result goes to a local.
        let global = self.made(|result| unsafe { sys::napi_get_global(self.env, result) });
        let Ok(global) = global else { return };
        // SAFETY: the values belong to this scope; results go to locals. An async context is not given.
        unsafe {
            let (context, mut result) = (ptr::null_mut(), ptr::null_mut());
            let status = sys::napi_make_callback(
                self.env,
                context,
                global.raw,
                function.raw,
                0,
                ptr::null(),
                &mut result,
            );
            let mut thrown = ptr::null_mut();
            if status == sys::Status::napi_pending_exception
                && sys::napi_get_and_clear_last_exception(self.env, &mut thrown) == sys::Status::napi_ok
            {
                sys::napi_fatal_exception(self.env, thrown);
            }
        }
    }

    /// A JavaScript `Error` whose `code` is the tag, with `cause`, `node` and `slot` where there are any.
    pub fn error(self, error: &Error) -> Result<ScopedValue<'scope>> {
        let (code, message) = (
            self.string(error.tag().as_bytes())?,
            self.string(error.message.as_bytes())?,
        );
        // SAFETY: both values are strings of this scope; the result goes to a local.
        let made =
            self.made(|result| unsafe { sys::napi_create_error(self.env, code.raw, message.raw, result) })?;
        if let Some(cause) = &error.cause {
            self.set(made, c"cause", self.error(cause)?)?;
        }
        if let Some(node) = &error.node {
            self.set(made, c"node", self.string(node.as_bytes())?)?;
        }
        if let Some(slot) = error.slot {
            self.set(made, c"slot", self.double(f64::from(slot))?)?;
        }
        Ok(made)
    }

    fn set(self, object: ScopedValue<'scope>, name: &CStr, value: ScopedValue<'scope>) -> Result<()> {
        // SAFETY: both values belong to this scope, and the name ends with NUL.
        check(unsafe { sys::napi_set_named_property(self.env, object.raw, name.as_ptr(), value.raw) })
    }

    fn throw(self, error: &Error) {
        if let Ok(error) = self.error(error) {
            // SAFETY: the value belongs to this scope.
            unsafe { sys::napi_throw(self.env, error.raw) };
        }
    }

    #[inline]
    fn made(
        self,
        make: impl FnOnce(*mut sys::napi_value) -> sys::napi_status,
    ) -> Result<ScopedValue<'scope>> {
        let mut raw = ptr::null_mut();
        check(make(&mut raw))?;
        Ok(ScopedValue {
            raw,
            lifetime: PhantomData,
        })
    }

    /// A JavaScript function that calls `target`, and keeps it alive.
    pub fn function<T: Callable + 'static>(self, target: Rc<T>) -> Result<ScopedValue<'scope>> {
        let data = Rc::into_raw(target).cast_mut().cast::<c_void>();
        // SAFETY: `data` is a `T` that lives until `release::<T>`, which runs when the function is collected, or when the
        // environment ends; after that no JavaScript can call it.
        let function = self.made(|result| unsafe {
            sys::napi_create_function(self.env, ptr::null(), 0, Some(trampoline::<T>), data, result)
        })?;
        // SAFETY: as above.
        check(unsafe {
            sys::napi_add_finalizer(
                self.env,
                function.raw,
                data,
                Some(release::<T>),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })?;
        Ok(function)
    }
}

/// The target of a function that `Scope::function` made.
pub trait Callable {
    fn call<'scope>(
        &self,
        scope: Scope<'scope>,
        arguments: &[ScopedValue<'scope>],
    ) -> Result<ScopedValue<'scope>>;
}

/// Runs `work` for a call from JavaScript: throws its error there, or an error for a panic.
pub fn guarded<'scope>(
    scope: Scope<'scope>,
    work: impl FnOnce() -> Result<ScopedValue<'scope>>,
) -> sys::napi_value {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::reply(
            "ERR internal error in covara-kv: please report it with the output above",
        ))
    });
    match outcome {
        Ok(value) => value.raw,
        Err(error) => {
            scope.throw(&error);
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn trampoline<T: Callable>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    let scope = Scope {
        env,
        lifetime: PhantomData,
    };
    guarded(scope, || {
        let mut few = [ptr::null_mut(); 8];
        let mut many = Vec::new();
        let (mut count, mut data) = (few.len(), ptr::null_mut());
        // SAFETY: `few`, and then `many`, has room for `count` values.
        unsafe {
            let values = few.as_mut_ptr();
            check(sys::napi_get_cb_info(
                env,
                info,
                &mut count,
                values,
                ptr::null_mut(),
                &mut data,
            ))?;
            if count > few.len() {
                many.resize(count, ptr::null_mut());
                let values = many.as_mut_ptr();
                check(sys::napi_get_cb_info(
                    env,
                    info,
                    &mut count,
                    values,
                    ptr::null_mut(),
                    &mut data,
                ))?;
            }
        }
        let raws = if many.is_empty() { &few[..count] } else { &many[..] };
        // SAFETY: a `ScopedValue` is a `napi_value` by its representation, and these belong to the scope. `data` is what
        // `Scope::function::<T>` gave to this function, which is being called and so is alive.
        let (arguments, target) = unsafe {
            (
                std::slice::from_raw_parts(raws.as_ptr().cast::<ScopedValue>(), raws.len()),
                &*data.cast::<T>(),
            )
        };
        target.call(scope, arguments)
    })
}

unsafe extern "C" fn release<T>(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `data` comes from `Rc::into_raw` in `Scope::function::<T>`, and Node calls a finalizer once.
    drop(unsafe { Rc::from_raw(data.cast_const().cast::<T>()) });
}

#[inline]
fn check(status: sys::napi_status) -> Result<()> {
    match status {
        sys::Status::napi_ok => Ok(()),
        sys::Status::napi_generic_failure => Err(Error::reply(
            "ERR the reply is too long for a string of JavaScript",
        )),
        status => Err(Error::reply(format!("ERR Node-API failed with status {status}"))),
    }
}
