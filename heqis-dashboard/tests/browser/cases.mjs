// How a test of the page is run.

import { after, test } from "node:test";

import { missing, shut } from "./scene.mjs";

if (missing) console.error(missing);
after(shut);

/** A test that is skipped, and says why, where something is missing. */
export const check = (name, body) => test(name, { skip: missing, timeout: 120_000 }, body);
