// One plane on a canvas: input on the left of a divider, result on its right; zoom and pan.

const OVERVIEW = 1_500_000; // pixels that are fetched of a whole plane
const DETAIL = 2_000_000; // and of what is visible, when one looks closer
const GRIP = 22; // CSS pixels around the divider where it can be taken

/** Pixels that were fetched, at their place in the plane. */
class Patch {
  constructor({ pixels, width, height, step }, left, top) {
    Object.assign(this, { pixels, width, height, left, top, step });
    this.canvas = new OffscreenCanvas(width, height);
  }

  /** Paint grey levels between two intensities. */
  paint(low, high) {
    const context = this.canvas.getContext("2d");
    const picture = context.createImageData(this.width, this.height);
    const words = new Uint32Array(picture.data.buffer);
    const factor = 255 / Math.max(high - low, 1e-12);
    const { pixels } = this;
    for (let k = 0; k < pixels.length; k++) {
      const grey = Math.max(0, Math.min(255, (pixels[k] - low) * factor)) | 0;
      words[k] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    context.putImageData(picture, 0, 0);
  }
}

/** Intensities that leave out the darkest and the brightest few pixels. */
export function contrastOf(patch) {
  const step = Math.max(1, Math.floor(patch.pixels.length / 50_000));
  const some = [];
  for (let k = 0; k < patch.pixels.length; k += step) {
    if (Number.isFinite(patch.pixels[k])) some.push(patch.pixels[k]);
  }
  some.sort((a, b) => a - b);
  if (!some.length) return { least: 0, low: 0, high: 1, most: 1 };
  const at = (share) => some[Math.min(some.length - 1, Math.floor(share * some.length))];
  const least = some[0];
  const most = some[some.length - 1] > least ? some[some.length - 1] : least + 1;
  return { least, low: at(0.002), high: Math.max(at(0.998), least + 1e-9), most };
}

export class Viewer {
  /** `fetchPixels(which, part, signal)` gives a part of the plane; `moved` is told of each view. */
  constructor(canvas, fetchPixels, moved) {
    Object.assign(this, { canvas, fetchPixels, moved });
    this.width = this.height = 1;
    this.zoom = 1;
    this.center = { x: 0.5, y: 0.5 };
    this.split = 0.5;
    this.low = 0;
    this.high = 1;
    this.sides = { input: [], result: [] };
    this.fetching = {};
    this.dirty = false;
    this.fitted = true;
    this.listen();
    new ResizeObserver(() => this.resized()).observe(canvas);
  }

  // what is shown

  /** Show the plane of an image anew; where it is looked at stays, if its size does. */
  setSize(width, height) {
    if (width === this.width && height === this.height) return;
    Object.assign(this, { width, height });
    this.fit();
  }

  clear(which) {
    this.fetching[which]?.abort();
    this.fetching[which] = undefined;
    this.sides[which] = [];
    this.draw();
  }

  /** Fetch a whole plane, every so many pixels of it, then what is visible. */
  async load(which) {
    this.fetching[which]?.abort();
    const abort = (this.fetching[which] = new AbortController());
    const step = Math.max(1, Math.ceil(Math.sqrt((this.width * this.height) / OVERVIEW)));
    const part = { left: 0, top: 0, columns: this.width, rows: this.height, step };
    const patch = await this.fetchPatch(which, part, abort.signal);
    this.sides[which] = [patch];
    this.draw();
    this.look();
    return patch;
  }

  async fetchPatch(which, part, signal) {
    const patch = new Patch(await this.fetchPixels(which, part, signal), part.left, part.top);
    patch.paint(this.low, this.high);
    return patch;
  }

  /** Show pixels of a result at a place of the plane. */
  put(fetched) {
    const patch = new Patch(fetched, fetched.place.X ?? 0, fetched.place.Y ?? 0);
    patch.paint(this.low, this.high);
    this.sides.result = [patch];
    this.draw();
  }

  setContrast(low, high) {
    Object.assign(this, { low, high });
    for (const patch of [...this.sides.input, ...this.sides.result]) patch.paint(low, high);
    this.draw();
  }

  get compares() {
    return this.sides.result.length > 0;
  }

  /** Fetch what is visible in more detail, once the view rests. */
  look() {
    clearTimeout(this.pause);
    this.pause = setTimeout(() => {
      for (const which of ["input", "result"]) this.lookCloser(which);
    }, 150);
  }

  async lookCloser(which) {
    const [overview] = this.sides[which];
    const wanted = Math.max(1, Math.floor(1 / this.zoom));
    if (!overview || overview.step <= wanted || !this.fetching[which]) return;
    const view = this.visible();
    const area = (view.columns * view.rows) / (wanted * wanted);
    const step = Math.min(overview.step, Math.ceil(wanted * Math.max(1, Math.sqrt(area / DETAIL))));
    if (step >= overview.step) return;
    const { signal } = this.fetching[which];
    try {
      const patch = await this.fetchPatch(which, { ...view, step }, signal);
      if (signal.aborted || this.sides[which][0] !== overview) return;
      this.sides[which] = [overview, patch];
      this.draw();
    } catch {
      // the overview stays
    }
  }

  // where it is looked at

  get scale() {
    return this.zoom / devicePixelRatio; // CSS pixels of a pixel of the image
  }

