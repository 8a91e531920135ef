// The query picture: drag over it to search for a part of it, drop or choose a file to search for that.
// Python owns the state; boxes are [x, y, width, height] in pixels of the original picture.

const PART = 2 ** 21; // files go in parts of 2 MiB: Jupyter closes a socket that gets more than 10 MiB at once

async function sendFile(send, limit, file) {
  if (!file) return;
  const tooLarge = file.size > limit; // then Python says so; nothing is sent
  const parts = tooLarge ? 1 : Math.max(1, Math.ceil(file.size / PART));
  for (let part = 0; part < parts; part += 1) {
    const bytes = await file.slice(part * PART, tooLarge ? part * PART : (part + 1) * PART).arrayBuffer();
    send({ event: "file", name: file.name, size: file.size, part, parts }, [bytes]);
  }
}

const SIDES = ["left", "top", "width", "height"];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Arrow keys move the box, with Shift they size it.
function nudge([x, y, w, h], event, width, height) {
  const [dx, dy] = ARROWS[event.key];
  const stepX = dx * Math.max(1, Math.round(width / 50)), stepY = dy * Math.max(1, Math.round(height / 50));
  if (event.shiftKey) return [x, y, clamp(w + stepX, 1, width - x), clamp(h + stepY, 1, height - y)];
  return [clamp(x + stepX, 0, width - w), clamp(y + stepY, 0, height - h), w, h];
}

function render({ model, el }) {
  const send = begin(model, el, "cbk-cropper");
  const keys = "arrow keys move a region, Shift and arrow keys size it, Enter searches for it, Escape goes back to the whole picture";
  const frame = make("div", "cbk-frame", el, "", { tabindex: 0, role: "group", "aria-label": `Query picture: ${keys}` });
  const { img, show, release } = makePicture(frame);
  const rubber = make("div", "cbk-rubber", frame);
  const name = make("div", "cbk-name", el);
  make("div", "cbk-hint", el, model.get("hint"));

  const buttons = make("div", "cbk-buttons", el);
  const chooser = make("input", "", buttons, "", { type: "file", accept: "image/*,.tif,.tiff,.ppm,.pgm", hidden: "" });
  makeButton("cbk-button", buttons, "Upload image…", () => chooser.click());
  const whole = makeButton("cbk-button", buttons, "Whole picture", () => send({ event: "whole" }));

  const details = make("details", "cbk-numbers", el);
  make("summary", "", details, "Region in pixels");
  const form = make("form", "", details);
  const fields = SIDES.map((text) => make("input", "", make("label", "", form, text), "", { type: "number", step: 1 }));
  make("button", "cbk-button", form, "Search region", { type: "submit" });

  let box = null; // the one drawn; Python's comes with the trait
  let picture = null;
  const size = () => [model.get("view").width, model.get("view").height];
  const upload = (file) => sendFile(send, model.get("max_bytes"), file);
  const search = (region) => send({ event: "crop", box: region });

  function drawBox() {
    const [width, height] = size();
    rubber.hidden = !box;
    const shares = (box ?? []).map((value, i) => value / (i % 2 ? height : width));
    shares.forEach((share, i) => { rubber.style[SIDES[i]] = `${100 * share}%`; });
    (box ?? [0, 0, width, height]).forEach((value, i) => { fields[i].value = value; });
  }

  function draw() {
    const view = model.get("view");
    if (view.image !== picture) show(picture = view.image);
    name.textContent = name.title = view.name;
    img.alt = `query picture ${view.name}`;
    box = view.box.length ? [...view.box] : null;
    whole.disabled = !box;
    drawBox();
  }

  // Position of the pointer in pixels of the original picture.
  function pixel(event) {
    const area = img.getBoundingClientRect();
    const shares = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    return size().map((length, i) => clamp(Math.round(shares[i] * length), 0, length));
  }

  let start = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || img.hidden) return;
    event.preventDefault(); // no text selection, no dragging of the picture
    frame.focus();
    frame.setPointerCapture(event.pointerId);
    start = pixel(event);
    box = [...start, 0, 0];
  });
  frame.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = pixel(event);
    box = [Math.min(x, start[0]), Math.min(y, start[1]), Math.abs(x - start[0]), Math.abs(y - start[1])];
    drawBox();
  });
  frame.addEventListener("pointerup", () => {
    if (!start) return;
    start = null;
    search(box);
    if (!box[2] || !box[3]) draw(); // Python will refuse it and keep its own box: show that again
  });
  frame.addEventListener("pointercancel", () => { start = null; draw(); });
  frame.addEventListener("keydown", (event) => {
    const [width, height] = size();
    if (event.key === "Enter" && box) search(box);
    else if (event.key === "Escape") send({ event: "whole" });
    else if (event.key.startsWith("Arrow")) {
      const centre = [width >> 2, height >> 2, Math.max(1, width >> 1), Math.max(1, height >> 1)];
      box = box ? nudge(box, event, width, height) : centre;
      drawBox();
    } else return;
    event.preventDefault();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(fields.map((field) => Math.round(Number(field.value))));
  });
  chooser.addEventListener("change", () => { upload(chooser.files[0]); chooser.value = ""; });
  el.addEventListener("dragover", (event) => event.preventDefault());
  el.addEventListener("drop", (event) => { event.preventDefault(); upload(event.dataTransfer.files[0]); });
  const leave = follow(model, draw);
  return () => [leave(), release()];
}
