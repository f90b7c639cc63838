// What the page asks the server; each request shows the token of this start.

const HEADER = "X-MicroscopyGAN-Token";
let token = sessionStorage.getItem("token") ?? "";

/** Take the key of the address, which is then gone from it; tell whether the page may be used. */
export async function enter() {
  const key = decodeURIComponent(location.hash.slice(1));
  if (key) {
    history.replaceState(null, "", location.pathname);
    const answer = await fetch("/enter", { method: "POST", body: JSON.stringify({ key }) });
    if (answer.ok) {
      token = (await answer.json()).token;
      sessionStorage.setItem("token", token);
    }
  }
  return token !== "" && (await fetch("/api/state", { headers: headers() })).ok;
}

function headers() {
  return { [HEADER]: token };
}

/** Ask, and give what is answered; an error holds the server's one line. */
export async function ask(method, path, content, signal) {
  const body = content === undefined ? undefined : JSON.stringify(content);
  const answer = await fetch(path, { method, body, headers: headers(), signal });
  if (!answer.ok) throw await failure(answer);
  return answer.json();
}

/** Ask for pixels: how many rows and columns of them, where they begin, every how many. */
export async function askPixels(method, path, content, signal) {
  const body = content === undefined ? undefined : JSON.stringify(content);
  const answer = await fetch(path, { method, body, headers: headers(), signal });
  if (!answer.ok) throw await failure(answer);
  const kinds = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
  const kind = answer.headers.get("X-Type");
  const [height, width] = answer.headers.get("X-Shape").split(",").map(Number);
  const place = JSON.parse(answer.headers.get("X-Place"));
  const step = Number(answer.headers.get("X-Step"));
  return { pixels: new kinds[kind](await answer.arrayBuffer()), height, width, place, step };
}

async function failure(answer) {
  let line = `the program answered ${answer.status}`;
  try {
    line = (await answer.json()).error;
  } catch {
    // no line of the program: the number must do
  }
  return Object.assign(new Error(line), { status: answer.status });
}

/** Send a file; `told` is called with the share that is sent. */
export function send(method, path, file, told) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.setRequestHeader(HEADER, token);
    request.responseType = "json";
    request.upload.onprogress = (event) => told(event.loaded / Math.max(event.total, 1));
    request.onload = () => {
      if (request.status === 200) resolve(request.response);
      else reject(new Error(request.response?.error ?? `the program answered ${request.status}`));
    };
    request.onerror = () => reject(new Error("the program does not answer"));
    request.send(file);
  });
}

/** Call `changed` with all that the page shows, each time something is different. */
export async function follow(changed, lost) {
  for (;;) {
    try {
      const answer = await fetch("/api/events", { headers: headers() });
      if (!answer.ok) throw await failure(answer);
      await readEvents(answer.body.getReader(), changed);
    } catch {
      // it is asked again below
    }
    lost();
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function readEvents(reader, changed) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split("\n\n");
    text = events.pop();
    const latest = events.filter((event) => event.startsWith("data: ")).pop();
    if (latest) changed(JSON.parse(latest.slice(6)));
  }
}

/** Let the browser download what the server gives an address for. */
export async function download(path, content) {
  const { url } = await ask("POST", path, content);
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  link.click();
}
