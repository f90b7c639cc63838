// What is wrong with the image in view, how sure that is, and what undoes it.

import { make } from "./options.js";
import { ask, download } from "./server.js";

const byId = (name) => document.getElementById(name);

export class Diagnosis {
  /** `tick` is called with the defects that the model is to be told. */
  constructor(tick) {
    this.tick = tick;
    this.found = new Map(); // by identity and axes of an image
    this.image = null;
  }

  key(image) {
    return `${image.id} ${image.axes}`;
  }

  /** Show what is known of an image. */
  show(image) {
    const key = image && this.key(image);
    byId("diagnose").disabled = !image || image.state === "asks" || this.looking === key;
    if (key === this.image) return;
    this.image = key;
    this.fill(key ? this.found.get(key) : undefined);
  }

  fill(parts) {
    byId("diagnosis").replaceChildren(...(parts ?? []));
    byId("diagnosis").hidden = !parts;
  }

  /** Ask the server to look at an image. */
  async look(image, options) {
    const key = this.key(image);
    this.looking = key;
    byId("diagnose").disabled = true;
    this.tell(key, [make("p", {}, "Looking …")]);
    try {
      this.tell(key, this.parts(image, await ask("POST", `/api/images/${image.id}/diagnosis`, { options })));
    } catch (error) {
      this.tell(key, [make("p", {}, error.message)]);
    }
    this.looking = null;
    if (this.image === key) byId("diagnose").disabled = false;
  }

  tell(key, parts) {
    this.found.set(key, parts);
    if (this.image === key) this.fill(parts);
  }

  parts(image, { channels, hints }) {
    const several = channels.length > 1;
    const parts = channels.flatMap((one, k) => this.channel(one, several ? `Channel ${k + 1}` : ""));
    const buttons = make("div", { class: "buttons" });
    if (hints.length) {
      const button = make("button", { type: "button" }, "Tick what was found");
      button.addEventListener("click", () => this.tick(hints));
      buttons.append(button);
    }
    const report = make("button", { type: "button" }, "Save the report");
    report.addEventListener("click", () => this.saveReport(image));
    buttons.append(report);
    return [...parts, buttons];
  }

  channel({ channel, findings, notes }, number) {
    const head = channel ?? number;
    const items = findings.map(({ words, sure, remedy }) =>
      make("li", {}, words, make("small", {}, sure), make("small", {}, remedy)),
    );
    const list = items.length ? make("ul", {}, ...items) : make("p", {}, "Nothing found.");
    const asides = notes.map((note) => make("p", { class: "soft" }, note));
    return [...(head ? [make("strong", {}, head)] : []), list, ...asides];
  }

  async saveReport(image) {
    try {
      await download(`/api/images/${image.id}/report`, {});
    } catch (error) {
      this.tell(this.key(image), [make("p", {}, error.message)]);
    }
  }
}
