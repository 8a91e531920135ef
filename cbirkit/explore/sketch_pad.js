// Paper to draw on with mouse, finger or pen. The drawing goes to Python as a PNG whenever a stroke ends or is taken back.

function render({ model, el }) {
  const send = begin(model, el, "cbk-pad");
  const side = model.get("side");
  const words = "Paper: draw on it with the mouse, a finger or a pen; Ctrl+Z takes the last line back";
  const paper = make("canvas", "cbk-paper", el, "", { width: side, height: side, tabindex: 0, role: "img", "aria-label": words });
  const ink = paper.getContext("2d");
  const row = make("div", "cbk-buttons", el);
  const back = () => keep(model.get("strokes").slice(0, -1));
  const undo = makeButton("cbk-button", row, "Undo", back);
  const clear = makeButton("cbk-button", row, "Clear", () => { below = null; keep([]); });
  const label = make("label", "", row, "line ");
  const width = make("input", "", label, "", { type: "range", min: 2, max: 20, value: 5 });
  let below = null, bytes = null; // the picture under the lines
  let line = null; // [width, x, y, x, y, …], the one that is being drawn

  function trace([thick, x, y, ...rest]) {
    ink.lineWidth = thick;
    ink.beginPath();
    ink.moveTo(x, y);
    ink.lineTo(x, y + 0.01); // a dot, if nothing follows
    for (let i = 0; i < rest.length; i += 2) ink.lineTo(rest[i], rest[i + 1]);
    ink.stroke();
  }

  function draw() {
    const strokes = model.get("strokes");
    if (model.get("image") !== bytes) {
      bytes = model.get("image");
      below = null;
      const mine = bytes;
      if (bytes?.byteLength) createImageBitmap(new Blob([bytes])).then((made) => { if (mine === bytes) { below = made; draw(); } });
    }
    ink.fillStyle = "#fff";
    ink.fillRect(0, 0, side, side);
    ink.lineCap = ink.lineJoin = "round";
    if (below) ink.drawImage(below, 0, 0, side, side);
    [...strokes, ...(line ? [line] : [])].forEach(trace);
    undo.disabled = !strokes.length;
    clear.disabled = !strokes.length && !below;
  }

  // Keeps the lines (a view may be made anew) and tells Python.
  function keep(strokes) {
    model.set("strokes", strokes);
    model.save_changes();
    draw();
    if (!strokes.length && !below) send({ event: "clear" });
    else paper.toBlob(async (blob) => send({ event: "draw" }, [await blob.arrayBuffer()]), "image/png");
  }

  // Where the pen is, and where it was since the last event.
  function add(event) {
    const area = paper.getBoundingClientRect(), edge = paper.clientLeft;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of passed.length ? passed : [event]) {
      const at = [clientX - area.left - edge, clientY - area.top - edge];
      line.push(...at.map((value) => Math.round((10 * side * value) / paper.clientWidth) / 10));
    }
    draw();
  }

  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || line) return;
    event.preventDefault(); // no selection, no scrolling
    paper.focus();
    paper.setPointerCapture(event.pointerId);
    line = [Number(width.value)];
    add(event);
  });
  paper.addEventListener("pointermove", (event) => {
    if (line && paper.hasPointerCapture(event.pointerId)) add(event); // a second finger draws nothing
  });
  const end = (event) => {
    if (!line || !paper.hasPointerCapture(event.pointerId)) return;
    const done = line;
    line = null;
    keep([...model.get("strokes"), done]);
  };
  paper.addEventListener("pointerup", end);
  paper.addEventListener("pointercancel", end);
  paper.addEventListener("keydown", (event) => {
    if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || undo.disabled) return;
    event.preventDefault();
    back();
  });
  return follow(model, draw);
}
