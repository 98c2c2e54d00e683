/** The Promise of a call. It rejects with what the call throws, such as for a receiver that is no store. An async function takes a turn more. */
export function promised<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}
