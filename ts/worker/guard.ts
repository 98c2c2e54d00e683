// No rejection ends a Worker.
export const guardUnhandledRejections = () => () => {};
