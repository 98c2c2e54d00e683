// A long sentence is read twice, and understood by few. So none has more than 30 words, in documents and comments.
import assert from "node:assert/strict";
import { test } from "node:test";
import { commentsOf, DOCS, read, SOURCES, withoutCode } from "./texts.js";

const MOST_WORDS = 30;

/** The sentences outside of code, which may be indented, of headings and of tables. */
function sentencesOf(markdown: string): string[] {
  return withoutCode(markdown)
    .replace(/^ {3,}.*$/gm, "\n\n")
    .replace(/^ ?@example[\s\S]*?(?=^ ?@|(?![\s\S]))/gm, "")
    .replace(/^\s*(?:[|#].*|@\w+|[-*]|\d+\.)(?=\s)/gm, "\n\n")
    .replace(/`[^`]+`|\{@link [^}]+\}/g, (code) => code.replace(/\s+/g, "\u00a0"))
    .split(/\n\s*\n|(?<=[.!?]["”)*]*)[ \n]+(?=[\p{Lu}\d`["(*])| · /u);
}

const wordsOf = (sentence: string) => sentence.split(/[ \n]+/).filter((word) => /[\p{L}\d]/u.test(word));

const long = (path: string, text: string) =>
  sentencesOf(text)
    .map(wordsOf)
    .filter((words) => words.length > MOST_WORDS)
    .map((words) => `${path}: ${words.length} words: ${words.join(" ")}`);

test(`no sentence of a document has more than ${MOST_WORDS} words`, () => {
  assert.deepEqual(
    DOCS.flatMap((doc) => long(doc, read(doc))),
    [],
  );
});

test(`no sentence of a comment has more than ${MOST_WORDS} words`, () => {
  assert.deepEqual(
    SOURCES.flatMap((source) => commentsOf(source).flatMap((comment) => long(source, comment))),
    [],
  );
});
