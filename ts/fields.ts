// The fields of configurations, and the warning about an unknown one.
import { KVError } from "./errors.js";
import { own } from "./own.js";
import { emitWarning } from "./warning.js";

/** A field of a configuration. */
export interface Field {
  /** What other clients call it. */
  readonly also: readonly string[];
}

/** All fields of `T`. The compiler refuses a table that lacks one. */
export type Fields<T> = { readonly [K in keyof T]-?: Field };

/** The values that were given. */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** The options of {@link fieldsOf}. */
export interface FieldsOptions<T> {
  readonly fields: Fields<T>;
  /** The path of the object in the configuration. Empty for the whole. */
  readonly path?: string;
  /** The right place of fields that belong elsewhere. */
  readonly elsewhere?: Readonly<Record<string, string>>;
}

/** The object's own fields. Warns of an unknown one, which has no effect, with the field that may be meant. */
export function fieldsOf<T extends object>(
  given: object,
  { fields, path = "", elsewhere = {} }: FieldsOptions<T>,
): Given<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  const nameOf = (field: string) => (path === "" ? field : `${path}.${field}`);
  for (const field of Object.keys(given)) {
    if (Object.hasOwn(fields, field) || (given as Record<string, unknown>)[field] === undefined) continue;
    const meant = Object.hasOwn(elsewhere, field) ? elsewhere[field] : meantBy(field, fields);
    const question = meant === undefined ? "" : `: did you mean ${meant}?`;
    warnOfField(`${nameOf(field)} is no field of a configuration and changes nothing${question}`);
  }
  const read = own(given, names, (field) => {
    return new KVError(
      "CONFIG",
      `${nameOf(field)} must not be inherited: only an object's own fields count`,
      { reason: "field" },
    );
  });
  return read as Given<T>;
}

/** Warns of a field without effect: by its name and the reason, never its value. */
export function warnOfField(text: string): void {
  emitWarning(text, "COVARA_KV_CONFIG");
}

/** The field that another client calls so, or that has the nearest name. */
function meantBy<T>(field: string, fields: Fields<T>): string | undefined {
  const given = simplified(field);
  const rows = Object.entries<Field>(fields);
  const [synonym] = rows.find(([, { also }]) => also.some((name) => simplified(name) === given)) ?? [];
  if (synonym !== undefined) return synonym;
  const changes = rows.map(([name]) => distance(given, simplified(name)));
  const least = Math.min(...changes);
  return least <= Math.min(2, given.length / 2) ? rows[changes.indexOf(least)]?.[0] : undefined;
}

const simplified = (name: string) => name.toLowerCase().replace(/[-_]/g, "");

/** The Levenshtein distance of two names. */
function distance(a: string, b: string): number {
  let row = [...b, ""].map((_, i) => i);
  for (const letter of a) {
    let left = (row[0] as number) + 1;
    row = row.map((above, i) => {
      if (i > 0) left = Math.min(above, left, (row[i - 1] as number) - Number(letter === b[i - 1])) + 1;
      return left;
    });
  }
  return row.at(-1) as number;
}
