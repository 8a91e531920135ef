// The map: moved, zoomed, hovered over, picked from, selected in. Python owns the state and knows the images: this file
// reports positions of points. Drawing is in map_points.js.

// Bytes of a trait as numbers; copied, for a typed array has to start at a multiple of its size.
function numbers(view, Kind) {
  if (!view?.byteLength) return new Kind(0);
  return new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function readInk(el) {
  const style = getComputedStyle(el);
  const probe = (name) => style.getPropertyValue(`--cbk-${name}`).trim() || "#888";
  return Object.fromEntries(["fg", "back", "muted", "focus", "right", "wrong"].map((name) => [name, probe(name)]));
}

// Pictures of points and what is said of them: asked for one at a time, the last wish first, and the latest kept.
function makeAlbum(send, heard) {
  const kept = new Map();
  let wishes = [], asked = -1, askedAt = 0;
  function ask() {
    const next = wishes.findLast((i) => i >= 0 && !kept.has(i));
    if (next === undefined || (asked >= 0 && performance.now() - askedAt < 2000)) return;
    [asked, askedAt] = [next, performance.now()];
    send({ event: "hover", at: next });
  }
  async function answer({ event, at, text }, [bytes]) {
    if (event !== "preview") return;
    const picture = bytes?.byteLength ? await createImageBitmap(new Blob([bytes])).catch(() => null) : null;
    if (kept.size > 500) kept.delete(kept.keys().next().value);
    kept.set(at, { text, bytes, picture });
    asked = -1;
    heard();
    ask();
  }
  return { kept, answer, wish(places) { wishes = places; ask(); } };
}

// The small picture beside a point.
function makeTip(frame, view, album, getPoints) {
  const tip = make("div", "cbk-map-tip", frame);
  const picture = makePicture(tip);
  const text = make("span", "", tip);
  tip.hidden = true;
  let shown = null, heard = () => {};

  function show() {
    const found = album.kept.get(self.at);
    tip.hidden = !found;
    if (!found || found === shown) return;
    shown = found;
    picture.show(found.bytes);
    picture.img.alt = `picture of ${found.text.split("\n")[0]}`;
    text.textContent = found.text;
    const [x, y] = view.at(getPoints(), self.at);
    tip.style.left = `${Math.max(0, x + 165 > view.width ? x - 162 : x + 14)}px`;
    tip.style.top = `${Math.max(0, Math.min(y - 30, view.height - 160))}px`;
    heard(found.text);
  }
  const self = { at: -1, show, clear: picture.release, point(i, say = () => {}) { [self.at, heard, shown] = [i, say, null]; show(); } };
  return self;
}

function drawLegend(parent, legend, ink, choose) {
  parent.replaceChildren();
  legend.forEach((group, i) => {
    const title = `Select all ${group.count} of ${group.name}`;
    const button = makeButton("cbk-plain cbk-map-group", parent, "", () => choose(i), { title });
    const sign = make("canvas", "", button, "", { width: 32, height: 32, "aria-hidden": true });
    drawShape(sign.getContext("2d"), group, 16, 16, 11, ink);
    make("span", "", button, `${group.name} (${group.count})`);
  });
}

const FEW = 40; // points in view that are shown as pictures

// Everything about the canvases: sizes, what has to be drawn, and drawing it once a frame.
function makeStage(el, frame, view, data, album, wish) {
  const base = make("canvas", "cbk-map-base", frame), top = make("canvas", "cbk-map-top", frame);
  const paper = base.getContext("2d", { willReadFrequently: true }), glass = top.getContext("2d");
  const stage = { top, ink: readInk(el), cursor: -1, line: [], marks: null };
  let sprites = null, spriteKey = "", due = 0, stale = true, ratio = 1;

  function drawBase() {
    const r = view.radius(data.points.length / 2), key = `${r} ${ratio} ${base.width} ${stage.ink.back} ${JSON.stringify(data.legend)}`;
    if (key !== spriteKey) sprites = makeStencils(data.legend, r, ratio, stage.ink, base.width);
    spriteKey = key;
    drawPoints(paper, view, data, sprites, ratio, stage.ink);
  }
  function frameNow() {
    const start = performance.now();
    if (stale) drawBase();
    due = 0;
    stale = false;
    glass.setTransform(ratio, 0, 0, ratio, 0, 0);
    glass.clearRect(0, 0, view.width, view.height);
    const near = inView(data.points, view, FEW);
    near.forEach((i) => {
      const frame = data.isChosen[i] ? stage.ink.focus : data.legend[data.groups[i]]?.colour ?? stage.ink.back;
      drawPicture(glass, album.kept.get(i)?.picture, ...view.at(data.points, i), frame);
    });
    wish(near);
    if (stage.marks) drawMarks(glass, view, data.points, stage.marks, stage.ink);
    if (stage.cursor >= 0) ring(glass, ...view.at(data.points, stage.cursor), 9, stage.ink.focus, stage.ink.back, 2);
    if (stage.line.length) drawLine(glass, stage.line, stage.ink);
    frame.dataset.drawn = (performance.now() - start).toFixed(1); // ms, for those who measure
  }
  const draw = () => { due ||= requestAnimationFrame(frameNow); };
  Object.assign(stage, {
    overlay: draw,
    redraw() {
      stale = true;
      draw();
    },
    resize() {
      ratio = window.devicePixelRatio || 1;
      view.resize(frame.clientWidth || 1, frame.clientHeight || 1);
      for (const canvas of [base, top]) Object.assign(canvas, { width: Math.round(view.width * ratio), height: Math.round(view.height * ratio) });
      stage.redraw();
    },
    stop: () => cancelAnimationFrame(due),
  });
  return stage;
}

function drawLine(ctx, line, ink) {
  const path = pathOf([...line, line[0]]);
  Object.assign(ctx, { globalAlpha: 0.15, fillStyle: ink.focus, lineWidth: 2, strokeStyle: ink.focus });
  ctx.fill(path);
  ctx.globalAlpha = 1;
  ctx.setLineDash([5, 3]);
  ctx.stroke(path);
  ctx.setLineDash([]);
}

const REACH = 14; // CSS pixels from a point that still mean it
const MODES = [["lasso", "Lasso"], ["box", "Box"], ["move", "Move"]];

// Mouse and pen: a click picks, a drag selects or moves, the wheel zooms where the map has the focus.
function listen(top, view, stage, act) {
  let from = null, last = null;
  const place = (event) => [event.offsetX, event.offsetY];
  top.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = last = place(event);
    stage.line = [];
    try { top.setPointerCapture(event.pointerId); } catch { /* a pointer that is no longer there */ }
  });
  top.addEventListener("pointermove", (event) => {
    const here = place(event);
    if (!from) return act.hover(here);
    if (act.mode() === "move") {
      view.move(here[0] - last[0], here[1] - last[1]);
      stage.redraw();
    } else if (act.mode() === "box") stage.line = [from, [here[0], from[1]], here, [from[0], here[1]]];
    else if (!stage.line.length || Math.hypot(here[0] - last[0], here[1] - last[1]) > 2) stage.line.push(here);
    else return undefined;
    last = here;
    return stage.overlay();
  });
  top.addEventListener("pointerup", (event) => {
    if (!from) return;
    const here = place(event), line = stage.line, clicked = Math.hypot(here[0] - from[0], here[1] - from[1]) < 4 && line.length < 5;
    stage.line = [];
    from = null;
    if (clicked) act.click(here);
    else if (line.length > 2) act.enclose(line, event.shiftKey);
    stage.overlay();
  });
  top.addEventListener("pointercancel", () => { from = null; stage.line = []; stage.overlay(); });
  top.addEventListener("pointerleave", () => from || act.hover(null));
  top.addEventListener("wheel", (event) => {
    if (document.activeElement !== top && !event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    view.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) * 0.002), ...place(event));
    act.hover(null);
    stage.redraw();
  }, { passive: false });
}