  fit() {
    const { width, height } = this.canvas;
    this.zoom = Math.min(width / this.width, height / this.height) || 1;
    this.center = { x: this.width / 2, y: this.height / 2 };
    this.fitted = true;
    this.viewed();
  }

  zoomBy(factor, at) {
    const least = Math.min(1, this.canvas.width / this.width, this.canvas.height / this.height);
    const zoom = Math.min(32, Math.max(least, this.zoom * factor));
    if (at) {
      const shift = 1 / this.zoom - 1 / zoom;
      this.center.x += (at.x - this.canvas.width / 2) * shift;
      this.center.y += (at.y - this.canvas.height / 2) * shift;
    }
    this.zoom = zoom;
    this.fitted = false;
    this.viewed();
  }

  pan(x, y) {
    this.center.x = Math.max(0, Math.min(this.width, this.center.x - x / this.zoom));
    this.center.y = Math.max(0, Math.min(this.height, this.center.y - y / this.zoom));
    this.fitted = false;
    this.viewed();
  }

  viewed() {
    this.draw();
    this.look();
    this.moved();
  }

  /** The part of the plane that is visible, in its pixels. */
  visible() {
    const wide = this.canvas.width / this.zoom, high = this.canvas.height / this.zoom;
    const left = Math.max(0, Math.floor(this.center.x - wide / 2));
    const top = Math.max(0, Math.floor(this.center.y - high / 2));
    const columns = Math.max(1, Math.min(this.width, Math.ceil(this.center.x + wide / 2)) - left);
    const rows = Math.max(1, Math.min(this.height, Math.ceil(this.center.y + high / 2)) - top);
    return { left: Math.min(left, this.width - 1), top: Math.min(top, this.height - 1), columns, rows };
  }

  // drawing

  resized() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return;
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    if (this.fitted) this.fit();
    else this.viewed();
  }

  draw() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      this.drawNow();
    });
  }

  drawNow() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    this.drawSide(context, "input", 0, width);
    if (!this.compares) return;
    const edge = Math.round(this.split * width);
    this.drawSide(context, "result", edge, width - edge, this.sides.input);
    this.drawDivider(context, edge, height);
  }

  drawSide(context, which, left, width, below = []) {
    context.save();
    context.beginPath();
    context.rect(left, 0, width, this.canvas.height);
    context.clip();
    context.translate(this.canvas.width / 2, this.canvas.height / 2);
    context.scale(this.zoom, this.zoom);
    context.translate(-this.center.x, -this.center.y);
    context.imageSmoothingEnabled = this.zoom < 2;
    for (const { canvas, left: x, top: y, step, width: w, height: h } of [
      ...below,
      ...this.sides[which],
    ]) {
      context.drawImage(canvas, x, y, w * step, h * step);
    }
    if (below.length) this.drawField(context, this.sides[which][0]);
    context.restore();
  }

  /** Frame a result that is of a part of the plane. */
  drawField(context, { left, top, width, height, step }) {
    if (step > 1 || (width >= this.width && height >= this.height)) return;
    context.strokeStyle = "#ffd43b";
    context.lineWidth = (2 * devicePixelRatio) / this.zoom;
    context.strokeRect(left, top, width, height);
  }

  drawDivider(context, edge, height) {
    const size = devicePixelRatio;
    context.fillStyle = "#ffd43b";
    context.fillRect(edge - size, 0, 2 * size, height);
    context.beginPath();
    context.arc(edge, height / 2, 13 * size, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = "#16202a";
    for (const side of [-1, 1]) {
      context.beginPath();
      context.moveTo(edge + side * 9 * size, height / 2);
      context.lineTo(edge + side * 3 * size, height / 2 - 5 * size);
      context.lineTo(edge + side * 3 * size, height / 2 + 5 * size);
      context.fill();
    }
  }

  // pointer, wheel and keys

  listen() {
    const { canvas } = this;
    let grabbed = null;
    canvas.addEventListener("pointerdown", (event) => {
      const edge = this.split * canvas.clientWidth;
      const near = Math.abs(event.offsetX - edge) < GRIP || event.pointerType === "touch";
      grabbed = this.compares && near ? "divider" : "image";
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (grabbed === "divider") this.setSplit(event.offsetX / canvas.clientWidth);
      else if (grabbed) this.pan(event.movementX * devicePixelRatio, event.movementY * devicePixelRatio);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => (grabbed = null));
    }
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const at = { x: event.offsetX * devicePixelRatio, y: event.offsetY * devicePixelRatio };
        this.zoomBy(Math.exp(-event.deltaY / 400), at);
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  pressed(event) {
    const far = 60 * devicePixelRatio;
    const keys = {
      "+": () => this.zoomBy(1.5),
      "=": () => this.zoomBy(1.5),
      "-": () => this.zoomBy(1 / 1.5),
      0: () => this.fit(),
      ArrowLeft: () => this.pan(far, 0),
      ArrowRight: () => this.pan(-far, 0),
      ArrowUp: () => this.pan(0, far),
      ArrowDown: () => this.pan(0, -far),
      ",": () => this.setSplit(this.split - 0.05),
      ".": () => this.setSplit(this.split + 0.05),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }

  setSplit(share) {
    this.split = Math.max(0, Math.min(1, share));
    this.draw();
    this.moved();
  }
}
