// A rejection does not end a Worker.
export const guardUnhandledRejections = () => () => {};
