// Strict JSON, as SPEC.md, "Encoding", has it: what two readers could take differently is refused.

import { Malformed, must } from "./bytes.ts";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

// So many arrays and objects may stand inside one another (SPEC.md, "Encoding"); the deepest content in use has 5.
const MAX_DEPTH = 64;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

class Reader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  whole(): Json {
    const value = this.value(0);
    this.space();
    must(this.at === this.text.length, "text behind the JSON");
    return value;
  }

  private space(): void {
    SPACE.lastIndex = this.at;
    SPACE.test(this.text);
    this.at = SPACE.lastIndex;
  }

  private next(letter: string): boolean {
    this.space();
    if (this.text[this.at] !== letter) return false;
    this.at++;
    return true;
  }

  private value(depth: number): Json {
    this.space();
    const letter = this.text[this.at];
    if (letter === "{") return this.object(depth);
    if (letter === "[") return this.array(depth);
    if (letter === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private object(depth: number): JsonObject {
    must(depth < MAX_DEPTH, "JSON is nested too deep");
    // Without a prototype, so that "__proto__" is a name like any other.
    const fields = Object.create(null) as JsonObject;
    this.at++;
    if (this.next("}")) return fields;
    do {
      this.space();
      must(this.text[this.at] === '"', "a name is no string");
      const name = this.string();
      must(!(name in fields), "a name stands twice");
      must(this.next(":"), "no colon behind a name");
      fields[name] = this.value(depth + 1);
    } while (this.next(","));
    must(this.next("}"), "an object does not end");
    return fields;
  }

  private array(depth: number): Json[] {
    must(depth < MAX_DEPTH, "JSON is nested too deep");
    const items: Json[] = [];
    this.at++;
    if (this.next("]")) return items;
    do {
      items.push(this.value(depth + 1));
    } while (this.next(","));
    must(this.next("]"), "an array does not end");
    return items;
  }

  private string(): string {
    let text = "";
    this.at++;
    for (;;) {
      PLAIN.lastIndex = this.at;
      PLAIN.test(this.text);
      text += this.text.slice(this.at, PLAIN.lastIndex);
      this.at = PLAIN.lastIndex;
      const letter = this.text[this.at++];
      if (letter === '"') break;
      must(letter === "\\", "a control character in a string, or no end");
      const escape = this.text[this.at++] ?? "";
      if (escape === "u") {
        const digits = this.text.slice(this.at, this.at + 4);
        must(/^[0-9a-fA-F]{4}$/.test(digits), "not an escape");
        text += String.fromCharCode(parseInt(digits, 16));
        this.at += 4;
      } else {
        must(Object.hasOwn(ESCAPES, escape), "not an escape");
        text += ESCAPES[escape];
      }
    }
    must(text.isWellFormed(), "half of a surrogate pair");
    return text;
  }

  private number(): number {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (found === null) throw new Malformed("not JSON");
    must(/^-?[0-9]+$/.test(found[0]), "a number with a fraction or an exponent");
    const value = Number(found[0]);
    must(Number.isSafeInteger(value), "an integer beyond 2^53 - 1");
    this.at = NUMBER.lastIndex;
    return value === 0 ? 0 : value; // -0 is 0
  }
}

/** Read JSON as SPEC.md allows it: no name twice, integers of 53 bits alone, strings of whole characters. */
export function parseStrict(text: string): Json {
  return new Reader(text).whole();
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