function render({ model, el }) {
  const send = begin(model, el, "cbk-map");
  const bar = make("div", "cbk-buttons", el);
  const frame = make("div", "cbk-map-frame", el);
  const view = new View();
  const data = { points: new Float32Array(0), groups: new Uint8Array(0), chosen: new Uint32Array(0), isChosen: new Uint8Array(0), legend: [] };
  const album = makeAlbum(send, () => { tip.show(); stage.overlay(); });
  const tip = makeTip(frame, view, album, () => data.points);
  const stage = makeStage(el, frame, view, data, album, (near) => album.wish([...near, tip.at]));
  const { top } = stage;
  const said = make("div", "cbk-map-said", el, "", { "aria-live": "polite" });
  const summary = make("div", "cbk-map-summary", el);
  const groups = make("div", "cbk-map-legend", el);
  make("div", "cbk-hint", el, "Rest on a point to see its image, click it to see its neighbours. Drag to select; Shift adds. "
    + "The wheel zooms after a click into the map; near by, pictures stand for points. Keys: arrows, Enter, Space, + - 0, Shift and arrows.");
  let mode = "lasso", started = false;

  const filter = (test) => [...Array(data.points.length / 2).keys()].filter(test);
  function mark(positions) {
    data.chosen = Uint32Array.from(positions);
    data.isChosen = new Uint8Array(data.points.length / 2);
    data.chosen.forEach((i) => { data.isChosen[i] = 1; });
    stage.redraw();
  }
  function choose(positions, add = false) {
    mark(add ? [...new Set([...data.chosen, ...positions])] : positions);
    send({ event: "select" }, [data.chosen.slice().buffer]);
  }
  function goTo(i) {
    if (i < 0) return;
    if (!view.holds(...view.at(data.points, i), 20)) view.centre(data.points[2 * i], data.points[2 * i + 1]), stage.redraw();
    stage.cursor = i;
    tip.point(i, (text) => { said.textContent = text; });
    stage.overlay();
  }
  const act = {
    mode: () => mode,
    hover(here) {
      const i = here ? nearestPoint(data.points, view, ...here, REACH) : -1;
      if (i === stage.cursor) return;
      stage.cursor = i;
      tip.point(i);
      stage.overlay();
    },
    click(here) {
      const i = nearestPoint(data.points, view, ...here, REACH);
      if (i >= 0) send({ event: "pick", at: i });
    },
    enclose: (line, add) => choose(filter(isInside(data.points, view, line)), add),
  };
  listen(top, view, stage, act);
  const showLegend = () => drawLegend(groups, data.legend, stage.ink, (i) => choose(filter((j) => data.groups[j] === i)));
  const zoom = (factor) => { view.zoom(factor); act.hover(null); stage.redraw(); };
  const whole = () => { view.fit(data.points); stage.redraw(); };

  set(top, { tabindex: 0, role: "application" });
  top.addEventListener("blur", () => tip.point(-1));
  top.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = event.key.startsWith("Arrow"), here = stage.cursor;
    if (arrow && event.shiftKey) {
      view.move(...ARROWS[event.key].map((step) => -60 * step));
      stage.redraw();
    } else if (arrow) goTo(here < 0 ? nearestPoint(data.points, view, view.width / 2, view.height / 2, 1e9) : pointTowards(data.points, view, here, event.key));
    else if (event.key === "Enter" && here >= 0) send({ event: "pick", at: here });
    else if (event.key === " " && here >= 0) choose(data.isChosen[here] ? [...data.chosen].filter((i) => i !== here) : [...data.chosen, here]);
    else if (event.key === "Escape") choose([]);
    else if (event.key === "0") whole();
    else if (["+", "=", "-"].includes(event.key)) zoom(event.key === "-" ? 1 / 1.3 : 1.3);
    else return;
    event.preventDefault();
  });

  const addButton = (text, title, action) => makeButton("cbk-button", bar, text, action, { title });
  const modes = MODES.map(([name, text]) => addButton(text, `Drag to ${name === "move" ? "move the map" : `select with a ${name}`}`, () => setMode(name)));
  function setMode(name) {
    mode = name;
    top.dataset.mode = name;
    MODES.forEach(([one], i) => set(modes[i], { "aria-pressed": one === name }));
  }
  make("span", "cbk-map-gap", bar);
  addButton("+", "Zoom in", () => zoom(1.3));
  addButton("−", "Zoom out", () => zoom(1 / 1.3));
  addButton("Whole map", "Show all points", whole);
  make("span", "cbk-map-gap", bar);
  addButton("Select what is shown", "Select all points in view", () => choose(filter((i) => view.holds(...view.at(data.points, i)))));
  addButton("Clear", "Select nothing", () => choose([]));
  setMode(mode);

  function read() {
    data.points = numbers(model.get("points"), Float32Array);
    data.groups = numbers(model.get("groups"), Uint8Array);
    data.legend = model.get("legend");
    stage.marks = model.get("marks");
    summary.textContent = model.get("summary");
    set(top, { "aria-label": `${model.get("title")}. Arrow keys go from point to point, Enter shows neighbours, Space selects.` });
    mark(numbers(model.get("chosen"), Uint32Array));
  }
  const onPoints = () => { read(); act.hover(null); whole(); };
  const onMarks = () => {
    stage.marks = model.get("marks");
    const at = stage.marks.query;
    if (at >= 0 && started && !view.holds(...view.at(data.points, at), 10)) view.centre(data.points[2 * at], data.points[2 * at + 1]), stage.redraw();
    stage.overlay();
  };
  const onLegend = () => { album.kept.clear(); read(); showLegend(); }; // what is said of a point has changed
  const events = { points: onPoints, marks: onMarks, legend: onLegend, groups: onLegend, chosen: read, summary: read, title: read };
  Object.entries(events).forEach(([name, action]) => model.on(`change:${name}`, action));
  model.on("msg:custom", album.answer);
  const recolour = () => { stage.ink = readInk(el); showLegend(); stage.redraw(); };
  const themes = new MutationObserver(recolour);
  themes.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light"] });
  const sizes = new ResizeObserver(() => {
    if (frame.clientWidth < 2) return;
    stage.resize();
    act.hover(null); // the picture beside a point would stand where the point was
    if (!started) recolour(); // colours are known once it is in the page
    if (view.whole) whole();
    started = true;
  });
  onLegend();
  sizes.observe(frame);
  const deaf = () => Object.entries(events).forEach(([name, action]) => model.off(`change:${name}`, action));
  return () => [deaf(), model.off("msg:custom", album.answer), themes.disconnect(), sizes.disconnect(), stage.stop(), tip.clear()];
}
