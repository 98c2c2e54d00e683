import type { ListenOptions, MessageCallback, ScopedSubscription, Subscription } from "../method-types.js";

/** The methods of a {@link KVStore} for channels and patterns. */
export interface PubSubMethods {
  /**
   * Sends a message to a channel, whose name gets no prefix. The number of subscribers that got it.
   * {@link https://redis.io/commands/publish}
   *
   * @example
   * await kv.publish("news", "hello"); // 0
   * await kv.subscribe("news", () => {});
   * await kv.publish("news", "hello"); // 1
   */
  publish(channel: string, message: string): Promise<number>;
  /**
   * Calls `callback` for each message on a channel. Resolves once live. No effect if the channel has the callback already. {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const heard: string[] = [];
   * await kv.subscribe("news", (message, channel) => heard.push(`${channel}: ${message}`));
   * await kv.publish("news", "hello");
   * heard; // ["news: hello"]
   */
  subscribe(channel: string, callback: MessageCallback): Promise<void>;
  /**
   * Removes all callbacks of a channel, also those of other code: see {@link KVStore.listen}.
   * {@link https://redis.io/commands/unsubscribe}
   *
   * @example
   * await kv.subscribe("news", () => {});
   * await kv.unsubscribe("news");
   * await kv.publish("news", "hello"); // 0
   */
  unsubscribe(channel: string): Promise<void>;
  /**
   * Calls `callback` for each message on a channel that matches a glob. Resolves once live.
   * {@link https://redis.io/commands/psubscribe}
   *
   * @example
   * const heard: string[] = [];
   * await kv.psubscribe("news.*", (message, channel) => heard.push(`${channel}: ${message}`));
   * await kv.publish("news.local", "hello");
   * heard; // ["news.local: hello"]
   */
  psubscribe(pattern: string, callback: MessageCallback): Promise<void>;
  /**
   * Removes all callbacks of a pattern, also those of other code: see {@link KVStore.listen}.
   * {@link https://redis.io/commands/punsubscribe}
   *
   * @example
   * await kv.psubscribe("news.*", () => {});
   * await kv.punsubscribe("news.*");
   * await kv.publish("news.local", "hello"); // 0
   */
  punsubscribe(pattern: string): Promise<void>;
  /**
   * Like {@link KVStore.listen}, on backends where a callback for each stream is cheap: absent on Redis.
   * {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const subscription = await kv.subscribeScoped?.(["news"], () => {});
   * await kv.publish("news", "hello"); // 1
   * await subscription?.close();
   * await kv.publish("news", "hello"); // 0
   */
  subscribeScoped?(channels: readonly string[], callback: MessageCallback): Promise<ScopedSubscription>;
  /**
   * Calls `callback` for each message on `channels`, and on those that match a pattern of `options`.
   * Resolves, once live, to a handle that removes this callback and no other.
   * {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const heard: string[] = [];
   * const subscription = await kv.listen(["news"], (message) => heard.push(message), {
   *   patterns: ["news.*"],
   *   onGap: () => heard.push("messages were missed"),
   * });
   * await kv.publish("news", "hello");
   * await subscription.close();
   * heard; // ["hello"]
   */
  listen(
    channels: readonly string[],
    callback: MessageCallback,
    options?: ListenOptions,
  ): Promise<Subscription>;
}
