/** A form out of the JSON Schema of a scenario's parameters. What is left empty has the hub's default. */

import { element } from "./dom.js";

/** Make a labelled field for each parameter of a schema. */
export function fieldsOf({ properties = {}, required = [] }) {
  return Object.entries(properties).map(([name, told]) => {
    const control = controlOf(told);
    control.dataset.parameter = name;
    control.required = required.includes(name);
    control.title = told.description ?? "";
    return element("label", { className: "field short" }, `${name.replaceAll("_", " ")} `, control);
  });
}

/** Return what was filled in, by name. Raises Error, with a sentence for who did it, where a text is no JSON. */
export function valuesOf(root) {
  const controls = [...root.querySelectorAll("[data-parameter]")];
  const values = controls.map((control) => [control.dataset.parameter, valueOf(control)]);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

function controlOf(told) {
  const usual = told.default === undefined ? "" : String(told.default);
  if (told.enum) return choice(["", ...told.enum], usual);
  if (told.type === "boolean") return Object.assign(choice(["", "true", "false"], usual), { className: "json" });
  if (told.type === "array" && told.items?.enum) return element("select", { multiple: true, size: 3 }, ...told.items.enum.map(option));
  if (told.type === "number" || told.type === "integer") return number(told, usual);
  if (told.type === "string") return element("input", { autocomplete: "off", placeholder: usual });
  return element("textarea", { rows: 2, spellcheck: false, placeholder: "JSON", className: "json" });
}

function number({ type, minimum = "", maximum = "" }, placeholder) {
  return element("input", { type: "number", step: type === "integer" ? "1" : "any", min: minimum, max: maximum, placeholder });
}

function choice(values, usual) {
  return element("select", {}, ...values.map((value) => option(value, value === "" && usual ? `(${usual})` : value)));
}

function option(value, text) {
  return element("option", { value }, typeof text === "string" ? text : String(value));
}

function valueOf(control) {
  if (control.multiple) return control.selectedOptions.length ? [...control.selectedOptions].map(({ value }) => value) : undefined;
  const text = control.value.trim();
  if (text === "") return undefined;
  if (control.type === "number") return Number(text);
  if (!control.classList.contains("json")) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${control.dataset.parameter} is not JSON`);
  }
}
