/** The drawing of a simulation: of the series that has changed most, or of the one that is chosen. */

import { element } from "./dom.js";

export class Drawing {
  #picture;
  #select;
  #refused;
  /** What is shown: `{id, scenario, url, beside, signal}`. */
  #shown = null;
  #rest = null;

  /** `refused` is told of what the hub does not give. */
  constructor(picture, select, refused) {
    this.#picture = picture;
    this.#select = select;
    this.#refused = refused;
    select.addEventListener("change", () => this.#draw(this.#shown, select.value));
  }

  /** Show a completed simulation; the one that is shown stays as it is. `signal` ends what is asked. */
  async show({ id, scenario }, rest, signal) {
    if (this.#shown?.id === id) return;
    this.drop();
    const shown = (this.#shown = { id, scenario, url: null, beside: "", signal });
    this.#rest = rest;
    try {
      const { series, baseline } = await rest.simulation(id, signal);
      if (this.#shown !== shown || !series) return;
      shown.beside = baseline ? ", with its baseline" : "";
      const names = Object.keys(series.indicators);
      this.#select.replaceChildren(...names.map((name) => element("option", { value: name }, name.replaceAll("_", " "))));
      if (series.main) this.#select.value = series.main;
      this.#select.parentElement.hidden = names.length < 2;
    } catch (failure) {
      if (!signal.aborted) this.#refused(failure);
    }
    await this.#draw(shown, this.#select.value);
  }

  /** Show none. */
  drop() {
    if (this.#shown?.url) URL.revokeObjectURL(this.#shown.url);
    this.#shown = null;
    this.#picture.replaceChildren();
    this.#select.replaceChildren();
    this.#select.parentElement.hidden = true;
  }

  /** It is asked for with the credential, so it is no address that an image could have. */
  async #draw(shown, indicator) {
    const { id, scenario, signal } = shown;
    try {
      const blob = await this.#rest.plot(id, indicator, signal);
      if (this.#shown !== shown || (this.#select.value && this.#select.value !== indicator)) return;
      if (shown.url) URL.revokeObjectURL(shown.url);
      shown.url = URL.createObjectURL(blob);
      const of = indicator ? `: ${indicator.replaceAll("_", " ")}` : "";
      const alt = `What ${scenario.replaceAll("_", " ")} changes over time${shown.beside}${of}`;
      this.#picture.replaceChildren(element("img", { src: shown.url, alt }));
    } catch (failure) {
      if (!signal.aborted) this.#refused(failure);
    }
  }
}
