/** A line over time, as SVG. It draws numbers, and no text: that stands beside it. */

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 80;
const MARGIN = 4;

/** @typedef {{time: number, value: number}} Point  `time` in milliseconds since 1970 */

export class Line {
  node = document.createElementNS(SPACE, "svg");
  #path = document.createElementNS(SPACE, "path");

  constructor() {
    this.node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute("preserveAspectRatio", "none");
    this.node.setAttribute("role", "img");
    this.node.append(this.#path);
  }

  /** Draw the points from `from` to `to`, between `low` and `high`; `label` says the same to who does not see it. */
  draw(points, { from, to, low, high, label }) {
    const x = (time) => (WIDTH * (time - from)) / (to - from);
    const y = (value) => (high > low ? HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * ((value - low) / (high - low)) : HEIGHT / 2);
    const places = points.map(({ time, value }) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`);
    // A single point is a line to itself: its round ends are seen.
    const rest = places.length === 1 ? places : places.slice(1);
    this.#path.setAttribute("d", places.length ? `M${places[0]}L${rest.join("L")}` : "");
    this.node.setAttribute("aria-label", label);
  }
}
