// Preloaded into each test file by `npm test`. node:test follows every promise with a hook of node:async_hooks, to say of an error outside
// all tests in which test it began. That takes up to half of the time of tests that make many promises. Without the hook such an error fails
// its file, with its message. `npm test -- <name>` keeps the hook, and says which test.
const hooks = require("node:async_hooks");
const { createHook } = hooks;
const { runInAsyncScope } = hooks.AsyncResource.prototype;

hooks.createHook = (callbacks) => {
  if (!/node:internal\/test_runner/.test(new Error().stack)) return createHook(callbacks);
  hooks.createHook = createHook;
  // By the same hook node:test knows in which suite a test is defined. For that it needs the suites alone, which are resources.
  hooks.AsyncResource.prototype.runInAsyncScope = function (...args) {
    if ("subtests" in this) callbacks.init(this.asyncId(), "Test", this.triggerAsyncId(), this);
    return runInAsyncScope.apply(this, args);
  };
  return createHook({});
};
