/** The shared vectors (../../vectors/README.md) against this machine. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { Machine } from "../live/machine.js";

const FOLDER = new URL("../../vectors/", import.meta.url);

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json") && name !== "schema.json").sort()) {
  const { vectors } = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
  for (const { name, options, steps } of vectors) test(`${file}: ${name}`, () => run(options, steps));
}

function run(options, steps) {
  let draws = [];
  const random = () => {
    assert.ok(draws.length, "it draws where nothing is given");
    return draws.shift();
  };
  const machine = new Machine({ ...options, random });
  for (const [number, { at, in: input, random: given = [], out, places = {} }] of steps.entries()) {
    const where = `step ${number}: ${input.type} at ${at}`;
    draws = [...given];
    assert.deepEqual(JSON.parse(JSON.stringify(machine.take(input, at))), out, where);
    assert.equal(draws.length, 0, `${where}: it draws less`);
    for (const [channel, place] of Object.entries(places)) assert.deepEqual(machine.place(channel), place, where);
  }
}
