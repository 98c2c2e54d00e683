//! The I/O thread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Reason, Result};

/// One runtime of one thread for the process: a second thread made nothing faster.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("covara-kv").enable_all();
    builder.build()
});

pub fn get() -> Result<&'static Runtime> {
    let unable = |error| {
        Error::because(
            Reason::Internal,
            format!("no thread could be started for it: {error}"),
        )
    };
    RUNTIME.as_ref().map_err(unable)
}

/// Has the I/O thread run a task. Boxed, for tokio compiles each kind of task anew: 5 KB each.
pub fn spawn(runtime: &Runtime, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
    runtime.spawn(task)
}
