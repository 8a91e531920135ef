import * as ort from "./ort.wasm.min.mjs";
import { nearest, resized } from "./search.js";

const K = 10, SHOWN = 60, LARGEST = 4096; // of a longer side in pixels: phones draw no larger picture
const part = (id) => document.getElementById(id);
const fetched = async (name) => (await fetch(name)).arrayBuffer();
const say = (text) => { part("status").textContent = text; };

const about = await (await fetch("about.json")).json();
const [rows, pictures] = [new Int8Array(await fetched("embeddings.bin")), await fetched("thumbnails.bin")];
document.title = part("title").textContent = about.title;

const urls = [];
function picture(i) {
  urls[i] ??= URL.createObjectURL(new Blob([pictures.slice(about.ends[i - 1] ?? 0, about.ends[i])], { type: "image/jpeg" }));
  return urls[i];
}

function tile(i, note) {
  const button = document.createElement("button"), image = new Image(), words = document.createElement("span");
  image.src = picture(i);
  image.alt = about.ids[i];
  words.textContent = [about.labels[i], note].filter(Boolean).join(" ");
  button.title = about.ids[i];
  button.dataset.id = about.ids[i];
  button.append(image, words);
  button.onclick = () => ask(i);
  return button;
}

const video = part("video");
function closeCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  video.hidden = true;
  part("camera").textContent = "Camera";
}

function show(found, query, told) {
  closeCamera();
  part("query").src = query;
  part("query").hidden = false;
  part("found").replaceChildren(...found.map(([i, cosine]) => tile(i, cosine.toFixed(3))));
  say(told);
  scrollTo(0, 0); // from the tile that was chosen to the answer
}

function ask(i) {
  const d = about.n_dims, vector = Float32Array.from(rows.subarray(i * d, (i + 1) * d), (x) => x * about.steps[i]);
  show(nearest(vector, rows, about.steps, K, i), picture(i), `what looks like ${about.ids[i]}`);
}

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./", location.href).href;
let network;
const started = () => (network ??= ort.InferenceSession.create("encoder.onnx"));
async function embedded(source, width, height) {
  const shrunk = Math.min(1, LARGEST / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * shrunk)), Math.max(1, Math.round(height * shrunk)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new ort.Tensor("uint8", resized(data, canvas.height, canvas.width, about), [1, ...about.shape, 3]);
  const vector = (await (await started()).run({ pixels })).embedding.data;
  const length = Math.hypot(...vector);
  return [vector.map((x) => x / length), await canvas.convertToBlob({ type: "image/jpeg" })];
}

async function askWith(source, width, height, told) {
  say("looking …");
  const start = performance.now(), [vector, blob] = await embedded(source, width, height);
  show(nearest(vector, rows, about.steps, K), URL.createObjectURL(blob), `${told}, in ${Math.round(performance.now() - start)} ms`);
}

async function askFile(file) {
  try {
    const image = await createImageBitmap(file);
    await askWith(image, image.width, image.height, `what looks like ${file.name}`);
  } catch (error) {
    say(`${file.name} cannot be used: ${error.message}`);
  }
}

let page = 0;
function turn(step) {
  const pages = Math.ceil(about.ids.length / SHOWN);
  page = (page + step + pages) % pages;
  const some = about.ids.slice(page * SHOWN, (page + 1) * SHOWN);
  part("all").replaceChildren(...some.map((_, i) => tile(page * SHOWN + i)));
  part("where").textContent = `${page * SHOWN + 1} to ${page * SHOWN + some.length} of ${about.ids.length}`;
}

part("file").onchange = ({ target }) => { if (target.files[0]) askFile(target.files[0]); target.value = ""; };
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) askFile(event.dataTransfer.files[0]);
  else say("only a file can be dropped here: save the picture first");
};
part("before").onclick = () => turn(-1);
part("after").onclick = () => turn(1);

part("camera").onclick = async () => {
  try {
    if (!video.hidden) return await askWith(video, video.videoWidth, video.videoHeight, "what looks like the picture");
    if (!navigator.mediaDevices) throw new Error("browsers lend it to addresses with https and to localhost only");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await video.play();
    video.hidden = false;
    part("query").hidden = true;
    part("camera").textContent = "Take the picture";
    say("point the camera at something, then take the picture");
  } catch (error) {
    closeCamera();
    say(`the camera cannot be used: ${error.message}`);
  }
};

turn(0);
say("choose a picture below, drop one of your own, or use the camera");
setTimeout(() => started().catch((error) => say(`pictures of your own cannot be used: ${error.message}`)), 100);
const workers = navigator.serviceWorker, before = workers?.controller; // none without https
workers?.register("worker.js").catch(() => say("this page is not kept for offline use"));
if (before) workers.oncontrollerchange = () => location.reload(); // there is a new version
