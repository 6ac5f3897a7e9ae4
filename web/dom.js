/** Making elements. Text goes in as text, always: whatever a name holds, it is never markup. */

/**
 * Make an element: `element("time", {dateTime: "..."}, "10:42", child)`. Options are properties; `data` are data-attributes.
 * @returns {HTMLElement}
 */
export function element(tag, { data = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** Run `draw` once in the next frame, however often it is asked for until then. */
export function oncePerFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}
