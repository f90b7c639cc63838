// The options of restoring as a form; what the fields are is asked of the server.

import { ask } from "./server.js";

const WORDS = {
  noise: "Noise",
  axial: "Few or blurred planes along Z",
  lowres: "Low resolution",
  haze: "Haze",
  jitter: "Shifted lines",
  astigmatism: "Astigmatism",
  defocus: "Out of focus",
  motion: "Motion",
  grating: "Patterned light",
  shadows: "Shadows of a light sheet",
  stripes: "Stripes",
  uneven: "Uneven light",
  hum: "Hum (waves)",
  camera: "Pattern of the camera",
  grain: "Correlated noise",
  hotpixels: "Hot or dead pixels",
  jpeg: "JPEG compression",
  saturation: "Saturation",
  plane: "each plane by itself",
  volume: "one for each stack",
  frame: "one for each plane",
  image: "one for each channel",
  none: "none: grey values are on 0 to 1",
  auto: "automatic",
  same: "as the input",
  keep: "put back as they are",
  mend: "mended",
};
const AXIAL = "stacks become isotropic";
const LABELS = {
  strength: "Strength",
  task: "Restore",
  intensity: "Grey values are scaled",
  dtype: "Type of the pixels",
  keep_sampling: "Keep the planes of the input",
  hot_pixels: "Hot pixels",
  device: "Processor",
};

const byId = (name) => document.getElementById(name);

/** Make an element with attributes and content. */
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value);
    }
  }
  element.append(...content);
  return element;
}

export class Options {
  /** `changed` is called each time something else is chosen. */
  constructor(changed) {
    this.changed = changed;
    this.fields = [];
  }

  async open() {
    const form = await ask("GET", "/api/form");
    this.fields = form.fields;
    for (const field of form.fields) {
      byId(field.first ? "first-fields" : "more-fields").append(this.row(field));
    }
    byId("model").append(...form.models.map((name) => make("option", { value: name }, name)));
    byId("model").addEventListener("change", () => this.showHints());
    byId("form").addEventListener("input", () => this.changed());
    await this.showHints();
    return form;
  }

  row(field) {
    const title = `${field.option}: ${field.description}`;
    const name = LABELS[field.name] ?? field.label;
    const attributes = { id: `field-${field.name}`, title };
    if (field.kind === "tick") {
      const box = make("input", { type: "checkbox", ...attributes });
      return make("label", { class: "tick" }, box, ` ${name}`);
    }
    if (field.kind === "share") return this.share(field, name, attributes);
    let input;
    if (field.kind === "choice") {
      const words = (value) => (field.name === "task" && value === "axial" ? AXIAL : WORDS[value]);
      const choices = field.choices.map((value) => make("option", { value }, words(value) ?? value));
      input = make("select", attributes, ...choices);
    } else {
      input = make("input", { ...attributes, placeholder: field.empty, spellcheck: "false" });
    }
    return make("label", { class: "field" }, make("span", {}, name), " ", input);
  }

  share(field, name, attributes) {
    const range = { type: "range", min: 0, max: 1, step: 0.05, value: field.default };
    const input = make("input", { ...attributes, ...range });
    const shown = make("output", {}, "100 %");
    input.addEventListener("input", () => (shown.value = `${Math.round(100 * input.value)} %`));
    return make("label", { class: "slider" }, make("span", {}, name), input, shown);
  }

  /** Offer the defects that the chosen model takes as a hint; those less common are folded away. */
  async showHints() {
    const ticked = new Set(this.hints());
    const model = encodeURIComponent(byId("model").value);
    const { hints, common } = await ask("GET", `/api/hints?model=${model}`);
    const boxes = (names) =>
      names.map((name) => {
        const box = make("input", { type: "checkbox", value: name, checked: ticked.has(name) });
        return make("label", { class: "tick" }, box, ` ${WORDS[name] ?? name}`);
      });
    const others = hints.filter((name) => !common.includes(name));
    byId("hints").replaceChildren(...boxes(common));
    if (others.length) {
      const open = others.some((name) => ticked.has(name)) || !common.length;
      byId("hints").append(
        make("details", { open }, make("summary", {}, "Other defects"), ...boxes(others)),
      );
    }
    byId("hints-none").textContent = hints.length
      ? "None ticked: the network looks for itself."
      : "This model looks for itself.";
    this.changed();
  }

  hints() {
    return [...byId("hints").querySelectorAll("input:checked")].map((box) => box.value);
  }

  tickHints(names) {
    for (const box of byId("hints").querySelectorAll("input")) box.checked = names.includes(box.value);
    const folded = byId("hints").querySelector("details");
    if (folded) folded.open ||= folded.querySelector("input:checked") !== null;
    this.changed();
  }

  /** What is chosen, by the names that the server knows. */
  values() {
    const values = { model: byId("model").value, defect: this.hints().join(",") };
    for (const { name, kind } of this.fields) {
      const input = byId(`field-${name}`);
      if (kind === "tick") values[name] = input.checked;
      else if (kind === "share") values[name] = Number(input.value);
      else values[name] = input.value.trim();
    }
    return values;
  }
}
