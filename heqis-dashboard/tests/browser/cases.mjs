// Runs a test of the page.

import { after, test } from "node:test";

import { missing, shut } from "./fixture.mjs";

if (missing) console.error(missing);
after(shut);

/** A test that is skipped with a reason where a program is missing. */
export const check = (name, body, timeout = 120_000) => test(name, { skip: missing, timeout }, body);
