/** Texts that cite: [1] leads to what is quoted below. */

import { element } from "./dom.js";

/** Return the text's parts, with links to the citations of `place`, a name that no other text on the page has. */
export function citing(text, citations, place) {
  return text.split(/(\[\d+\])/).map((part) => {
    const cited = /^\[(\d+)\]$/.exec(part) && citations.find(({ index }) => `[${index}]` === part);
    return cited ? element("a", { href: `#${place}-${cited.index}`, title: cited.name }, part) : part;
  });
}

/** Return the list of what is cited, or nothing where there is none. */
export function citationsOf(citations, place) {
  if (!citations.length) return [];
  return [element("ol", { className: "citations" }, ...citations.map((each) => citationOf(each, place)))];
}

/** Where something stands in its document: its headings, page, line. */
export function where(place) {
  const { headings = [], page, record, first_line: line } = place ?? {};
  return [...headings, page && `page ${page}`, record, line && `line ${line}`].filter(Boolean).join(" › ");
}

function citationOf({ index, name, title, place, quote }, prefix) {
  return element(
    "li",
    { id: `${prefix}-${index}`, value: index },
    element("cite", { title: name }, title || name),
    element("span", { className: "place" }, where(place)),
    element("q", {}, quote),
  );
}
