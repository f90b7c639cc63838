// Files and Zarr folders on their way to the server, two at a time.

import { ask, send } from "./server.js";

const AT_ONCE = 2;
const INSIDE = 4; // files of such a folder at once
const FOLDER = /\.(zarr|n5)$/i; // of one image

export class Uploads {
  /** `changed` is called with what is on its way, `opened` with the first images, `failed` with a line. */
  constructor(changed, opened, failed) {
    Object.assign(this, { changed, opened, failed, waiting: [], running: [], suffixes: [] });
  }

  /** Send what was dropped: files, Zarr folders, and the images of other folders. */
  async addDropped(items) {
    const files = [...items].filter((item) => item.kind === "file");
    for (const entry of files.map((item) => item.webkitGetAsEntry()).filter(Boolean)) {
      if (entry.isFile) this.add([await asFile(entry)]);
      else if (FOLDER.test(entry.name)) this.addFolder(entry.name, await allFiles(entry));
      else await this.addImagesOf(entry);
    }
  }

  async addImagesOf(folder) {
    for (const entry of await inside(folder)) {
      if (entry.isDirectory && FOLDER.test(entry.name)) {
        this.addFolder(entry.name, await allFiles(entry));
      } else if (entry.isFile && this.isImage(entry.name)) {
        this.add([await asFile(entry)]);
      }
    }
  }

  isImage(name) {
    return this.suffixes.some((suffix) => name.toLowerCase().endsWith(suffix));
  }

  /** Send files. */
  add(files) {
    for (const file of files) {
      this.enqueue({ name: file.name, share: 0, work: (job) => this.sendFile(job, file) });
    }
  }

  /** Send what was chosen as a folder: files with paths that begin with its name. */
  addChosen(files) {
    const [first] = files;
    if (!first) return;
    const name = first.webkitRelativePath.split("/")[0];
    if (!FOLDER.test(name)) {
      this.add([...files].filter((file) => this.isImage(file.name)));
      return;
    }
    const path = (file) => file.webkitRelativePath.slice(name.length + 1);
    this.addFolder(name, [...files].map((file) => ({ path: path(file), file })));
  }

  addFolder(name, files) {
    this.enqueue({ name, share: 0, work: (job) => this.sendFolder(job, name, files) });
  }

  enqueue(job) {
    job.first = !this.running.length && !this.waiting.length;
    this.waiting.push(job);
    this.tell();
    this.next();
  }

  async next() {
    if (this.running.length >= AT_ONCE || !this.waiting.length) return;
    const job = this.waiting.shift();
    this.running.push(job);
    try {
      const answer = await job.work(job);
      if (job.first) this.opened(answer);
    } catch (error) {
      this.failed(`${job.name} was not opened. ${error.message}`);
    }
    this.running = this.running.filter((one) => one !== job);
    this.tell();
    this.next();
  }

  tell() {
    this.changed([...this.running, ...this.waiting]);
  }

  async sendFile(job, file) {
    return send("POST", `/api/images?name=${encodeURIComponent(file.name)}`, file, (share) => {
      job.share = share;
      this.tell();
    });
  }

  async sendFolder(job, name, files) {
    const { id } = await ask("POST", "/api/folders", { name, files: files.length });
    const left = [...files];
    const sendSome = async () => {
      for (let one = left.pop(); one; one = left.pop()) {
        const path = encodeURIComponent(one.path);
        await send("PUT", `/api/folders/${id}?path=${path}`, one.file, () => {});
        job.share = 1 - left.length / files.length;
        this.tell();
      }
    };
    await Promise.all(Array.from({ length: INSIDE }, sendSome));
    return ask("POST", `/api/folders/${id}`);
  }
}

function asFile(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** All entries of a folder, which come a hundred at a time. */
async function inside(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return entries;
    entries.push(...some);
  }
}

async function allFiles(folder, above = "") {
  const files = [];
  for (const entry of await inside(folder)) {
    const path = `${above}${entry.name}`;
    if (entry.isDirectory) files.push(...(await allFiles(entry, `${path}/`)));
    else files.push({ path, file: await asFile(entry) });
  }
  return files;
}
