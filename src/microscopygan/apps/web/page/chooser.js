// Images of the folder that the program was started with; they are opened where they are.

import { make } from "./options.js";
import { ask } from "./server.js";

const byId = (name) => document.getElementById(name);

export class Chooser {
  /** `failed` is called with a line. */
  constructor(root, failed) {
    Object.assign(this, { root, failed });
    byId("open-chosen").addEventListener("click", () => this.open());
    byId("entries").addEventListener("change", () => this.count());
  }

  async show(folder = ".") {
    let listed;
    try {
      listed = await ask("GET", `/api/root?folder=${encodeURIComponent(folder)}`);
    } catch (error) {
      this.failed(error.message);
      return;
    }
    this.crumbs(listed.folder);
    const folders = listed.folders.map((one) => {
      const button = make("button", { type: "button", class: "folder" }, one.name);
      button.addEventListener("click", () => this.show(one.path));
      return make("li", {}, button);
    });
    const images = listed.images.map((one) => {
      const box = make("input", { type: "checkbox", value: one.path });
      const size = make("small", {}, one.bytes ? ` ${inBytes(one.bytes)}` : " Zarr");
      return make("li", {}, make("label", { class: "tick" }, box, ` ${one.name}`, size));
    });
    const none = make("li", { class: "soft" }, "No images here.");
    byId("entries").replaceChildren(...(folders.length + images.length ? [...folders, ...images] : [none]));
    this.count();
    if (!byId("chooser").open) byId("chooser").showModal();
  }

  crumbs(folder) {
    const parts = folder === "." ? [] : folder.split("/");
    const steps = [[this.root, "."], ...parts.map((part, k) => [part, parts.slice(0, k + 1).join("/")])];
    byId("crumbs").replaceChildren(
      ...steps.map(([name, path]) => {
        const button = make("button", { type: "button", class: "quiet" }, name);
        button.addEventListener("click", () => this.show(path));
        return button;
      }),
    );
  }

  chosen() {
    return [...byId("entries").querySelectorAll("input:checked")].map((box) => box.value);
  }

  count() {
    const number = this.chosen().length;
    byId("open-chosen").disabled = number === 0;
    byId("open-chosen").textContent = number > 1 ? `Open ${number} images` : "Open";
  }

  async open() {
    byId("chooser").close();
    try {
      await ask("POST", "/api/root", { paths: this.chosen() });
    } catch (error) {
      this.failed(error.message);
    }
  }
}

export function inBytes(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let k = 0;
  for (; bytes >= 1000 && k < units.length - 1; k++) bytes /= 1000;
  return `${bytes < 10 && k ? bytes.toFixed(1) : Math.round(bytes)} ${units[k]}`;
}
